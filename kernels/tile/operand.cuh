// How an operand's piece lies in shared memory for products by warps, and the fragments that they read of it: lines of k or of rows, as global
// memory has them, whose 16-byte chunks are permuted so that eight lanes reading eight lines touch all banks once, with no padding.
#pragma once
#include "kernels/tile/ptx.cuh"

// Where chunk `chunk` of line `line` lies within the line. WORDS: read as single words down a column, four lines at a time.
template <int CHUNKS, bool WORDS> DEVICE int swizzle(int line, int chunk) {
  if constexpr (WORDS) return CHUNKS >= 8 ? chunk ^ ((line & 3) * 2) : chunk ^ ((line & 2) & (CHUNKS - 1));
  else if constexpr (CHUNKS >= 8) return chunk ^ (line & 7);
  else if constexpr (CHUNKS == 4) return chunk ^ ((line >> 1) & 3);
  else if constexpr (CHUNKS == 2) return chunk ^ ((line >> 2) & 1);
  else return chunk;
}

// One operand's piece in shared memory: ROWS (of m or n) x BK elements of SIZE bytes.
template <bool K_FAST, int ROWS, int BK, int SIZE> struct SharedOperand {
  static constexpr int LINES = K_FAST ? ROWS : BK, CHUNKS = (K_FAST ? BK : ROWS) * SIZE / 16, PER_CHUNK = 16 / SIZE;
  static constexpr bool WORDS = !K_FAST && SIZE == 4;
  static constexpr int BYTES = LINES * CHUNKS * 16;

  static __device__ __forceinline__ u32 offset(int line, int chunk) {
    return (u32)(line * CHUNKS + swizzle<CHUNKS, WORDS>(line, chunk)) * 16;
  }
  static __device__ __forceinline__ u32 word(u32 base, int k, int row) {
    return load_shared(base + offset(k, row / 4) + (row % 4) * 4);
  }

  // The fragment of 16 rows from `row` on, of step `step` of k.
  static __device__ __forceinline__ void load_a(u32 (&out)[4], u32 base, int row, int step, int lane) {
    if constexpr (K_FAST) {
      load_matrices(out, base + offset(row + lane % 16, step * 2 + lane / 16));
    } else if constexpr (SIZE == 2) {
      load_matrices_transposed(out, base + offset(step * 16 + lane % 8 + lane / 16 * 8, row / 8 + lane / 8 % 2));
    } else {
      int k = step * 8 + lane % 4, m = row + lane / 4;
      out[0] = word(base, k, m), out[1] = word(base, k, m + 8), out[2] = word(base, k + 4, m),
      out[3] = word(base, k + 4, m + 8);
    }
  }
  // The fragments of columns row .. row + 7 and row + 8 .. row + 15.
  static __device__ __forceinline__ void load_b(u32 (&out)[4], u32 base, int row, int step, int lane) {
    if constexpr (K_FAST) {
      load_matrices(out, base + offset(row + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
    } else if constexpr (SIZE == 2) {
      load_matrices_transposed(out, base + offset(step * 16 + lane % 16, row / 8 + lane / 16));
    } else {
      int k = step * 8 + lane % 4, n = row + lane / 4;
      out[0] = word(base, k, n), out[1] = word(base, k + 4, n), out[2] = word(base, k, n + 8),
      out[3] = word(base, k + 4, n + 8);
    }
  }
};
