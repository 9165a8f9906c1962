// What things cost: one model for every way of every implementation, on a GPU and on the CPU, in microseconds. It is fed by one row a chip (DeviceRates, base/chips.c), and by what operators
// say of their work (OpDef.terms). Predictions order ways, and sites for the tuner, until measurements replace them.
//
// Most ways take what their launches cost, and the longer of moving their bytes and of doing their arithmetic:
//
//   launches * launch + max(bytes / memory, products / rate of products + other arithmetic / rate of arithmetic)
//
// Ways made of tiles are predicted tile by tile (cost_of_tiles), since what tells them apart is how they fill the chip.
#pragma once
#include "kernels/site.h"

typedef struct SiteWork {
  double products;    // multiply-adds of products and convolutions
  double arithmetic;  // other operations: programs, windows, sorts
  double bytes;       // that memory sees
} SiteWork;
SiteWork work_of(const Site *site);

// Of the whole device, in a microsecond.
double cost_bytes_rate(const DeviceInfo *device);
double cost_arithmetic_rate(const DeviceInfo *device, DType dtype);
double cost_product_rate(const Site *site);    // with tensor cores, where the site may use them
double cost_clocks(const DeviceInfo *device);  // of one multiprocessor

// So many launches of general code.
double cost_of_work(const DeviceInfo *device, DType dtype, const SiteWork *work, int launches);
double cost_of_site(const Site *site, int launches);
// One launch that gets this share of the peak of products.
double cost_of_products(const Site *site, double share);
// Moves bytes in a launch of its own: reads and writes both count.
double cost_of_moving(const DeviceInfo *device, double bytes);
// The same by a library, and where it does not take the epilogue, a launch that reads and writes the result again.
double cost_of_library(const Site *site, double share, bool fused);
// What no way beats, by the chip's peaks: moving the site's bytes, and its products.
typedef struct CostFloor {
  double moving, products;  // microseconds
} CostFloor;
CostFloor cost_floor(const Site *site);
double cost_at_least(const Site *site);  // the longer of the two

// ---- tiles -------------------------------------------------------------------------------------------------------------------

// What a kind of kernel costs besides its arithmetic, in clocks of a multiprocessor.
typedef struct TileOverhead {
  double start, step;  // of a block, and of one step of bk
  double latency;      // from asking for a step's operands to having them
  double store;        // of 1024 outputs
  double full_warps;   // resident on a multiprocessor, they keep its arithmetic busy
  double l2_share;     // of what a multiprocessor may read of L2; above 1: L1 has the rest
  double split_us;     // a split's second kernel
} TileOverhead;
// A piece of work for one block.
typedef struct TileCost {
  int bm, bn, bk, threads;
  int ahead;                    // steps whose operands are under way
  int shared_bytes, registers;  // registers: of one thread, roughly
  double rate;                  // multiply-adds per clock that a full multiprocessor does with this tile
  const TileOverhead *overhead;
} TileCost;
// batch products of m x n x k with operands of one dtype.
typedef struct TiledProduct {
  int64_t m, n, k, batch;
  DType dtype;
  double filled;     // how much of k there is on average, where the batch's differ; 0: all of it
  double elements;   // that memory sees, where operands share or repeat them; 0: those of the three matrices
  bool k_open;       // k differs from call to call: it is not split
  double before;     // microseconds of what has to run first
  const char *name;  // added to its ways' names, where a site can be made by several products; NULL
} TiledProduct;
int64_t split_depth(int64_t k, int bk, int splits);  // k of one split: whole steps of bk
// With K cut into `splits` parts.
double cost_of_tiles(const DeviceInfo *device, const TileCost *tile, const TiledProduct *product, int splits);
