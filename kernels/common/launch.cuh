// How a kernel begins. From sm_90 on one kernel may begin while the one before it on the stream ends: its blocks are in place, and what the launch costs is paid. Every
// kernel of ours waits first thing, so that it never sees memory which others still write, and then lets the next one come. The emulated device has both on
// every architecture, where they change nothing, and so compiles a kernel once for all.
#pragma once
#include "kernels/common/types.cuh"

#if __CUDA_ARCH__ >= 900 || defined(EMULATED)
// Of a kernel launched to overlap the one before it: until that one has ended and what it wrote can be read.
DEVICE void grid_wait() {
#ifdef EMULATED
  emulated_grid_wait();
#else
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Once all blocks have said so, or ended, the next kernel may begin.
DEVICE void grid_launch_next() {
#ifdef EMULATED
  emulated_grid_launch_next();
#else
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

DEVICE void begin_kernel() {
#if __CUDA_ARCH__ >= 900 || defined(EMULATED)
  grid_wait();
  grid_launch_next();
#endif
}

// Both apart, for a kernel that has the chip for long: the next one is let in when it nearly is over, and takes no room before.
DEVICE void begin_alone() {
#if __CUDA_ARCH__ >= 900 || defined(EMULATED)
  grid_wait();
#endif
}
DEVICE void let_next_begin() {
#if __CUDA_ARCH__ >= 900 || defined(EMULATED)
  grid_launch_next();
#endif
}
