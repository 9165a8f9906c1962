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

  // Takes in a tile's highest score, times that logarithm. Gives what scores are less of when they are exponentiated, and what to multiply with what was summed before. A row
  // that has met nothing has no weight either: 0 serves it as well, and keeps NaN out.
  __device__ __forceinline__ float raise(float tile_highest, float &base) {
    float now = fmaxf(highest, tile_highest);
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 2));
    base = now == NOTHING() ? 0.f : now;
    float factor = exp2_approximate(highest - base);
    highest = now;
    sum *= factor;
    return factor;
  }
  __device__ __forceinline__ float weigh(float score, float times, float base) {
    float weight = exp2_approximate(fmaf(score, times, -base));
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

constexpr int FAR = 1 << 29;

// Which tiles of BN keys some rows have keys in, as Score tells: one at least.
struct KeyTiles {
  int first, end;
  template <class Score, int BN> static __device__ __forceinline__ KeyTiles of(int row0, int rows, int keys) {
    const int from = Score::BEHIND == -FAR ? 0 : min(max(row0 + Score::BEHIND, 0), keys - 1);
    const int to = Score::AHEAD == FAR ? keys : min(max(row0 + rows + Score::AHEAD, from + 1), keys);
    return KeyTiles{from / BN, (to + BN - 1) / BN};
  }
};

// P: M, N; BN, the keys of a tile; DV_PADDED, the sums of a row; ZERO_NAN: a row that comes to nothing is 0. Score::pair makes scores of two neighbouring sums. Where a key's
// place less its query's is below BEHIND or above AHEAD, scores are -inf (-FAR, FAR: nowhere); between these they are the sums times SCALE, unless that is 0.
template <class P> struct SoftmaxRows {
  static constexpr int BN = P::BN, COLUMNS = P::DV_PADDED / 8;
  RowState rows[2];
  float factors[2];  // for what was summed before the last tile

  __device__ __forceinline__ void begin() { rows[0] = rows[1] = RowState{RowState::NOTHING(), 0.f}; }

  // PLAIN: of the tile's scores none is left out.
  template <bool PLAIN, class Score>
  __device__ __forceinline__ void weigh_tile(float *scores, int first_row, int tile, int lane, const Score &score,
                                             const AttentionSizes<P> &sizes) {
    constexpr bool SCALED = Score::SCALE > 0.f;
    constexpr float TIMES = SCALED ? Score::SCALE * RowState::LOG2_E : RowState::LOG2_E;
    const float nothing = RowState::NOTHING();
    const int column0 = tile * BN + lane % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = first_row + half * 8 + lane / 4, behind = row + Score::BEHIND - column0,
                ahead = min(sizes.n() - 1, Score::AHEAD < FAR ? row + Score::AHEAD : FAR) - column0;
      float highest = nothing, base;
#pragma unroll
      for (int j = 0; j < BN / 8; j++) {
        float *pair = &scores[j * 4 + half * 2];
        if (!SCALED) score.pair(pair, (u32)min(row, sizes.m() - 1), (u32)(column0 + j * 8));
#pragma unroll
        for (int c = 0; c < 2; c++) {
          if (!PLAIN && j * 8 + c > ahead) pair[c] = nothing;
          if (!PLAIN && Score::BEHIND > -FAR && j * 8 + c < behind) pair[c] = nothing;
        }
        highest = fmaxf(highest, fmaxf(pair[0], pair[1]));
      }
      factors[half] = rows[half].raise(highest * TIMES, base);
#pragma unroll
      for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          float &weight = scores[j * 4 + half * 2 + c];
          weight = rows[half].weigh(weight, TIMES, base);
        }
    }
  }

  // Scores become weights, the highest of a row's being 1 or less than it.
  template <class Score>
  __device__ __forceinline__ void weigh(float *scores, int first_row, int tile, int lane, const Score &score,
                                        const AttentionSizes<P> &sizes) {
    const int from = tile * BN, to = from + BN;
    const bool whole = P::N % BN == 0 || to <= sizes.n(),
               behind = Score::BEHIND > -FAR && from - first_row - 15 < Score::BEHIND,
               ahead = Score::AHEAD < FAR && to - 1 - first_row > Score::AHEAD;
    if (whole && !behind && !ahead) weigh_tile<true>(scores, first_row, tile, lane, score, sizes);
    else weigh_tile<false>(scores, first_row, tile, lane, score, sizes);
  }

  __device__ __forceinline__ void rescale(float *sums) const {
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
#pragma unroll
      for (int c = 0; c < 4; c++) sums[j * 4 + c] *= factors[c / 2];
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
