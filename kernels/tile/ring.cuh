// Buffers of shared memory that some warps fill, by asynchronous copies, and others use, each buffer in its turn: who fills waits until a buffer is free, who uses it until it is
// filled. sm_90 and up.
#pragma once
#include "kernels/tile/async.cuh"

#if __CUDA_ARCH__ >= 900
// Of a thread that copies, what is under way. Its end is told when the next has begun, for the tensor cores too.
struct Copies {
  u32 full;  // the barrier to tell; 0: none is under way
  __device__ __forceinline__ void begin(u32 barrier) {
    copy_commit();
    if (full) {
      copy_wait<1>();
      tell();
    }
    full = barrier;
  }
  __device__ __forceinline__ void end() {
    copy_wait<0>();
    tell();
  }
  __device__ __forceinline__ void tell() const {
    fence_shared_for_async();
    barrier_arrive(full);
  }
};

// Either side has its own, with its own place. Two barriers a buffer, 16 bytes: full, free.
template <int STAGES, int BYTES> struct Ring {
  static constexpr int BARRIER_BYTES = STAGES * 16;
  u32 buffers, barriers;
  u32 stage, turn;

  // By one thread, before all others go on.
  __device__ __forceinline__ void init(u32 copying_threads, u32 using_warps) const {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(barriers + i * 16, copying_threads);
      barrier_init(barriers + i * 16 + 8, using_warps);
    }
  }
  __device__ __forceinline__ void begin() { stage = 0, turn = 0; }
  __device__ __forceinline__ u32 buffer() const { return buffers + stage * BYTES; }
  __device__ __forceinline__ void next() {
    stage++;
    if (stage < STAGES) return;
    stage = 0, turn ^= 1;
  }

  __device__ __forceinline__ void wait_until_free() const { barrier_wait(barriers + stage * 16 + 8, turn ^ 1); }
  // Behind the thread's copies into the buffer.
  __device__ __forceinline__ void fill(Copies &copies) {
    copies.begin(barriers + stage * 16);
    next();
  }
  __device__ __forceinline__ void wait_until_filled() const { barrier_wait(barriers + stage * 16, turn); }
  // By a warp that has done with the buffer.
  __device__ __forceinline__ void free(int lane) {
    if (lane == 0) barrier_arrive(barriers + stage * 16 + 8);
    next();
  }
};
#endif
