// The shared tools of inference and reference functions; see meaning.h.
#include "base/budget.h"
#include "kernels/meaning.h"
#include "base/checked.h"
#include <math.h>
#include <string.h>

Value *meaning_input(const Node *node, int index) { return index < node->input_count ? node->inputs[index] : NULL; }

bool meaning_wants(const Node *node, int output) { return output < node->output_count; }

Status meaning_require(const Node *node, int index, Value **out) {
  Value *value = meaning_input(node, index);
  if (!value) FAIL(ERROR_INVALID_MODEL, "input %d is missing", index);
  if (value->rank < 0) FAIL(ERROR_INVALID_MODEL, "the rank of input %d, '%s', is not known", index, value->name);
  if (value->dtype >= DTYPE_COUNT) FAIL(ERROR_INVALID_MODEL, "the type of input %d, '%s', is not known", index, value->name);
  *out = value;
  return OK;
}

Status meaning_zero_points(const Node *node, int axis) {
  for (int i = 0; i < 2; i++) {
    const Value *zero = meaning_input(node, 2 + i), *operand = node->inputs[i];
    if (!zero) continue;
    if (zero->dtype != operand->dtype || !dtype_is_integer(zero->dtype) || dtype_bits(zero->dtype) > 8)
      FAIL(ERROR_INVALID_MODEL, "a zero point of type %s for %s; both must be the same 8-bit integer", dtype_name(zero->dtype),
           dtype_name(operand->dtype));
    for (int k = 0; k < zero->rank; k++) {
      int at = k + operand->rank - zero->rank;
      bool along = i == 1 && at == axis && zero->dims[k] == operand->dims[at];
      if (zero->dims[k] != meaning_const(node, 1) && !along)
        FAIL(ERROR_INVALID_MODEL, "the zero point of input %d must have one element%s", i, i ? " or one for each channel" : "");
    }
  }
  return OK;
}

Status meaning_require_rank(const Node *node, int index, int rank, Value **out) {
  TRY(meaning_require(node, index, out));
  if ((*out)->rank != rank)
    FAIL(ERROR_INVALID_MODEL, "input %d, '%s', has rank %d where %d is expected", index, (*out)->name, (*out)->rank, rank);
  return OK;
}

Status meaning_require_integer(const Node *node, int index, Value **out) {
  TRY(meaning_require(node, index, out));
  if (!dtype_is_integer((*out)->dtype))
    FAIL(ERROR_INVALID_MODEL, "input %d, '%s', is %s where integers are expected", index, (*out)->name,
         dtype_name((*out)->dtype));
  return OK;
}

Status meaning_axis(const Node *node, const char *name, int rank, int *out) {
  int64_t axis = node_int(node, name, 0);
  if (axis < 0 || axis >= rank)
    FAIL(ERROR_INVALID_MODEL, "%s %lld is outside a tensor of rank %d", name, (long long)axis, rank);
  *out = (int)axis;
  return OK;
}

Status meaning_dims(const Node *node, const char *name, int limit, const Dim **out, int *count) {
  if (!node_attribute(node, name)) FAIL(ERROR_INVALID_MODEL, "attribute '%s' is missing", name);
  *out = node_dims(node, name, count);
  if (*count > limit) FAIL(ERROR_INVALID_MODEL, "attribute '%s' has %d values, more than %d", name, *count, limit);
  return OK;
}

Status meaning_same_dim(const Node *node, const char *what, Dim a, Dim b, Dim *out) {
  if (dim_is_static(a) && dim_is_static(b) && a != b)
    FAIL(ERROR_INVALID_MODEL, "%s: sizes %lld and %lld differ", what, (long long)a, (long long)b);
  *out = dim_is_static(a) ? a : b;
  return OK;
}

