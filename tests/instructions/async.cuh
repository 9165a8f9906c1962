// Barriers in shared memory without bytes: from sm_80 on.
#include "kernels/tile/async.cuh"

// All threads exchange words three times; a barrier of all, asked in each way.
extern "C" __global__ void __launch_bounds__(128) arrivals(const u32 *in, u32 *out) {
  __shared__ u64 barrier;
  __shared__ u32 words[3][128];
  const int i = (int)threadIdx.x;
  const u32 at = shared_address(&barrier);
  if (i == 0) barrier_init(at, 128);
  __syncthreads();
  words[0][i] = in[i];
  barrier_arrive(at);
  barrier_wait(at, 0);
  out[i] = words[0][127 - i];
  words[1][i] = in[i] + 1;
  const u64 state = barrier_arrive_state(at);
  while (!barrier_test_state(at, state)) {}
  out[128 + i] = words[1][127 - i];
  words[2][i] = in[i] + 2;
  barrier_arrive(at);
  while (!barrier_test(at, 0)) {}
  out[256 + i] = words[2][127 - i];
  __syncthreads();
  if (i == 0) {
    barrier_invalidate(at);
    barrier = 17;
    out[384] = (u32)barrier;
  }
}

// Each thread starts a copy of 16 bytes; who waits at the barrier sees all of them. Twice, with the copy's place used again.
extern "C" __global__ void __launch_bounds__(64) copies(const u32 *in, u32 *out) {
  __shared__ u64 barrier;
  alignas(16) __shared__ u32 words[256];
  const int i = (int)threadIdx.x;
  const u32 at = shared_address(&barrier), to = shared_address(words);
  if (i == 0) barrier_init(at, 64);
  __syncthreads();
  for (int turn = 0; turn < 2; turn++) {
    copy_async<16>(to + i * 16, in + turn * 256 + i * 4, 16);
    barrier_arrive_after_copies(at);
    barrier_wait(at, turn);
    for (int k = 0; k < 4; k++) out[turn * 256 + i * 4 + k] = words[255 - i * 4 - k];
    __syncthreads();
  }
}
