// What becomes of an anchor's result. A kernel sees its output as batch x rows x columns and hands over accumulators, where
// output.inside(row, column), as
//   Operands<V> operands; output.load<V>(row, column, operands); ... output.store<V>(row, column, values, operands)
// so that it may read the epilogue's operands for several places before it stores to the first: store_one does both.
// The generated `Output` applies the site's epilogue and writes the tensor (see kernels/common/anchor_source.h); `Partial` keeps
// the accumulators of one split of K, for split_reduce to sum up.
#pragma once
#include "kernels/common/vector.cuh"

template <int V, class Output, class Acc>
DEVICE void store_one(const Output &output, unsigned row, unsigned column, const Acc *values) {
  if (!output.inside(row, column)) return;
  typename Output::template Operands<V> operands;
  output.template load<V>(row, column, operands);
  output.template store<V>(row, column, values, operands);
}
// Stores COUNT neighbouring columns. Output::VECTOR divides the number of columns, and `column` is a multiple of the steps taken, so a
// step is inside or outside as a whole.
template <int COUNT, class Output, class Acc>
DEVICE void store_columns(const Output &output, unsigned row, unsigned column, unsigned columns, const Acc *values) {
  constexpr int V = Output::VECTOR < COUNT ? Output::VECTOR : COUNT;
#pragma unroll
  for (int i = 0; i < COUNT; i += V)
    if (column + i < columns) store_one<V>(output, row, column + i, values + i);
}

// One split's sums: [split][batch][row][column]. Where a count is below 0, a member says it, which the count divides.
template <class Acc, int ROWS, int COLUMNS, int BATCH> struct Partial {
  static constexpr int VECTOR = COLUMNS % 4 == 0 ? 4 : COLUMNS % 2 == 0 ? 2 : 1;
  Acc *sums;
  int batches, rows, columns;
  __device__ __forceinline__ void begin(unsigned split, unsigned batch) {
    sums += ((long long)split * (BATCH < 0 ? batches : BATCH) + batch) * (ROWS < 0 ? rows : ROWS) *
            (COLUMNS < 0 ? columns : COLUMNS);
  }
  template <int V> struct Operands {};
  __device__ __forceinline__ bool inside(unsigned, unsigned) const { return true; }
  template <int V> __device__ __forceinline__ void load(unsigned, unsigned, Operands<V> &) const {}
  template <int V>
  __device__ __forceinline__ void store(unsigned row, unsigned column, const Acc *values, const Operands<V> &) const {
    store_elements<V, (int)sizeof(Acc) * V>(sums + (long long)row * (COLUMNS < 0 ? columns : COLUMNS) + column, values);
  }
};
