// The tile of products by warps: a block multiplies a BM x K by a K x BN piece. It is put together from parts: operands in shared memory (operand.cuh), who
// brings them (copy.cuh), what is done with the first before it is multiplied (prologue.cuh), the order of tiles (order.cuh), and what becomes of the sums (store.cuh).
//
// Shared memory holds STAGES pieces of BK deep. Two asynchronous groups or more are under way while one is multiplied, and inside a piece
// the fragments of the next step of k are loaded while the tensor cores work on this one.
#pragma once
#include "kernels/tile/copy.cuh"
#include "kernels/tile/operand.cuh"
#include "kernels/tile/order.cuh"
#include "kernels/tile/store.cuh"

// Multiplies `pieces` pieces and hands the result of the tile at (m0, n0) to output. T: BM, BN, BK, WM, WN (a warp's part), STAGES,
// A_K_FAST, B_K_FAST, and the output's size M x N; below 0: `rows` x `columns`.
template <class T, class Mma> struct MmaTile {
  static constexpr int BM = T::BM, BN = T::BN, BK = T::BK, WM = T::WM, WN = T::WN, STAGES = T::STAGES;
  static constexpr int WARPS_N = BN / WN, WARPS = BM / WM * WARPS_N, THREADS = WARPS * 32;
  static constexpr int FRAGMENTS_M = WM / 16, FRAGMENTS_N = WN / 8, STEPS = BK / Mma::STEP;
  static_assert(WM % 16 == 0 && WN % 16 == 0 && STEPS % 2 == 0 && STAGES >= 2, "shapes the loop is written for");
  typedef SharedOperand<T::A_K_FAST, BM, BK, Mma::SIZE> SharedA;
  typedef SharedOperand<T::B_K_FAST, BN, BK, Mma::SIZE> SharedB;
  static constexpr int STAGE_BYTES = SharedA::BYTES + SharedB::BYTES;

  template <class CopyA, class CopyB, class Output>
  static __device__ __forceinline__ void run(u8 *shared, CopyA &copy_a, CopyB &copy_b, int pieces, int m0, int n0,
                                             const Output &output, int rows = T::M, int columns = T::N) {
    constexpr bool AHEAD = CopyA::PREPARES && STAGES >= 3;  // finishes a piece while the one before it is multiplied
    constexpr int UNDER_WAY = STAGES - 2 - AHEAD;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int warp_m = warp / WARPS_N * WM, warp_n = warp % WARPS_N * WN;
    const u32 base = shared_address(shared);
    float sums[FRAGMENTS_M][FRAGMENTS_N][4];
#pragma unroll
    for (int i = 0; i < FRAGMENTS_M; i++)
#pragma unroll
      for (int j = 0; j < FRAGMENTS_N; j++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[i][j][c] = 0;

    int fetched = 0;  // pieces whose copy was started
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++) {
      if (fetched < pieces) {
        copy_a.copy(base + stage * STAGE_BYTES);
        copy_b.copy(base + stage * STAGE_BYTES + SharedA::BYTES);
        fetched++;
      }
      copy_commit();
    }
    u32 a[2][FRAGMENTS_M][4], b[2][FRAGMENTS_N / 2][4];
    auto load_fragments = [&](int buffer, u32 stage_base, int step) {
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; i++) SharedA::load_a(a[buffer][i], stage_base, warp_m + i * 16, step, lane);
#pragma unroll
      for (int j = 0; j < FRAGMENTS_N / 2; j++)
        SharedB::load_b(b[buffer][j], stage_base + SharedA::BYTES, warp_n + j * 16, step, lane);
    };
    copy_a.begin();
    copy_wait<UNDER_WAY>();
    copy_a.finish(base);
    __syncthreads();
    u32 reading = base, writing = base + (STAGES - 1) * STAGE_BYTES;
    const u32 last = base + (STAGES - 1) * STAGE_BYTES;
    if (pieces > 0) load_fragments(0, reading, 0);
#pragma unroll 1
    for (int piece = 0; piece < pieces; piece++) {
#pragma unroll
      for (int step = 0; step < STEPS; step++) {
        if (step == STEPS - 1) {
          copy_wait<UNDER_WAY>();
          reading = reading == last ? base : reading + STAGE_BYTES;
          if constexpr (!AHEAD) copy_a.finish(reading);
          __syncthreads();
        }
        if (step < STEPS - 1 || piece + 1 < pieces) load_fragments((step + 1) % 2, reading, (step + 1) % STEPS);
        if (step == 0) {
          if (fetched < pieces) {
            copy_a.copy(writing);
            copy_b.copy(writing + SharedA::BYTES);
            fetched++;
          }
          copy_commit();
          writing = writing == last ? base : writing + STAGE_BYTES;
          if constexpr (AHEAD) copy_a.finish(reading == last ? base : reading + STAGE_BYTES);
        }
        if constexpr (Mma::SIZE == 4) {
#pragma unroll
          for (int c = 0; c < 4; c++) {
#pragma unroll
            for (int i = 0; i < FRAGMENTS_M; i++) a[step % 2][i][c] = Mma::prepare(a[step % 2][i][c]);
#pragma unroll
            for (int j = 0; j < FRAGMENTS_N / 2; j++) b[step % 2][j][c] = Mma::prepare(b[step % 2][j][c]);
          }
        }
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; i++)
#pragma unroll
          for (int j = 0; j < FRAGMENTS_N; j++) Mma::multiply(sums[i][j], a[step % 2][i], &b[step % 2][j / 2][j % 2 * 2]);
      }
    }
    // The last piece's barrier lies behind all reads of its fragments, and no copy is under way: the corners may take the stages' memory.
    float *corner = (float *)shared + warp * FragmentStore<WN>::FLOATS;
#pragma unroll
    for (int i = 0; i < FRAGMENTS_M; i++)
      FragmentStore<WN>::template store<T::M, T::N>(corner, &sums[i][0][0], m0 + warp_m + i * 16, n0 + warp_n, lane, output,
                                                    rows, columns);
  }
};
