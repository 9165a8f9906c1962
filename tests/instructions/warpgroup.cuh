// Products of a warpgroup whose operands tensor copies bring: 64 x 64 outputs, `pieces` times 64 deep. One warpgroup copies and needs few registers;
// the other multiplies.
#include "kernels/tile/tensor_copy.cuh"
#include "kernels/tile/wgmma.cuh"

template <bool ROWS_FAST_A, bool ROWS_FAST_B>
DEVICE void product(const TensorMap *a, const TensorMap *b, float *out, int pieces) {
  constexpr u32 OPERAND = 64 * 64 * 2, STAGE = 2 * OPERAND;
  constexpr int STAGES = 2;
  extern __shared__ u8 dynamic[];
  __shared__ u64 full[STAGES], empty[STAGES];
  const u32 base = (shared_address(dynamic) + 1023) & ~1023u;
  const int thread = (int)threadIdx.x, warpgroup = __shfl_sync(0xffffffffu, thread / 128, 0);
  if (thread == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(shared_address(&full[i]), 1);
      barrier_init(shared_address(&empty[i]), 128);
    }
    fence_barrier_init();
  }
  __syncthreads();
  if (warpgroup == 1) {
    registers_lower<40>();
    if (thread / 32 == 4 && elect_one())
      for (int piece = 0; piece < pieces; piece++) {
        const int stage = piece % STAGES;
        const u32 to = base + stage * STAGE, at = shared_address(&full[stage]);
        barrier_wait(shared_address(&empty[stage]), (piece / STAGES & 1) ^ 1);
        barrier_arrive_expect(at, STAGE);
        tensor_load<2>(to, a, {{ROWS_FAST_A ? 0 : piece * 64, ROWS_FAST_A ? piece * 64 : 0}}, at);
        tensor_load<2>(to + OPERAND, b, {{ROWS_FAST_B ? 0 : piece * 64, ROWS_FAST_B ? piece * 64 : 0}}, at);
      }
    return;
  }
  registers_raise<240>();
  float sums[32];
  for (int i = 0; i < 32; i++) sums[i] = 0;
  for (int piece = 0; piece < pieces; piece++) {
    const int stage = piece % STAGES;
    const u32 from = base + stage * STAGE;
    barrier_wait(shared_address(&full[stage]), piece / STAGES & 1);
    wgmma_fence();
    for (int step = 0; step < 4; step++)
      wgmma<ROWS_FAST_A, ROWS_FAST_B>(MmaF16(), sums, wgmma_descriptor(from + step * (ROWS_FAST_A ? 2048 : 32), 1024, OPERAND),
                                      wgmma_descriptor(from + OPERAND + step * (ROWS_FAST_B ? 2048 : 32), 1024, OPERAND));
    wgmma_commit();
    wgmma_wait<0>();
    barrier_arrive(shared_address(&empty[stage]));
  }
  const int row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  for (int i = 0; i < 32; i++) out[(row + i % 4 / 2 * 8) * 64 + column + i / 4 * 8 + i % 2] = sums[i];
}
extern "C" __global__ void __launch_bounds__(256, 1)
    product_kk(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float *out, int pieces) {
  product<false, false>(&a, &b, out, pieces);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    product_kr(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float *out, int pieces) {
  product<false, true>(&a, &b, out, pieces);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    product_rk(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float *out, int pieces) {
  product<true, false>(&a, &b, out, pieces);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    product_rr(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float *out, int pieces) {
  product<true, true>(&a, &b, out, pieces);
}
