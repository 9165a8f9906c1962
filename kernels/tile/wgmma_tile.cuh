// The tile of products by warpgroups, for Hopper: as mma_tile.cuh, with the products done by warpgroups straight from shared memory. A warpgroup makes WM x BN
// outputs. While the tensor cores work on a piece, the threads start the copies of the piece STAGES - 2 ahead, into the memory of
// the piece before the last, which every warpgroup has finished by then. f16 and bf16, pieces of 64 k. Reached: see mma_matmul.cuh.
#pragma once
#include "kernels/tile/copy.cuh"
#include "kernels/tile/order.cuh"
#include "kernels/tile/store.cuh"
#include "kernels/tile/wgmma.cuh"

// One operand's piece, ROWS x BK elements of two bytes in the layout that wgmma reads; a block is what 64 rows take.
template <bool K_FAST, int ROWS, int BK> struct WgmmaOperand {
  static_assert(BK == 64 && ROWS % 64 == 0, "lines of 128 bytes");
  static constexpr int LINES = K_FAST ? ROWS : BK, CHUNKS = (K_FAST ? BK : ROWS) / 8, PER_CHUNK = 8, BYTES = ROWS * BK * 2,
                       BLOCK = 64 * BK * 2;
  // Bytes from one step of 16 k to the next.
  static constexpr int STEP = K_FAST ? 32 : 16 * 128;
  static __device__ __forceinline__ u32 offset(int line, int chunk) {
    return (u32)(chunk / 8 * BLOCK + line * 128 + ((chunk % 8) ^ (line % 8)) * 16);
  }
  static __device__ __forceinline__ u64 descriptor(u32 from) { return wgmma_descriptor(from, 1024, BLOCK); }
};

template <class T, class Mma> struct WgmmaTile {
  static constexpr int BM = T::BM, BN = T::BN, BK = T::BK, WM = T::WM, STAGES = T::STAGES;
  static constexpr int GROUPS = BM / WM, THREADS = GROUPS * 128, PARTS = WM / 64;
  static_assert(STAGES >= 3, "one piece is multiplied, one has just been, one is under way");
  typedef WgmmaOperand<T::A_K_FAST, BM, BK> SharedA;
  typedef WgmmaOperand<T::B_K_FAST, BN, BK> SharedB;
  static constexpr int STAGE_BYTES = SharedA::BYTES + SharedB::BYTES;

  template <class CopyA, class CopyB, class Output>
  static __device__ __forceinline__ void run(u8 *shared, CopyA &copy_a, CopyB &copy_b, int pieces, int m0, int n0,
                                             const Output &output, int rows = T::M, int columns = T::N) {
    constexpr bool AHEAD = CopyA::PREPARES && STAGES >= 4;  // finishes a piece while the one before it is multiplied
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, group = __shfl_sync(0xffffffffu, warp / 4, 0);
    const u32 unaligned = shared_address(shared), base = (unaligned + 1023) & ~1023u;
    float sums[PARTS][BN / 2];  // set by the first products: nothing but products may write them while some are under way

    int fetched = 0;  // pieces whose copy was started
#pragma unroll
    for (int stage = 0; stage < STAGES - 2; stage++) {
      if (fetched < pieces) {
        copy_a.copy(base + stage * STAGE_BYTES);
        copy_b.copy(base + stage * STAGE_BYTES + SharedA::BYTES);
        fetched++;
      }
      copy_commit();
    }
    copy_a.begin();
    u32 reading = base, writing = base + (STAGES - 2) * STAGE_BYTES;
    const u32 last = base + (STAGES - 1) * STAGE_BYTES;
#pragma unroll 1
    for (int piece = 0; piece < pieces; piece++) {
      copy_wait<STAGES - 3 - AHEAD>();
      if (!AHEAD || piece == 0) copy_a.finish(reading);
      fence_shared_for_async();
      __syncthreads();
      const u64 a = SharedA::descriptor(reading + group * (PARTS * SharedA::BLOCK)),
                b = SharedB::descriptor(reading + SharedA::BYTES);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < BK / 16; step++)
#pragma unroll
        for (int part = 0; part < PARTS; part++)
          wgmma<!T::A_K_FAST, !T::B_K_FAST>(Mma(), sums[part], a + ((part * SharedA::BLOCK + step * SharedA::STEP) >> 4),
                                            b + (step * SharedB::STEP >> 4), piece > 0 || step > 0);
      wgmma_commit();
      if (fetched < pieces) {
        copy_a.copy(writing);
        copy_b.copy(writing + SharedA::BYTES);
        fetched++;
      }
      copy_commit();
      if constexpr (AHEAD) copy_a.finish(reading == last ? base : reading + STAGE_BYTES);
      wgmma_wait<1>();
      reading = reading == last ? base : reading + STAGE_BYTES;
      writing = writing == last ? base : writing + STAGE_BYTES;
    }
    wgmma_wait<0>();
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
      wgmma_settle(sums[part]);
      if (pieces > 0) continue;
#pragma unroll
      for (int i = 0; i < BN / 2; i++) sums[part][i] = 0;
    }
    copy_wait<0>();
    __syncthreads();
    float *corner = (float *)(shared + (base - unaligned)) + warp * FragmentStore<BN>::FLOATS;
#pragma unroll
    for (int part = 0; part < PARTS; part++)
      FragmentStore<BN>::template store<T::M, T::N>(corner, sums[part], m0 + group * WM + part * 64 + warp % 4 * 16, n0, lane,
                                                    output, rows, columns);
  }
};
