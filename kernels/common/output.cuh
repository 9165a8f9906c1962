// What becomes of an anchor's result. A kernel sees its output as batch x rows x columns and hands over accumulators as
//   output.store<V>(row, column, values)
// The generated `Output` applies the site's epilogue and writes the tensor (see kernels/common/anchor_source.h); `Partial` keeps
// the accumulators of one split of K, for split_reduce to sum up.
#pragma once
#include "kernels/common/vector.cuh"

// Stores COUNT neighbouring columns. Output::VECTOR divides the number of columns, and `column` is a multiple of the steps taken, so a
// step is inside or outside as a whole.
template <int COUNT, class Output, class Acc>
DEVICE void store_columns(const Output &output, unsigned row, unsigned column, unsigned columns, const Acc *values) {
  constexpr int V = Output::VECTOR < COUNT ? Output::VECTOR : COUNT;
#pragma unroll
  for (int i = 0; i < COUNT; i += V)
    if (column + i < columns) output.template store<V>(row, column + i, values + i);
}

// One split's sums: [split][batch][row][column], column count COLUMNS.
template <class Acc, int ROWS, int COLUMNS, int BATCH> struct Partial {
  static constexpr int VECTOR = COLUMNS % 4 == 0 ? 4 : COLUMNS % 2 == 0 ? 2 : 1;
  Acc *sums;
  __device__ __forceinline__ void begin(unsigned split, unsigned batch) {
    sums += ((long long)split * BATCH + batch) * ROWS * COLUMNS;
  }
  template <int V> __device__ __forceinline__ void store(unsigned row, unsigned column, const Acc *values) const {
    store_elements<V, V * (int)sizeof(Acc)>(sums + (long long)row * COLUMNS + column, values);
  }
};
