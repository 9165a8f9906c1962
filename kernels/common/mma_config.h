// The tiles of the tensor-core engine (mma_tile.cuh) and what they cost: shared by matmul and convolution.
#pragma once
#include "kernels/common/tiled_kernel.h"

typedef struct MmaConfig {
  int bm, bn, bk_bytes, wm, wn, stages;
} MmaConfig;

bool mma_dtype_supported(const Site *site, DType dtype);  // by this device, and for f32 only as tf32
const char *mma_instruction(DType dtype);                 // "MmaF16"
// Tiles and splits for a product, cheapest first; config as numbered below.
int mma_candidates(const Site *site, const TiledProduct *product, Candidate *out, int limit);
// Adds the tile's constants to the generated `struct Problem`.
void mma_emit_tile(Text *text, const Candidate *candidate);
int mma_threads(const Candidate *candidate);
int mma_shared_bytes(const Candidate *candidate, int size);
enum { MMA_BM, MMA_BN, MMA_BK, MMA_WM, MMA_WN, MMA_STAGES, MMA_SPLITS };