Status meaning_broadcast_dim(const Node *node, Dim a, Dim b, Dim *out) {
  if (a == b || b == 1) *out = a;
  else if (a == 1) *out = b;
  else if (dim_is_static(a) && dim_is_static(b))
    FAIL(ERROR_INVALID_MODEL, "sizes %lld and %lld do not broadcast", (long long)a, (long long)b);
  else if (dim_is_static(a) || dim_is_static(b)) *out = dim_is_static(a) ? a : b;  // the other one is this or 1
  else if (dim_unite(node->graph->dims, a, b)) *out = a;
  else *out = dim_make(node->graph->dims, DIM_BROADCAST, a, b);
  return OK;
}

void meaning_permute_dims(const Node *from, const char *name, const int64_t *perm, int rank, int blocks, Node *node) {
  int count;
  Dim moved[2 * MAX_RANK];
  const Dim *dims = node_dims(from, name, &count);
  for (int i = 0; i < rank * blocks; i++) moved[i / rank * rank + perm[i % rank]] = dims[i];
  node_set_dims(node, name, moved, rank * blocks);
}

void meaning_permute_ints(const Node *from, const char *name, const int64_t *perm, int rank, Node *node) {
  int count;
  int64_t moved[MAX_RANK];
  const int64_t *values = node_ints(from, name, &count);
  for (int i = 0; i < rank; i++) moved[perm[i]] = values[i];
  node_set_ints(node, name, moved, rank);
}

Dim meaning_data_dim(const Node *node, int output, DType dtype, int rank, int axis, const char *prefix) {
  const Value *value = node->outputs[output];
  if (value->dtype == dtype && value->rank == rank && value->dims[axis] != 0) return value->dims[axis];
  return dim_fresh(node->graph->dims, prefix);
}

Status reference_dims(const Reference *r, const char *name, const int64_t **out, int *count) {
  *out = node_dims(r->node, name, count);
  int64_t known;
  for (int i = 0; i < *count; i++) {
    if (dim_is_static((*out)[i])) continue;
    if (dim_get_constant(r->node->graph->dims, (*out)[i], &known))
      FAIL(ERROR_INVALID_MODEL, "'%s'[%d] is %lld", name, i, (long long)known);
    FAIL(ERROR_INVALID_MODEL, "'%s'[%d] is not known before the model runs", name, i);
  }
  return OK;
}

Status reference_scratch(const Reference *r, size_t item_size, int64_t count, void **out) {
  size_t size;
  if (count < 0 || !checked_mul((size_t)count, item_size, &size)) FAIL(ERROR_INVALID_MODEL, "working memory is too large");
  return arena_try_alloc(r->arena, size ? size : 1, 64, out);
}

Status reference_doubles(const Reference *r, const Tensor *tensor, const double **out) {
  if (tensor->dtype == DTYPE_F64) {
    *out = tensor->data;
    return OK;
  }
  int64_t count = tensor_count(tensor);
  void *memory;
  TRY(reference_scratch(r, sizeof(double), count, &memory));
  double *values = memory;
  if (tensor->dtype == DTYPE_F32)
    for (int64_t i = 0; i < count; i++) values[i] = ((const float *)tensor->data)[i];
  else
    for (int64_t i = 0; i < count; i++) values[i] = tensor_get_f(tensor, i);
  *out = values;
  return OK;
}

Status reference_floats(const Reference *r, const Tensor *tensor, const float **out) {
  if (tensor->dtype == DTYPE_F32) {
    *out = tensor->data;
    return OK;
  }
  int64_t count = tensor_count(tensor);
  void *memory;
  TRY(reference_scratch(r, sizeof(float), count, &memory));
  float *values = memory;
  for (int64_t i = 0; i < count; i++) values[i] = (float)tensor_get_f(tensor, i);
  *out = values;
  return OK;
}

Status reference_ints(const Reference *r, const Tensor *tensor, const int64_t **out) {
  if (tensor->dtype == DTYPE_I64) {
    *out = tensor->data;
    return OK;
  }
  int64_t count = tensor_count(tensor);
  void *memory;
  TRY(reference_scratch(r, sizeof(int64_t), count, &memory));
  int64_t *values = memory;
  for (int64_t i = 0; i < count; i++) values[i] = tensor_get_i(tensor, i);
  *out = values;
  return OK;
}

