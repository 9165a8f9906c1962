// The generated part of a kernel's source that matmul and convolution share: how indices become addresses, and what becomes of a
// result. A kernel sees tensors as batch x rows x columns; which logical axes hide behind each of the three is a Walk, and the
// strides being constants, the text of each address is as short as the layout allows. The epilogue's operands are read through
// the same walks, so a bias costs one load a column and a residual a vector.
#pragma once
#include "base/checked.h"
#include "kernels/implementation.h"

// An index taken apart, outermost axis first: coordinate `i` of a walk's axis adds i * scale to the logical axis.
typedef struct WalkAxis {
  int axis;
  int64_t extent, scale;
} WalkAxis;
typedef struct Walk {
  WalkAxis axes[MAX_RANK + 1];
  int count;
} Walk;
void walk_add(Walk *walk, int axis, int64_t extent, int64_t scale);
int64_t walk_count(const Walk *walk);

typedef struct OutputWalk {
  Walk batch, row, column;
} OutputWalk;

const char *device_type(DType dtype);  // "f16"; as kernels/common/types.cuh names them
// How many axes are left where neighbours that advance as one are joined.
int walk_runs(const Walk *walk, const int64_t *strides);
// Adds `DEVICE i64 name(unsigned index)`: the offset in elements of the index-th place of a walk, strides by logical axis.
void walk_emit(Text *text, const char *name, const Walk *walk, const int64_t *strides);
// The strides with which a tensor is read as if broadcast to `rank` axes.
void broadcast_strides(const TensorDesc *desc, int rank, int64_t *strides);
// How many neighbouring elements along a logical axis may be moved at once, at positions that are multiples of that number: a
// power of two of at most `bytes` bytes, 1 where the axis is not contiguous.
int desc_vector(const TensorDesc *desc, int rank, int axis, int bytes);

// Adds `struct Output` (see kernels/common/output.cuh) for output 0 of the site; accumulators are of dtype `accumulator`.
MUST_CHECK Status output_emit(Text *text, const Site *site, const OutputWalk *walk, DType accumulator);
// Whether a row's number times a static stride is its place in the output and in each of the epilogue's operands, and no row's coordinates are asked for: then the text
// that output_emit adds does not say how many rows there are.
bool output_rows_are_plain(const Site *site, const OutputWalk *walk);
// The kernel's parameters for it (", f16 *y, const f32 *e1"), the expression that makes it, and the launch's arguments.
void output_parameters(Text *text, const Site *site);
void output_construct(Text *text, const Site *site);
void output_arguments(Emission *emission, Launch *launch, const Site *site);
