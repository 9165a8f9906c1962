// Recurrent layers on a GPU. `In` is generated for a site: its constants (INPUT, HIDDEN, GATES, DIRECTIONS, ...), steps() and batch(), how
// every tensor is read and written, and its activation functions. Arithmetic is in In::A, float or double.
//
// Two parts. The projections of all inputs, W x + b, of every step at once, unless they are what comes in: a plain tiled product, or a warp for each result when
// there are few rows. Then the steps, where neither recurrent_grid.cuh nor recurrent_mma.cuh does them: a warp computes all gates of one hidden unit for up to ROWS batch rows, its lanes along the
// state, so that a weight is read once for all rows. Blocks run one step each (a launch a step), or a block keeps a batch group
// for all steps when the weights are small enough to come from the cache again and again.
// Traffic of a step: the recurrent weights once for ROWS batch rows. Limit on the chip: latency of a step, then L2 bandwidth.
#pragma once
#include "kernels/program/scalar.cuh"
#include "kernels/rowwise/reduce.cuh"

// --- Projections: out[direction][row][unit], row = step * BATCH + batch, unit < GATES * HIDDEN.
enum { PROJECT_TILE = 64, PROJECT_DEPTH = 16 };

// 256 threads, each 4 x 4 results of a 64 x 64 tile.
template <class In> DEVICE void project_tile(const In &in, typename In::A *out) {
  typedef typename In::A A;
  constexpr int UNITS = In::GATES * In::HIDDEN;
  const int ROWS = in.steps() * in.batch();
  __shared__ A rows[PROJECT_DEPTH][PROJECT_TILE + 1], units[PROJECT_DEPTH][PROJECT_TILE + 1];
  const int unit0 = blockIdx.x * PROJECT_TILE, row0 = blockIdx.y * PROJECT_TILE, direction = blockIdx.z;
  const int x = threadIdx.x % 16, y = threadIdx.x / 16;
  A sum[4][4] = {};
  for (int depth = 0; depth < In::INPUT; depth += PROJECT_DEPTH) {
    for (int i = threadIdx.x; i < PROJECT_TILE * PROJECT_DEPTH; i += 256) {
      const int k = i % PROJECT_DEPTH, at = i / PROJECT_DEPTH, row = row0 + at, unit = unit0 + at;
      const bool inside = depth + k < In::INPUT;
      rows[k][at] = inside && row < ROWS ? in.x(row / in.batch(), row % in.batch(), depth + k) : (A)0;
      units[k][at] = inside && unit < UNITS ? in.w(direction, unit, depth + k) : (A)0;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < PROJECT_DEPTH; k++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] += rows[k][y + i * 16] * units[k][x + j * 16];
    __syncthreads();
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const int row = row0 + y + i * 16, unit = unit0 + x + j * 16;
      if (row < ROWS && unit < UNITS) out[((i64)direction * ROWS + row) * UNITS + unit] = sum[i][j] + in.bias(direction, unit);
    }
}

// A warp for each result.
template <class In> DEVICE void project_warp(const In &in, typename In::A *out) {
  typedef typename In::A A;
  constexpr int UNITS = In::GATES * In::HIDDEN;
  const int ROWS = in.steps() * in.batch();
  const int unit = blockIdx.x * 8 + threadIdx.x / 32, row = blockIdx.y, direction = blockIdx.z;
  if (unit >= UNITS) return;
  A sum = 0;
#pragma unroll 4
  for (int k = threadIdx.x % 32; k < In::INPUT; k += 32)
    sum += in.x(row / in.batch(), row % in.batch(), k) * in.w(direction, unit, k);
  sum = reduce_lanes<ReduceSum, 32>(sum);
  if (threadIdx.x % 32 == 0) out[((i64)direction * ROWS + row) * UNITS + unit] = sum + in.bias(direction, unit);
}

// --- Steps

// States between steps. h is double-buffered: hidden units of one step all read the state before it.
template <class In> struct RecurrentState {
  typename In::A *h[2], *c, *update,
      *reset;  // update and reset: between the two phases of a GRU that resets before the product
  __device__ __forceinline__ RecurrentState(const In &in, typename In::A *from) {
    const i64 SIZE = (i64)In::DIRECTIONS * in.batch() * In::HIDDEN;
    h[0] = from;
    h[1] = from + SIZE;
    c = from + 2 * SIZE;
    update = from + 3 * SIZE;
    reset = from + 4 * SIZE;
  }
};

