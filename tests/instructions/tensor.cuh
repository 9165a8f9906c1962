// Boxes of tensors into shared memory, whose words are then written out as they lie; and back.
#include "kernels/tile/tensor_copy.cuh"

struct Place {
  int at[5];
};
struct Offset {
  u16 at[3];
};
extern __shared__ u8 dynamic[];

template <int RANK> DEVICE TensorPlace<RANK> place_of(const Place &place) {
  TensorPlace<RANK> result;
  for (int i = 0; i < RANK; i++) result.at[i] = place.at[i];
  return result;
}
DEVICE u32 aligned_dynamic() { return (shared_address(dynamic) + 1023) & ~1023u; }

DEVICE void write_out(u32 from, u32 bytes, u32 *out) {
  for (u32 i = threadIdx.x * 4; i < bytes; i += blockDim.x * 4) out[i / 4] = load_shared(from + i);
}

template <int RANK> DEVICE void load(const TensorMap *map, const Place &place, u32 bytes, u32 *out) {
  __shared__ u64 barrier;
  const u32 to = aligned_dynamic(), at = shared_address(&barrier);
  if (threadIdx.x == 0) {
    tensor_prefetch(map);
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, bytes);
    tensor_load<RANK>(to, map, place_of<RANK>(place), at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  write_out(to, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    load_1(const __grid_constant__ TensorMap map, Place place, u32 bytes, u32 *out) {
  load<1>(&map, place, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    load_2(const __grid_constant__ TensorMap map, Place place, u32 bytes, u32 *out) {
  load<2>(&map, place, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    load_3(const __grid_constant__ TensorMap map, Place place, u32 bytes, u32 *out) {
  load<3>(&map, place, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    load_4(const __grid_constant__ TensorMap map, Place place, u32 bytes, u32 *out) {
  load<4>(&map, place, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    load_5(const __grid_constant__ TensorMap map, Place place, u32 bytes, u32 *out) {
  load<5>(&map, place, bytes, out);
}
// The map in global memory.
extern "C" __global__ void __launch_bounds__(64) load_far(const TensorMap *map, Place place, u32 bytes, u32 *out) {
  load<2>(map, place, bytes, out);
}

template <int RANK> DEVICE void store(const TensorMap *map, const Place &place, u32 bytes, const u32 *in) {
  const u32 from = aligned_dynamic();
  for (u32 i = threadIdx.x * 4; i < bytes; i += blockDim.x * 4) store_shared<4>(from + i, in[i / 4]);
  fence_shared_for_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    tensor_store<RANK>(map, place_of<RANK>(place), from);
    bulk_commit();
    bulk_wait<0>();
  }
}
extern "C" __global__ void __launch_bounds__(64)
    store_1(const __grid_constant__ TensorMap map, Place place, u32 bytes, const u32 *in) {
  store<1>(&map, place, bytes, in);
}
extern "C" __global__ void __launch_bounds__(64)
    store_2(const __grid_constant__ TensorMap map, Place place, u32 bytes, const u32 *in) {
  store<2>(&map, place, bytes, in);
}
extern "C" __global__ void __launch_bounds__(64)
    store_3(const __grid_constant__ TensorMap map, Place place, u32 bytes, const u32 *in) {
  store<3>(&map, place, bytes, in);
}
extern "C" __global__ void __launch_bounds__(64)
    store_4(const __grid_constant__ TensorMap map, Place place, u32 bytes, const u32 *in) {
  store<4>(&map, place, bytes, in);
}
extern "C" __global__ void __launch_bounds__(64)
    store_5(const __grid_constant__ TensorMap map, Place place, u32 bytes, const u32 *in) {
  store<5>(&map, place, bytes, in);
}

template <int RANK> DEVICE void im2col(const TensorMap *map, const Place &place, const Offset &offset, u32 bytes, u32 *out) {
  __shared__ u64 barrier;
  const u32 to = aligned_dynamic(), at = shared_address(&barrier);
  if (threadIdx.x == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, bytes);
    TensorOffset<RANK> by;
    for (int i = 0; i < RANK - 2; i++) by.at[i] = offset.at[i];
    tensor_load_im2col<RANK>(to, map, place_of<RANK>(place), by, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  write_out(to, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    im2col_3(const __grid_constant__ TensorMap map, Place place, Offset offset, u32 bytes, u32 *out) {
  im2col<3>(&map, place, offset, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    im2col_4(const __grid_constant__ TensorMap map, Place place, Offset offset, u32 bytes, u32 *out) {
  im2col<4>(&map, place, offset, bytes, out);
}
extern "C" __global__ void __launch_bounds__(64)
    im2col_5(const __grid_constant__ TensorMap map, Place place, Offset offset, u32 bytes, u32 *out) {
  im2col<5>(&map, place, offset, bytes, out);
}
