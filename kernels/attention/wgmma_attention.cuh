// Attention on Hopper: as attention.cuh, with the products done by warpgroups. Keys and values are read straight from shared memory; scores stay in registers, where their
// weights become the second product's operand as they lie.
//
// A block has BM rows of queries, a warpgroup 64 of them, and goes over the keys BN at a time. The products of a tile's weights and of the next tile's keys are given to the
// tensor cores together, so that a warpgroup waits once for a tile; its keys come one tile before its values. While one warpgroup exponentiates, the tensor cores work for
// the others of its multiprocessor. Work and memory: see attention.cuh. Limit: exponentials and the tensor cores, about alike for heads of 64. Reached on
// an H200, heads of 64, 64x128: 326 TFLOPS with 512 keys, 390 with 1024, 410 with 2048, 431 with 4096, where cuDNN's attention has 353, 410, 453 and 470; causal, by the better
// tile, 229, 289, 335, 374 beside 216, 288, 345, 380.
#pragma once
#include "kernels/attention/softmax.cuh"
#include "kernels/tile/wgmma_tile.cuh"

// P: as in attention.cuh but for FRAGMENTS, which is 1. Heads are padded to a multiple of 64.
template <class P, class Mma> struct WarpgroupAttention {
  static constexpr int BM = P::WARPS * 16, BN = P::BN, THREADS = P::WARPS * 32;
  static constexpr int PARTS = P::D_PADDED / 64, PIECES = BN / 64;  // of a head, of a tile's keys
  typedef WgmmaOperand<P::Q_D_FAST, BM, 64> SharedQ;
  typedef WgmmaOperand<P::K_D_FAST, BN, 64> SharedK;
  typedef WgmmaOperand<P::V_N_FAST, P::DV_PADDED, 64> SharedV;
  typedef MatrixCopy<SharedQ, P::Q_D_FAST, BM, 64, 2, P::Q_COPY, THREADS, P::Q_OUTER, P::M, P::D % 64 == 0> CopyQ;
  typedef MatrixCopy<SharedK, P::K_D_FAST, BN, 64, 2, P::K_COPY, THREADS, P::K_OUTER, P::N, P::D % 64 == 0> CopyK;
  typedef MatrixCopy<SharedV, P::V_N_FAST, P::DV_PADDED, 64, 2, P::V_COPY, THREADS, P::V_OUTER, P::DV, P::N % BN == 0> CopyV;
  static constexpr int KEYS_BYTES = PARTS * SharedK::BYTES, VALUES_BYTES = PIECES * SharedV::BYTES;

  AttentionSizes<P> sizes;
  KeyTiles tiles;
  u32 queries, keys, values;
  float sums[P::DV_PADDED / 2], scores[BN / 2];
  SoftmaxRows<P> softmax;

  __device__ __forceinline__ void copy_keys(const void *k, int tile) const {
    if (tile >= tiles.end) return;
    CopyK copy(k, tile * BN, 0, P::D, sizes.n(), sizes.k_outer);
#pragma unroll
    for (int part = 0; part < PARTS; part++) copy.copy(keys + tile % 2 * KEYS_BYTES + part * SharedK::BYTES);
  }
  __device__ __forceinline__ void copy_values(const void *v, int tile) const {
    if (tile >= tiles.end) return;
    CopyV copy(v, 0, tile * BN, sizes.n(), P::DV, sizes.v_outer);
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) copy.copy(values + tile % 2 * VALUES_BYTES + piece * SharedV::BYTES);
  }

  __device__ __forceinline__ void multiply_keys(int tile) {
    const u32 from = keys + tile % 2 * KEYS_BYTES;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
      const u64 a = SharedQ::descriptor(queries + part * SharedQ::BYTES), b = SharedK::descriptor(from + part * SharedK::BYTES);
#pragma unroll
      for (int step = 0; step < 4; step++)
        wgmma<!P::Q_D_FAST, !P::K_D_FAST>(Mma(), scores, a + (step * SharedQ::STEP >> 4), b + (step * SharedK::STEP >> 4),
                                          part > 0 || step > 0);
    }
  }
  __device__ __forceinline__ void multiply_values(int tile, const u32 (&weights)[BN / 16][4]) {
    const u32 from = values + tile % 2 * VALUES_BYTES;
#pragma unroll
    for (int step = 0; step < BN / 16; step++) {
      const u64 b = SharedV::descriptor(from + step / 4 * SharedV::BYTES);
      wgmma_registers<!P::V_N_FAST>(Mma(), sums, weights[step], b + (step % 4 * SharedV::STEP >> 4));
    }
  }
  __device__ __forceinline__ void wait_for_products() {
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_settle(scores);
    wgmma_settle(sums);
  }
  // What has been asked for is there, for the tensor cores too, and all have done with what the last products read.
  __device__ __forceinline__ void arrive() const {
    copy_wait<0>();
    fence_shared_for_async();
    __syncthreads();
  }

  template <class Score, class Output>
  __device__ __forceinline__ void run(const void *q, const void *k, const void *v, int m0, const Score &score,
                                      const Output &output, const AttentionSizes<P> &with = {}) {
    sizes = with;
    tiles = KeyTiles::of<Score, BN>(m0, BM, sizes.n());
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, row0 = warp * 16;
    const u32 unaligned = shared_address(dynamic_shared), base = (unaligned + 1023) & ~1023u;
    queries = base + __shfl_sync(0xffffffffu, warp / 4, 0) * SharedQ::BLOCK;
    keys = base + PARTS * SharedQ::BYTES, values = keys + 2 * KEYS_BYTES;
    softmax.begin();
#pragma unroll
    for (int i = 0; i < P::DV_PADDED / 2; i++) sums[i] = 0;
    CopyQ copy(q, m0, 0, P::D, sizes.m(), sizes.q_outer);
#pragma unroll
    for (int part = 0; part < PARTS; part++) copy.copy(base + part * SharedQ::BYTES);
    copy_keys(k, tiles.first);
    copy_commit();
    arrive();
    copy_keys(k, tiles.first + 1);
    copy_values(v, tiles.first);
    copy_commit();
    wgmma_fence();
    multiply_keys(tiles.first);
    wait_for_products();
#pragma unroll 1
    for (int tile = tiles.first; tile < tiles.end; tile++) {
      softmax.weigh(scores, m0 + row0, tile, lane, score, sizes);
      softmax.rescale(sums);
      u32 weights[BN / 16][4];
#pragma unroll
      for (int step = 0; step < BN / 16; step++)
#pragma unroll
        for (int c = 0; c < 4; c++)
          weights[step][c] = PackPair<Mma>::pack(scores[step * 8 + c * 2], scores[step * 8 + c * 2 + 1]);
      arrive();
      copy_keys(k, tile + 2);
      copy_values(v, tile + 1);
      copy_commit();
      wgmma_fence();
      multiply_values(tile, weights);
      if (tile + 1 < tiles.end) multiply_keys(tile + 1);
      wait_for_products();
    }
    copy_wait<0>();
    __syncthreads();
    softmax.divide(sums);
    float *corner = (float *)((u8 *)dynamic_shared + (base - unaligned)) + warp * FragmentStore<P::DV_PADDED>::FLOATS;
    FragmentStore<P::DV_PADDED>::template store<P::M, P::DV>(corner, sums, m0 + row0, 0, lane, output, sizes.m());
  }
};
