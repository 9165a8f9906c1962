// The tiles of the product without tensor cores (simt_matmul.cuh): shared by matmul and convolution.
#pragma once
#include "kernels/tile/tiled_kernel.h"

typedef struct SimtTile {
  int bm, bn, bk, tm, tn;
  int registers;  // that a thread takes
} SimtTile;
extern const SimtTile simt_tiles[];

int simt_threads(const SimtTile *tile);
// Tiles and splits, cheapest first. config: the tile's number, splits. only: see WaysAt.
int simt_ways(const Site *site, const TiledProduct *product, DType accumulator, const Way *only, Way *out, int limit);
// Neighbouring elements that a thread moves at once, given what the layout allows: they must divide the contiguous extent (k or the
// `rows` axis of `extent`) and leave every thread whole vectors.
int simt_vector(int vector, bool k_fast, int64_t extent, int64_t k, const SimtTile *tile, int rows);
