// Who brings an operand: all threads, by asynchronous copies, a piece at a time. A tile asks of a copy type that copy(to) brings its next piece to shared memory;
// MatrixCopy does for a matrix in memory, kernels/conv/mma_conv.cuh has one for images, and prologue.cuh what is done to a piece before it is multiplied.
#pragma once
#include "kernels/tile/ptx.cuh"

// Brings one 16-byte chunk, of which `valid` bytes exist, with accesses of COPY bytes; at narrow alignments through registers.
template <int COPY> DEVICE void copy_chunk(u32 to, const char *from, int valid) {
  if constexpr (COPY == 16) {
    copy_async<16>(to, from, valid);
  } else if constexpr (COPY >= 4) {
#pragma unroll
    for (int i = 0; i < 16; i += COPY) copy_async<COPY>(to + i, from + i, min(max(valid - i, 0), COPY));
  } else {
    union {
      uint4 raw;
      u16 halves[8];
    } word;
#pragma unroll
    for (int i = 0; i < 8; i++) word.halves[i] = 2 * i < valid ? ((const u16 *)from)[i] : (u16)0;
    store_shared<16>(to, word.raw);
  }
}

// A matrix in memory whose lines are OUTER elements apart: lines of k if K_FAST, else lines of rows. ROW_COUNT x k_end elements exist. A ROW_COUNT below 0 says what divides
// the count that the constructor is given; it is given the distance between lines where OUTER is OPEN_STRIDE.
template <class Shared, bool K_FAST, int ROWS, int BK, int SIZE, int COPY, int THREADS, i64 OUTER, int ROW_COUNT, bool WHOLE_K>
struct MatrixCopy {
  static_assert(THREADS % Shared::CHUNKS == 0, "a thread keeps its chunk");
  static constexpr int STEP = THREADS / Shared::CHUNKS, PASSES = (Shared::LINES + STEP - 1) / STEP;
  const char *from;
  int line, chunk, row, k, k_end, row_count;
  i64 outer;

  __device__ __forceinline__ MatrixCopy(const void *matrix, int row0, int k_begin, int end, int rows = ROW_COUNT,
                                        i64 between = OUTER) {
    line = (int)threadIdx.x / Shared::CHUNKS, chunk = (int)threadIdx.x % Shared::CHUNKS;
    row = row0 + (K_FAST ? line : chunk * Shared::PER_CHUNK);
    k = k_begin + (K_FAST ? chunk * Shared::PER_CHUNK : line);
    k_end = end;
    row_count = ROW_COUNT < 0 ? rows : ROW_COUNT;
    outer = OUTER == OPEN_STRIDE ? between : OUTER;
    from = (const char *)matrix + (K_FAST ? row * outer + k : k * outer + row) * SIZE;
  }
  __device__ __forceinline__ void copy(u32 to) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      if (Shared::LINES % STEP && line + pass * STEP >= Shared::LINES) break;
      int valid = 16;
      if constexpr (K_FAST) {
        if (!WHOLE_K) valid = min(max((k_end - k) * SIZE, 0), 16);
        if (ROW_COUNT % ROWS && row + pass * STEP >= row_count) valid = 0;
      } else {
        if (ROW_COUNT % ROWS) valid = min(max((row_count - row) * SIZE, 0), 16);
        if (!WHOLE_K && k + pass * STEP >= k_end) valid = 0;
      }
      copy_chunk<COPY>(to + Shared::offset(line + pass * STEP, chunk), from + pass * (STEP * outer * SIZE), valid);
    }
    from += (K_FAST ? (i64)BK : BK * outer) * SIZE;
    k += BK;
  }
};
