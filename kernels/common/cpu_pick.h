// Copies whose source is given axis by axis: y[i, j, ..] = x at offsets0[i] + offsets1[j] + .., or a constant where an axis says so. Pads of
// every mode and nearest resizes are this.
#pragma once
#include "base/thread.h"
#include "kernels/site.h"

#define PICK_CONSTANT INT64_MIN

typedef struct PickRun {
  int64_t begin, length, offset;  // along the inner axis; offset PICK_CONSTANT: the constant
} PickRun;

typedef struct CpuPick {
  size_t size;
  int rank;  // without the inner axis
  int64_t dims[MAX_RANK], to[MAX_RANK];
  int64_t *offsets[MAX_RANK];
  int64_t length;          // of the inner axis
  int64_t *inner_offsets;  // where runs are too short to be worth it
  PickRun *runs;
  int run_count;
  int64_t units;
} CpuPick;

// offsets[axis][i]: elements from x's element 0, or PICK_CONSTANT. y is dense.
bool cpu_pick_supports(const TensorDesc *y);
void cpu_pick_plan(CpuPick *pick, Arena *arena, const TensorDesc *y, int64_t *const *offsets);
void cpu_pick_run(const CpuPick *pick, ThreadPool *pool, void *y, const void *x, const void *constant);
