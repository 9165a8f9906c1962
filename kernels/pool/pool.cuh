// What a window computes from its elements: N neighbouring channels at a time. NaN wins maxima; among equal elements the first wins,
// and the window's order is row-major.
#pragma once
#include "kernels/common/points.cuh"

// How many taps k of `kernel` satisfy start + k * dilation < limit.
DEVICE int taps_below(int start, int limit, int dilation, int kernel) {
  if (start >= limit) return 0;
  const int taps = (limit - start + dilation - 1) / dilation;
  return taps < kernel ? taps : kernel;
}

template <class A, int N> struct PoolMax {
  A best[N];
  i64 at[N];
  __device__ __forceinline__ PoolMax() {
    for (int i = 0; i < N; i++) best[i] = 0, at[i] = -1;
  }
  __device__ __forceinline__ void add(const A (&value)[N], i64 place) {
#pragma unroll
    for (int i = 0; i < N; i++)
      if (at[i] < 0 || value[i] > best[i] || (value[i] != value[i] && best[i] == best[i])) best[i] = value[i], at[i] = place;
  }
  __device__ __forceinline__ A result(int i, A nothing) const { return at[i] < 0 ? nothing : best[i]; }
};
template <class A, int N> struct PoolSum {
  A sum[N];
  __device__ __forceinline__ PoolSum() {
    for (int i = 0; i < N; i++) sum[i] = 0;
  }
  __device__ __forceinline__ void add(const A (&value)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) sum[i] += value[i];
  }
};
