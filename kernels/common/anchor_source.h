// The generated part of a kernel's source that matmul and convolution share: how indices become addresses, and what becomes of a
// result. A kernel sees tensors as batch x rows x columns; which logical axes hide behind each of the three is a Walk, and where
// strides are constants, the text of each address is as short as the layout allows. The epilogue's operands are read through
// the same walks, so a bias costs one load a column and a residual a vector.
#pragma once
#include "base/checked.h"
#include "kernels/implementation.h"

// An index taken apart, outermost axis first: coordinate `i` of a walk's axis adds i * scale to the logical axis.
typedef struct WalkAxis {
  int axis;
  Extent extent;
  int64_t scale;
} WalkAxis;
typedef struct Walk {
  WalkAxis axes[MAX_RANK + 1];
  int count;
} Walk;
void walk_add(Walk *walk, int axis, int64_t extent, int64_t scale);
void walk_add_extent(Walk *walk, int axis, Extent extent, int64_t scale);
int64_t walk_count(const Walk *walk);  // now
Extent walk_extent(DimTable *table, const Walk *walk);

typedef struct OutputWalk {
  Walk batch, row, column;
} OutputWalk;

const char *device_type(DType dtype);  // "f16"; as kernels/common/types.cuh names them

// Open sizes: `arguments` without a table write the sizes of now into the text, which is then for these alone. With one functions take what open sizes need
// as `dims` (kernels/extent.h), and the text's user puts `struct Dims` in front.
const char *arguments_passed(const KernelArguments *arguments);  // ", dims" or nothing
const char *stride_constant(Arena *arena, Extent stride);        // what a template is told: OPEN_STRIDE of an open one

// Adds `DEVICE i64 name(unsigned index)`: the offset in elements of the index-th place of a walk, strides by logical axis. Indices of open walks are below 2^31.
void walk_emit(Text *text, const char *name, const Walk *walk, const Extent *strides, KernelArguments *arguments);
// The strides with which a tensor is read as if broadcast to the axes of `to`. table: see desc_extent_in.
void broadcast_strides(const DimTable *table, const TensorDesc *desc, const TensorDesc *to, Extent *strides);
// How many neighbouring elements along an axis of `to` may be moved at once, at positions that are multiples of that number: a
// power of two of at most `bytes` bytes, 1 where the axis is not contiguous.
int desc_vector(const DimTable *table, const TensorDesc *desc, const TensorDesc *to, int axis, int bytes);

// Adds `struct Output` (see kernels/common/output.cuh) for output 0 of the site; accumulators are of dtype `accumulator`.
MUST_CHECK Status output_emit(Text *text, const Site *site, const OutputWalk *walk, DType accumulator,
                              KernelArguments *arguments);
// Whether a row's number times a static stride is its place in the output and in each of the epilogue's operands, and no row's coordinates are asked for: then the text
// that output_emit adds without a table does not say how many rows there are.
bool output_rows_are_plain(const Site *site, const OutputWalk *walk);
// The kernel's parameters for it (", f16 *y, const f32 *e1"), the expression that makes it, and the launch's arguments.
void output_parameters(Text *text, const Site *site);
void output_construct(Text *text, const Site *site, const KernelArguments *arguments);
void output_arguments(Emission *emission, Launch *launch, const Site *site);
