// Copies of boxes of a tensor between global and shared memory, by one thread: the map, which the host encodes, has the tensor's address, sizes
// and strides, the box and how its 16-byte chunks are permuted in shared memory. What lies outside the tensor arrives as zeros and is not
// stored. Coordinates are in elements, the fastest dimension first: the first one times the element's size is a multiple of 16; those of a
// load may be negative, those of a store may not (a GPU takes either mistake for an illegal instruction). A load counts the whole box at
// its barrier; a store belongs to the thread's bulk group. Shared addresses are multiples of 128. A map is a __grid_constant__ parameter
// of the kernel, or lies in global memory.
#pragma once
#include "kernels/tile/cluster.cuh"

#if __CUDA_ARCH__ >= 900
struct alignas(64) TensorMap {
  u64 opaque[16];
};
template <int RANK> struct TensorPlace { int at[RANK]; };
// im2col: which element of the filter's window, one for each spatial dimension.
template <int RANK> struct TensorOffset { u16 at[RANK - 2]; };

DEVICE void tensor_prefetch(const TensorMap *map) {
#ifdef EMULATED
  emulated_tensor_prefetch(map);
#else
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#endif
}

#define TENSOR_LOAD(RANK, COORDINATES, MASK, ...)                                                \
  if (blocks)                                                                                    \
    asm volatile("cp.async.bulk.tensor." #RANK                                                   \
                 "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster" \
                 " [%0], [%1, {" COORDINATES "}], [%2], " MASK ";" ::"r"(to),                    \
                 "l"(map), "r"(barrier), __VA_ARGS__, "h"(blocks)                                \
                 : "memory");                                                                    \
  else                                                                                           \
    asm volatile("cp.async.bulk.tensor." #RANK                                                   \
                 "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"                    \
                 " [%0], [%1, {" COORDINATES "}], [%2];" ::"r"(to),                              \
                 "l"(map), "r"(barrier), __VA_ARGS__                                             \
                 : "memory")

// blocks 0: into the own block; else as bulk_load_multicast.
template <int RANK>
DEVICE void tensor_load(u32 to, const TensorMap *map, TensorPlace<RANK> place, u32 barrier, u16 blocks = 0) {
  const int(&at)[RANK] = place.at;
#ifdef EMULATED
  emulated_tensor_load(to, map, RANK, at, nullptr, barrier, blocks);
#else
  if constexpr (RANK == 1) { TENSOR_LOAD(1, "%3", "%4", "r"(at[0])); }
  if constexpr (RANK == 2) { TENSOR_LOAD(2, "%3, %4", "%5", "r"(at[0]), "r"(at[1])); }
  if constexpr (RANK == 3) { TENSOR_LOAD(3, "%3, %4, %5", "%6", "r"(at[0]), "r"(at[1]), "r"(at[2])); }
  if constexpr (RANK == 4) { TENSOR_LOAD(4, "%3, %4, %5, %6", "%7", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])); }
  if constexpr (RANK == 5) {
    TENSOR_LOAD(5, "%3, %4, %5, %6, %7", "%8", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]));
  }
#endif
}

#define TENSOR_STORE(RANK, COORDINATES, ...)                                                                                   \
  asm volatile("cp.async.bulk.tensor." #RANK "d.global.shared::cta.tile.bulk_group [%0, {" COORDINATES "}], [%1];" ::"l"(map), \
               "r"(from), __VA_ARGS__                                                                                          \
               : "memory")

template <int RANK> DEVICE void tensor_store(const TensorMap *map, TensorPlace<RANK> place, u32 from) {
  const int(&at)[RANK] = place.at;
#ifdef EMULATED
  emulated_tensor_store(map, RANK, at, from);
#else
  if constexpr (RANK == 1) TENSOR_STORE(1, "%2", "r"(at[0]));
  if constexpr (RANK == 2) TENSOR_STORE(2, "%2, %3", "r"(at[0]), "r"(at[1]));
  if constexpr (RANK == 3) TENSOR_STORE(3, "%2, %3, %4", "r"(at[0]), "r"(at[1]), "r"(at[2]));
  if constexpr (RANK == 4) TENSOR_STORE(4, "%2, %3, %4, %5", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]));
  if constexpr (RANK == 5) TENSOR_STORE(5, "%2, %3, %4, %5, %6", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]));
#endif
}

#define TENSOR_IM2COL(RANK, COORDINATES, OFFSETS, ...)                           \
  asm volatile("cp.async.bulk.tensor." #RANK                                     \
               "d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"    \
               " [%0], [%1, {" COORDINATES "}], [%2], {" OFFSETS "};" ::"r"(to), \
               "l"(map), "r"(barrier), __VA_ARGS__                               \
               : "memory")

// Channels of successive pixels of a window's positions, from the place (channel, column, row, ..., image) on, through a map encoded for it.
template <int RANK>
DEVICE void tensor_load_im2col(u32 to, const TensorMap *map, TensorPlace<RANK> place, TensorOffset<RANK> offset, u32 barrier) {
  static_assert(RANK >= 3 && RANK <= 5, "channels, one to three spatial dimensions, images");
  const int(&at)[RANK] = place.at;
  const u16(&by)[RANK - 2] = offset.at;
#ifdef EMULATED
  emulated_tensor_load(to, map, RANK, at, by, barrier, 0);
#else
  if constexpr (RANK == 3) TENSOR_IM2COL(3, "%3, %4, %5", "%6", "r"(at[0]), "r"(at[1]), "r"(at[2]), "h"(by[0]));
  if constexpr (RANK == 4)
    TENSOR_IM2COL(4, "%3, %4, %5, %6", "%7, %8", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "h"(by[0]), "h"(by[1]));
  if constexpr (RANK == 5)
    TENSOR_IM2COL(5, "%3, %4, %5, %6, %7", "%8, %9, %10", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]),
                  "h"(by[0]), "h"(by[1]), "h"(by[2]));
#endif
}
#undef TENSOR_LOAD
#undef TENSOR_STORE
#undef TENSOR_IM2COL
#endif
