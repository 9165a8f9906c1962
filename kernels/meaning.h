// What the inference and reference functions of all operator families share: reading a node's own inputs and attributes,
// converting whole tensors to the types that references compute in, moving elements between strided blocks, and the
// geometry of sliding windows. Nothing here knows an operator. Messages do not name the node: node_infer and
// reference_run put that in front.
#pragma once
#include "base/checked.h"
#include "kernels/reference.h"

// ---- Inference

Value *meaning_input(const Node *node, int index);  // NULL where absent
bool meaning_wants(const Node *node, int output);   // the node has that output
// A present input whose dtype and rank are known.
MUST_CHECK Status meaning_require(const Node *node, int index, Value **out);
MUST_CHECK Status meaning_require_rank(const Node *node, int index, int rank, Value **out);
MUST_CHECK Status meaning_require_integer(const Node *node, int index, Value **out);
// An `axis` attribute in [0, rank).
MUST_CHECK Status meaning_axis(const Node *node, const char *name, int rank, int *out);
// The dims attribute, with a count in [0, limit].
MUST_CHECK Status meaning_dims(const Node *node, const char *name, int limit, const Dim **out, int *count);
// Zero points of a product of 8-bit integers: input 2, of one element, is subtracted from input 0; input 3, of one element or one for each index of
// input 1's axis `axis`, from input 1. Both may be absent.
MUST_CHECK Status meaning_zero_points(const Node *node, int axis);
// Two dims that must be the same size: reports static ones that differ; *out is the better known.
MUST_CHECK Status meaning_same_dim(const Node *node, const char *what, Dim a, Dim b, Dim *out);
MUST_CHECK Status meaning_broadcast_dim(const Node *node, Dim a, Dim b, Dim *out);  // numpy's rule
static inline Dim meaning_const(const Node *node, int64_t value) { return dim_constant(node->graph->dims, value); }
// The size of a data-dependent axis: what an earlier inference decided if that still fits (so that inferring twice gives the
// same dims), else a fresh symbol.
Dim meaning_data_dim(const Node *node, int output, DType dtype, int rank, int axis, const char *prefix);

// Attributes that have a value for each axis, or `blocks` times one, where `from` has them by axes in another order: see OpDef.permute.
void meaning_permute_dims(const Node *from, const char *name, const int64_t *perm, int rank, int blocks, Node *node);
void meaning_permute_ints(const Node *from, const char *name, const int64_t *perm, int rank, Node *node);

// ---- References

static inline const Tensor *reference_input(const Reference *r, int index) {
  return index < r->node->input_count ? r->inputs[index] : NULL;
}
// A dims attribute whose values are all static; they are non-negative, so a Dim is its value.
MUST_CHECK Status reference_dims(const Reference *r, const char *name, const int64_t **out, int *count);
// Whole tensors in computation types. Where the type already matches, the tensor's own data.
MUST_CHECK Status reference_doubles(const Reference *r, const Tensor *tensor, const double **out);
MUST_CHECK Status reference_floats(const Reference *r, const Tensor *tensor, const float **out);
MUST_CHECK Status reference_ints(const Reference *r, const Tensor *tensor, const int64_t **out);
// Input 0 or 1 less its zero point, in i32, where it has one; see meaning_zero_points.
MUST_CHECK Status reference_less_zero(const Reference *r, int input, const Tensor **out);
void reference_store_doubles(Tensor *out, int64_t first, int64_t count, const double *values);
void reference_store_ints(Tensor *out, int64_t first, int64_t count, const int64_t *values);
MUST_CHECK Status reference_scratch(const Reference *r, size_t item_size, int64_t count, void **out);  // zeroed
// f32 and everything narrower: exact in float.
static inline bool dtype_fits_float(DType dtype) { return dtype_kind(dtype) == KIND_FLOAT && dtype != DTYPE_F64; }
// Integers and bool: computed in int64.
static inline bool dtype_computes_in_int(DType dtype) {
  return dtype_kind(dtype) == KIND_SIGNED || dtype_kind(dtype) == KIND_UNSIGNED || dtype_kind(dtype) == KIND_BOOL;
}

// ---- Blocks of elements

int64_t dims_count(int rank, const int64_t *dims);
// Elements of a value along its axes from `first` on; 0 where that is open, or too much to say. For OpDef.terms.
int64_t meaning_count(const Value *value, int first);
void dims_strides(int rank, const int64_t *dims, int64_t *strides);  // row-major, in elements
// Steps a row-major odometer; false when it wraps around to zero. Rank 0 has one position.
bool index_next(int rank, const int64_t *dims, int64_t *index);  // a step of the call's budget, too
// Copies a block of elements of `size` bytes. Strides are in elements, of either sign, and 0 repeats.
void copy_block(size_t size, int rank, const int64_t *dims, void *to, const int64_t *to_strides, const void *from,
                const int64_t *from_strides);
// A tensor seen as [outer, axis, inner].
typedef struct AxisView {
  int64_t outer, size, inner;
} AxisView;
AxisView axis_view(int rank, const int64_t *dims, int axis);

// A total order of elements for sorting: numbers by value with NaN last, strings by bytes.
int element_compare(DType dtype, const void *a, const void *b);

// ---- Sliding windows over the spatial axes (those after N and C)

typedef struct Window {
  int axes;
  Dim kernel[MAX_RANK];
  int64_t stride[MAX_RANK], dilation[MAX_RANK], pad_begin[MAX_RANK], pad_end[MAX_RANK];
} Window;
// Reads strides, pads and dilations; absent ones are 1, 0 and 1. kernel has `axes` dims.
MUST_CHECK Status window_read(const Node *node, int axes, const Dim *kernel, Window *out);
// floor((in + pads - dilation * (kernel - 1) - 1) / stride) + 1; with ceil the division rounds up, and windows that would
// start right of the input and its left padding are dropped.
Dim window_output(DimTable *dims, const Window *window, int axis, Dim in, bool ceil_mode);