Status reference_less_zero(const Reference *r, int input, const Tensor **out) {
  const Tensor *x = *out = r->inputs[input], *zero = reference_input(r, 2 + input);
  if (!zero) return OK;
  Tensor made;
  TRY(tensor_new(r->arena, DTYPE_I32, x->rank, x->dims, &made));
  int64_t inner = 1;  // elements that share a zero point
  for (int i = x->rank - 1; i >= 0 && (i < x->rank - zero->rank || zero->dims[i - (x->rank - zero->rank)] == 1); i--)
    inner *= x->dims[i];
  for (int64_t i = 0; i < tensor_count(x); i++)
    ((int32_t *)made.data)[i] = (int32_t)(tensor_get_i(x, i) - tensor_get_i(zero, i / inner % tensor_count(zero)));
  *out = arena_copy(r->arena, &made, sizeof made);
  return OK;
}

void reference_store_doubles(Tensor *out, int64_t first, int64_t count, const double *values) {
  if (out->dtype == DTYPE_F32) {
    float *to = (float *)out->data + first;
    for (int64_t i = 0; i < count; i++) to[i] = (float)values[i];
  } else if (out->dtype == DTYPE_F64) {
    memcpy((double *)out->data + first, values, (size_t)count * sizeof(double));
  } else {
    for (int64_t i = 0; i < count; i++) tensor_set_f(out, first + i, values[i]);
  }
}

void reference_store_ints(Tensor *out, int64_t first, int64_t count, const int64_t *values) {
  for (int64_t i = 0; i < count; i++) tensor_set_i(out, first + i, values[i]);
}

int64_t meaning_count(const Value *value, int first) {
  int64_t count = 1;
  for (int i = first; i < value->rank; i++)
    if (!dim_is_static(value->dims[i]) || !checked_mul_i64(count, value->dims[i], &count)) return 0;
  return count;
}

int64_t dims_count(int rank, const int64_t *dims) {
  uint64_t count = 1;  // wraps rather than overflows: tensor_new is who refuses sizes
  for (int i = 0; i < rank; i++) count *= (uint64_t)dims[i];
  return (int64_t)count;
}

void dims_strides(int rank, const int64_t *dims, int64_t *strides) {
  uint64_t stride = 1;
  for (int i = rank - 1; i >= 0; i--) {
    strides[i] = (int64_t)stride;
    stride *= (uint64_t)dims[i];
  }
}

bool index_next(int rank, const int64_t *dims, int64_t *index) {
  budget_step(4);
  for (int i = rank - 1; i >= 0; i--) {
    if (++index[i] < dims[i]) return true;
    index[i] = 0;
  }
  return false;
}

static void copy_row(size_t size, int64_t count, char *to, int64_t to_stride, const char *from, int64_t from_stride) {
  if (to_stride == 1 && from_stride == 1) {
    memcpy(to, from, (size_t)count * size);
    return;
  }
#define COPY_ROW(Type)                                                                                       \
  do {                                                                                                       \
    for (int64_t i = 0; i < count; i++) ((Type *)to)[i * to_stride] = ((const Type *)from)[i * from_stride]; \
  } while (0)
  switch (size) {
    case 1: COPY_ROW(uint8_t); break;
    case 2: COPY_ROW(uint16_t); break;
    case 4: COPY_ROW(uint32_t); break;
    case 8: COPY_ROW(uint64_t); break;
    default:
      for (int64_t i = 0; i < count; i++)
        memcpy(to + i * to_stride * (int64_t)size, from + i * from_stride * (int64_t)size, size);
  }
#undef COPY_ROW
}

void copy_block(size_t size, int rank, const int64_t *dims, void *to, const int64_t *to_strides, const void *from,
                const int64_t *from_strides) {
  if (dims_count(rank, dims) == 0) return;
  if (rank == 0) {
    memcpy(to, from, size);
    return;
  }
  int64_t index[MAX_RANK] = {0};
  int last = rank - 1;
  do {
    int64_t to_offset = 0, from_offset = 0;
    for (int i = 0; i < last; i++) {
      to_offset += index[i] * to_strides[i];
      from_offset += index[i] * from_strides[i];
    }
    copy_row(size, dims[last], (char *)to + to_offset * (int64_t)size, to_strides[last],
             (const char *)from + from_offset * (int64_t)size, from_strides[last]);
  } while (index_next(last, dims, index));
}

