// Fragments and products of a warp.
#include "kernels/tile/async.cuh"

// COUNT 8x8 matrices of 16 bits, 32 words each, into shared memory, fragments out, and from Hopper on the fragments back.
template <int COUNT, bool TRANSPOSED> DEVICE void fragments(const u32 *in, u32 *out) {
  alignas(16) __shared__ u32 from[128], to[128];
  const int lane = (int)threadIdx.x;
  for (int i = lane; i < COUNT * 32; i += 32) from[i] = in[i], to[i] = 0;
  __syncthreads();
  const u32 row = lane % (COUNT * 8) * 16;
  u32 held[COUNT];
  if constexpr (TRANSPOSED) load_matrices_transposed(held, shared_address(from) + row);
  else load_matrices(held, shared_address(from) + row);
  for (int i = 0; i < COUNT; i++) out[i * 32 + lane] = held[i];
#if __CUDA_ARCH__ >= 900
  if constexpr (TRANSPOSED) store_matrices_transposed(shared_address(to) + row, held);
  else store_matrices(shared_address(to) + row, held);
  __syncthreads();
  for (int i = lane; i < COUNT * 32; i += 32) out[COUNT * 32 + i] = to[i];
#endif
}
extern "C" __global__ void __launch_bounds__(32) fragments_1(const u32 *in, u32 *out) { fragments<1, false>(in, out); }
extern "C" __global__ void __launch_bounds__(32) fragments_2(const u32 *in, u32 *out) { fragments<2, false>(in, out); }
extern "C" __global__ void __launch_bounds__(32) fragments_4(const u32 *in, u32 *out) { fragments<4, false>(in, out); }
extern "C" __global__ void __launch_bounds__(32) transposed_1(const u32 *in, u32 *out) { fragments<1, true>(in, out); }
extern "C" __global__ void __launch_bounds__(32) transposed_2(const u32 *in, u32 *out) { fragments<2, true>(in, out); }
extern "C" __global__ void __launch_bounds__(32) transposed_4(const u32 *in, u32 *out) { fragments<4, true>(in, out); }

// a[16][8 words], b[8][8 words], k fastest; out[16][8] floats.
template <class Mma> DEVICE void product(const u32 *a, const u32 *b, float *out) {
  const int lane = (int)threadIdx.x, g = lane / 4, t = lane % 4;
  const u32 left[4] = {Mma::prepare(a[g * 8 + t]), Mma::prepare(a[(g + 8) * 8 + t]), Mma::prepare(a[g * 8 + t + 4]),
                       Mma::prepare(a[(g + 8) * 8 + t + 4])};
  const u32 right[2] = {Mma::prepare(b[g * 8 + t]), Mma::prepare(b[g * 8 + t + 4])};
  float sums[4] = {1, 2, 3, 4};
  Mma::multiply(sums, left, right);
  for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sums[i];
}
extern "C" __global__ void __launch_bounds__(32) product_f16(const u32 *a, const u32 *b, float *out) {
  product<MmaF16>(a, b, out);
}
#if __CUDA_ARCH__ >= 800
extern "C" __global__ void __launch_bounds__(32) product_bf16(const u32 *a, const u32 *b, float *out) {
  product<MmaBf16>(a, b, out);
}
extern "C" __global__ void __launch_bounds__(32) product_tf32(const u32 *a, const u32 *b, float *out) {
  product<MmaTf32>(a, b, out);
}
#endif
