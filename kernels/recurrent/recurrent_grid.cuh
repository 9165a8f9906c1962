// All steps of a recurrent layer in one launch, on all multiprocessors: for layers whose inputs are projected ahead and whose weights are constants, of which every block is in place
// at once.
//
// A block has UNITS hidden units, all gates, for ROWS rows of the batch in one direction, from the first step to the last. Its weights stay in registers (grid_product.cuh). States, narrowed to
// the weights' type, are all that blocks tell each other, through L2; blocks of a direction that have the same rows meet once a step, twice for a GRU that resets before its product, at a
// counter of arrivals, which recurrent_grid_begin has set to 0. A thread finishes the same units of the same rows in every step and keeps their states; results, and the projections of the
// next step, move while it waits for the others.
// Traffic of a step: each block reads its rows' states from L2. Limit: the latency of meeting and of reading, predicted as 1.5 us on an H200; of f32 and many rows the products.
#pragma once
#include "kernels/recurrent/grid_product.cuh"

enum { GRID_COUNTER = 32 };  // words from one counter to the next

// A counter for each group of blocks that meet.
DEVICE void recurrent_grid_begin(u32 *counters, int count) {
  begin_kernel();
  for (int i = threadIdx.x; i < count; i += blockDim.x) counters[i * GRID_COUNTER] = 0;
}

template <class In, class Product> struct RecurrentGrid {
  typedef typename In::A A;
  typedef typename In::T T;
  typedef GridShape<In> Shape;
  static constexpr int N = In::HIDDEN, GATES = In::GATES, UNITS = In::UNITS, PASS = Shape::PASS, PASSES = Shape::PASSES;
  static constexpr int ITEMS = ceil_div(PASS * UNITS, (int)GRID_THREADS);  // of a thread in a pass

  const In &in;
  GridPlace at;
  u32 *counter, arrivals;
  T *states;  // that others read: h, double-buffered, and those behind the reset gate
  i64 size;   // of each
  int k;      // the thread's unit
  Product product;
  RecurrentUnit<A> units[PASSES][ITEMS];
  A gates[PASSES][ITEMS][4], bias[GATES];

  __device__ __forceinline__ RecurrentGrid(const In &in, u32 *counters, T *states)
      : in(in), arrivals(0), states(states), size((i64)In::DIRECTIONS * in.batch() * N) {
    const int groups = (in.batch() + In::ROWS - 1) / In::ROWS, thread = (int)threadIdx.x;
    counter = counters + blockIdx.y * GRID_COUNTER;
    at = {(int)blockIdx.y / groups, (int)blockIdx.y % groups * In::ROWS, (int)blockIdx.x * UNITS, thread / 32, thread % 32};
    k = at.unit0 + thread % UNITS;
  }

  // The row that a thread finishes; where there is none, one that is not in the batch.
  __device__ __forceinline__ int row_of(int pass, int item) const {
    const int row = ((int)threadIdx.x + item * GRID_THREADS) / UNITS;
    return row < PASS && k < N ? at.batch0 + pass * PASS + row : in.batch();
  }
  __device__ __forceinline__ RecurrentRow at_step(int batch, int step) const {
    return recurrent_row(in, at.direction, batch, step);
  }

  __device__ __forceinline__ void load_units() {
#pragma unroll
    for (int g = 0; g < GATES; g++) bias[g] = k < N ? in.bias(at.direction, (GATES + g) * N + k) : (A)0;
#pragma unroll
    for (int p = 0; p < PASSES; p++)
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        const int batch = row_of(p, i);
        units[p][i] = {};
        if (batch >= in.batch()) continue;
        units[p][i].h = in.h0(at.direction, batch, k);
        if (In::KIND == In::LSTM) units[p][i].c = in.c0(at.direction, batch, k);
      }
  }

  __device__ __forceinline__ void load_gates(int step) {
#pragma unroll
    for (int p = 0; p < PASSES; p++)
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        const int batch = row_of(p, i);
        if (batch >= in.batch()) continue;
        const int time = at_step(batch, step).time;
#pragma unroll
        for (int g = 0; g < 4; g++)
          gates[p][i][g] = g < GATES ? in.projection(nullptr, at.direction, time, batch, g * N + k) : (A)0;
      }
  }

  // The states of a pass, and for the others those that they read next.
  template <int FIRST, int G> __device__ __forceinline__ void finish(T *to, int pass, int step) {
    constexpr bool RESETS = Shape::TWO && FIRST == 0;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int batch = row_of(pass, i);
      if (batch >= in.batch()) continue;
      const float *sums =
          (const float *)dynamic_shared + (batch - at.batch0 - pass * PASS) * Shape::PITCH + (int)threadIdx.x % UNITS;
      A sum[G];
#pragma unroll
      for (int g = 0; g < G; g++) {
        sum[g] = bias[FIRST + g];
#pragma unroll
        for (int split = 0; split < Shape::SPLITS; split++) sum[g] += sums[split * PASS * Shape::PITCH + g * UNITS];
      }
      RecurrentUnit<A> &unit = units[pass][i];
      const RecurrentUnit<A> before = unit;
      if constexpr (FIRST == 0) update_unit<In, G>(in, at.direction, k, gates[pass][i], sum, unit);
      else update_candidate<In>(at.direction, gates[pass][i][FIRST], sum[0], unit);
      if constexpr (!RESETS) keep_unit(at_step(batch, step), before, unit);
      to[((i64)at.direction * in.batch() + batch) * N + k] = In::narrow(RESETS ? unit.reset : unit.h);
    }
  }

  template <int FIRST, int G> __device__ __forceinline__ void phase(const T *from, T *to, int step) {
#pragma unroll
    for (int p = 0; p < PASSES; p++) {
      if (p) __syncthreads();  // the sums of the pass before are read
      product.template multiply<FIRST, G>(in, at, from, p);
      __syncthreads();
      finish<FIRST, G>(to, p, step);
    }
  }

  __device__ __forceinline__ void write(int step) const {
#pragma unroll
    for (int p = 0; p < PASSES; p++)
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        const int batch = row_of(p, i);
        if (batch < in.batch()) write_unit(in, at_step(batch, step), k, units[p][i]);
      }
  }

  __device__ __forceinline__ void wait() {
    arrivals += Shape::BLOCKS;
    blocks_wait(counter, arrivals);
  }

  static __device__ __forceinline__ void run(const In &in, u32 *counters, T *states) {
    begin_alone();
    RecurrentGrid grid(in, counters, states);
    grid.product.load(in, grid.at);
    grid.load_units();
    grid.load_gates(0);
    for (int step = 0; step < in.steps(); step++) {
      const bool last = step == in.steps() - 1;
      const T *from = step ? states + (step & 1) * grid.size : nullptr;
      T *to = states + ((step + 1) & 1) * grid.size, *reset = states + 2 * grid.size;
      if (last) let_next_begin();
      if constexpr (Shape::TWO) {
        grid.template phase<0, 2>(from, reset, step);
        blocks_arrive(grid.counter);
        grid.wait();
        grid.template phase<2, 1>(reset, to, step);
      } else {
        grid.template phase<0, GATES>(from, to, step);
      }
      if (!last) blocks_arrive(grid.counter);
      grid.write(step);
      if (last) break;
      grid.load_gates(step + 1);
      grid.wait();
    }
  }
};
