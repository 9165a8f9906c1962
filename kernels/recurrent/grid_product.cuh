// What recurrent_grid.cuh multiplies with: weights that a block keeps in registers for all steps, and the products of its rows' states with them. Eight warps divide the depth, and
// each leaves its sums in shared memory, from where they are added up. Two ways: fragments for tensor cores, or, of f32, a column a lane.
#pragma once
#include "kernels/common/arrivals.cuh"
#include "kernels/recurrent/recurrent.cuh"
#include "kernels/tile/ptx.cuh"

extern __shared__ uint4 dynamic_shared[];

enum { GRID_WARPS = 8, GRID_THREADS = GRID_WARPS * 32 };

// In is as recurrent.cuh has it, and has T, narrow() and weights() as in recurrent_mma.cuh, UNITS (a multiple of 8 that divides the threads), ROWS and ROW_WARPS.
template <class In> struct GridShape {
  static constexpr bool TWO = In::KIND == In::GRU && !In::LINEAR_BEFORE_RESET;
  static constexpr int N = In::HIDDEN, UNITS = In::UNITS, BLOCKS = ceil_div(N, UNITS), COLUMNS = In::GATES * UNITS;
  static constexpr int PASS = 16 * In::ROW_WARPS, PASSES = In::ROWS / PASS;  // rows that are multiplied together
  static constexpr int SPLITS = GRID_WARPS / In::ROW_WARPS;
  // Sums of eight rows, each of two words of a lane, touch all banks once.
  static constexpr int PITCH = COLUMNS % 16 ? COLUMNS : COLUMNS + 8, SUMS = SPLITS * PASS * PITCH;
  static constexpr int PER_CHUNK = 16 / (int)sizeof(typename In::T);
  static_assert(GRID_THREADS % UNITS == 0 && In::ROWS % PASS == 0, "threads and passes are whole");
  static_assert(N % PER_CHUNK == 0, "chunks are whole");
};

// Of a block and a thread.
struct GridPlace {
  int direction, batch0, unit0, warp, lane;
};

template <class In> DEVICE bool grid_has(const In &in, int batch, int k) { return batch < in.batch() && k < In::HIDDEN; }

// 16 bytes of a row's states from k on, and of those that all begins with.
template <class In> DEVICE uint4 grid_states(const In &in, const GridPlace &at, const typename In::T *from, int batch, int k) {
  if (!grid_has(in, batch, k)) return {0, 0, 0, 0};
  return load_from_others(from + ((i64)at.direction * in.batch() + batch) * In::HIDDEN + k);
}
template <class In> DEVICE uint4 grid_first_states(const In &in, const GridPlace &at, int batch, int k) {
  union {
    uint4 raw;
    typename In::T values[GridShape<In>::PER_CHUNK];
  } chunk = {{0, 0, 0, 0}};
  if (!grid_has(in, batch, k)) return chunk.raw;
#pragma unroll
  for (int i = 0; i < GridShape<In>::PER_CHUNK; i++) chunk.values[i] = In::narrow(in.h0(at.direction, batch, k + i));
  return chunk.raw;
}
// 16 bytes of the weights of a unit of a gate; 0 beyond the layer.
template <class In> DEVICE uint4 grid_weights(const In &in, const GridPlace &at, int gate, int unit, int k) {
  if (at.unit0 + unit >= In::HIDDEN || k >= In::HIDDEN) return {0, 0, 0, 0};
  return *(const uint4 *)(in.weights(at.direction, gate * In::HIDDEN + at.unit0 + unit) + k);
}

