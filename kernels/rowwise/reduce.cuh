// Reductions of rowwise kernels: how two partial results become one, for each opcode, and how the lanes of a group, the
// warps of a block or the rows of a block combine theirs. Every order of combination is fixed by the shape of the launch, so
// that results do not vary from run to run. An arg-reduction carries (value, index); among equal values the first or last
// index wins whatever the order in which partial results meet. NaN wins maxima and minima.
#pragma once
#include "kernels/elementwise/element.cuh"

template <class T>
struct Arg {
  T value;
  i64 index;  // -1: nothing yet
};

struct ReduceSum {
  template <class T>
  DEVICE T combine(T a, T b) {
    return a + b;
  }
};
struct ReduceProd {
  template <class T>
  DEVICE T combine(T a, T b) {
    return a * b;
  }
};
struct ReduceMax {
  template <class T>
  DEVICE T combine(T a, T b) {
    return a != a ? a : b != b ? b : a < b ? b : a;
  }
};
struct ReduceMin {
  template <class T>
  DEVICE T combine(T a, T b) {
    return a != a ? a : b != b ? b : b < a ? b : a;
  }
};
template <bool MOST, bool LAST>
struct ReduceArg {
  // 1: a wins, -1: b wins, 0: equal.
  template <class T>
  DEVICE int order(T a, T b) {
    if (a != a || b != b) return (a != a) - (b != b);
    return MOST ? (a > b) - (a < b) : (a < b) - (a > b);
  }
  template <class T>
  DEVICE Arg<T> combine(const Arg<T> &a, const Arg<T> &b) {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    int which = order(a.value, b.value);
    if (which == 0) which = (a.index < b.index) != LAST ? 1 : -1;
    return which > 0 ? a : b;
  }
};
typedef ReduceArg<true, false> ReduceArgmax;
typedef ReduceArg<false, false> ReduceArgmin;
typedef ReduceArg<true, true> ReduceArgmaxLast;
typedef ReduceArg<false, true> ReduceArgminLast;

template <class T>
DEVICE T shuffle(T value, int distance) {
  return __shfl_xor_sync(0xffffffffu, value, distance);
}
DEVICE bool shuffle(bool value, int distance) { return __shfl_xor_sync(0xffffffffu, (int)value, distance) != 0; }
template <class T>
DEVICE Arg<T> shuffle(const Arg<T> &value, int distance) {
  return Arg<T>{shuffle(value.value, distance), (i64)__shfl_xor_sync(0xffffffffu, value.index, distance)};
}

// Over groups of LANES adjacent lanes of a warp; every lane gets the result.
template <class Reduce, int LANES, class T>
DEVICE T reduce_lanes(T value) {
#pragma unroll
  for (int distance = LANES / 2; distance > 0; distance /= 2) value = Reduce::combine(value, shuffle(value, distance));
  return value;
}
// Over the WARPS warps of a block, through `shared` which holds one value a warp and is written once. Every thread gets it.
template <class Reduce, int WARPS, class T>
DEVICE T reduce_block(T value, T *shared) {
  value = reduce_lanes<Reduce, 32>(value);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  T result = shared[0];
#pragma unroll
  for (int warp = 1; warp < WARPS; warp++) result = Reduce::combine(result, shared[warp]);
  return result;
}
// Over the ROWS values of threadIdx.y, for each threadIdx.x < WIDTH on its own.
template <class Reduce, int ROWS, int WIDTH, class T>
DEVICE T reduce_columns(T value, T (&shared)[ROWS][WIDTH]) {
  shared[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  T result = shared[0][threadIdx.x];
#pragma unroll
  for (int row = 1; row < ROWS; row++) result = Reduce::combine(result, shared[row][threadIdx.x]);
  return result;
}
