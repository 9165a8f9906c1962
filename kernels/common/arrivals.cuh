// Arrivals counted in device memory: how blocks of one launch that are all in place at once (Launch.cooperative) tell each other that what they wrote is there.
#pragma once
#include "kernels/common/types.cuh"

// What this thread wrote, and what it learned of at its block's barrier, is there for whoever finds the count with load_acquire. The counter is in device memory.
DEVICE void release_add(u32 *count, u32 value) {
#ifdef EMULATED
  emulated_release_add(count, value);
#else
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(count), "r"(value) : "memory");
#endif
}
DEVICE u32 load_acquire(const u32 *count) {
  u32 value;
#ifdef EMULATED
  value = emulated_load_acquire(count);
#else
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(count) : "memory");
#endif
  return value;
}

// The whole block: what its threads wrote before is there for whoever waits for this arrival. Counters are 0 when the launch begins.
DEVICE void blocks_arrive(u32 *count) {
  __syncthreads();
  if (threadIdx.x == 0) release_add(count, 1);
}
// Until so many blocks have arrived since the launch began. The last thread asks: where some have less to do meanwhile, it is one of them.
DEVICE void blocks_wait(const u32 *count, u32 arrivals) {
  if (threadIdx.x == blockDim.x - 1)
    while ((int)(load_acquire(count) - arrivals) < 0) {}
  __syncthreads();
}

// 16 bytes that another block wrote, from where all see them.
DEVICE uint4 load_from_others(const void *from) {
#ifdef EMULATED
  return *(const uint4 *)from;
#else
  uint4 value;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from)
               : "memory");
  return value;
#endif
}
