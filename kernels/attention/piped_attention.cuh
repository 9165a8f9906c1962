// Attention on Hopper: as wgmma_attention.cuh, with a warpgroup of its own for the copies, so that those which multiply wait for nothing but data.
//
// A multiplying warpgroup has 64 rows of queries. It gives the tensor cores the keys of the next tile together with the values of the last one, and takes the next tile's scores
// as soon as they are there: their exponentials are computed while the tensor cores are at the values. Copies go to three buffers of keys and as many of values.
// Work and memory: see attention.cuh. Limit: tensor cores, then exponentials (without them 4096 keys take 0.87 of the time). Reached on an H200, heads of 128: 395 TFLOPS with 512 keys,
// 507 with 1024, 579 with 2048, 610 with 4096, where cuDNN's attention has 510, 588, 630 and 648; causal 244, 348, 445, 497 beside 307, 391, 463, 516.
#pragma once
#include "kernels/attention/softmax.cuh"
#include "kernels/tile/ring.cuh"
#include "kernels/tile/wgmma_tile.cuh"

// P: as in attention.cuh but for FRAGMENTS, which is 1. WARPS, eight, multiply, behind the four that copy. Heads are padded to a multiple of 64, queries and keys contiguous along
// them.
template <class P, class Mma> struct PipedAttention {
  static constexpr int BM = P::WARPS * 16, BN = P::BN, COPIERS = 128, STAGES = 3;
  static constexpr int PARTS = P::D_PADDED / 64, PIECES = BN / 64,
                       STEPS = (P::D + 15) / 16;  // of a head, of a tile's keys, of a sum
  // Together with the copiers' as many as the launch gives.
  static constexpr int COPIER_REGISTERS = 56, REGISTERS = 224;
  typedef WgmmaOperand<true, BM, 64> SharedQ;
  typedef WgmmaOperand<true, BN, 64> SharedK;
  typedef WgmmaOperand<P::V_N_FAST, P::DV_PADDED, 64> SharedV;
  typedef MatrixCopy<SharedQ, true, BM, 64, 2, P::Q_COPY, COPIERS, P::Q_OUTER, P::M, P::D % 64 == 0> CopyQ;
  typedef MatrixCopy<SharedK, true, BN, 64, 2, P::K_COPY, COPIERS, P::K_OUTER, P::N, P::D % 64 == 0> CopyK;
  typedef MatrixCopy<SharedV, P::V_N_FAST, P::DV_PADDED, 64, 2, P::V_COPY, COPIERS, P::V_OUTER, P::DV, P::N % BN == 0> CopyV;
  typedef Ring<STAGES, PARTS * SharedK::BYTES> Keys;
  typedef Ring<STAGES, PIECES * SharedV::BYTES> Values;

  AttentionSizes<P> sizes;
  KeyTiles tiles;
  Keys keys;
  Values values;
  u32 base;         // where queries lie
  int lane, group;  // of those that multiply
  float sums[P::DV_PADDED / 2], scores[BN / 2];
  u32 weights[BN / 16][4];
  SoftmaxRows<P> softmax;

  __device__ __forceinline__ void copy_keys(Copies &copies, const void *k, int tile) {
    keys.wait_until_free();
    CopyK copy(k, tile * BN, 0, P::D, sizes.n(), sizes.k_outer);
#pragma unroll
    for (int part = 0; part < PARTS; part++) copy.copy(keys.buffer() + part * SharedK::BYTES);
    keys.fill(copies);
  }
  __device__ __forceinline__ void copy_values(Copies &copies, const void *v, int tile) {
    values.wait_until_free();
    CopyV copy(v, 0, tile * BN, sizes.n(), P::DV, sizes.v_outer);
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) copy.copy(values.buffer() + piece * SharedV::BYTES);
    values.fill(copies);
  }
  // In the order in which they are used; queries are there when the first keys are.
  __device__ __forceinline__ void copy_all(const void *q, const void *k, const void *v, int m0) {
    Copies copies = {0};
    CopyQ copy(q, m0, 0, P::D, sizes.m(), sizes.q_outer);
#pragma unroll
    for (int part = 0; part < PARTS; part++) copy.copy(base + part * SharedQ::BYTES);
    copy_keys(copies, k, tiles.first);
#pragma unroll 1
    for (int tile = tiles.first; tile < tiles.end; tile++) {
      if (tile + 1 < tiles.end) copy_keys(copies, k, tile + 1);
      copy_values(copies, v, tile);
    }
    copies.end();
  }

  __device__ __forceinline__ void multiply_keys() {
    const u64 a = SharedQ::descriptor(base + group * SharedQ::BLOCK), b = SharedK::descriptor(keys.buffer());
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
      const int part = step / 4, in_part = step % 4;
      wgmma<false, false>(Mma(), scores, a + ((part * SharedQ::BYTES + in_part * SharedQ::STEP) >> 4),
                          b + ((part * SharedK::BYTES + in_part * SharedK::STEP) >> 4), step > 0);
    }
    wgmma_commit();
  }
  __device__ __forceinline__ void multiply_values() {
    const u64 b = SharedV::descriptor(values.buffer());
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < BN / 16; step++)
      wgmma_registers<!P::V_N_FAST>(Mma(), sums, weights[step],
                                    b + ((step / 4 * SharedV::BYTES + step % 4 * SharedV::STEP) >> 4));
    wgmma_commit();
  }
  __device__ __forceinline__ void take_scores() {
    wgmma_settle(scores);
    keys.free(lane);
  }
  __device__ __forceinline__ void take_sums() {
    wgmma_wait<0>();
    wgmma_settle(sums);
    values.free(lane);
  }
  __device__ __forceinline__ void pack_weights() {
#pragma unroll
    for (int step = 0; step < BN / 16; step++)
#pragma unroll
      for (int c = 0; c < 4; c++)
        weights[step][c] = PackPair<Mma>::pack(scores[step * 8 + c * 2], scores[step * 8 + c * 2 + 1]);
  }

  template <class Score> __device__ __forceinline__ void multiply_all(int row0, const Score &score) {
    softmax.begin();
#pragma unroll
    for (int i = 0; i < P::DV_PADDED / 2; i++) sums[i] = 0;
    keys.wait_until_filled();
    multiply_keys();
    wgmma_wait<0>();
    take_scores();
    softmax.weigh(scores, row0, tiles.first, lane, score, sizes);
    if (tiles.first + 1 < tiles.end) keys.wait_until_filled();
    pack_weights();
#pragma unroll 1
    for (int tile = tiles.first + 1; tile < tiles.end; tile++) {
      multiply_keys();
      values.wait_until_filled();
      multiply_values();
      wgmma_wait<1>();
      take_scores();
      softmax.weigh(scores, row0, tile, lane, score, sizes);
      wgmma_settle(scores);
      // A branch between: a compiler moves the wait for the sums over what is computed meanwhile, but not into another basic block.
      if (tile + 1 < tiles.end) keys.wait_until_filled();
      take_sums();
      softmax.rescale(sums);
      pack_weights();
    }
    values.wait_until_filled();
    multiply_values();
    take_sums();
  }

  template <class Output> __device__ __forceinline__ void store(int row0, int warp, const Output &output) {
    softmax.divide(sums);
    named_barrier_wait(1, P::WARPS * 32);  // all have done with what lies where the corners go
    float *corner =
        (float *)((u8 *)dynamic_shared + (base - shared_address(dynamic_shared))) + warp * FragmentStore<P::DV_PADDED>::FLOATS;
    FragmentStore<P::DV_PADDED>::template store<P::M, P::DV>(corner, sums, row0, 0, lane, output, sizes.m());
  }

  __device__ __forceinline__ void place() {
    base = (shared_address(dynamic_shared) + 1023) & ~1023u;
    keys.buffers = base + PARTS * SharedQ::BYTES, values.buffers = keys.buffers + STAGES * PARTS * SharedK::BYTES;
    keys.barriers = values.buffers + STAGES * PIECES * SharedV::BYTES;
    values.barriers = keys.barriers + Keys::BARRIER_BYTES;
    keys.begin(), values.begin();
    if (threadIdx.x == 0) {
      keys.init(COPIERS, P::WARPS), values.init(COPIERS, P::WARPS);
      fence_barrier_init();
    }
    __syncthreads();
  }

  template <class Score, class Output>
  __device__ __forceinline__ void run(const void *q, const void *k, const void *v, int m0, const Score &score,
                                      const Output &output, const AttentionSizes<P> &with = {}) {
    sizes = with;
    tiles = KeyTiles::of<Score, BN>(m0, BM, sizes.n());
    place();
    const int warp = __shfl_sync(0xffffffffu, (int)threadIdx.x / 32, 0) - COPIERS / 32;
    group = warp >> 2;
    if (warp < 0) {
      registers_lower<COPIER_REGISTERS>();
      copy_all(q, k, v, m0);
    } else {
      registers_raise<REGISTERS>();
      lane = (int)threadIdx.x % 32;
      multiply_all(m0 + warp * 16, score);
      store(m0 + warp * 16, warp, output);
    }
  }
};
