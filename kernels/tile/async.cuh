// Work that goes on beside the threads: barriers in shared memory that count arrivals and bytes (mbarriers), named barriers of some warps, and
// bulk copies, which one thread starts for all. A barrier is 8 bytes of shared memory, aligned to 8 and named by its 32-bit shared
// address; it goes through phases, and a wait is told the parity of the phase that is to be over: 0 first, then 1, 0, ... One function
// an instruction. Barriers that count bytes, and bulk copies, are Hopper's; plain ones work from sm_80 on.
#pragma once
#include "kernels/tile/ptx.cuh"

#if __CUDA_ARCH__ >= 800
// --- Barriers in shared memory.

// By one thread, before any other uses it: a phase is over when `count` arrivals, and all bytes expected, have come.
DEVICE void barrier_init(u32 barrier, u32 count) {
#ifdef EMULATED
  emulated_mbarrier_init(barrier, count);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
#endif
}
// Makes the memory ordinary again.
DEVICE void barrier_invalidate(u32 barrier) {
#ifdef EMULATED
  emulated_mbarrier_invalidate(barrier);
#else
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
#endif
}
DEVICE void barrier_arrive(u32 barrier) {
#ifdef EMULATED
  emulated_mbarrier_arrive(barrier, 0, 1);
#else
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
#endif
}
// The state names the phase arrived in, for barrier_test_state.
DEVICE u64 barrier_arrive_state(u32 barrier) {
  u64 state;
#ifdef EMULATED
  state = emulated_mbarrier_arrive(barrier, 0, 1);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 %0, [%1];" : "=l"(state) : "r"(barrier) : "memory");
#endif
  return state;
}
// Whether the phase is over.
DEVICE bool barrier_test_state(u32 barrier, u64 state) {
#ifdef EMULATED
  return emulated_mbarrier_test_state(barrier, state);
#else
  u32 over;
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}"
               : "=r"(over)
               : "r"(barrier), "l"(state)
               : "memory");
  return over;
#endif
}
DEVICE bool barrier_test(u32 barrier, u32 phase) {
#ifdef EMULATED
  return emulated_mbarrier_test(barrier, phase);
#else
  u32 over;
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}"
               : "=r"(over)
               : "r"(barrier), "r"(phase)
               : "memory");
  return over;
#endif
}
// Until the phase of this parity is over. The thread then sees what came before the arrivals, and the bytes that were counted.
DEVICE void barrier_wait(u32 barrier, u32 phase) {
#ifdef EMULATED
  emulated_mbarrier_wait(barrier, phase);
#elif __CUDA_ARCH__ >= 900
  u32 over;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}"
                 : "=r"(over)
                 : "r"(barrier), "r"(phase)
                 : "memory");
  } while (!over);
#else
  while (!barrier_test(barrier, phase)) {}
#endif
}
// Arrives once the copies that the thread started with copy_async are there: one of the arrivals that the barrier counts.
DEVICE void barrier_arrive_after_copies(u32 barrier) {
#ifdef EMULATED
  emulated_mbarrier_arrive_copies(barrier);
#else
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
#endif
}
#endif

// --- Named barriers (1 to 15; __syncthreads is 0): `threads` in all, a multiple of 32, of which some only arrive.
DEVICE void named_barrier_wait(int id, int threads) {
#ifdef EMULATED
  emulated_barrier(id, threads);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}
DEVICE void named_barrier_arrive(int id, int threads) {
#ifdef EMULATED
  emulated_barrier_arrive(id, threads);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

#if __CUDA_ARCH__ >= 900
// What ordinary stores or copy_async wrote, the asynchronous proxy (bulk copies, warpgroup products) reads only after this fence by a
// thread that sees it, and it writes over what they wrote only then.
DEVICE void fence_shared_for_async() {
#ifdef EMULATED
  emulated_fence_proxy();
#else
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
DEVICE void fence_memory_for_async() {
#ifdef EMULATED
  emulated_fence_proxy();
#else
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}
// After barrier_init, before bulk copies or other blocks of the cluster use the barrier.
DEVICE void fence_barrier_init() {
#ifdef EMULATED
  emulated_fence_mbarrier_init();
#else
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

// --- Bytes. Those expected and those that copies brought must meet for a phase to end.
DEVICE void barrier_expect(u32 barrier, u32 bytes) {
#ifdef EMULATED
  emulated_mbarrier_expect(barrier, bytes);
#else
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
#endif
}
DEVICE void barrier_arrive_expect(u32 barrier, u32 bytes) {
#ifdef EMULATED
  emulated_mbarrier_arrive(barrier, bytes, 1);
#else
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(barrier), "r"(bytes)
               : "memory");
#endif
}

// --- Bulk copies: addresses and bytes are multiples of 16. Into shared memory, a barrier counts the bytes.
DEVICE void bulk_load(u32 to, const void *from, u32 bytes, u32 barrier) {
#ifdef EMULATED
  emulated_bulk_load(to, from, bytes, barrier, 0);
#else
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from),
               "r"(bytes), "r"(barrier)
               : "memory");
#endif
}
// Out of shared memory, into groups of the thread: copies since the last commit are one.
DEVICE void bulk_store(void *to, u32 from, u32 bytes) {
#ifdef EMULATED
  emulated_bulk_store(to, from, bytes);
#else
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes) : "memory");
#endif
}
DEVICE void bulk_commit() {
#ifdef EMULATED
  emulated_bulk_commit();
#else
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}
// Until at most N groups are under way; bulk_wait_read: until all but N have read their shared memory, which may then be written again.
template <int N> DEVICE void bulk_wait() {
#ifdef EMULATED
  emulated_bulk_wait(N, false);
#else
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
#endif
}
template <int N> DEVICE void bulk_wait_read() {
#ifdef EMULATED
  emulated_bulk_wait(N, true);
#else
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
#endif
}

// --- Who does it, and with what.

// True in one thread of a warp that is all there.
DEVICE bool elect_one() {
#ifdef EMULATED
  return emulated_elect();
#else
  u32 elected;
  asm volatile("{\n.reg .pred p;\n.reg .b32 lane;\nelect.sync lane|p, 0xffffffff;\nselp.b32 %0, 1, 0, p;\n}"
               : "=r"(elected)::"memory");
  return elected;
#endif
}
// Registers of each thread from now on, by all warps of a warpgroup; a multiple of 8 from 24 to 256.
template <int COUNT> DEVICE void registers_raise() {
  static_assert(COUNT >= 24 && COUNT <= 256 && COUNT % 8 == 0, "a multiple of 8 from 24 to 256");
#ifdef EMULATED
  emulated_registers(COUNT, true);
#else
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}
template <int COUNT> DEVICE void registers_lower() {
  static_assert(COUNT >= 24 && COUNT <= 256 && COUNT % 8 == 0, "a multiple of 8 from 24 to 256");
#ifdef EMULATED
  emulated_registers(COUNT, false);
#else
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}
#endif