// One batch row at one step.
struct RecurrentRow {
  int direction, batch, step;
  bool active;
  int time;  // of the input
  i64 state;
};
template <class In> DEVICE RecurrentRow recurrent_row(const In &in, int direction, int batch, int step) {
  RecurrentRow row = {direction, batch, step};
  const int length = in.length(batch);
  row.active = step < length;
  row.time = !row.active ? step : direction == 1 || In::REVERSED ? length - 1 - step : step;
  row.state = ((i64)direction * in.batch() + batch) * In::HIDDEN;
  return row;
}

// A hidden unit of a batch row, between steps and within one. update and reset: between the two phases of a GRU that resets before the product.
template <class A> struct RecurrentUnit { A h, c, update, reset; };

// gate[g]: input projection of gate g; product[g]: recurrent product with its bias.
template <class In, int G>
DEVICE void update_unit(const In &in, int d, int k, const typename In::A (&gate)[4], const typename In::A (&product)[G],
                        RecurrentUnit<typename In::A> &unit) {
  typedef typename In::A A;
  constexpr int N = In::HIDDEN;
  if constexpr (In::KIND == In::LSTM) {
    const A cell = unit.c;
    const A i = In::activate(d, 0, In::clipped(gate[0] + product[0] + in.peephole(d, k) * cell));
    const A f =
        In::INPUT_FORGET ? 1 - i : In::activate(d, 0, In::clipped(gate[2] + product[2] + in.peephole(d, 2 * N + k) * cell));
    unit.c = f * cell + i * In::activate(d, 1, In::clipped(gate[3] + product[3]));
    const A o = In::activate(d, 0, In::clipped(gate[1] + product[1] + in.peephole(d, N + k) * unit.c));
    unit.h = o * In::activate(d, 2, unit.c);
  } else if constexpr (In::KIND == In::GRU) {
    const A z = In::activate(d, 0, In::clipped(gate[0] + product[0])),
            r = In::activate(d, 0, In::clipped(gate[1] + product[1]));
    if constexpr (In::LINEAR_BEFORE_RESET) {
      const A candidate = In::activate(d, 1, In::clipped(gate[2] + r * product[2]));
      unit.h = (1 - z) * candidate + z * unit.h;
    } else {
      unit.update = z;
      unit.reset = r * unit.h;
    }
  } else {
    unit.h = In::activate(d, 0, In::clipped(gate[0] + product[0]));
  }
}

// The second phase, whose product sees the state after the reset gate.
template <class In>
DEVICE void update_candidate(int d, typename In::A gate, typename In::A product, RecurrentUnit<typename In::A> &unit) {
  const typename In::A candidate = In::activate(d, 1, In::clipped(gate + product));
  unit.h = (1 - unit.update) * candidate + unit.update * unit.h;
}

// Beyond its row's length a unit stays as it was before the step.
template <class A> DEVICE void keep_unit(const RecurrentRow &row, const RecurrentUnit<A> &before, RecurrentUnit<A> &unit) {
  if (!row.active) unit.h = before.h, unit.c = before.c;
}

// What the step leaves in the layer's results.
template <class In>
DEVICE void write_unit(const In &in, const RecurrentRow &row, int k, const RecurrentUnit<typename In::A> &unit) {
  in.set_y(row.time, row.direction, row.batch, k, row.active ? unit.h : (typename In::A)0);
  if (row.step != in.steps() - 1) return;
  in.set_h(row.direction, row.batch, k, unit.h);
  if (In::KIND == In::LSTM) in.set_c(row.direction, row.batch, k, unit.c);
}

template <class In> DEVICE typename In::A old_h(const In &in, const RecurrentState<In> &state, const RecurrentRow &row, int k) {
  return row.step == 0 ? in.h0(row.direction, row.batch, k) : state.h[row.step & 1][row.state + k];
}

