// What cpu_pool.c prepares and cpu_pool_run.c runs.
#pragma once
#include "kernels/common/cpu_own.h"
#include "kernels/pool/cpu_pool_loops.h"

enum { POOL_LINE = 2048 };  // elements of a line; three are on the stack

// What a window sees along one axis, by the output's place.
typedef struct Reach {
  int64_t taps, stride, dilation, pad;
  int64_t *first, *inside;  // the first tap within the input, how many lie there
  int64_t *padded;          // how many lie in the input with its padding
} Reach;

// Outputs along an axis that see as many taps, one after the other.
typedef struct Stretch {
  int64_t begin, count;
} Stretch;

// An axis along which a run counts its outputs.
typedef struct Counted {
  int axis;  // -1: none
  Stretch *stretches;
  int64_t stretch_count;
} Counted;

typedef struct Pool {
  CpuOwn own;
  TensorDesc x;  // as the loops read it; what they write is own.result
  bool average, counts_padding;
  int axes;
  Reach reach[POOL_AXES];
  int inner;           // the innermost axis
  Counted counted[2];  // the first goes on into axes that were joined to it
  int outer_axes[MAX_RANK], outer_count;
  int64_t outers;      // places of the outer axes
  int64_t parts;       // that each is handed out in: stretches of the first counted axis, and ranges of the innermost one
  int64_t width;       // of these ranges
  int64_t most_lines;  // at a time
  bool parts_first;    // a part at all places before the next
  PoolAcross *across;
  size_t item;
  int64_t least;  // an element, or zeros
  bool has_relu;  // which is the whole epilogue
  // Where the innermost axis is the window's: the loops, what to do again where those gave what is not finite, how far apart outputs begin, how many outputs
  // and taps of a line at a time, what a row takes of it, and how many rows share one.
  PoolLines lines, exact_lines;
  float *divisors;  // of the outputs of a line; NULL: this one
  float divisor;
  int64_t stride, columns, taps, pitch, most_rows;
} Pool;

// From one output to the next.
static inline int64_t pool_x_step(const Pool *pool, int axis) {
  return pool->x.strides[axis] * (axis >= 2 ? pool->reach[axis - 2].stride : 1);
}
Status pool_run(void *pool, const HostCall *call);
