// Convolution and transposed convolution on tensor cores as an implicit product: f16, bf16 and (where asked for) tf32, accumulated in fp32.
//
// Tiling: the engine of kernels/tile/mma_tile.cuh over the image matrix (rows are output positions, K runs over taps and channels), which
// exists only in shared memory: a 16-byte chunk is copied from where its tap lies in the image, or zeroed where that is padding. Filters
// come as [filter][tap][channel]. A block makes one phase of a transposed convolution; those of the same rows run one after the other, so
// that the image comes from L2 for all but the first, and lines that phases share are whole before they leave it. Memory traffic per output: K * (1/BM + 1/BN) elements, of which the image's repeats hit L1 and L2;
// one element written. Limit: the tensor cores for wide layers, memory for narrow ones.
// Reached on an H200, f16, against cuDNN's best: ResNet-50's layers at batch 1 2.8 to 7.5 us (1.0 to 2.1 times its speed), at batch 32
// 3x3 of 64 channels 280 TFLOP/s (0.94), of 128 366 (0.96), of 256 370 (0.94), of 512 317 (0.80), 1x1 from 1024 channels to 256 1.1.
#pragma once
#include "kernels/tile/mma_tile.cuh"
#include "kernels/tile/prologue.cuh"
#include "kernels/conv/window.cuh"

extern __shared__ uint4 dynamic_shared[];

// P::COPY_A: bytes a copy moves; a tap's channels are whole copies.
template <class Shared, class P, int SIZE, int THREADS> struct ImageCopy {
  static_assert(THREADS % Shared::CHUNKS == 0, "a thread keeps its chunk");
  static constexpr int STEP = THREADS / Shared::CHUNKS, PASSES = (Shared::LINES + STEP - 1) / STEP, COPY = P::COPY_A,
                       PARTS = 16 / COPY;
  const char *image;
  int line, chunk, k, k_end;
  const Phase<P> phase;
  Window<P, int> windows[PASSES];

  __device__ __forceinline__ ImageCopy(const void *x, const Phase<P> &of, int m0, int k_begin, int end) : phase(of) {
    image = (const char *)x;
    line = (int)threadIdx.x / Shared::CHUNKS, chunk = (int)threadIdx.x % Shared::CHUNKS;
    k = k_begin + chunk * Shared::PER_CHUNK;
    k_end = end;
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) windows[pass] = Window<P, int>(m0 + line + pass * STEP, phase);
  }
  __device__ __forceinline__ bool past(int pass) const { return Shared::LINES % STEP && line + pass * STEP >= Shared::LINES; }

  __device__ __forceinline__ void copy(u32 to) {
    if constexpr (COPY >= 4) {
#pragma unroll
      for (int part = 0; part < PARTS; part++) {
        const int at_k = k + part * (COPY / SIZE);
        const Tap<P> tap(at_k, phase);
        const int step = tap.template offset<int>(phase.sizes);
#pragma unroll
        for (int pass = 0; pass < PASSES; pass++) {
          if (past(pass)) break;
          int at;
          bool inside = windows[pass].find(tap, phase.sizes, step, at) && at_k < k_end;
          copy_async<COPY>(to + Shared::offset(line + pass * STEP, chunk) + part * COPY, image + (i64)at * SIZE,
                           inside ? COPY : 0);
        }
      }
    } else {
      // Single elements: the taps of the chunk are the same for every pass.
      int steps[8];
#pragma unroll
      for (int part = 0; part < 8; part++) steps[part] = Tap<P>(k + part, phase).template offset<int>(phase.sizes);
#pragma unroll
      for (int pass = 0; pass < PASSES; pass++) {
        if (past(pass)) break;
        union {
          uint4 raw;
          u16 halves[8];
        } word;
#pragma unroll
        for (int part = 0; part < 8; part++) {
          const Tap<P> tap(k + part, phase);
          int at;
          bool inside = windows[pass].find(tap, phase.sizes, steps[part], at) && k + part < k_end;
          word.halves[part] = inside ? ((const u16 *)image)[at] : (u16)0;
        }
        store_shared<16>(to + Shared::offset(line + pass * STEP, chunk), word.raw);
      }
    }
    k += P::BK;
  }
};

// x points at the group's first channel, w at its first filter's taps of this phase. P adds to the tile and the geometry: COPY_A, COPY_B, B_OUTER (elements
// between filters), WHOLE_K, PLAIN (the image matrix lies in memory as it is, A_OUTER elements between rows). A prologue works on the image of a single tap without padding.
template <class P, class Tile, class Output, class Prologue>
DEVICE void mma_conv(const void *x, const void *w, const Phase<P> &phase, unsigned tile, int k_begin, int k_end,
                     const Output &output, const Prologue &prologue) {
  typedef MatrixCopy<typename Tile::SharedB, true, P::BN, P::BK, P::SIZE, P::COPY_B, Tile::THREADS, P::B_OUTER, P::N,
                     P::WHOLE_K>
      CopyB;
  int tile_m, tile_n;
  const int rows = phase.sizes.rows();
  tile_position < P::M<0 ? 0 : (P::M + P::BM - 1) / P::BM, (P::N + P::BN - 1) / P::BN>(tile, tile_m, tile_n,
                                                                                       (unsigned)(rows + P::BM - 1) / P::BM);
  CopyB copy_b(w, tile_n * P::BN, k_begin, k_end);
  const int pieces = (k_end - k_begin + P::BK - 1) / P::BK;  // none, or fewer, where a phase has no taps
  if constexpr (P::PLAIN) {
    typedef MatrixCopy<typename Tile::SharedA, true, P::BM, P::BK, P::SIZE, P::COPY_A, Tile::THREADS, P::A_OUTER, P::M,
                       P::WHOLE_K>
        CopyA;
    PreparedCopy<CopyA, Prologue, typename Tile::SharedA, P::BK, Tile::THREADS> copy_a(
        CopyA(x, tile_m * P::BM, k_begin, k_end, rows), prologue, k_begin, k_end);
    Tile::run((u8 *)dynamic_shared, copy_a, copy_b, pieces, tile_m * P::BM, tile_n * P::BN, output, rows);
  } else {
    typedef ImageCopy<typename Tile::SharedA, P, P::SIZE, Tile::THREADS> CopyA;
    PreparedCopy<CopyA, Prologue, typename Tile::SharedA, P::BK, Tile::THREADS> copy_a(
        CopyA(x, phase, tile_m * P::BM, k_begin, k_end), prologue, k_begin, k_end);
    Tile::run((u8 *)dynamic_shared, copy_a, copy_b, pieces, tile_m * P::BM, tile_n * P::BN, output, rows);
  }
}
