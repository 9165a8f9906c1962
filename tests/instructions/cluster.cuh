// Blocks of a cluster: each other's memory, barriers, and copies to several at once. 128 threads a block.
#include "kernels/tile/tensor_copy.cuh"

extern "C" __global__ void __launch_bounds__(128) ranks(u32 *out) {
  if (threadIdx.x == 0) out[blockIdx.x] = cluster_rank() * 100 + cluster_size();
}

// Each block reads the words of the next and writes into those of the one before.
extern "C" __global__ void __launch_bounds__(128) neighbours(const u32 *in, u32 *out) {
  __shared__ u32 mine[128], given[128];
  const u32 i = threadIdx.x, size = cluster_size(), rank = cluster_rank();
  mine[i] = in[blockIdx.x * 128 + i];
  cluster_barrier();
  const u32 seen = cluster_load(cluster_address(shared_address(&mine[127 - i]), (rank + 1) % size));
  cluster_store(cluster_address(shared_address(&given[i]), (rank + size - 1) % size), mine[i] * 2);
  cluster_barrier();
  out[blockIdx.x * 128 + i] = seen + given[i];
}

// All blocks arrive at the barrier of block 0, which then reads what they have.
extern "C" __global__ void __launch_bounds__(128) gather(const u32 *in, u32 *out) {
  __shared__ u32 mine[128];
  __shared__ u64 barrier;
  const u32 i = threadIdx.x, size = cluster_size(), rank = cluster_rank();
  const u32 at = shared_address(&barrier);
  if (i == 0) {
    barrier_init(at, 128 * size);
    fence_barrier_init();
  }
  cluster_barrier();
  mine[i] = in[blockIdx.x * 128 + i];
  cluster_barrier_arrive(cluster_address(at, 0));
  if (rank == 0) {
    cluster_barrier_wait(at, 0);
    u32 sum = 0;
    for (u32 other = 0; other < size; other++)
      sum += cluster_load(cluster_address(shared_address(&mine[i]), other)) * (other + 1);
    out[blockIdx.x / size * 128 + i] = sum;
  }
  cluster_barrier();
}

// Block 0 of the cluster loads for all.
extern "C" __global__ void __launch_bounds__(128) multicast(const u32 *in, u32 *out) {
  alignas(16) __shared__ u32 words[128];
  __shared__ u64 barrier;
  const u32 i = threadIdx.x, size = cluster_size(), rank = cluster_rank();
  const u32 at = shared_address(&barrier);
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 512);
  }
  cluster_barrier();
  if (rank == 0 && i == 0)
    bulk_load_multicast(shared_address(words), in + blockIdx.x / size * 128, 512, at, (u16)((1u << size) - 1));
  cluster_barrier_wait(at, 0);
  out[blockIdx.x * 128 + i] = words[i] + rank;
  cluster_barrier();
}

// Each block sends its words to the next.
extern "C" __global__ void __launch_bounds__(128) ring(const u32 *in, u32 *out) {
  alignas(16) __shared__ u32 words[128], got[128];
  __shared__ u64 barrier;
  const u32 i = threadIdx.x, next = (cluster_rank() + 1) % cluster_size();
  const u32 at = shared_address(&barrier);
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 512);
  }
  words[i] = in[blockIdx.x * 128 + i] + 1;
  fence_shared_for_async();
  cluster_barrier();
  if (i == 0) bulk_send(cluster_address(shared_address(got), next), shared_address(words), 512, cluster_address(at, next));
  cluster_barrier_wait(at, 0);
  out[blockIdx.x * 128 + i] = got[i];
  cluster_barrier();
}

// Each block loads its part of a box of 32 columns and 8 rows for all: two or four parts. Rounds in a pipeline of one stage, whose emptiness all blocks
// announce to all.
extern "C" __global__ void __launch_bounds__(128) shares(const __grid_constant__ TensorMap map, u32 *out, int rounds) {
  extern __shared__ u8 dynamic[];
  __shared__ u64 full, empty;
  const u32 i = threadIdx.x, size = cluster_size(), rank = cluster_rank(), rows = 8 / size;
  const u32 to = (shared_address(dynamic) + 1023) & ~1023u, full_at = shared_address(&full), empty_at = shared_address(&empty);
  if (i == 0) {
    barrier_init(full_at, 1);
    barrier_init(empty_at, size);
    fence_barrier_init();
  }
  cluster_barrier();
  for (int round = 0; round < rounds; round++) {
    if (i == 0) {
      cluster_barrier_wait(empty_at, (round & 1) ^ 1);
      barrier_arrive_expect(full_at, 8 * 128);
      tensor_load<2>(to + rank * rows * 128, &map, {{0, (int)(round * 8 + rank * rows)}}, full_at, (u16)((1u << size) - 1));
    }
    cluster_barrier_wait(full_at, round & 1);
    for (u32 k = i; k < 256; k += 128) out[(blockIdx.x * rounds + round) * 256 + k] = load_shared(to + k * 4);
    __syncthreads();
    if (i < size) cluster_barrier_arrive(cluster_address(empty_at, i));
  }
  cluster_barrier();
}
