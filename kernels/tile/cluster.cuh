// Blocks of a cluster: their common barrier, and each other's shared memory. A 32-bit shared address made by cluster_address names the same
// place in another block. No block may touch another's memory before it knows that the other has begun, nor may a block end while
// others still use its own: cluster_barrier at both ends. sm_90 and up.
#pragma once
#include "kernels/tile/async.cuh"

#if __CUDA_ARCH__ >= 900
DEVICE u32 cluster_rank() {
#ifdef EMULATED
  return emulated_cluster_rank();
#else
  u32 rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#endif
}
DEVICE u32 cluster_size() {
#ifdef EMULATED
  return emulated_cluster_size();
#else
  u32 size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
#endif
}
// All threads of all blocks arrive, then wait; what they wrote before is seen after.
DEVICE void cluster_arrive() {
#ifdef EMULATED
  emulated_cluster_arrive();
#else
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
DEVICE void cluster_wait() {
#ifdef EMULATED
  emulated_cluster_wait();
#else
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
DEVICE void cluster_barrier() {
  cluster_arrive();
  cluster_wait();
}

DEVICE u32 cluster_address(u32 shared, u32 rank) {
#ifdef EMULATED
  return emulated_cluster_address(shared, rank);
#else
  u32 address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared), "r"(rank));
  return address;
#endif
}
// Addresses below are those of cluster_address.
DEVICE u32 cluster_load(u32 from) {
  u32 value;
#ifdef EMULATED
  emulated_load_shared(from, &value, 4);
#else
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
#endif
  return value;
}
DEVICE void cluster_store(u32 to, u32 value) {
#ifdef EMULATED
  emulated_store_shared(to, &value, 4);
#else
  asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
#endif
}
DEVICE void cluster_barrier_arrive(u32 barrier) {
#ifdef EMULATED
  emulated_mbarrier_arrive(barrier, 0, 1);
#else
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
#endif
}
// As barrier_wait, where arrivals come from other blocks.
DEVICE void cluster_barrier_wait(u32 barrier, u32 phase) {
#ifdef EMULATED
  emulated_mbarrier_wait(barrier, phase);
#else
  u32 over;
  do {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}"
        : "=r"(over)
        : "r"(barrier), "r"(phase)
        : "memory");
  } while (!over);
#endif
}

// Into another block's shared memory; its barrier, of the same block, counts the bytes.
DEVICE void bulk_send(u32 to, u32 from, u32 bytes, u32 barrier) {
#ifdef EMULATED
  emulated_bulk_send(to, from, bytes, barrier);
#else
  asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "r"(from), "r"(bytes), "r"(barrier)
               : "memory");
#endif
}
// To the same place in each block whose bit is set, counted by each one's barrier at the same place.
DEVICE void bulk_load_multicast(u32 to, const void *from, u32 bytes, u32 barrier, u16 blocks) {
#ifdef EMULATED
  emulated_bulk_load(to, from, bytes, barrier, blocks);
#else
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
      " [%0], [%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "h"(blocks)
      : "memory");
#endif
}
#endif
