// Translations everything else needs first: constants, copies, plain arithmetic, shapes and matrix products.
#include "kernels/build.h"
#include "kernels/view/view.h"
#include "onnx/translate.h"

static Status identity(Translation *t) {
  t->outputs[0] = t->inputs[0];
  return OK;
}

static Status from_ints(Translation *t, Builder *b, const char *name, bool vector) {
  int count;
  const int64_t *values = node_ints(t->attributes, name, &count);
  if (!vector && count != 1)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "attribute '%s' has %d integers, expected one", name, count);
  Arena *arena = t->graph->arena;
  t->outputs[0] = build_constant(b, vector ? tensor_vector_i64(arena, values, count) : tensor_scalar_i64(arena, values[0]));
  return b->status;
}

static Status from_floats(Translation *t, Builder *b, const char *name, bool vector) {
  int count;
  const double *values = node_floats(t->attributes, name, &count);
  int64_t dim = count;
  Tensor tensor;
  if (!vector && count != 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "attribute '%s' has %d floats, expected one", name, count);
  TRY(tensor_new(t->graph->arena, DTYPE_F32, vector ? 1 : 0, &dim, &tensor));
  for (int i = 0; i < count; i++) tensor_set_f(&tensor, i, values[i]);
  t->outputs[0] = build_constant(b, &tensor);
  return b->status;
}

static Status from_strings(Translation *t, Builder *b, const char *const *values, int64_t count, int rank) {
  Tensor tensor;
  TRY(tensor_new(t->graph->arena, DTYPE_STRING, rank, &count, &tensor));
  for (int64_t i = 0; i < count; i++) ((const char **)tensor.data)[i] = values[i];
  t->outputs[0] = build_constant(b, &tensor);
  return b->status;
}

static Status constant(Translation *t) {
  Builder b = {.graph = t->graph, .at = t->at};
  const Node *a = t->attributes;
  const Tensor *tensor = node_tensor(a, "value") ? node_tensor(a, "value") : node_tensor(a, "sparse_value");
  if (tensor) {
    t->outputs[0] = build_constant(&b, tensor);
    return b.status;
  }
  if (node_attribute(a, "value_int")) return from_ints(t, &b, "value_int", false);
  if (node_attribute(a, "value_ints")) return from_ints(t, &b, "value_ints", true);
  if (node_attribute(a, "value_float")) return from_floats(t, &b, "value_float", false);
  if (node_attribute(a, "value_floats")) return from_floats(t, &b, "value_floats", true);
  const char *text = node_string(a, "value_string", NULL);
  if (text) return from_strings(t, &b, &text, 1, 0);
  int count;
  const char *const *texts = node_strings(a, "value_strings", &count);
  if (texts) return from_strings(t, &b, texts, count, 1);
  TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "none of the attributes that hold the value is there");
}

static Status binary(Translation *t, Opcode op) {
  if (t->inputs[0]->dtype != t->inputs[1]->dtype)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the inputs are %s and %s, expected one type", dtype_name(t->inputs[0]->dtype),
                   dtype_name(t->inputs[1]->dtype));
  Builder b = {.graph = t->graph, .at = t->at};
  t->outputs[0] = build_binary(&b, op, t->inputs[0], t->inputs[1]);
  return b.status;
}

static Status add(Translation *t) { return binary(t, OP_add); }
static Status sub(Translation *t) { return binary(t, OP_sub); }
static Status mul(Translation *t) { return binary(t, OP_mul); }

static Status relu(Translation *t) {
  Builder b = {.graph = t->graph, .at = t->at};
  t->outputs[0] = build_unary(&b, OP_relu, t->inputs[0]);
  return b.status;
}

// Replaces 0 (unless allowed) by the input's dim and -1 by what is left.
static Status resolve_reshape(Translation *t, const Dim *wanted, int count, Dim *dims) {
  DimTable *table = t->graph->dims;
  const Value *x = t->inputs[0];
  bool allow_zero = node_int(t->attributes, "allowzero", 0) != 0;
  int inferred = -1;
  Dim product = 1;
  if (count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "rank %d is more than %d", count, MAX_RANK);
  for (int i = 0; i < count; i++) {
    int64_t value;
    bool known = dim_get_constant(table, wanted[i], &value);
    dims[i] = wanted[i];
    if (known && value == 0 && !allow_zero) {
      if (i >= x->rank) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "dimension %d is copied from an input of rank %d", i, x->rank);
      dims[i] = x->dims[i];
    } else if (known && value < 0) {
      if (value != -1 || inferred >= 0)
        TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the shape has more than one -1, or a negative dimension");
      inferred = i;
      continue;
    }
    product = dim_mul(table, product, dims[i]);
  }
  if (inferred >= 0) dims[inferred] = dim_div(table, value_count_dim(t->graph, x), product);
  return OK;
}

static Status reshape(Translation *t) {
  const Dim *wanted;
  int count;
  Dim dims[MAX_RANK];
  Builder b = {.graph = t->graph, .at = t->at};
  NEED_DIMS(t, 1, &wanted, &count);
  TRY(resolve_reshape(t, wanted, count, dims));
  t->outputs[0] = build_reshape(&b, t->inputs[0], count, dims);
  return b.status ? status_context(b.status, "node '%s' (%s)", t->name, t->op_type) : OK;
}

// Vectors become matrices for the product and lose the added axis again.
static Status matmul(Translation *t) {
  Builder b = {.graph = t->graph, .at = t->at};
  Value *x = t->inputs[0], *y = t->inputs[1];
  bool row = x->rank == 1, column = y->rank == 1;
  if (x->rank == 0 || y->rank == 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "an input is a scalar, expected rank 1 or more");
  if (row) x = build_unsqueeze(&b, x, (const int64_t[]){0}, 1);
  if (column) y = build_unsqueeze(&b, y, (const int64_t[]){1}, 1);
  Value *product = build_matmul(&b, x, y);
  int64_t axes[2];
  int count = 0;
  if (product && row) axes[count++] = product->rank - 2;
  if (product && column) axes[count++] = product->rank - 1;
  t->outputs[0] = count ? build_squeeze(&b, product, axes, count) : product;
  return b.status ? status_context(b.status, "node '%s' (%s)", t->name, t->op_type) : OK;
}

static Status shape(Translation *t) {
  Builder b = {.graph = t->graph, .at = t->at};
  int64_t rank = t->inputs[0]->rank;
  int64_t start = node_int(t->attributes, "start", 0), end = node_int(t->attributes, "end", rank);
  start = start < 0 ? start + rank : start;
  end = end < 0 ? end + rank : end;
  start = start < 0 ? 0 : start > rank ? rank : start;
  end = end < start ? start : end > rank ? rank : end;
  t->outputs[0] = build_dims(&b, t->inputs[0]->dims + start, (int)(end - start));
  return b.status;
}

const OnnxOp onnx_basic_ops[] = {
    {"", "Identity", 1, 0, 1, 1, 1, 1, identity}, {"", "Constant", 1, 0, 0, 0, 1, 1, constant},
    {"", "Add", 7, 0, 2, 2, 1, 1, add},           {"", "Sub", 7, 0, 2, 2, 1, 1, sub},
    {"", "Mul", 7, 0, 2, 2, 1, 1, mul},           {"", "Relu", 1, 0, 1, 1, 1, 1, relu},
    {"", "Reshape", 5, 0, 2, 2, 1, 1, reshape},   {"", "MatMul", 1, 0, 2, 2, 1, 1, matmul},
    {"", "Shape", 1, 0, 1, 1, 1, 1, shape},       {0},
};
