// The loops of pooling on the CPU, compiled for several instruction sets. Nothing is tested inside of them: the windows of one run lie within the image, its
// taps are a box of up to three axes, and its outputs are alike. NaN, infinities and zeros are as the reference has them.
#pragma once
#include "ir/dtype.h"

enum { POOL_AXES = 3 };

// Outputs along two axes, each `width` elements side by side: y[l * y_steps[0] + i * y_steps[1] + c], for l and i below counts and c below width, from
// x[l * x_steps[0] + i * x_steps[1] + c] and what lies taps further. Steps are in elements.
typedef struct PoolRun {
  const void *x;
  void *y;
  int64_t counts[2], x_steps[2], y_steps[2], width;
  int64_t taps[POOL_AXES], tap_steps[POOL_AXES];  // the innermost is the last
  const void *least;                              // maxima: an element that they are not below, or NaN
  double divisor;                                 // means
} PoolRun;
typedef void PoolAcross(const PoolRun *run);
typedef struct PoolTaps {
  int64_t count, step;
} PoolTaps;
// Taps along a line: out[i] of line[i * stride + tap * step], combined with what it is unless these are the first.
typedef void PoolAlong(void *out, const void *line, int64_t stride, const PoolTaps *taps, int64_t count, bool first);
// y[i] = sums[i] / (divisor * divisors[i]), or by the divisor alone. Whether all are finite.
typedef bool PoolDivide(void *y, const void *sums, const float *divisors, float divisor, int64_t count);

// Windows that lie along a line: across comes first, then along.
typedef struct PoolLines {
  PoolAcross *across;
  PoolAlong *along;
  PoolDivide *divide;  // NULL: nothing is left to do
  size_t item;         // bytes of an element of the line
} PoolLines;

typedef struct PoolTable {
  const char *name;
  PoolAcross *largest[DTYPE_COUNT];
  PoolAlong *along_largest[DTYPE_COUNT];
  // Means sum in double, or, where there are few taps, in the type of the elements: that may overflow where the mean does not.
  PoolAcross *mean[DTYPE_COUNT], *few_mean[DTYPE_COUNT];
  PoolLines mean_lines[DTYPE_COUNT], few_mean_lines[DTYPE_COUNT];  // the run's divisor is 1
} PoolTable;
extern const PoolTable pool_table_generic;
extern const PoolTable *const pool_table_avx2, *const pool_table_avx512;  // NULL where not built
