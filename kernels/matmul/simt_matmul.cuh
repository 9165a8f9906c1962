// Matrix product without tensor cores: any element type, any strides, exact fp32.
//
// Tiling: a block makes BM x BN outputs, a thread TM x TN of them in registers; a warp is 4 x 8 threads, so that a step of K reads each
// shared word once for the whole warp. Operands pass through registers into two shared buffers laid out [k][row], widened to the
// accumulator's type; the next piece is fetched while the current one is multiplied.
// Memory traffic per output: K * (1/BM + 1/BN) elements read, one written. Limit: fp32 issue rate for large tiles (67 TFLOP/s
// on an H200), memory bandwidth where M or N is small, which split-K spreads over the chip.
// Reached on an H200, f32, against cuBLAS: 4096 x 768 x 3072 43 TFLOP/s (0.90 of it), 512 x 512 x 512 12.6 us (1.04), 128 x 768 x 768
// 10.0 us (1.11), 1 x 4096 x 4096 21.6 us (0.85).
#pragma once
#include "kernels/common/output.cuh"

// V fetched elements, widened, into a tile laid out [k][row].
template <int V, bool K_FAST, int PITCH, class Acc, class T>
DEVICE void simt_store(Acc *tile, int row, int k, const T *elements) {
  Acc wide[V];
#pragma unroll
  for (int i = 0; i < V; i++) wide[i] = widen<Acc>(elements[i]);
  if constexpr (K_FAST) {
#pragma unroll
    for (int i = 0; i < V; i++) tile[(k + i) * PITCH + row] = wide[i];
  } else {
    store_elements<V, (int)sizeof(Acc) * V>(tile + k * PITCH + row, wide);
  }
}

// One operand: ROWS x BK pieces of a matrix with the given strides. Threads run along whichever axis is contiguous, V elements each. The constructor says how many rows there
// are where ROW_COUNT is below 0, which then divides them, and the strides that are OPEN_STRIDE.
template <class T, class Acc, int ROWS, int BK, int THREADS, int V, bool K_FAST, long long ROW_STRIDE, long long K_STRIDE,
          int ROW_COUNT>
struct SimtOperand {
  static constexpr int PITCH = ROWS + 16 / (int)sizeof(Acc);
  static constexpr int VECTORS = ROWS * BK / V;
  static constexpr int PASSES = (VECTORS + THREADS - 1) / THREADS;
  const T *base;
  int row0, row_count;
  i64 row_stride, k_stride;
  T held[PASSES][V];

  __device__ __forceinline__ SimtOperand(const T *matrix, int first_row, int rows = ROW_COUNT, i64 between_rows = ROW_STRIDE,
                                         i64 between_k = K_STRIDE)
      : base(matrix),
        row0(first_row),
        row_count(ROW_COUNT < 0 ? rows : ROW_COUNT),
        row_stride(ROW_STRIDE == OPEN_STRIDE ? between_rows : ROW_STRIDE),
        k_stride(K_STRIDE == OPEN_STRIDE ? between_k : K_STRIDE) {}
  __device__ static int row_of(int index) { return K_FAST ? index / (BK / V) : index % (ROWS / V) * V; }
  __device__ static int k_of(int index) { return K_FAST ? index % (BK / V) * V : index / (ROWS / V); }

  __device__ __forceinline__ void fetch(int k0, int k_end) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      int index = (int)threadIdx.x + pass * THREADS, row = row0 + row_of(index), k = k0 + k_of(index);
      if ((VECTORS % THREADS == 0 || index < VECTORS) && row < row_count && k < k_end) {
        load_elements<V, (int)sizeof(T) * V>(base + row * row_stride + k * k_stride, held[pass]);
      } else {
#pragma unroll
        for (int i = 0; i < V; i++) held[pass][i] = T();
      }
    }
  }
  __device__ __forceinline__ void store(Acc *tile) const {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      int index = (int)threadIdx.x + pass * THREADS;
      if (VECTORS % THREADS == 0 || index < VECTORS) simt_store<V, K_FAST, PITCH>(tile, row_of(index), k_of(index), held[pass]);
    }
  }
};

template <class P> constexpr int simt_threads = P::BM / P::TM *(P::BN / P::TN);

