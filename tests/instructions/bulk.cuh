// Bulk copies and the barriers that count their bytes; overlapping launches.
#include "kernels/tile/async.cuh"

// One producer warp, three stages, two consumer warps that each sum what they see: 256 words a tile.
extern "C" __global__ void __launch_bounds__(96) pipeline(const u32 *in, u32 *out, int tiles) {
  constexpr int STAGES = 3, WORDS = 256;
  alignas(16) __shared__ u32 words[STAGES][WORDS];
  __shared__ u64 full[STAGES], empty[STAGES];
  const int i = (int)threadIdx.x;
  if (i == 0) {
    for (int stage = 0; stage < STAGES; stage++) {
      barrier_init(shared_address(&full[stage]), 1);
      barrier_init(shared_address(&empty[stage]), 64);
    }
    fence_barrier_init();
  }
  __syncthreads();
  if (i >= 64) {
    if (elect_one()) {
      for (int tile = 0; tile < tiles; tile++) {
        const int stage = tile % STAGES;
        const u32 at = shared_address(&full[stage]);
        barrier_wait(shared_address(&empty[stage]), (tile / STAGES & 1) ^ 1);
        barrier_arrive_expect(at, WORDS * 4);
        bulk_load(shared_address(words[stage]), in + tile * WORDS, WORDS * 2, at);
        bulk_load(shared_address(words[stage]) + WORDS * 2, in + tile * WORDS + WORDS / 2, WORDS * 2, at);
      }
    }
    return;
  }
  for (int tile = 0; tile < tiles; tile++) {
    const int stage = tile % STAGES;
    barrier_wait(shared_address(&full[stage]), tile / STAGES & 1);
    u32 sum = 0;
    for (int k = i; k < WORDS; k += 64) sum += words[stage][k] * (u32)(tile + 1);
    out[tile * 64 + i] = sum;
    barrier_arrive(shared_address(&empty[stage]));
  }
}

// In, changed, and out again; bytes expected apart from the arrival.
extern "C" __global__ void __launch_bounds__(64) there_and_back(const u32 *in, u32 *out) {
  alignas(16) __shared__ u32 words[512];
  __shared__ u64 barrier;
  const int i = (int)threadIdx.x;
  const u32 at = shared_address(&barrier), to = shared_address(words);
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_expect(at, 1024);
    bulk_load(to, in, 1024, at);
    barrier_expect(at, 1024);
    bulk_load(to + 1024, in + 256, 1024, at);
    barrier_arrive(at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  for (int k = i; k < 512; k += 64) words[k] += (u32)k;
  fence_shared_for_async();
  __syncthreads();
  if (i == 0) {
    bulk_store(out, to, 2048);
    bulk_commit();
    bulk_wait<0>();
    out[512] = out[100] + 1;
  }
}

// Two buffers in turn: one is written again when its store has read it.
extern "C" __global__ void __launch_bounds__(64) store_groups(u32 *out, int tiles) {
  alignas(16) __shared__ u32 words[2][128];
  const int i = (int)threadIdx.x;
  for (int tile = 0; tile < tiles; tile++) {
    u32 *buffer = words[tile % 2];
    if (i == 0) bulk_wait_read<1>();
    __syncthreads();
    for (int k = i; k < 128; k += 64) buffer[k] = (u32)(tile * 1000 + k);
    fence_shared_for_async();
    __syncthreads();
    if (i == 0) {
      bulk_store(out + tile * 128, shared_address(buffer), 512);
      bulk_commit();
    }
  }
  if (i == 0) bulk_wait_read<0>();
}

// What the block has just written to memory comes back through a bulk copy.
extern "C" __global__ void __launch_bounds__(64) written_then_loaded(const u32 *in, u32 *memory, u32 *out) {
  alignas(16) __shared__ u32 words[64];
  __shared__ u64 barrier;
  const int i = (int)threadIdx.x;
  const u32 at = shared_address(&barrier);
  memory[i] = in[i] ^ 0xff;
  fence_memory_for_async();
  __syncthreads();
  if (i == 0) {
    barrier_init(at, 1);
    fence_barrier_init();
    barrier_arrive_expect(at, 256);
    bulk_load(shared_address(words), memory, 256, at);
  }
  __syncthreads();
  barrier_wait(at, 0);
  out[i] = words[63 - i];
}

// One lane of each warp, the same each time.
extern "C" __global__ void __launch_bounds__(128) elect(u32 *out) {
  const bool first = elect_one(), again = elect_one();
  const u32 mask = __ballot_sync(0xffffffffu, first), mask_again = __ballot_sync(0xffffffffu, again);
  out[threadIdx.x] = (u32)__popc(mask) + (mask == mask_again ? 10 : 0);
}

extern "C" __global__ void __launch_bounds__(128) before(u32 *words) {
  const u32 i = blockIdx.x * 128 + threadIdx.x;
  words[i] = i * 3;
  grid_launch_next();
}
// One thread waits, the others follow it.
extern "C" __global__ void __launch_bounds__(128) after(const u32 *words, u32 *out, u32 count) {
  const u32 i = blockIdx.x * 128 + threadIdx.x;
  if (threadIdx.x == 0) grid_wait();
  __syncthreads();
  out[i] = words[count - 1 - i];
}