AxisView axis_view(int rank, const int64_t *dims, int axis) {
  return (AxisView){dims_count(axis, dims), dims[axis], dims_count(rank - axis - 1, dims + axis + 1)};
}

static int compare_doubles(double a, double b) {
  if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
  return (a > b) - (a < b);
}

int element_compare(DType dtype, const void *a, const void *b) {
  if (dtype == DTYPE_STRING) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    return strcmp(x ? x : "", y ? y : "");
  }
  if (dtype_kind(dtype) == KIND_FLOAT || dtype_kind(dtype) == KIND_COMPLEX)
    return compare_doubles(element_get_f(dtype, a), element_get_f(dtype, b));
  int64_t x = element_get_i(dtype, a), y = element_get_i(dtype, b);
  if (dtype == DTYPE_U64) return ((uint64_t)x > (uint64_t)y) - ((uint64_t)x < (uint64_t)y);
  return (x > y) - (x < y);
}

static Status window_ints(const Node *node, const char *name, int expected, int64_t otherwise, int64_t least, int64_t *out) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  if (values && count != expected) FAIL(ERROR_INVALID_MODEL, "'%s' has %d values where %d are expected", name, count, expected);
  for (int i = 0; i < expected; i++) {
    out[i] = values ? values[i] : otherwise;
    if (out[i] < least || out[i] > INT32_MAX) FAIL(ERROR_INVALID_MODEL, "'%s'[%d] is %lld", name, i, (long long)out[i]);
  }
  return OK;
}

Status window_read(const Node *node, int axes, const Dim *kernel, Window *out) {
  if (axes < 1 || axes > MAX_RANK - 2) FAIL(ERROR_INVALID_MODEL, "%d spatial axes", axes);
  *out = (Window){.axes = axes};
  int64_t pads[2 * MAX_RANK];
  TRY(window_ints(node, "strides", axes, 1, 1, out->stride));
  TRY(window_ints(node, "dilations", axes, 1, 1, out->dilation));
  TRY(window_ints(node, "pads", 2 * axes, 0, -(int64_t)INT32_MAX, pads));
  int64_t taps = 1;
  for (int i = 0; i < axes; i++) {
    out->kernel[i] = kernel[i];
    if (kernel[i] == 0) FAIL(ERROR_INVALID_MODEL, "the kernel is empty");
    if (kernel[i] > INT32_MAX || !checked_mul_i64(taps, MAX(kernel[i], 1), &taps) || taps > TENSOR_MAX_BYTES)
      FAIL(ERROR_INVALID_MODEL, "the kernel is too large, being of %lld elements along axis %d", (long long)kernel[i], i);
    out->pad_begin[i] = pads[i];
    out->pad_end[i] = pads[axes + i];
  }
  return OK;
}

Dim window_output(DimTable *dims, const Window *window, int axis, Dim in, bool ceil_mode) {
  Dim reach =
      dim_mul(dims, dim_constant(dims, window->dilation[axis]), dim_sub(dims, window->kernel[axis], dim_constant(dims, 1)));
  Dim padded = dim_add(dims, in, dim_constant(dims, window->pad_begin[axis] + window->pad_end[axis] - 1));
  Dim stride = dim_constant(dims, window->stride[axis]), one = dim_constant(dims, 1);
  Dim room = dim_sub(dims, padded, reach);
  if (!ceil_mode) return dim_add(dims, dim_div(dims, room, stride), one);
  Dim rounded = dim_add(dims, dim_ceil_div(dims, room, stride), one);
  Dim starts = dim_ceil_div(dims, dim_add(dims, in, dim_constant(dims, window->pad_begin[axis])), stride);
  return dim_make(dims, DIM_MIN, rounded, starts);
}