// Where a launch does one step: the unit comes from memory and goes there.
template <class In, int G, bool SECOND>
DEVICE void step_unit(const In &in, const RecurrentState<In> &state, const RecurrentRow &row, int k,
                      const typename In::A (&gate)[4], const typename In::A (&product)[G]) {
  typedef RecurrentUnit<typename In::A> Unit;
  const i64 at = row.state + k;
  Unit unit = {old_h(in, state, row, k)};
  if (In::KIND == In::LSTM) unit.c = row.step == 0 ? in.c0(row.direction, row.batch, k) : state.c[at];
  const Unit before = unit;
  if constexpr (SECOND) {
    unit.update = state.update[at];
    update_candidate<In>(row.direction, gate[2], product[0], unit);
  } else {
    update_unit<In, G>(in, row.direction, k, gate, product, unit);
  }
  if constexpr (In::KIND == In::GRU && !In::LINEAR_BEFORE_RESET && !SECOND) {
    state.update[at] = unit.update;
    state.reset[at] = unit.reset;
    return;
  }
  keep_unit(row, before, unit);
  write_unit(in, row, k, unit);
  state.h[(row.step + 1) & 1][at] = unit.h;
  if (In::KIND == In::LSTM) state.c[at] = unit.c;
}

// G gates from FIRST on of units k, k + stride ... of ROWS batch rows from batch0 on. SECOND: the candidate of a GRU whose products
// see the state after the reset gate.
template <class In, int FIRST, int G, int ROWS, bool SECOND>
DEVICE void recurrent_phase(const In &in, const typename In::A *projected, const RecurrentState<In> &state, int direction,
                            int batch0, int step, int unit, int unit_stride) {
  typedef typename In::A A;
  constexpr int N = In::HIDDEN, UNITS = In::GATES * N;
  const int lane = threadIdx.x % 32;
  RecurrentRow rows[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    rows[r] = recurrent_row(in, direction, batch0 + r < in.batch() ? batch0 + r : in.batch() - 1, step);
  for (int k = unit; k < N; k += unit_stride) {
    A sum[ROWS][G] = {};
#pragma unroll 4
    for (int j = lane; j < N; j += 32) {
      A weight[G];
#pragma unroll
      for (int g = 0; g < G; g++) weight[g] = in.r(direction, (FIRST + g) * N + k, j);
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const A h = SECOND ? state.reset[rows[r].state + j] : old_h(in, state, rows[r], j);
#pragma unroll
        for (int g = 0; g < G; g++) sum[r][g] += weight[g] * h;
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
      for (int g = 0; g < G; g++)
        sum[r][g] = reduce_lanes<ReduceSum, 32>(sum[r][g]) + in.bias(direction, UNITS + (FIRST + g) * N + k);
      if (lane != r || batch0 + r >= in.batch()) continue;
      A gate[4];
#pragma unroll
      for (int g = 0; g < 4; g++)
        gate[g] = g < In::GATES ? in.projection(projected, direction, rows[r].time, rows[r].batch, g * N + k) : (A)0;
      step_unit<In, G, SECOND>(in, state, rows[r], k, gate, sum[r]);
    }
  }
}

// Steps [first, last). blockIdx.y: direction and batch group; blockIdx.x and the warps: hidden units. phases: 1, 2 or both (3); both, or
// more than one step, only with a single block a batch group.
template <class In, int ROWS>
DEVICE void recurrent_steps(const In &in, const typename In::A *projected, typename In::A *states, int first, int last,
                            int phases) {
  const int GROUPS = (in.batch() + ROWS - 1) / ROWS;
  constexpr bool TWO = In::KIND == In::GRU && !In::LINEAR_BEFORE_RESET;
  const RecurrentState<In> state(in, states);
  const int direction = blockIdx.y / GROUPS, batch0 = blockIdx.y % GROUPS * ROWS;
  const int warps = blockDim.x / 32, unit = blockIdx.x * warps + threadIdx.x / 32, stride = gridDim.x * warps;
  for (int step = first; step < last; step++) {
    if (phases & 1)
      recurrent_phase<In, 0, TWO ? 2 : In::GATES, ROWS, false>(in, projected, state, direction, batch0, step, unit, stride);
    if (phases == 3) __syncthreads();
    if constexpr (TWO)
      if (phases & 2) {
        recurrent_phase<In, 2, 1, ROWS, true>(in, projected, state, direction, batch0, step, unit, stride);
        if (phases == 3) __syncthreads();
      }
  }
}