// The part of an operand that a tile of a plain matrix needs.
template <class P, class T, class Acc>
using SimtMatrixA = SimtOperand<T, Acc, P::BM, P::BK, simt_threads<P>, P::VA, P::A_K_FAST, P::A_M, P::A_K, P::M>;
template <class P, class T, class Acc>
using SimtMatrixB = SimtOperand<T, Acc, P::BN, P::BK, simt_threads<P>, P::VB, P::B_K_FAST, P::B_N, P::B_K, P::N>;

template <class P> DEVICE int simt_tile_m(unsigned tile, int columns = P::N) {
  return (int)(tile / (unsigned)(((P::N < 0 ? columns : P::N) + P::BN - 1) / P::BN)) * P::BM;
}
template <class P> DEVICE int simt_tile_n(unsigned tile, int columns = P::N) {
  return (int)(tile % (unsigned)(((P::N < 0 ? columns : P::N) + P::BN - 1) / P::BN)) * P::BN;
}

// P: the problem and the tile (kernels/matmul/simt_matmul.c). The operands start at the tile's rows. Where M or N is below 0 `rows` and `columns` are the numbers.
template <class P, class Acc, class OperandA, class OperandB, class Output>
DEVICE void simt_matmul(OperandA operand_a, OperandB operand_b, int m0, int n0, int k_begin, int k_end, const Output &output,
                        int rows = P::M, int columns = P::N) {
  constexpr int BM = P::BM, BN = P::BN, BK = P::BK, TM = P::TM, TN = P::TN;
  constexpr int LANES_N = 8, LANES_M = 4;
  constexpr int WARPS_N = BN / TN / LANES_N;
  static_assert(BM % (TM * LANES_M) == 0 && BN % (TN * LANES_N) == 0, "whole warps");
  constexpr int GM = TM < 4 ? TM : 4, GN = TN < 4 ? TN : 4;  // neighbouring rows and columns of a thread
  alignas(16) __shared__ Acc shared_a[2][BK * OperandA::PITCH];
  alignas(16) __shared__ Acc shared_b[2][BK * OperandB::PITCH];

  const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
  const int thread_m = (warp / WARPS_N * LANES_M + lane / LANES_N) * GM,
            thread_n = (warp % WARPS_N * LANES_N + lane % LANES_N) * GN;
  constexpr int STEP_M = BM / (TM / GM), STEP_N = BN / (TN / GN);

  Acc sums[TM][TN];
#pragma unroll
  for (int i = 0; i < TM; i++)
#pragma unroll
    for (int j = 0; j < TN; j++) sums[i][j] = Acc();

  int current = 0;
  if (k_begin < k_end) {
    operand_a.fetch(k_begin, k_end);
    operand_b.fetch(k_begin, k_end);
    operand_a.store(shared_a[0]);
    operand_b.store(shared_b[0]);
    __syncthreads();
  }
  for (int k0 = k_begin; k0 < k_end; k0 += BK) {
    const bool more = k0 + BK < k_end;
    if (more) {
      operand_a.fetch(k0 + BK, k_end);
      operand_b.fetch(k0 + BK, k_end);
    }
#pragma unroll
    for (int k = 0; k < BK; k++) {
      Acc row[TM], column[TN];
#pragma unroll
      for (int g = 0; g < TM / GM; g++)
        load_elements<GM, (int)sizeof(Acc) * GM>(&shared_a[current][k * OperandA::PITCH + g * STEP_M + thread_m], row + g * GM);
#pragma unroll
      for (int g = 0; g < TN / GN; g++)
        load_elements<GN, (int)sizeof(Acc) * GN>(&shared_b[current][k * OperandB::PITCH + g * STEP_N + thread_n],
                                                 column + g * GN);
#pragma unroll
      for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) sums[i][j] += row[i] * column[j];
    }
    if (more) {
      operand_a.store(shared_a[current ^ 1]);
      operand_b.store(shared_b[current ^ 1]);
      __syncthreads();
      current ^= 1;
    }
  }
#pragma unroll
  for (int i = 0; i < TM; i++) {
    const int m = m0 + i / GM * STEP_M + thread_m + i % GM;
    if (m < (P::M < 0 ? rows : P::M)) {
#pragma unroll
      for (int g = 0; g < TN / GN; g++)
        store_columns<GN>(output, (unsigned)m, (unsigned)(n0 + g * STEP_N + thread_n), (unsigned)(P::N < 0 ? columns : P::N),
                          &sums[i][g * GN]);
    }
  }
}
