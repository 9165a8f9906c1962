// What the lanes of a warp, and the warps of a block, do together.
#include "kernels/tile/async.cuh"

// Each thread: 8 words.
extern "C" __global__ void __launch_bounds__(64) shuffles(const u32 *in, u32 *out) {
  const int i = (int)threadIdx.x, lane = i % 32;
  const u32 all = 0xffffffffu, mine = in[i];
  u32 *to = out + i * 8;
  to[0] = __shfl_sync(all, mine, (lane * 7 + 3) & 31);
  to[1] = __shfl_up_sync(all, mine, 5u);
  to[2] = __shfl_down_sync(all, mine, 9u, 16);
  to[3] = __shfl_xor_sync(all, mine, 6);
  const u64 wide = __shfl_sync(all, (u64)mine << 32 | ~mine, lane ^ 1);
  to[4] = (u32)(wide >> 32);
  to[5] = (u32)wide;
  to[6] = __shfl_sync(all, mine, lane + 2, 8);
  to[7] = 0;
  if (lane < 16) to[7] = __shfl_xor_sync(0xffffu, mine, 8);
}

extern "C" __global__ void __launch_bounds__(64) votes(const u32 *in, u32 *out) {
  const int i = (int)threadIdx.x;
  const u32 all = 0xffffffffu, mine = in[i];
  u32 *to = out + i * 8;
  to[0] = __ballot_sync(all, mine & 1);
  to[1] = (u32)__any_sync(all, mine == in[5]);
  to[2] = (u32)__all_sync(all, mine != in[5]);
  to[3] = __match_any_sync(all, mine % 5);
  to[4] = (u32)__syncthreads_count(mine & 2);
  to[5] = (u32)__syncthreads_and(mine != in[5]);
  to[6] = (u32)__syncthreads_or(mine == in[5]);
  to[7] = (u32)__popc(mine) + (u32)__ffs((int)mine) * 100 + (u32)__clz((int)mine) * 10000;
}

// out: 16 words, all threads at each.
extern "C" __global__ void __launch_bounds__(128) atomics(const u32 *in, u32 *out) {
  __shared__ u32 sum, least;
  const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (threadIdx.x == 0) sum = 0, least = 0xffffffffu;
  __syncthreads();
  const u32 mine = in[i];
  atomicAdd(&sum, mine);
  atomicMin(&least, mine);
  __syncthreads();
  if (threadIdx.x == 0) {
    atomicAdd(out, sum);
    atomicMin(out + 1, least);
  }
  atomicMax(out + 2, mine);
  atomicAnd(out + 3, mine | 0xff);
  atomicOr(out + 4, mine & 0xff00);
  atomicXor(out + 5, mine);
  atomicAdd((u64 *)(out + 6), (u64)mine << 8);
  atomicMax((i32 *)(out + 8), (i32)mine);
  atomicAdd((float *)(out + 9), (float)(mine & 15));
  u32 seen = 0, before;  // an increment by compare and exchange
  while ((before = atomicCAS(out + 10, seen, seen + 1)) != seen) seen = before;
}

// Warps 0 and 1 write, arrive and go on; warps 2 and 3 wait for them.
extern "C" __global__ void __launch_bounds__(128) named(const u32 *in, u32 *out) {
  __shared__ u32 words[64];
  const int i = (int)threadIdx.x;
  if (i < 64) {
    words[i] = in[i];
    named_barrier_arrive(1, 128);
    named_barrier_wait(2, 64);
    out[i] = in[63 - i] + 1;
  } else {
    named_barrier_wait(1, 128);
    out[i] = words[127 - i];
  }
}

// Each block leaves 64 words; the last one to come, by a counter, adds up what all left.
extern "C" __global__ void __launch_bounds__(64) last_block(const u32 *in, u32 *out, u32 *left, u32 *counter) {
  __shared__ u32 ticket;
  const u32 i = threadIdx.x;
  left[blockIdx.x * 64 + i] = in[blockIdx.x * 64 + i] * 3;
  __syncthreads();
  if (i == 0) {
    __threadfence();
    ticket = atomicAdd(counter, 1u);
    __threadfence();
  }
  __syncthreads();
  if (ticket != gridDim.x - 1) return;
  u32 sum = 0;
  for (u32 block = 0; block < gridDim.x; block++) sum += left[block * 64 + i];
  out[i] = sum;
}
