// Matrix product on tensor cores: f16, bf16 and (where asked for) tf32, accumulated in fp32.
//
// Tiling: see kernels/tile/mma_tile.cuh; the implementation offers tiles from 16x64 to 256x128 and cuts K where that fills the chip.
// Memory traffic per output: K * (1/BM + 1/BN) elements read (from L2 mostly), one written. Limit: the tensor cores for large tiles (on
// Hopper mma.sync feeds them to about two thirds, wgmma fully), L2 and memory bandwidth for the others.
// Reached on an H200, f16, against cuBLASLt: 4096 x 4096 x 4096 720 TFLOP/s (0.96 of it; mma.sync alone 503), 4096 x 768 x 3072 550
// (0.86), 128 x 768 x 768 4.5 us (more than 1.05), 128 x 3072 x 768 8.1 us (more than 1.05).
#pragma once
#include "kernels/tile/mma_tile.cuh"
#include "kernels/tile/prologue.cuh"

extern __shared__ uint4 dynamic_shared[];

// P adds to the tile: COPY_A, COPY_B (bytes a copy moves), A_OUTER, B_OUTER (elements between lines), WHOLE_K. Where its M or N is below 0 `rows` and `columns` are
// the numbers, which it divides; where a distance is OPEN_STRIDE, `a_outer` and `b_outer` are the distances.
template <class P, class Tile, class Output, class Prologue>
DEVICE void mma_matmul(const void *a, const void *b, unsigned tile, int k_begin, int k_end, const Output &output,
                       const Prologue &prologue, int rows = P::M, int columns = P::N, i64 a_outer = P::A_OUTER,
                       i64 b_outer = P::B_OUTER) {
  typedef MatrixCopy<typename Tile::SharedA, P::A_K_FAST, P::BM, P::BK, P::SIZE, P::COPY_A, Tile::THREADS, P::A_OUTER, P::M,
                     P::WHOLE_K>
      CopyA;
  typedef MatrixCopy<typename Tile::SharedB, P::B_K_FAST, P::BN, P::BK, P::SIZE, P::COPY_B, Tile::THREADS, P::B_OUTER, P::N,
                     P::WHOLE_K>
      CopyB;
  constexpr unsigned TILES_M = P::M < 0 ? 0 : (P::M + P::BM - 1) / P::BM, TILES_N = P::N < 0 ? 0 : (P::N + P::BN - 1) / P::BN;
  int tile_m, tile_n;
  tile_position<TILES_M, TILES_N>(tile, tile_m, tile_n, (unsigned)(rows + P::BM - 1) / P::BM,
                                  (unsigned)(columns + P::BN - 1) / P::BN);
  PreparedCopy<CopyA, Prologue, typename Tile::SharedA, P::BK, Tile::THREADS> copy_a(
      CopyA(a, tile_m * P::BM, k_begin, k_end, rows, a_outer), prologue, k_begin, k_end);
  CopyB copy_b(b, tile_n * P::BN, k_begin, k_end, columns, b_outer);
  Tile::run((u8 *)dynamic_shared, copy_a, copy_b, (k_end - k_begin + P::BK - 1) / P::BK, tile_m * P::BM, tile_n * P::BN, output,
            rows, columns);
}
