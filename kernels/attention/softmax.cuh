// The softmax between attention's two products, over keys that come a tile at a time: scores become weights in the registers where the first product leaves them, and
// what is summed so far is rescaled whenever a row's maximum grows (online softmax). Sixteen rows of a warp, in the layout of its products' fragments: of each eight
// columns a thread has [0] and [1], neighbours of row lane / 4, and [2] and [3] of the row eight below.
#pragma once
#include "kernels/tile/mma_tile.cuh"

extern __shared__ uint4 dynamic_shared[];

template <class Mma> struct PackPair;
template <> struct PackPair<MmaF16> {
  static __device__ __forceinline__ u32 pack(float x, float y) { return pack_f16(x, y); }
};
#if __CUDA_ARCH__ >= 800
template <> struct PackPair<MmaBf16> {
  static __device__ __forceinline__ u32 pack(float x, float y) { return pack_bf16(x, y); }
};
#endif

// A row's softmax under way, spread over four lanes. Powers are of 2: scores are multiplied by the logarithm of e where they are exponentiated.
struct RowState {
  float highest, sum;  // times that logarithm; -inf: nothing so far but -inf

  // Takes in a tile's highest score. Gives what scores are less of when they are exponentiated, and what to multiply with what was summed before. A row that has
  // met nothing has no weight either: 0 serves it as well, and keeps NaN out.
  __device__ __forceinline__ float raise(float tile_highest, float &base) {
    float now = fmaxf(highest, tile_highest * LOG2_E);
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 2));
    base = now == NOTHING() ? 0.f : now;
    float factor = exp2_approximate(highest - base);
    highest = now;
    sum *= factor;
    return factor;
  }
  __device__ __forceinline__ float weigh(float score, float base) {
    float weight = exp2_approximate(fmaf(score, LOG2_E, -base));
    sum += weight;
    return weight;
  }
  __device__ __forceinline__ float whole_sum() const {
    float whole = sum + __shfl_xor_sync(0xffffffffu, sum, 1);
    return whole + __shfl_xor_sync(0xffffffffu, whole, 2);
  }
  static constexpr float LOG2_E = 1.4426950408889634f;
  static __device__ __forceinline__ float NOTHING() { return -float_of_bits(0x7f800000u); }
};

// Sizes that differ from call to call, as arguments: P's M and N where those are below 0, and divide them; where a distance between lines is OPEN_STRIDE, that.
template <class P> struct AttentionSizes {
  int rows = P::M, keys = P::N;
  i64 q_outer = P::Q_OUTER, k_outer = P::K_OUTER, v_outer = P::V_OUTER;
  __device__ __forceinline__ int m() const { return P::M < 0 ? rows : P::M; }
  __device__ __forceinline__ int n() const { return P::N < 0 ? keys : P::N; }
};

// P: M, N; BN, the keys of a tile; DV_PADDED, the sums of a row; ZERO_NAN: a row that comes to nothing is 0. Score::pair makes scores of two neighbouring sums.
template <class P> struct SoftmaxRows {
  static constexpr int BN = P::BN, COLUMNS = P::DV_PADDED / 8;
  RowState rows[2];

  __device__ __forceinline__ void begin() { rows[0] = rows[1] = RowState{RowState::NOTHING(), 0.f}; }

  // Scores become weights, the highest of a row's being 1 or less than it.
  template <class Score>
  __device__ __forceinline__ void weigh(float *scores, float *sums, int first_row, int tile, int lane, const Score &score,
                                        const AttentionSizes<P> &sizes) {
    const float nothing = RowState::NOTHING();
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = first_row + half * 8 + lane / 4;
      float highest = nothing, base;
#pragma unroll
      for (int j = 0; j < BN / 8; j++) {
        float *pair = &scores[j * 4 + half * 2];
        const int column = tile * BN + j * 8 + lane % 4 * 2;
        score.pair(pair, (u32)min(row, sizes.m() - 1), (u32)column);
        if (P::N % BN && column >= sizes.n()) pair[0] = nothing;
        if (P::N % BN && column + 1 >= sizes.n()) pair[1] = nothing;
        highest = fmaxf(highest, fmaxf(pair[0], pair[1]));
      }
      const float factor = rows[half].raise(highest, base);
#pragma unroll
      for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          float &weight = scores[j * 4 + half * 2 + c];
          weight = rows[half].weigh(weight, base);
        }
#pragma unroll
      for (int j = 0; j < COLUMNS; j++) sums[j * 4 + half * 2] *= factor, sums[j * 4 + half * 2 + 1] *= factor;
    }
  }

  __device__ __forceinline__ void divide(float *sums) const {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float whole = rows[half].whole_sum();
      const bool nothing = P::ZERO_NAN && !(whole > 0.f);
      const float part = 1.f / whole;
#pragma unroll
      for (int j = 0; j < COLUMNS; j++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          float &sum = sums[j * 4 + half * 2 + c];
          sum = nothing ? 0.f : sum * part;
        }
    }
  }
};
