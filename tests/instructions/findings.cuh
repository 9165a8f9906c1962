// Kernels with one mistake each. All have the same parameters: in and out are 4,096 words, the map is of in as 64 columns of 64 rows with boxes
// of 32 x 8 and a swizzle of 128 bytes.
#include "kernels/common/arrivals.cuh"
#include "kernels/tile/tensor_copy.cuh"
#include "kernels/tile/wgmma.cuh"

#define PARAMETERS const __grid_constant__ TensorMap map, const u32 *in, u32 *out, int zero
#define BYTES 1024
#define SHARED                                                         \
  alignas(1024) __shared__ u32 words[512];                             \
  __shared__ u64 barriers[2];                                          \
  const u32 to = shared_address(words), at = shared_address(barriers); \
  const int i = (int)threadIdx.x
// Thread 0 starts a load of 1,024 bytes that the barrier counts.
#define LOADING                       \
  SHARED;                             \
  if (i == 0) {                       \
    barrier_init(at, 1);              \
    fence_barrier_init();             \
    barrier_arrive_expect(at, BYTES); \
    bulk_load(to, in, BYTES, at);     \
  }                                   \
  __syncthreads()

extern "C" __global__ void no_wait(PARAMETERS) {
  LOADING;
  out[i] = words[i];
}
extern "C" __global__ void only_one_waits(PARAMETERS) {
  LOADING;
  if (i == 0) barrier_wait(at, 0);
  out[i] = words[i];
}
extern "C" __global__ void wrong_parity(PARAMETERS) {
  LOADING;
  barrier_wait(at, 1);
  out[i] = words[i];
}
extern "C" __global__ void parity_of_2(PARAMETERS) {
  LOADING;
  barrier_wait(at, 2);
}
extern "C" __global__ void nothing_expected(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 2);
    fence_barrier_init();
    bulk_load(to, in, BYTES, at);
    barrier_arrive(at);
  }
  __syncthreads();
  if (i == 32) barrier_arrive(at);
  barrier_wait(at, 0);
  out[i] = words[i];
}
extern "C" __global__ void too_much_expected(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES + 16);
    bulk_load(to, in, BYTES, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  out[i] = words[i];
}
extern "C" __global__ void too_little_expected(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES - 16);
    bulk_load(to, in, BYTES, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  out[i] = words[i];
}
extern "C" __global__ void too_many_arrive(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    barrier_expect(at, BYTES);
  }
  __syncthreads();
  barrier_arrive(at);
}
extern "C" __global__ void too_few_arrive(PARAMETERS) {
  SHARED;
  if (i == 0) barrier_init(at, 64);
  __syncthreads();
  if (i > 0) barrier_arrive(at);
  barrier_wait(at, 0);
}
extern "C" __global__ void initialised_twice(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    barrier_init(at, 1);
  }
}
extern "C" __global__ void not_initialised(PARAMETERS) {
  SHARED;
  barrier_arrive(at);
}
extern "C" __global__ void initialised_unseen(PARAMETERS) {
  SHARED;
  if (i == 0) barrier_init(at, 64);
  if (i >= 32) __nanosleep(100);
  barrier_arrive(at);
}
extern "C" __global__ void barrier_overwritten(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    barriers[0] = 1;
  }
}
extern "C" __global__ void barrier_askew(PARAMETERS) {
  SHARED;
  if (i == 0) barrier_init(at + 4, 1);
}
extern "C" __global__ void barrier_unfenced(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    barrier_arrive_expect(at, BYTES);
    bulk_load(to, in, BYTES, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void bytes_askew(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 24);
    bulk_load(to, in, 24, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void invalidated_too_soon(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 2);
    barrier_arrive(at);
    barrier_invalidate(at);
  }
}
extern "C" __global__ void ends_too_soon(PARAMETERS) { LOADING; }
// The buffer is loaded again while others may still read it.
extern "C" __global__ void used_again_too_soon(PARAMETERS) {
  LOADING;
  barrier_wait(at, 0);
  out[i] = words[i];
  if (i == 0) {
    barrier_arrive_expect(at, BYTES);
    bulk_load(to, in + 512, BYTES, at);
  }
  barrier_wait(at, 1);
}
extern "C" __global__ void store_unfenced(PARAMETERS) {
  SHARED;
  words[i] = in[i];
  __syncthreads();
  if (i == 0) {
    bulk_store(out, to, 256);
    bulk_commit();
    bulk_wait<0>();
  }
}
extern "C" __global__ void store_overwritten(PARAMETERS) {
  SHARED;
  words[i] = in[i];
  fence_shared_for_async();
  __syncthreads();
  if (i == 0) {
    bulk_store(out, to, 256);
    bulk_commit();
  }
  __syncthreads();
  words[i] = 7;
  if (i == 0) bulk_wait_read<0>();
}
extern "C" __global__ void store_uncommitted(PARAMETERS) {
  SHARED;
  words[i] = in[i];
  fence_shared_for_async();
  __syncthreads();
  if (i == 0) {
    bulk_store(out, to, 256);
    bulk_wait_read<0>();
  }
}
extern "C" __global__ void store_read_too_soon(PARAMETERS) {
  SHARED;
  words[i] = in[i];
  fence_shared_for_async();
  __syncthreads();
  if (i == 0) {
    bulk_store(out, to, 256);
    bulk_commit();
    bulk_wait_read<0>();
    out[100] = out[3];
  }
}
extern "C" __global__ void loaded_over_stores(PARAMETERS) {
  SHARED;
  words[i] = in[i];
  __syncthreads();
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES);
    bulk_load(to, in, BYTES, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void memory_overwritten(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 256);
    bulk_load(to, out, 256, at);
    out[5] = 1;
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void memory_unfenced(PARAMETERS) {
  SHARED;
  out[i] = in[i];
  __syncthreads();
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 256);
    bulk_load(to, out, 256, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void copies_not_there(PARAMETERS) {
  SHARED;
  if (i == 0) barrier_init(at, 64);
  __syncthreads();
  copy_async<16>(to + i * 16, in + i * 4, 16);
  barrier_arrive(at);
  barrier_wait(at, 0);
  copy_commit();
  out[i] = words[(i * 4 + 4) % 256];
  copy_wait<0>();
}
// The word at row 1, column 0 is not where it would be without the swizzle.
extern "C" __global__ void swizzle_ignored(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES);
    tensor_load<2>(to, &map, {{0, 0}}, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  if (words[32] != in[64]) out[4096 + zero] = 1;
}
extern "C" __global__ void map_invalid(PARAMETERS) {
  SHARED;
  TensorMap torn = map;
  torn.opaque[2] += 64;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES);
    tensor_load<2>(to, &torn, {{0, 0}}, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void map_of_two(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES);
    tensor_load<3>(to, &map, {{0, 0, 0}}, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void box_askew(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES);
    tensor_load<2>(to + 64, &map, {{0, 0}}, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void box_begins_askew(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES);
    tensor_load<2>(to, &map, {{3, 0}}, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
}
extern "C" __global__ void box_stored_before(PARAMETERS) {
  SHARED;
  for (u32 k = threadIdx.x * 4; k < BYTES; k += blockDim.x * 4) store_shared<4>(to + k, k);
  fence_shared_for_async();
  __syncthreads();
  if (i != 0) return;
  tensor_store<2>(&map, {{0, -1}}, to);
  bulk_commit();
  bulk_wait<0>();
}
extern "C" __global__ void registers_differ(PARAMETERS) {
  if (threadIdx.x < 96) registers_lower<40>();
  else registers_lower<48>();
}
extern "C" __global__ void registers_of_half(PARAMETERS) {
  if (threadIdx.x < 64) registers_lower<40>();
  __syncthreads();
}

// --- Products of one warpgroup, 64 x 64 x 16, whose operands begin at a 1,024-byte boundary.
#define MULTIPLYING                                                                        \
  extern __shared__ u8 dynamic[];                                                          \
  __shared__ u64 barriers[1];                                                              \
  const u32 to = (shared_address(dynamic) + 1023) & ~1023u, at = shared_address(barriers); \
  const int i = (int)threadIdx.x;                                                          \
  float sums[32];                                                                          \
  for (int k = 0; k < 32; k++) sums[k] = 0
#define MULTIPLY                                                                                                  \
  wgmma_fence();                                                                                                  \
  wgmma<false, false>(MmaF16(), sums, wgmma_descriptor(to, 1024, 8192), wgmma_descriptor(to + 8192, 1024, 8192)); \
  wgmma_commit();                                                                                                 \
  wgmma_wait<0>();                                                                                                \
  out[i] = float_bits(sums[0])

extern "C" __global__ void product_unfenced(PARAMETERS) {
  MULTIPLYING;
  for (int k = i; k < 4096; k += 128) store_shared<4>(to + k * 4, 0);
  __syncthreads();
  MULTIPLY;
}
extern "C" __global__ void product_too_soon(PARAMETERS) {
  MULTIPLYING;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 16384);
    bulk_load(to, in, 16384, at);
  }
  __syncthreads();
  MULTIPLY;
  barrier_wait(at, 0);
}
// The operands are loaded anew while products may still read them.
extern "C" __global__ void product_overwritten(PARAMETERS) {
  MULTIPLYING;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 16384);
    bulk_load(to, in, 16384, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  wgmma_fence();
  wgmma<false, false>(MmaF16(), sums, wgmma_descriptor(to, 1024, 8192), wgmma_descriptor(to + 8192, 1024, 8192));
  wgmma_commit();
  __syncthreads();
  if (i == 0) {
    barrier_arrive_expect(at, 16384);
    bulk_load(to, in, 16384, at);
  }
  wgmma_wait<0>();
  barrier_wait(at, 1);
  out[i] = float_bits(sums[0]);
}

// --- In clusters of two blocks of 64 threads.
extern "C" __global__ void other_not_begun(PARAMETERS) {
  SHARED;
  words[i] = (u32)i;
  __syncthreads();
  out[blockIdx.x * 64 + i] = cluster_load(cluster_address(shared_address(&words[i]), cluster_rank() ^ 1));
  cluster_barrier();
}
extern "C" __global__ void other_ended(PARAMETERS) {
  SHARED;
  words[i] = (u32)i;
  cluster_barrier();
  out[blockIdx.x * 64 + i] = cluster_load(cluster_address(shared_address(&words[i]), cluster_rank() ^ 1));
}
extern "C" __global__ void remote_unordered(PARAMETERS) {
  SHARED;
  words[i] = 0;
  cluster_barrier();
  if (cluster_rank() == 0) cluster_store(cluster_address(shared_address(&words[i]), 1), 5);
  else out[i] = words[i];
  cluster_barrier();
}
extern "C" __global__ void no_such_block(PARAMETERS) {
  SHARED;
  if (i == 0) out[0] = cluster_load(cluster_address(to, 2));
}
extern "C" __global__ void cluster_wait_alone(PARAMETERS) { cluster_wait(); }
extern "C" __global__ void cluster_arrive_twice(PARAMETERS) {
  cluster_arrive();
  cluster_arrive();
  cluster_wait();
}
// Block 0 ends without knowing that the other has told it so.
extern "C" __global__ void last_arrivals(PARAMETERS) {
  SHARED;
  if (i == 0) barrier_init(at, 64);
  cluster_barrier();
  if (cluster_rank() == 1) cluster_barrier_arrive(cluster_address(at, 0));
}
extern "C" __global__ void sent_unfenced(PARAMETERS) {
  SHARED;
  words[i] = in[i];
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 256);
  }
  cluster_barrier();
  const u32 other = cluster_rank() ^ 1;
  if (i == 0) bulk_send(cluster_address(to + 1024, other), to, 256, cluster_address(at, other));
  barrier_wait(at, 0);
  cluster_barrier();
}
extern "C" __global__ void some_do_not_arrive(PARAMETERS) {
  if (cluster_rank() == 0) cluster_barrier();
  else {
    SHARED;
    if (i == 0) barrier_init(at, 1);
    __syncthreads();
    barrier_wait(at, 0);
  }
}
extern "C" __global__ void multicast_too_far(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, BYTES);
  }
  cluster_barrier();
  if (cluster_rank() == 0 && i == 0) bulk_load_multicast(to, in, BYTES, at, 7);
  barrier_wait(at, 0);
  cluster_barrier();
}
extern "C" __global__ void multicast_unexpected(PARAMETERS) {
  SHARED;
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    if (cluster_rank() == 0) barrier_arrive_expect(at, BYTES);
  }
  cluster_barrier();
  if (cluster_rank() == 0 && i == 0) bulk_load_multicast(to, in, BYTES, at, 3);
  barrier_wait(at, 0);
  cluster_barrier();
}

