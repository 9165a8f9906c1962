// Copies between strided blocks of memory, at its speed: views that must become dense, concatenations, pads, transposes. Axes are put into
// the target's memory order and merged. What is then innermost decides: runs that are packed on both sides are moved as
// they are; where source and target run along different axes, tiles of both are transposed while they are in the cache.
#pragma once
#include "base/thread.h"
#include "ir/tensor.h"

typedef enum CopyKind { COPY_ROWS, COPY_TILES, COPY_ELEMENTS } CopyKind;

typedef struct CpuCopy {
  CopyKind kind;
  size_t size;  // bytes of an element: 1, 2, 4, 8 or 16
  int rank;     // outer axes; the inner one or two are below
  int64_t dims[MAX_RANK + 1], to[MAX_RANK + 1], from[MAX_RANK + 1];
  int64_t length, length_to, length_from;     // the inner axis
  int64_t columns, columns_to, columns_from;  // COPY_TILES: the axis along which the source runs
  int64_t units;                              // of work
} CpuCopy;

// Strides are in elements. Those of the target are not 0 where there is more than one element.
void cpu_copy_plan(CpuCopy *copy, size_t size, int rank, const int64_t *dims, const int64_t *to_strides,
                   const int64_t *from_strides);
void cpu_copy_run(const CpuCopy *copy, ThreadPool *pool, void *to, const void *from);
