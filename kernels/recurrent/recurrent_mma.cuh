// A step of a recurrent layer on tensor cores, for layers whose inputs are projected ahead (In::PROJECTED) and whose weights are constants of two bytes.
//
// A block has UNITS hidden units, all gates of a phase, for ROWS rows of the batch. Its weights come to shared memory before the kernel waits for the step before it: they are
// the same in every step, and so arrive while that one ends. Then come the rows' states, whole; four warps divide rows and the depth among themselves, sums meet in shared
// memory, and a thread finishes a unit of a row. Sums, cells and states between steps are f32; what is multiplied is a state narrowed to the weights' type.
// Traffic of a step: all weights and, for each block, its rows' states, both from L2. Limit: the latency of a step.
#pragma once
#include "kernels/recurrent/recurrent.cuh"
#include "kernels/tile/operand.cuh"

extern __shared__ uint4 dynamic_shared[];

enum { MMA_UNITS = 8, MMA_WARPS = 4, MMA_THREADS = MMA_WARPS * 32 };

// Behind RecurrentState in memory: what the products read, double-buffered as h is.
template <class In> struct NarrowState {
  typedef typename In::T T;
  T *h[2], *reset;
  __device__ __forceinline__ NarrowState(const In &in, typename In::A *from) {
    const i64 SIZE = (i64)In::DIRECTIONS * in.batch() * In::HIDDEN;
    h[0] = (T *)(from + 5 * SIZE);
    h[1] = h[0] + SIZE;
    reset = h[1] + SIZE;
  }
};

