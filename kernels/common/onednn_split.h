// How one operation is shared among threads: cut into slices, each of which is an operation of its own that the library computes on one
// thread. The library's own threads are not used: those of OpenMP wait by spinning, which a process that shares its cores pays
// for, and they know neither the caller's threads nor ours.
#pragma once
#include "kernels/common/onednn.h"

typedef struct OnednnSlice {
  OnednnOperation operation;
  int link_count, operand_count;
  OnednnLink links[ONEDNN_LINKS];
  OnednnTensor operands[ONEDNN_OPERANDS];  // of the tail
  int64_t offsets
      [ONEDNN_ROLES];  // of the slice's first element in each tensor, in elements; that of the weights: as they lie unpacked
} OnednnSlice;

// Slices of `whole` along one axis, or along the batch and one more, that leave every tensor dense. Few for what is little work; `cached`: small
// enough for y to stay in the cache. threads 0: one slice. The slices are the arena's; returns how many.
int onednn_split(const OnednnSlice *whole, int threads, bool cached, Arena *arena, OnednnSlice **out);
