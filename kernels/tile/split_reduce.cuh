// Second half of a split-K product: adds the splits' partial sums, always in the same order, and applies the epilogue. One thread makes
// V neighbouring columns; memory traffic per output: SPLITS accumulators read, one element written. Limited by memory, or by
// the launch where the output is small.
#pragma once
#include "kernels/common/output.cuh"

// A count below 0 is one that an argument says, and divides it.
template <class Acc, int SPLITS, int BATCH, int ROWS, int COLUMNS, class Output>
DEVICE void split_reduce(const Acc *__restrict__ sums, Output output, int open_batch = BATCH, int open_rows = ROWS,
                         int open_columns = COLUMNS) {
  const int rows = ROWS < 0 ? open_rows : ROWS, columns = COLUMNS < 0 ? open_columns : COLUMNS;
  constexpr int V = COLUMNS % 4 == 0 ? 4 : COLUMNS % 2 == 0 ? 2 : 1;
  const long long size = (long long)(BATCH < 0 ? open_batch : BATCH) * rows * columns;
  long long index = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (index >= size) return;
  Acc total[V];
  load_elements<V, (int)sizeof(Acc) * V>(sums + index, total);
#pragma unroll 8
  for (int split = 1; split < SPLITS; split++) {
    Acc more[V];
    load_elements<V, (int)sizeof(Acc) * V>(sums + split * size + index, more);
#pragma unroll
    for (int i = 0; i < V; i++) total[i] += more[i];
  }
  unsigned row = (unsigned)((index / columns) % rows);
  output.begin((unsigned)(index / ((long long)rows * columns)));
  store_columns<V>(output, row, (unsigned)(index % columns), (unsigned)columns, total);
}