// In adds ROWS (16 or 32), DEPTH (the hidden size up to a multiple of 64) and weights(direction, unit of all gates): HIDDEN elements that lie together.
template <class In, class Mma, int FIRST, int G, bool SECOND> struct RecurrentStep {
  typedef typename In::A A;
  typedef typename In::T T;
  typedef SharedOperand<true, G * MMA_UNITS, In::DEPTH, 2> Weights;  // a line: a gate's unit
  typedef SharedOperand<true, In::ROWS, In::DEPTH, 2> States;
  static_assert(In::HIDDEN % MMA_UNITS == 0, "blocks are whole");
  static constexpr int TILES = In::ROWS / 16, SPLITS = MMA_WARPS / TILES, STEPS = In::DEPTH / 16, CHUNKS = In::DEPTH / 8;
  static constexpr int COLUMNS = G * MMA_UNITS, PITCH = COLUMNS + 4;
  static constexpr int BYTES = Weights::BYTES + States::BYTES + SPLITS * In::ROWS * PITCH * 4;

  static __device__ __forceinline__ void copy_weights(const In &in, u32 to, int direction, int unit0) {
    for (int i = threadIdx.x; i < COLUMNS * CHUNKS; i += MMA_THREADS) {
      const int line = i / CHUNKS, chunk = i % CHUNKS, unit = unit0 + line % MMA_UNITS;
      const bool inside = chunk * 8 < In::HIDDEN;
      const T *from =
          in.weights(direction, inside ? (FIRST + line / MMA_UNITS) * In::HIDDEN + unit : 0) + (inside ? chunk * 8 : 0);
      copy_async<16>(to + Weights::offset(line, chunk), from, inside ? 16 : 0);
    }
    copy_commit();
  }

  // The states that a step before left, or those that all begins with.
  static __device__ __forceinline__ void copy_states(const In &in, u32 to, const T *from, int direction, int batch0,
                                                     bool initial) {
    for (int i = threadIdx.x; i < In::ROWS * CHUNKS; i += MMA_THREADS) {
      const int row = i / CHUNKS, chunk = i % CHUNKS, batch = batch0 + row;
      const bool inside = batch < in.batch() && chunk * 8 < In::HIDDEN;
      if (initial) {
        union {
          uint4 raw;
          u16 halves[8];
        } word;
#pragma unroll
        for (int k = 0; k < 8; k++) word.halves[k] = inside ? in.h0_bits(direction, batch, chunk * 8 + k) : (u16)0;
        store_shared<16>(to + States::offset(row, chunk), word.raw);
      } else {
        const i64 at = inside ? ((i64)direction * in.batch() + batch) * In::HIDDEN + chunk * 8 : 0;
        copy_async<16>(to + States::offset(row, chunk), from + at, inside ? 16 : 0);
      }
    }
    copy_commit();
  }

  static __device__ __forceinline__ void multiply(u32 weights, u32 rows, float *sums) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, tile = warp % TILES, split = warp / TILES;
    float products[G][4] = {};
#pragma unroll 4
    for (int step = split * STEPS / SPLITS; step < (split + 1) * STEPS / SPLITS; step++) {
      u32 a[4];
      States::load_a(a, rows, tile * 16, step, lane);
#pragma unroll
      for (int g = 0; g < G; g++) {
        u32 b[2];
        load_matrices(b, weights + Weights::offset(g * MMA_UNITS + lane % 8, step * 2 + lane / 8 % 2));
        Mma::multiply(products[g], a, b);
      }
    }
    float *at = sums + (split * In::ROWS + tile * 16 + lane / 4) * PITCH + lane % 4 * 2;
#pragma unroll
    for (int g = 0; g < G; g++)
#pragma unroll
      for (int c = 0; c < 4; c++) at[c / 2 * 8 * PITCH + g * MMA_UNITS + c % 2] = products[g][c];
  }

  static __device__ __forceinline__ void finish(const In &in, const RecurrentState<In> &state, const NarrowState<In> &narrow,
                                                const float *sums, int direction, int batch0, int unit0, int step) {
    constexpr int N = In::HIDDEN, ALL = In::GATES * N;
    for (int i = threadIdx.x; i < In::ROWS * MMA_UNITS; i += MMA_THREADS) {
      const int at = i / MMA_UNITS, unit = i % MMA_UNITS, k = unit0 + unit, batch = batch0 + at;
      if (batch >= in.batch()) continue;
      A product[G], gate[4];
#pragma unroll
      for (int g = 0; g < G; g++) {
        float sum = 0;
#pragma unroll
        for (int split = 0; split < SPLITS; split++) sum += sums[(split * In::ROWS + at) * PITCH + g * MMA_UNITS + unit];
        product[g] = sum + in.bias(direction, ALL + (FIRST + g) * N + k);
      }
      const RecurrentRow row = recurrent_row(in, direction, batch, step);
#pragma unroll
      for (int g = 0; g < 4; g++)
        gate[g] = g < In::GATES ? in.projection(nullptr, direction, row.time, batch, g * N + k) : (A)0;
      step_unit<In, G, SECOND>(in, state, row, k, gate, product);
      const i64 place = row.state + k;
      if constexpr (G == 2) narrow.reset[place] = In::narrow(state.reset[place]);
      else narrow.h[(step + 1) & 1][place] = In::narrow(state.h[(step + 1) & 1][place]);
    }
  }

  static __device__ __forceinline__ void run(const In &in, A *states, int step) {
    const RecurrentState<In> state(in, states);
    const NarrowState<In> narrow(in, states);
    const int groups = (in.batch() + In::ROWS - 1) / In::ROWS;
    const int direction = (int)blockIdx.y / groups, batch0 = (int)blockIdx.y % groups * In::ROWS,
              unit0 = (int)blockIdx.x * MMA_UNITS;
    const u32 weights = shared_address(dynamic_shared), rows = weights + Weights::BYTES;
    float *sums = (float *)((u8 *)dynamic_shared + Weights::BYTES + States::BYTES);
    copy_weights(in, weights, direction, unit0);
    begin_kernel();
    copy_states(in, rows, SECOND ? narrow.reset : narrow.h[step & 1], direction, batch0, !SECOND && step == 0);
    copy_wait<0>();
    __syncthreads();
    multiply(weights, rows, sums);
    __syncthreads();
    finish(in, state, narrow, sums, direction, batch0, unit0, step);
  }
};
