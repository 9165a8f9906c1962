// Shapes and what is made from them: reshape, constants, ranges, masks by position. Shape arithmetic stays symbolic, so most
// of these leave no work for the run.
#include "onnx/ops/common.h"
#include "onnx/ops/shared.h"

enum {
  SMALL_CONSTANT = 256
};  // fills of at most so many known elements become constants, whose contents shape arithmetic sees

// -1 takes what is left; 0 copies the input's dim unless allowzero.
static Status reshape_to(Translation *t, const Dim *target, int count, bool allow_zero) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DimTable *table = t->graph->dims;
  Dim dims[MAX_RANK], others[MAX_RANK];
  int open = -1, other_count = 0;
  if (count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output would have rank %d", count);
  for (int i = 0; i < count; i++) {
    int64_t value;
    dims[i] = target[i];
    bool known = dim_get_constant(table, target[i], &value);
    if (known && value == 0 && !allow_zero) {
      if (i >= x->rank)
        TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "value %d of the shape is 0 but the input has rank %d", i, x->rank);
      dims[i] = x->dims[i];
    } else if (known && value == -1) {
      if (open >= 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "two values of the shape are -1");
      open = i;
      continue;
    } else if (known && value < 0) {
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "value %d of the shape is %lld", i, (long long)value);
    }
    others[other_count++] = dims[i];
  }
  if (open >= 0) dims[open] = dims_quotient(table, x->dims, x->rank, others, other_count);
  t->outputs[0] = build_reshape(&b, x, count, dims);
  return translate_end(t, &b);
}

static Status reshape(Translation *t) {
  const Dim *target;
  int count;
  NEED_DIMS(t, 1, &target, &count);
  return reshape_to(t, target, count, node_int(t->attributes, "allowzero", 0) != 0);
}

