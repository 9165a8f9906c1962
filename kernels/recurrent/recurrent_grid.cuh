// All steps of a recurrent layer in one launch, on all multiprocessors: for layers as recurrent_mma.cuh takes them, of which every block is in place at once.
//
// A block has UNITS hidden units, all gates, for ROWS rows of the batch in one direction, from the first step to the last. Its weights stay in registers, as fragments: eight
// warps divide the depth, and with ROW_WARPS = 2 pairs of tiles of 16 rows. States narrowed to the weights' type are all that blocks tell each other, through L2; blocks of a direction
// that have the same rows meet once a step, twice for a GRU that resets before its product, at a counter of arrivals, which recurrent_grid_begin has set to 0. A thread finishes the same
// units of the same rows in every step and keeps their states; results, and the projections of the next step, move while it waits for the others.
//
// Depth is taken in chunks of 32, of which a thread reads 8 that lie together, of weights and states alike: a product of 16 takes the first or second half of every thread's, an
// order of sums like any other, and nothing has to go through shared memory but the warps' sums.
// Traffic of a step: each block reads its rows' states from L2. Limit: the latency of meeting and of reading, about 1.5 us on an H200.
#pragma once
#include "kernels/common/arrivals.cuh"
#include "kernels/recurrent/recurrent.cuh"
#include "kernels/tile/ptx.cuh"

extern __shared__ uint4 dynamic_shared[];

enum { GRID_WARPS = 8, GRID_THREADS = GRID_WARPS * 32, GRID_COUNTER = 32 };  // GRID_COUNTER: words from one counter to the next

// A counter for each group of blocks that meet.
DEVICE void recurrent_grid_begin(u32 *counters, int count) {
  begin_kernel();
  for (int i = threadIdx.x; i < count; i += blockDim.x) counters[i * GRID_COUNTER] = 0;
}

// In adds to what recurrent_mma.cuh asks of it: UNITS (a multiple of 8 that divides the threads), ROWS, ROW_WARPS.
template <class In, class Mma> struct RecurrentGrid {
  typedef typename In::A A;
  typedef typename In::T T;
  static constexpr bool TWO = In::KIND == In::GRU && !In::LINEAR_BEFORE_RESET;
  static constexpr int N = In::HIDDEN, GATES = In::GATES, UNITS = In::UNITS, BLOCKS = ceil_div(N, UNITS);
  static constexpr int PASS = 16 * In::ROW_WARPS, PASSES = In::ROWS / PASS;  // rows that are multiplied together
  static constexpr int SPLITS = GRID_WARPS / In::ROW_WARPS, CHUNKS = ceil_div(ceil_div(N, 32), SPLITS);
  static constexpr int GATE_TILES = UNITS / 8, TILES = GATES * GATE_TILES;
  // Sums of eight rows, each of two words of a lane, touch all banks once.
  static constexpr int COLUMNS = GATES * UNITS, PITCH = COLUMNS % 16 ? COLUMNS : COLUMNS + 8;
  static constexpr int ITEMS = ceil_div(PASS * UNITS, (int)GRID_THREADS);  // of a thread in a pass
  static constexpr int BYTES = SPLITS * PASS * PITCH * 4;
  static_assert(N % 8 == 0 && GRID_THREADS % UNITS == 0 && In::ROWS % PASS == 0, "chunks and threads are whole");

  const In &in;
  u32 *counter, arrivals;
  T *states;  // that others read: h, double-buffered, and those behind the reset gate
  i64 size;   // of each
  int direction, batch0, unit0, warp, lane, k;
  uint4 weights[TILES][CHUNKS];
  RecurrentUnit<A> units[PASSES][ITEMS];
  A gates[PASSES][ITEMS][4], bias[GATES];

  __device__ __forceinline__ RecurrentGrid(const In &in, u32 *counters, T *states)
      : in(in), arrivals(0), states(states), size((i64)In::DIRECTIONS * in.batch() * N) {
    const int groups = (in.batch() + In::ROWS - 1) / In::ROWS;
    counter = counters + blockIdx.y * GRID_COUNTER;
    direction = (int)blockIdx.y / groups, batch0 = (int)blockIdx.y % groups * In::ROWS, unit0 = (int)blockIdx.x * UNITS;
    warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, k = unit0 + (int)threadIdx.x % UNITS;
  }

  // The first of eight in a chunk of the depth that the thread reads.
  __device__ __forceinline__ int depth(int chunk) const { return (warp / In::ROW_WARPS * CHUNKS + chunk) * 32 + lane % 4 * 8; }
  // The row that a thread finishes; where there is none, one that is not in the batch.
  __device__ __forceinline__ int row_of(int pass, int item) const {
    const int at = ((int)threadIdx.x + item * GRID_THREADS) / UNITS;
    return at < PASS && k < N ? batch0 + pass * PASS + at : in.batch();
  }
  __device__ __forceinline__ RecurrentRow at_step(int batch, int step) const {
    return recurrent_row(in, direction, batch, step);
  }

  __device__ __forceinline__ void load_weights() {
#pragma unroll
    for (int t = 0; t < TILES; t++) {
      const int unit = unit0 + t % GATE_TILES * 8 + lane / 4;
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) {
        weights[t][c] = {0, 0, 0, 0};
        if (unit < N && depth(c) < N)
          weights[t][c] = *(const uint4 *)(in.weights(direction, t / GATE_TILES * N + unit) + depth(c));
      }
    }
  }

  __device__ __forceinline__ void load_units() {
#pragma unroll
    for (int g = 0; g < GATES; g++) bias[g] = k < N ? in.bias(direction, (GATES + g) * N + k) : (A)0;
#pragma unroll
    for (int p = 0; p < PASSES; p++)
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        const int batch = row_of(p, i);
        units[p][i] = {};
        if (batch >= in.batch()) continue;
        units[p][i].h = in.h0(direction, batch, k);
        if (In::KIND == In::LSTM) units[p][i].c = in.c0(direction, batch, k);
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
          gates[p][i][g] = g < GATES ? in.projection(nullptr, direction, time, batch, g * N + k) : (A)0;
      }
  }

  // Eight states of a row, and those that all begins with.
  __device__ __forceinline__ bool has_states(int batch, int k) const {
    return batch < in.batch() && (CHUNKS * SPLITS * 32 == N || k < N);
  }
  __device__ __forceinline__ uint4 load_states(const T *from, int batch, int k) const {
    if (!has_states(batch, k)) return {0, 0, 0, 0};
    return load_from_others(from + ((i64)direction * in.batch() + batch) * N + k);
  }
  __device__ __forceinline__ uint4 first_states(int batch, int k) const {
    union {
      uint4 raw;
      u16 halves[8];
    } chunk = {{0, 0, 0, 0}};
    if (!has_states(batch, k)) return chunk.raw;
#pragma unroll
    for (int i = 0; i < 8; i++) chunk.halves[i] = in.h0_bits(direction, batch, k + i);
    return chunk.raw;
  }

  // Of the gates FIRST .. FIRST + G - 1, into the warp's part of the sums. from NULL: the first step.
  template <int FIRST, int G> __device__ __forceinline__ void multiply(const T *from, int pass) const {
    constexpr int FIRST_TILE = FIRST * GATE_TILES, COUNT = G * GATE_TILES;
    const int tile = warp % In::ROW_WARPS * 16, row = batch0 + pass * PASS + tile + lane / 4;
    uint4 upper[CHUNKS], lower[CHUNKS];
    if (from) {
#pragma unroll
      for (int c = 0; c < CHUNKS; c++)
        upper[c] = load_states(from, row, depth(c)), lower[c] = load_states(from, row + 8, depth(c));
    } else {
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) upper[c] = first_states(row, depth(c)), lower[c] = first_states(row + 8, depth(c));
    }
    float products[COUNT][4] = {};
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      const u32 first[4] = {upper[c].x, lower[c].x, upper[c].y, lower[c].y};
      const u32 second[4] = {upper[c].z, lower[c].z, upper[c].w, lower[c].w};
