// The tiles of the tensor-core engine (mma_tile.cuh) and what they cost: shared by matmul and convolution.
#pragma once
#include "kernels/tile/tiled_kernel.h"

typedef struct MmaConfig {
  int bm, bn, bk_bytes, wm, wn, stages;
} MmaConfig;

bool mma_dtype_supported(const Site *site, DType dtype);  // by this device, and for f32 only as tf32
#define MMA_TYPES "its operands are not both f16, bf16 or, where allowed, tf32, on a GPU that multiplies those"  // why not
// The tile engine's type, "MmaTile<Problem, MmaF16>".
char *mma_tile_type(Arena *arena, const Way *way, DType dtype);
// Tiles and splits for a product, or for any of several that make the site, cheapest first, but the best of each before all others; config
// as numbered below. only: see WaysAt.
int mma_ways(const Site *site, const TiledProduct *products, int count, const Way *only, Way *out, int limit);
// Adds the tile's constants to the generated `struct Problem`, and the includes the engine needs before it.
void mma_emit_tile(Text *text, const Way *way, DType dtype);
void mma_emit_includes(Text *text, const Way *way);
int mma_threads(const Way *way);
int mma_shared_bytes(const Way *way, DType dtype);
enum {
  MMA_BM,
  MMA_BN,
  MMA_BK,
  MMA_WM,
  MMA_WN,
  MMA_STAGES,
  MMA_SPLITS,
  MMA_WARPGROUPS,  // wgmma_tile.cuh, not mma_tile.cuh
  MMA_PRODUCT      // which of the products
};