static Status reshape_old(Translation *t) {
  int count;
  const int64_t *given = node_ints(t->attributes, "shape", &count);
  Dim target[MAX_RANK];
  if (count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output would have rank %d", count);
  for (int i = 0; i < count; i++) target[i] = dim_constant(t->graph->dims, given[i]);
  return reshape_to(t, target, count, false);
}

static Status shape(Translation *t) {
  Builder b = translate_begin(t);
  const Value *x = t->inputs[0];
  int64_t rank = x->rank, start = node_int(t->attributes, "start", 0), end = node_int(t->attributes, "end", rank);
  if (start < 0) start += rank;
  if (end < 0) end += rank;
  start = MAX(MIN(start, rank), 0);
  end = MAX(MIN(end, rank), start);
  t->outputs[0] = build_dims(&b, x->dims + start, (int)(end - start));
  return translate_end(t, &b);
}

static Status size(Translation *t) {
  Builder b = translate_begin(t);
  Dim count = value_count_dim(t->graph, t->inputs[0]);
  t->outputs[0] = build_reshape(&b, build_dims(&b, &count, 1), 0, NULL);
  return translate_end(t, &b);
}

static Status make_tensor(Translation *t, DType dtype, int rank, const int64_t *dims, Tensor **out) {
  *out = arena_new_of(t->graph->arena, Tensor);
  return tensor_new(t->graph->arena, dtype, rank, dims, *out);
}

// A sparse tensor arrives from the importer as a dense one.
static Status constant(Translation *t) {
  Builder b = translate_begin(t);
  const Node *a = t->attributes;
  Arena *arena = t->graph->arena;
  const Tensor *tensor = node_tensor(a, "value");
  if (!tensor) tensor = node_tensor(a, "sparse_value");
  const Attribute *attribute;
  Tensor *made = NULL;
  if (tensor) {
    t->outputs[0] = build_constant(&b, tensor);
    return translate_end(t, &b);
  }
  if ((attribute = node_attribute(a, "value_int"))) {
    made = tensor_scalar_i64(arena, node_int(a, "value_int", 0));
  } else if ((attribute = node_attribute(a, "value_ints"))) {
    made = tensor_vector_i64(arena, attribute->ints, attribute->count);
  } else if ((attribute = node_attribute(a, "value_float"))) {
    made = tensor_scalar_f(arena, DTYPE_F32, node_float(a, "value_float", 0));
  } else if ((attribute = node_attribute(a, "value_floats"))) {
    TRY(make_tensor(t, DTYPE_F32, 1, (int64_t[]){attribute->count}, &made));
    for (int i = 0; i < attribute->count; i++) tensor_set_f(made, i, attribute->floats[i]);
  } else if ((attribute = node_attribute(a, "value_string"))) {
    TRY(make_tensor(t, DTYPE_STRING, 0, NULL, &made));
    ((const char **)made->data)[0] = attribute->string;
  } else if ((attribute = node_attribute(a, "value_strings"))) {
    TRY(make_tensor(t, DTYPE_STRING, 1, (int64_t[]){attribute->count}, &made));
    for (int i = 0; i < attribute->count; i++) ((const char **)made->data)[i] = attribute->strings[i];
  } else {
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has no value");
  }
  t->outputs[0] = build_constant(&b, made);
  return translate_end(t, &b);
}

static Status constant_of_shape(Translation *t) {
  Builder b = translate_begin(t);
  const Dim *dims;
  int count;
  NEED_SIZES(t, 0, &dims, &count, 0);
  if (count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output would have rank %d", count);
  const Tensor *value = node_tensor(t->attributes, "value");
  DType dtype = value ? value->dtype : DTYPE_F32;
  int64_t total = 1;
  for (int i = 0; i < count; i++)
    total = dim_is_static(dims[i]) && total <= SMALL_CONSTANT ? total * MIN(dims[i], SMALL_CONSTANT + 1) : SMALL_CONSTANT + 1;
  if (total <= SMALL_CONSTANT) {
    Tensor *tensor;
    TRY(make_tensor(t, dtype, count, dims, &tensor));
    size_t item = dtype_size(dtype);
    for (int64_t i = 0; i < total && value; i++) memcpy((char *)tensor->data + (size_t)i * item, value->data, item);
    t->outputs[0] = build_constant(&b, tensor);
  } else {
    t->outputs[0] = build_fill(&b, dtype, value ? tensor_get_f(value, 0) : 0, count, dims);
  }
  return translate_end(t, &b);
}

// Over floats everything must be known; over integers the count may be symbolic. delta decides the sign, so it must be known.
static Status range(Translation *t) {
  Builder b = translate_begin(t);
  DimTable *table = t->graph->dims;
  DType dtype = t->inputs[0]->dtype;
  if (dtype_is_float(dtype)) {
    const Tensor *ends[3];
    for (int i = 0; i < 3; i++) NEED_CONSTANT(t, i, &ends[i]);
    for (int i = 0; i < 3; i++)
      if (tensor_count(ends[i]) != 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d is no scalar", i);
    double start = tensor_get_f(ends[0], 0), limit = tensor_get_f(ends[1], 0), step = tensor_get_f(ends[2], 0);
    double count = ceil((limit - start) / step);
    if (!(count < 0x1p40)) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it would have %g elements", count);
    t->outputs[0] = build_range(&b, dtype, count > 0 ? (Dim)count : 0, start, step);
    return translate_end(t, &b);
  }
  const Dim *start, *limit, *delta;
  int count;
  int64_t step, first;
  NEED_DIMS(t, 0, &start, &count);
  NEED_DIMS(t, 1, &limit, &count);
  NEED_DIMS(t, 2, &delta, &count);
  if (!dim_get_constant(table, *delta, &step)) {
    t->deferred = true;
    return OK;
  }
  if (step == 0 || step == INT64_MIN) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its delta is %lld", (long long)step);
  Dim distance = step > 0 ? dim_sub(table, *limit, *start) : dim_sub(table, *start, *limit);
  distance = dim_most(table, distance, 0);
  Dim n = dim_ceil_div(table, distance, step > 0 ? step : -step);
  if (dim_get_constant(table, *start, &first)) {
    t->outputs[0] = build_range(&b, dtype, n, (double)first, (double)step);
  } else {
    Value *from = t->inputs[0]->rank > 0 ? build_reshape(&b, t->inputs[0], 0, NULL) : t->inputs[0];
    Program *p = program_new(t->graph->arena, 1);
    int offset = op2(p, OP_mul, program_index(p, dtype, 0), program_const_i(p, dtype, step));
    program_output(p, op2(p, OP_add, program_input(p, 0, dtype), offset));
    t->outputs[0] = build_elementwise_over(&b, p, 1, &from, 1, &n);
  }
  return translate_end(t, &b);
}

static Status eye_like(Translation *t) {
  Builder b = translate_begin(t);
  const Value *x = t->inputs[0];
  DType dtype;
  TRY(dtype_attribute(t, "dtype", x->dtype, &dtype));
  if (x->rank != 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected 2", x->rank);
  Program *p = program_new(t->graph->arena, 0);
  int offset = op2(p, OP_sub, program_index(p, DTYPE_I64, 1), program_index(p, DTYPE_I64, 0));
  int on = op2(p, OP_eq, offset, program_const_i(p, DTYPE_I64, node_int(t->attributes, "k", 0)));
  program_output(p, op3(p, OP_select, on, program_const(p, dtype, 1), program_const(p, dtype, 0)));
  t->outputs[0] = build_elementwise_over(&b, p, 0, NULL, 2, x->dims);
  return translate_end(t, &b);
}

static Status one_hot(Translation *t) {
  Builder b = translate_begin(t);
  Value *indices = t->inputs[0], *values = t->inputs[2];
  const Dim *depth;
  int count, axis, rank = indices->rank + 1;
  const Tensor *depth_tensor = translate_constant(t, 1);
  Dim known;
  if (depth_tensor && dtype_is_float(depth_tensor->dtype)) {
    double value = tensor_count(depth_tensor) ? tensor_get_f(depth_tensor, 0) : -1;
    if (!(value >= 0 && value < 0x1p40)) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its depth is %g", value);
    known = (Dim)value;
    depth = &known;
  } else {
    NEED_SIZES(t, 1, &depth, &count, 1);
  }
  if (rank > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output would have rank %d", rank);
  TRY(normalise_axis(t, node_int(t->attributes, "axis", -1), rank, &axis));
  Dim dims[MAX_RANK];
  for (int i = 0; i < rank; i++) dims[i] = i == axis ? *depth : indices->dims[i - (i > axis)];
  bool words = values->dtype == DTYPE_STRING;  // no program computes these: it says which of the two
  Value *inputs[3] = {build_unsqueeze(&b, indices, (int64_t[]){axis}, 1)};
  for (int i = 0; i < 2 && !words; i++) inputs[i + 1] = build_reshape(&b, build_slice_axis(&b, values, 0, i, 1), 0, NULL);
  if (b.status) return translate_end(t, &b);
  Program *p = program_new(t->graph->arena, words ? 1 : 3);
  int index = program_cast(p, DTYPE_I64, program_input(p, 0, indices->dtype)), zero = program_const_i(p, DTYPE_I64, 0);
  index = op3(p, OP_select, op2(p, OP_lt, index, zero), op2(p, OP_add, index, program_extent(p, DTYPE_I64, axis)), index);
  int hot = op2(p, OP_eq, index, program_index(p, DTYPE_I64, axis));
  if (words) program_output(p, program_cast(p, DTYPE_I64, hot));
  else program_output(p, op3(p, OP_select, hot, program_input(p, 2, values->dtype), program_input(p, 1, values->dtype)));
  t->outputs[0] = build_elementwise_over(&b, p, words ? 1 : 3, inputs, rank, dims);
  if (words) t->outputs[0] = build_gather(&b, values, t->outputs[0], 0);
  return translate_end(t, &b);
}

Status translate_trilu(Translation *t) {
  Builder b = translate_begin(t);
  Value *inputs[] = {t->inputs[0], NULL};
  Value *x = inputs[0];
  if (x->rank < 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected at least 2", x->rank);
  bool upper = node_int(t->attributes, "upper", 1) != 0, shifted = translate_has(t, 1);
  if (shifted) inputs[1] = t->inputs[1]->rank > 0 ? build_reshape(&b, t->inputs[1], 0, NULL) : t->inputs[1];
  Program *p = program_new(t->graph->arena, shifted ? 2 : 1);
  int offset = op2(p, OP_sub, program_index(p, DTYPE_I64, x->rank - 1), program_index(p, DTYPE_I64, x->rank - 2));
  int k = shifted ? program_cast(p, DTYPE_I64, program_input(p, 1, t->inputs[1]->dtype)) : program_const_i(p, DTYPE_I64, 0);
  int a = program_input(p, 0, x->dtype);
  program_output(p, op3(p, OP_select, op2(p, upper ? OP_ge : OP_le, offset, k), a, constant_like(p, a, 0)));
  t->outputs[0] = build_elementwise(&b, p, shifted ? 2 : 1, inputs);
  return translate_end(t, &b);
}

const OnnxOp onnx_shape_ops[] = {
    {"", "Reshape", 1, 4, 1, 1, 1, 1, reshape_old},
    {"", "Reshape", 5, 0, 2, 2, 1, 1, reshape},
    {"", "Shape", 1, 0, 1, 1, 1, 1, shape},
    {"", "Size", 1, 0, 1, 1, 1, 1, size},
    {"", "Constant", 1, 0, 0, 0, 1, 1, constant},
    {"", "ConstantOfShape", 9, 0, 1, 1, 1, 1, constant_of_shape},
    {"", "Range", 11, 0, 3, 3, 1, 1, range},
    {"", "EyeLike", 9, 0, 1, 1, 1, 1, eye_like},
    {"", "OneHot", 9, 0, 3, 3, 1, 1, one_hot},
    {"", "Trilu", 14, 0, 1, 2, 1, 1, translate_trilu},
    {0},
};