#pragma unroll
      for (int t = 0; t < COUNT; t++) {
        const uint4 &weight = weights[FIRST_TILE + t][c];
        const u32 halves[2][2] = {{weight.x, weight.y}, {weight.z, weight.w}};
        Mma::multiply(products[t], first, halves[0]);
        Mma::multiply(products[t], second, halves[1]);
      }
    }
    float *to = (float *)dynamic_shared + (warp / In::ROW_WARPS * PASS + tile + lane / 4) * PITCH + lane % 4 * 2;
#pragma unroll
    for (int t = 0; t < COUNT; t++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        *(float2 *)(to + half * 8 * PITCH + t * 8) = make_float2(products[t][half * 2], products[t][half * 2 + 1]);
  }

  // The states of a pass, and for the others those that they read next.
  template <int FIRST, int G> __device__ __forceinline__ void finish(T *to, int pass, int step) {
    constexpr bool RESETS = TWO && FIRST == 0;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int batch = row_of(pass, i);
      if (batch >= in.batch()) continue;
      const float *sums = (const float *)dynamic_shared + (batch - batch0 - pass * PASS) * PITCH + (int)threadIdx.x % UNITS;
      A product[G];
#pragma unroll
      for (int g = 0; g < G; g++) {
        float sum = 0;
#pragma unroll
        for (int split = 0; split < SPLITS; split++) sum += sums[split * PASS * PITCH + g * UNITS];
        product[g] = sum + bias[FIRST + g];
      }
      RecurrentUnit<A> &unit = units[pass][i];
      const RecurrentUnit<A> before = unit;
      if constexpr (FIRST == 0) update_unit<In, G>(in, direction, k, gates[pass][i], product, unit);
      else update_candidate<In>(direction, gates[pass][i][FIRST], product[0], unit);
      if constexpr (!RESETS) keep_unit(at_step(batch, step), before, unit);
      to[((i64)direction * in.batch() + batch) * N + k] = In::narrow(RESETS ? unit.reset : unit.h);
    }
  }

  template <int FIRST, int G> __device__ __forceinline__ void phase(const T *from, T *to, int step) {
#pragma unroll
    for (int p = 0; p < PASSES; p++) {
      if (p) __syncthreads();  // the sums of the pass before are read
      multiply<FIRST, G>(from, p);
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
    arrivals += BLOCKS;
    blocks_wait(counter, arrivals);
  }

  static __device__ __forceinline__ void run(const In &in, u32 *counters, T *states) {
    begin_alone();
    RecurrentGrid grid(in, counters, states);
    grid.load_weights();
    grid.load_units();
    grid.load_gates(0);
    for (int step = 0; step < in.steps(); step++) {
      const bool last = step == in.steps() - 1;
      const T *from = step ? states + (step & 1) * grid.size : nullptr;
      T *to = states + ((step + 1) & 1) * grid.size, *reset = states + 2 * grid.size;
      if (last) let_next_begin();
      if constexpr (TWO) {
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
