// What kernels that compute an output tile by tile with a sum over K share: the cost model that orders tiles and splits, and the kernel's
// frame (entry, grid, split-K) around a body that multiplies.
#pragma once
#include "kernels/common/anchor_source.h"

// What a kind of kernel costs besides its arithmetic, in clocks of a multiprocessor.
typedef struct TileOverhead {
  double start, step;  // of a block, and of one step of bk
  double latency;      // from asking for a step's operands to having them
  double store;        // of 1024 outputs
  double full_warps;   // resident on a multiprocessor, they keep its arithmetic busy
  double l2_bytes;     // read per clock and multiprocessor
  double split_us;     // a split's second kernel
} TileOverhead;
// A piece of work for one block, as the cost model sees it.
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
  double before;     // microseconds of what has to run first
  const char *name;  // added to its ways' names, where a site can be made by several products; NULL
} TiledProduct;
// Estimated microseconds, with K cut into `splits` parts.
double tile_microseconds(const DeviceInfo *device, const TileCost *tile, const TiledProduct *product, int splits);

// Splits of K worth trying for a tile: fills at most `limit` numbers (1 first), returns how many.
int split_choices(const DeviceInfo *device, const TileCost *tile, const TiledProduct *product, int *out, int limit);
int64_t split_depth(int64_t k, int bk, int splits);  // k of one split: whole steps of bk

// Keeps the `limit` cheapest of a stream of ways, cheapest first.
typedef struct WayList {
  Way *items;
  double cost[64];
  int count, limit;
} WayList;
void way_offer(WayList *list, double cost, const Way *way);

// A kernel of tiles over batch x rows x columns.
typedef struct TiledKernel {
  const char *name;      // the entry is name_kernel, and what a profile shows is name
  const char *operands;  // parameters of the operands: "const f16 *a, const f16 *b"
  const char *body;      // statements; in scope are batch, tile, k_begin, k_end and output
  const OutputWalk *output;
  DType accumulator;
  int threads, bm, bn, bk, splits;
  int64_t neighbours;  // of the batch that read the same: their blocks run one after the other; 0: 1
  int64_t k;
  unsigned shared_bytes;
} TiledKernel;
// text holds what the body needs; the kernel's includes come last: `include` is the one that the body calls. The launch has the output's
// arguments; the operands' are for the caller to add in front through `bind`.
MUST_CHECK Status tiled_kernel_emit(const TiledKernel *kernel, const Site *site, Text *text, const char *include,
                                    void (*bind)(Emission *emission, Launch *launch, const void *context), const void *context,
                                    Emission *emission);
