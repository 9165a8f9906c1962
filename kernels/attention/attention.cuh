// Attention in one kernel: softmax(score(q k) ...) v, without the scores ever being in memory. Values inside are f32; probabilities are narrowed for the second product.
//
// A block has BM rows of queries and goes over the keys BN at a time. A warp owns 16 * FRAGMENTS rows: the scores of its rows stay in its registers, where they
// become the second product's operand as they lie. What is summed so far is rescaled whenever a row's maximum grows (online softmax), so keys and values are read
// once for each block of rows, from two buffers each: while one tile is multiplied the next is under way.
// Work: 2 * M * N * (D + DV) multiply-adds a head; memory: q, k, v and y once, k and v again from L2 for each block of rows. Limit: tensor cores, then exponentials.
#pragma once
#include "kernels/attention/softmax.cuh"

// P: M, N, D, DV as they are (AttentionSizes has those that are open), D_PADDED, DV_PADDED; WARPS, FRAGMENTS, BN; Q_D_FAST, K_D_FAST, V_N_FAST; Q_OUTER, K_OUTER, V_OUTER (elements between lines) and
// Q_COPY, K_COPY, V_COPY (bytes a copy moves); ZERO_NAN: a row that comes to nothing is 0. Score::pair makes scores of two neighbouring sums.
template <class P, class Mma> struct Attention {
  static constexpr int ROWS = 16 * P::FRAGMENTS, BM = ROWS * P::WARPS, BN = P::BN, THREADS = P::WARPS * 32;
  static constexpr int STEPS = P::D_PADDED / 16, COLUMNS = P::DV_PADDED / 8;
  typedef SharedOperand<P::Q_D_FAST, BM, P::D_PADDED, 2> SharedQ;
  typedef SharedOperand<P::K_D_FAST, BN, P::D_PADDED, 2> SharedK;
  typedef SharedOperand<P::V_N_FAST, P::DV_PADDED, BN, 2> SharedV;
  typedef MatrixCopy<SharedQ, P::Q_D_FAST, BM, P::D_PADDED, 2, P::Q_COPY, THREADS, P::Q_OUTER, P::M, P::D == P::D_PADDED> CopyQ;
  typedef MatrixCopy<SharedK, P::K_D_FAST, BN, P::D_PADDED, 2, P::K_COPY, THREADS, P::K_OUTER, P::N, P::D == P::D_PADDED> CopyK;
  typedef MatrixCopy<SharedV, P::V_N_FAST, P::DV_PADDED, BN, 2, P::V_COPY, THREADS, P::V_OUTER, P::DV, P::N % BN == 0> CopyV;
  // Queries are read from shared memory once where registers are left for them.
  static constexpr bool KEPT = P::FRAGMENTS * STEPS <= 8;

  AttentionSizes<P> sizes;
  KeyTiles tiles;
  u32 queries, keys, values;
  int row0, lane;
  float sums[P::FRAGMENTS][COLUMNS][4], scores[P::FRAGMENTS][BN / 8][4];
  SoftmaxRows<P> softmax[P::FRAGMENTS];
  u32 kept[P::FRAGMENTS][KEPT ? STEPS : 1][4];

  __device__ __forceinline__ void copy_keys(const void *k, int tile) const {
    if (tile < tiles.end) {
      CopyK copy(k, tile * BN, 0, P::D, sizes.n(), sizes.k_outer);
      copy.copy(keys + tile % 2 * SharedK::BYTES);
    }
    copy_commit();
  }
  __device__ __forceinline__ void copy_values(const void *v, int tile) const {
    if (tile < tiles.end) {
      CopyV copy(v, 0, tile * BN, sizes.n(), P::DV, sizes.v_outer);
      copy.copy(values + tile % 2 * SharedV::BYTES);
    }
    copy_commit();
  }

  __device__ __forceinline__ void keep_queries() {
    if constexpr (KEPT) {
#pragma unroll
      for (int f = 0; f < P::FRAGMENTS; f++)
#pragma unroll
        for (int step = 0; step < STEPS; step++) SharedQ::load_a(kept[f][step], queries, row0 + f * 16, step, lane);
    }
  }

  __device__ __forceinline__ void multiply_keys(int tile) {
    const u32 from = keys + tile % 2 * SharedK::BYTES;
#pragma unroll
    for (int f = 0; f < P::FRAGMENTS; f++)
#pragma unroll
      for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int c = 0; c < 4; c++) scores[f][j][c] = 0;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
      u32 a[P::FRAGMENTS][4];
#pragma unroll
      for (int f = 0; f < P::FRAGMENTS; f++) {
        if constexpr (KEPT) {
#pragma unroll
          for (int c = 0; c < 4; c++) a[f][c] = kept[f][step][c];
        } else {
          SharedQ::load_a(a[f], queries, row0 + f * 16, step, lane);
        }
      }
#pragma unroll
      for (int j = 0; j < BN / 16; j++) {
        u32 b[4];
        SharedK::load_b(b, from, j * 16, step, lane);
#pragma unroll
        for (int f = 0; f < P::FRAGMENTS; f++) {
          Mma::multiply(scores[f][2 * j], a[f], b);
          Mma::multiply(scores[f][2 * j + 1], a[f], b + 2);
        }
      }
    }
  }

  __device__ __forceinline__ void multiply_values(int tile) {
    const u32 from = values + tile % 2 * SharedV::BYTES;
#pragma unroll
    for (int step = 0; step < BN / 16; step++) {
      u32 a[P::FRAGMENTS][4];
#pragma unroll
      for (int f = 0; f < P::FRAGMENTS; f++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
          const float *pair = &scores[f][2 * step + c / 2][c % 2 * 2];
          a[f][c] = PackPair<Mma>::pack(pair[0], pair[1]);
        }
#pragma unroll
      for (int j = 0; j < P::DV_PADDED / 16; j++) {
        u32 b[4];
        SharedV::load_b(b, from, j * 16, step, lane);
#pragma unroll
        for (int f = 0; f < P::FRAGMENTS; f++) {
          Mma::multiply(sums[f][2 * j], a[f], b);
          Mma::multiply(sums[f][2 * j + 1], a[f], b + 2);
        }
      }
    }
  }

  template <class Output> __device__ __forceinline__ void store(int m0, const Output &output) {
    float *corner = (float *)dynamic_shared + (int)threadIdx.x / 32 * FragmentStore<P::DV_PADDED>::FLOATS;
#pragma unroll
    for (int f = 0; f < P::FRAGMENTS; f++) {
      softmax[f].divide(&sums[f][0][0]);
      FragmentStore<P::DV_PADDED>::template store<P::M, P::DV>(corner, &sums[f][0][0], m0 + row0 + f * 16, 0, lane, output,
                                                               sizes.m());
    }
  }

  template <class Score, class Output>
  __device__ __forceinline__ void run(const void *q, const void *k, const void *v, int m0, const Score &score,
                                      const Output &output, const AttentionSizes<P> &with = {}) {
    sizes = with;
    tiles = KeyTiles::of<Score, BN>(m0, BM, sizes.n());
    lane = (int)threadIdx.x % 32, row0 = (int)threadIdx.x / 32 * ROWS;
    queries = shared_address(dynamic_shared), keys = queries + SharedQ::BYTES, values = keys + 2 * SharedK::BYTES;
#pragma unroll
    for (int f = 0; f < P::FRAGMENTS; f++) {
      softmax[f].begin();
#pragma unroll
      for (int j = 0; j < COLUMNS; j++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[f][j][c] = 0;
    }
    CopyQ copy(q, m0, 0, P::D, sizes.m(), sizes.q_outer);
    copy.copy(queries);
    copy_keys(k, tiles.first);
    copy_values(v, tiles.first);
#pragma unroll 1
    for (int tile = tiles.first; tile < tiles.end; tile++) {
      // Behind each barrier a tile has arrived, and all have done with the buffer that the next one goes to.
      copy_wait<1>();
      __syncthreads();
      copy_keys(k, tile + 1);
      if (tile == tiles.first) keep_queries();
      multiply_keys(tile);
#pragma unroll
      for (int f = 0; f < P::FRAGMENTS; f++) {
        softmax[f].weigh(&scores[f][0][0], m0 + row0 + f * 16, tile, lane, score, sizes);
        softmax[f].rescale(&sums[f][0][0]);
      }
      copy_wait<1>();
      __syncthreads();
      copy_values(v, tile + 1);
      multiply_values(tile);
    }
    copy_wait<0>();
    __syncthreads();
    store(m0, output);
  }
};