// Weights of two bytes on tensor cores. Depth is taken in chunks of 32, of which a thread reads 8 that lie together, of weights and states alike: a product of 16 takes the first or
// second half of every thread's, an order of sums like any other, and nothing has to go through shared memory but the sums. With ROW_WARPS = 2 warps divide pairs of tiles of 16 rows, too.
template <class In, class Mma> struct GridFragments {
  typedef GridShape<In> Shape;
  static constexpr int CHUNKS = ceil_div(ceil_div(Shape::N, 32), Shape::SPLITS);
  static constexpr int GATE_TILES = Shape::UNITS / 8, TILES = In::GATES * GATE_TILES;

  uint4 weights[TILES][CHUNKS];

  static __device__ __forceinline__ int depth(const GridPlace &at, int chunk) {
    return (at.warp / In::ROW_WARPS * CHUNKS + chunk) * 32 + at.lane % 4 * 8;
  }

  __device__ __forceinline__ void load(const In &in, const GridPlace &at) {
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int c = 0; c < CHUNKS; c++)
        weights[t][c] = grid_weights(in, at, t / GATE_TILES, t % GATE_TILES * 8 + at.lane / 4, depth(at, c));
  }

  // Of the gates FIRST .. FIRST + G - 1, into the warp's part of the sums. from NULL: the first step.
  template <int FIRST, int G>
  __device__ __forceinline__ void multiply(const In &in, const GridPlace &at, const typename In::T *from, int pass) const {
    constexpr int FIRST_TILE = FIRST * GATE_TILES, COUNT = G * GATE_TILES, PITCH = Shape::PITCH;
    const int tile = at.warp % In::ROW_WARPS * 16, row = at.batch0 + pass * Shape::PASS + tile + at.lane / 4;
    uint4 upper[CHUNKS], lower[CHUNKS];
    if (from) {
#pragma unroll
      for (int c = 0; c < CHUNKS; c++)
        upper[c] = grid_states(in, at, from, row, depth(at, c)), lower[c] = grid_states(in, at, from, row + 8, depth(at, c));
    } else {
#pragma unroll
      for (int c = 0; c < CHUNKS; c++)
        upper[c] = grid_first_states(in, at, row, depth(at, c)), lower[c] = grid_first_states(in, at, row + 8, depth(at, c));
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
    float *to =
        (float *)dynamic_shared + (at.warp / In::ROW_WARPS * Shape::PASS + tile + at.lane / 4) * PITCH + at.lane % 4 * 2;
#pragma unroll
    for (int t = 0; t < COUNT; t++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        *(float2 *)(to + half * 8 * PITCH + t * 8) = make_float2(products[t][half * 2], products[t][half * 2 + 1]);
  }
};

// Weights of f32, in f32: a lane has a column of each 32, a warp a slice of the depth. Its rows' states come to the warp's own shared memory, behind the sums, from where all lanes read the same.
template <class In> struct GridLanes {
  typedef GridShape<In> Shape;
  static constexpr int DEPTH = align_up(ceil_div(Shape::N, (int)GRID_WARPS), 4), CHUNKS = DEPTH / 4;
  static constexpr int GROUPS = ceil_div(Shape::COLUMNS, 32), ROWS = 4;  // rows at once
  static_assert(In::ROW_WARPS == 1, "a warp has all rows");

  float weights[GROUPS][DEPTH];

  __device__ __forceinline__ void load(const In &in, const GridPlace &at) {
#pragma unroll
    for (int g = 0; g < GROUPS; g++) {
      const int column = g * 32 + at.lane;
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) {
        uint4 chunk = {0, 0, 0, 0};
        if (column < Shape::COLUMNS)
          chunk = grid_weights(in, at, column / Shape::UNITS, column % Shape::UNITS, at.warp * DEPTH + c * 4);
        weights[g][c * 4] = float_of_bits(chunk.x), weights[g][c * 4 + 1] = float_of_bits(chunk.y);
        weights[g][c * 4 + 2] = float_of_bits(chunk.z), weights[g][c * 4 + 3] = float_of_bits(chunk.w);
      }
    }
  }

  static __device__ __forceinline__ void copy_states(const In &in, const GridPlace &at, const float *from, int first, int rows,
                                                     uint4 *to) {
    for (int i = at.lane; i < rows * CHUNKS; i += 32) {
      const int batch = first + i / CHUNKS, k = at.warp * DEPTH + i % CHUNKS * 4;
      to[i] = from ? grid_states(in, at, from, batch, k) : grid_first_states(in, at, batch, k);
    }
  }

  template <int FIRST, int G>
  __device__ __forceinline__ void multiply(const In &in, const GridPlace &at, const float *from, int pass) const {
    constexpr int BEGIN = FIRST * Shape::UNITS, END = BEGIN + G * Shape::UNITS;
    const int first = at.batch0 + pass * Shape::PASS, rows = align_up(min_of(in.batch() - first, Shape::PASS), (int)ROWS);
    uint4 *states = dynamic_shared + Shape::SUMS / 4 + at.warp * Shape::PASS * CHUNKS;
    float *sums = (float *)dynamic_shared + at.warp * Shape::PASS * Shape::PITCH;
    copy_states(in, at, from, first, rows, states);
    __syncwarp();
    for (int row = 0; row < rows; row += ROWS)
#pragma unroll
      for (int g = BEGIN / 32; g < ceil_div(END, 32); g++) {
        float sum[ROWS] = {};
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
#pragma unroll
          for (int r = 0; r < ROWS; r++) {
            const float4 h = *(const float4 *)&states[(row + r) * CHUNKS + c];
            sum[r] += weights[g][c * 4] * h.x;
            sum[r] += weights[g][c * 4 + 1] * h.y;
            sum[r] += weights[g][c * 4 + 2] * h.z;
            sum[r] += weights[g][c * 4 + 3] * h.w;
          }
        const int column = g * 32 + at.lane;
        if (column < BEGIN || column >= END) continue;
#pragma unroll
        for (int r = 0; r < ROWS; r++) sums[(row + r) * Shape::PITCH + column - BEGIN] = sum[r];
      }
  }
};