// --- Launched to overlap a kernel that writes `out`.
extern "C" __global__ void first_of_two(PARAMETERS) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = 1;
  grid_launch_next();
}
extern "C" __global__ void second_does_not_wait(PARAMETERS) { out[threadIdx.x + 64] = out[threadIdx.x] + 1; }
extern "C" __global__ void second_waits_in_part(PARAMETERS) {
  if (threadIdx.x < 32) grid_wait();
  out[threadIdx.x + 64] = out[threadIdx.x] + 1;
}
// The second block to come reads what the first left, which did not fence before it said so, or fenced before it wrote.
extern "C" __global__ void published_unfenced(PARAMETERS) {
  __shared__ u32 ticket;
  const u32 i = threadIdx.x;
  out[blockIdx.x * 64 + i] = i;
  __syncthreads();
  if (i == 0) ticket = atomicExch((u32 *)in, 7u);
  __syncthreads();
  if (ticket == 7) out[128 + i] = out[(blockIdx.x ^ 1) * 64 + i];
}
extern "C" __global__ void published_too_soon(PARAMETERS) {
  __shared__ u32 ticket;
  const u32 i = threadIdx.x;
  if (i == 0) __threadfence();
  out[blockIdx.x * 64 + i] = i;
  __syncthreads();
  if (i == 0) ticket = atomicExch((u32 *)in, 7u);
  __syncthreads();
  if (ticket == 7) out[128 + i] = out[(blockIdx.x ^ 1) * 64 + i];
}
// --- Two blocks of 64 threads in place at once, which count their arrivals in the last word of `in`, 0 at first, and read each other's words.
#define ARRIVALS ((u32 *)in + 4095)
DEVICE void leave_words(u32 *out) { out[blockIdx.x * 64 + threadIdx.x] = threadIdx.x; }
DEVICE void read_words(u32 *out) { out[128 + blockIdx.x * 64 + threadIdx.x] = out[(blockIdx.x ^ 1) * 64 + threadIdx.x]; }
extern "C" __global__ void arrival_relaxed(PARAMETERS) {
  leave_words(out);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(ARRIVALS, 1u);
  blocks_wait(ARRIVALS, 2);
  read_words(out);
}
extern "C" __global__ void arrival_of_one_thread(PARAMETERS) {
  leave_words(out);
  if (threadIdx.x == 0) release_add(ARRIVALS, 1);
  blocks_wait(ARRIVALS, 2);
  read_words(out);
}
extern "C" __global__ void arrival_too_soon(PARAMETERS) {
  blocks_arrive(ARRIVALS);
  leave_words(out);
  blocks_wait(ARRIVALS, 2);
  read_words(out);
}
extern "C" __global__ void arrival_asked_plainly(PARAMETERS) {
  leave_words(out);
  blocks_arrive(ARRIVALS);
  if (threadIdx.x == 0)
    while (*(volatile u32 *)ARRIVALS < 2) {}
  __syncthreads();
  read_words(out);
}
extern "C" __global__ void arrival_missing(PARAMETERS) {
  leave_words(out);
  if (blockIdx.x == 0) blocks_arrive(ARRIVALS);
  blocks_wait(ARRIVALS, 2);
  read_words(out);
}
extern "C" __global__ void arrival_of_too_few(PARAMETERS) {
  leave_words(out);
  blocks_arrive(ARRIVALS);
  blocks_wait(ARRIVALS, 1);
  read_words(out);
}
extern "C" __global__ void arrival_in_cluster(PARAMETERS) {
  leave_words(out);
  cluster_barrier();
  read_words(out);
}
