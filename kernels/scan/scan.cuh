// Running sums and products. A line is scanned by one thread, or by a block that takes tiles of THREADS * ITEMS elements: each thread
// its own few in order, then the warps by shuffles, then the warps' totals in order. The order is that of the shape alone.
#pragma once
#include "kernels/program/element.cuh"

struct RunningSum {
  template <class T> DEVICE T combine(T a, T b) { return a + b; }
};
struct RunningProd {
  template <class T> DEVICE T combine(T a, T b) { return a * b; }
};

// The combination of all values of lower threads of the block (identity for the first), and of all threads in *total.
template <class Op, int WARPS, class A> DEVICE A scan_block(A value, A identity, A *shared, A *total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  A inclusive = value;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    A other = __shfl_up_sync(0xffffffffu, inclusive, distance);
    if (lane >= distance) inclusive = Op::combine(other, inclusive);
  }
  if (lane == 31) shared[warp] = inclusive;
  A exclusive = __shfl_up_sync(0xffffffffu, inclusive, 1);
  if (lane == 0) exclusive = identity;
  __syncthreads();
  A before = identity, all = identity;
#pragma unroll
  for (int i = 0; i < WARPS; i++) {
    if (i == warp) before = all;
    all = Op::combine(all, shared[i]);
  }
  __syncthreads();
  *total = all;
  return Op::combine(before, exclusive);
}

// One line of n elements, `from` and `to` moving by their strides; a block. REVERSE: from the end.
template <class Op, class E, class A, int THREADS, int ITEMS, bool EXCLUSIVE, bool REVERSE>
DEVICE void scan_line(const typename E::Stored *from, i64 from_stride, typename E::Stored *to, i64 to_stride, i64 n,
                      A identity) {
  __shared__ A shared[THREADS / 32];
  A carry = identity;
  for (i64 tile = 0; tile < n; tile += THREADS * ITEMS) {
    const i64 first = tile + (i64)threadIdx.x * ITEMS;
    A values[ITEMS], sum = identity, total;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const i64 at = REVERSE ? n - 1 - (first + i) : first + i;
      values[i] = first + i < n ? (A)E::get(from[at * from_stride]) : identity;
      sum = Op::combine(sum, values[i]);
    }
    A before = Op::combine(carry, scan_block<Op, THREADS / 32>(sum, identity, shared, &total));
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const A after = Op::combine(before, values[i]);
      const i64 at = REVERSE ? n - 1 - (first + i) : first + i;
      if (first + i < n) to[at * to_stride] = E::set((typename E::Value)(EXCLUSIVE ? before : after));
      before = after;
    }
    carry = Op::combine(carry, total);
  }
}

template <class Op, class E, class A, bool EXCLUSIVE, bool REVERSE>
DEVICE void scan_line_alone(const typename E::Stored *from, i64 from_stride, typename E::Stored *to, i64 to_stride, i64 n,
                            A running) {
  for (i64 i = 0; i < n; i++) {
    const i64 at = REVERSE ? n - 1 - i : i;
    const A after = Op::combine(running, (A)E::get(from[at * from_stride]));
    to[at * to_stride] = E::set((typename E::Value)(EXCLUSIVE ? running : after));
    running = after;
  }
}
