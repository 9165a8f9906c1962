// Reductions of rowwise kernels: how two partial results become one, for each opcode, and how the lanes of a group, the
// warps of a block or the rows of a block combine theirs. Every order of combination is fixed by the shape of the launch, so
// that results do not vary from run to run. An arg-reduction carries (value, index); among equal values the first or last
// index wins whatever the order in which partial results meet. NaN wins maxima and minima.
#pragma once
#include "kernels/program/element.cuh"

template <class T> struct Arg {
  T value;
  i64 index;  // -1: nothing yet
};
// Of a row without elements: 0.
template <class T> DEVICE i64 place_of(Arg<T> found) { return found.index < 0 ? 0 : found.index; }

struct ReduceSum {
  template <class T> DEVICE T combine(T a, T b) { return a + b; }
};
struct ReduceProd {
  template <class T> DEVICE T combine(T a, T b) { return a * b; }
};
struct ReduceMax {
  template <class T> DEVICE T combine(T a, T b) { return a != a ? a : b != b ? b : a < b ? b : a; }
};
struct ReduceMin {
  template <class T> DEVICE T combine(T a, T b) { return a != a ? a : b != b ? b : b < a ? b : a; }
};
template <bool MOST, bool LAST> struct ReduceArg {
  // 1: a wins, -1: b wins, 0: equal.
  template <class T> DEVICE int order(T a, T b) {
    if (a != a || b != b) return (a != a) - (b != b);
    return MOST ? (a > b) - (a < b) : (a < b) - (a > b);
  }
  template <class T> DEVICE Arg<T> combine(const Arg<T> &a, const Arg<T> &b) {
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

// Sum and sum of squares of elements' distances from a value among or between them. How many there are is known to whoever asks:
// all of a thread's, a block's or a row's. A thread starts from its first element and goes on from means of what it has seen; a
// block takes its first lane's mean, a row its first split's. Such a value is near the mean, or is itself far enough from it that the squares are large: no digits are lost
// where the mean is large beside the deviation. Infinities give what sums of the elements would.
template <class T> struct Moments {
  T from, sum, squares;
  __device__ __forceinline__ void add(T value, bool first) {
    if (first) from = value - value == 0 ? value : 0;
    const T distance = value - from;
    sum += distance;
    squares += distance * distance;
  }
  __device__ __forceinline__ T mean(i64 count) const { return from + sum / (T)count; }
  // A finite value to count distances from: about the mean.
  __device__ __forceinline__ T middle(int count) const {
    const T value = from + sum * (count ? 1 / (T)count : 0);
    return value - value == 0 ? value : from;
  }
  __device__ __forceinline__ void rebase(T to, int count) {
    const T step = from - to;
    squares += step * (2 * sum + (T)count * step);
    sum += (T)count * step;
    from = to;
  }
  __device__ __forceinline__ T total(i64 count) const { return (T)count * from + sum; }
  // The sum of squared distances from another value. Squares of finite elements may be too large for T; they stay infinite.
  __device__ __forceinline__ T about(T value, i64 count) const {
    const T distance = mean(count) - value, rest = squares - squares == 0 ? squares - sum * (sum / (T)count) : squares;
    return (rest < 0 ? 0 : rest) + (T)count * distance * distance;
  }
};
// Both count distances from the same value.
struct ReduceMoments {
  template <class T> DEVICE Moments<T> combine(const Moments<T> &a, const Moments<T> &b) {
    return Moments<T>{a.from, a.sum + b.sum, a.squares + b.squares};
  }
};

template <class T> DEVICE T shuffle(T value, int distance) { return __shfl_xor_sync(0xffffffffu, value, distance); }
DEVICE bool shuffle(bool value, int distance) { return __shfl_xor_sync(0xffffffffu, (int)value, distance) != 0; }
template <class T> DEVICE Arg<T> shuffle(const Arg<T> &value, int distance) {
  return Arg<T>{shuffle(value.value, distance), (i64)__shfl_xor_sync(0xffffffffu, value.index, distance)};
}

template <class T> DEVICE Moments<T> shuffle(const Moments<T> &value, int distance) {
  return Moments<T>{value.from, shuffle(value.sum, distance), shuffle(value.squares, distance)};
}

// Over groups of LANES adjacent lanes of a warp; every lane gets the result.
template <class Reduce, int LANES, class T> DEVICE T reduce_lanes(T value) {
#pragma unroll
  for (int distance = LANES / 2; distance > 0; distance /= 2) value = Reduce::combine(value, shuffle(value, distance));
  return value;
}
// Over the WARPS warps of a block, through `shared` which holds one value a warp and is written once. Every thread gets it.
template <class Reduce, int WARPS, class T> DEVICE T reduce_block(T value, T *shared) {
  value = reduce_lanes<Reduce, 32>(value);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  T result = shared[0];
#pragma unroll 8
  for (int warp = 1; warp < WARPS; warp++) result = Reduce::combine(result, shared[warp]);
  return result;
}
// Over the lanes of a block in which COLUMNS neighbouring threads have different columns of OWNED rows each, and a thread's lane is
// threadIdx.x / COLUMNS. `shared` holds COLUMNS * OWNED values for each warp and may be used again. Every thread gets its rows'.
template <class Reduce, int COLUMNS, int THREADS, int OWNED, class T>
DEVICE void reduce_columns(T (&values)[OWNED], void *shared) {
#pragma unroll
  for (int distance = COLUMNS; distance < 32; distance *= 2) {
#pragma unroll
    for (int i = 0; i < OWNED; i++) values[i] = Reduce::combine(values[i], shuffle(values[i], distance));
  }
  if constexpr (THREADS > 32 && THREADS > COLUMNS) {
    T(*partial)[COLUMNS * OWNED] = (T(*)[COLUMNS * OWNED]) shared;
    const int first = threadIdx.x % COLUMNS * OWNED;
    __syncthreads();  // the results of the last use have been read
    if (threadIdx.x % 32 < COLUMNS) {
#pragma unroll
      for (int i = 0; i < OWNED; i++) partial[threadIdx.x / 32][first + i] = values[i];
    }
    __syncthreads();
#pragma unroll 1
    for (int row = threadIdx.x; row < COLUMNS * OWNED; row += THREADS) {
      T result = partial[0][row];
#pragma unroll 8
      for (int warp = 1; warp < THREADS / 32; warp++) result = Reduce::combine(result, partial[warp][row]);
      partial[0][row] = result;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < OWNED; i++) values[i] = partial[0][first + i];
  }
}

// Before they are combined: all threads count distances from the mean of the first lane of the group, the block or the column.
template <int LANES, class T> DEVICE void rebase_lanes(Moments<T> &value, int count) {
  value.rebase(__shfl_sync(0xffffffffu, value.middle(count), threadIdx.x % 32 / LANES * LANES), count);
}
template <class T> DEVICE void rebase_block(Moments<T> &value, int count, T *shared) {
  if (threadIdx.x == 0) *shared = value.middle(count);
  __syncthreads();
  value.rebase(*shared, count);
}
template <int COLUMNS, int THREADS, int OWNED, class T>
DEVICE void rebase_columns(Moments<T> (&values)[OWNED], int count, void *shared) {
  if constexpr (THREADS == 32 && COLUMNS < 32) {
#pragma unroll
    for (int i = 0; i < OWNED; i++)
      values[i].rebase(__shfl_sync(0xffffffffu, values[i].middle(count), threadIdx.x % COLUMNS), count);
  } else if constexpr (THREADS > COLUMNS) {
    T *middles = (T *)shared + threadIdx.x % COLUMNS * OWNED;
    __syncthreads();  // what was there has been read
    if (threadIdx.x < COLUMNS) {
#pragma unroll
      for (int i = 0; i < OWNED; i++) middles[i] = values[i].middle(count);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < OWNED; i++) values[i].rebase(middles[i], count);
  }
}
