// The determinant of one n x n matrix of doubles in global memory, by a block: elimination with the largest pivot of each column.
#pragma once
#include "kernels/program/element.cuh"

template <int THREADS> DEVICE double block_determinant(double *a, int n) {
  __shared__ int pivot;
  __shared__ double largest;  // the pivot's value: the swap below moves what lies at its place while others would still read it
  double result = 1;
  for (int k = 0; k < n; k++) {
    __syncthreads();
    if (threadIdx.x == 0) {
      int best = k;
      for (int i = k + 1; i < n; i++)
        if (fabs(a[(i64)i * n + k]) > fabs(a[(i64)best * n + k])) best = i;
      pivot = best;
      largest = a[(i64)best * n + k];
    }
    __syncthreads();
    const int row = pivot;
    const double top = largest;
    if (top == 0) return 0;
    if (row != k) {
      result = -result;
      for (int j = k + threadIdx.x; j < n; j += THREADS) {
        const double swapped = a[(i64)k * n + j];
        a[(i64)k * n + j] = a[(i64)row * n + j];
        a[(i64)row * n + j] = swapped;
      }
      __syncthreads();
    }
    result *= top;
    // Column k is done with: only the columns behind it change, so that the factors stay readable.
    const int side = n - k - 1;
    for (i64 e = threadIdx.x; e < (i64)side * side; e += THREADS) {
      const int i = k + 1 + (int)(e / side), j = k + 1 + (int)(e % side);
      a[(i64)i * n + j] -= a[(i64)i * n + k] / top * a[(i64)k * n + j];
    }
  }
  return result;
}
