// nonzero: the coordinates of the elements that are not zero, in row-major order, one column each. A scalar has no
// coordinates: its result is [0, n].
#include "kernels/meaning.h"
#include "kernels/sort/reserved.h"
#include "kernels/sort/sort.h"

static Status infer_nonzero(Node *node) {
  Value *x;
  TRY(meaning_require(node, 0, &x));
  Dim dims[2] = {x->rank, meaning_data_dim(node, 0, DTYPE_I64, 2, 1, "nonzero")};
  value_set_type(node->outputs[0], DTYPE_I64, 2, dims);
  return OK;
}

static bool is_nonzero(const Tensor *x, int64_t i) {
  const char *element = (const char *)x->data + (size_t)i * dtype_size(x->dtype);
  switch (dtype_kind(x->dtype)) {
    case KIND_FLOAT: return element_get_f(x->dtype, element) != 0;
    case KIND_COMPLEX:
      return x->dtype == DTYPE_C64 ? ((const float *)element)[0] != 0 || ((const float *)element)[1] != 0
                                   : ((const double *)element)[0] != 0 || ((const double *)element)[1] != 0;
    case KIND_STRING: return *(const char *const *)element && **(const char *const *)element;
    default: return element_get_i(x->dtype, element) != 0;
  }
}

static int64_t count_nonzero(const Tensor *x) {
  int64_t count = tensor_count(x), found = 0;
  for (int64_t i = 0; i < count; i++) found += is_nonzero(x, i);
  return found;
}

// to: [rank, found].
static void list_nonzero(const Tensor *x, int64_t found, int64_t *to) {
  int64_t count = tensor_count(x), strides[MAX_RANK], n = 0;
  dims_strides(x->rank, x->dims, strides);
  for (int64_t i = 0; i < count; i++) {
    if (!is_nonzero(x, i)) continue;
    for (int k = 0; k < x->rank; k++) to[k * found + n] = i / strides[k] % x->dims[k];
    n++;
  }
}

static Status reference_nonzero(Reference *r) {
  const Tensor *x = r->inputs[0];
  int64_t found = count_nonzero(x);
  Tensor *out;
  TRY(reference_output(r, 0, DTYPE_I64, 2, (int64_t[]){x->rank, found}, &out));
  list_nonzero(x, found, out->data);
  return OK;
}

// ---- into reserved memory ----------------------------------------------------------------------------------------------------

static Status infer_nonzero_reserved(Node *node) {
  Value *mask;
  TRY(meaning_require(node, 0, &mask));
  if (mask->dtype != DTYPE_BOOL) FAIL(ERROR_INVALID_MODEL, "the mask is %s, not bool", dtype_name(mask->dtype));
  DimTable *dims = node->graph->dims;
  Dim room = dim_mul(dims, value_count_dim(node->graph, mask), meaning_const(node, mask->rank)), one = meaning_const(node, 1);
  value_set_type(node->outputs[0], DTYPE_I64, 1, &room);
  value_set_type(node->outputs[1], DTYPE_I64, 1, &one);
  return OK;
}

static Status reference_nonzero_reserved(Reference *r) {
  const Tensor *mask = r->inputs[0];
  int64_t found = count_nonzero(mask);
  void *coordinates;
  TRY(reference_scratch(r, sizeof(int64_t), found * mask->rank, &coordinates));
  list_nonzero(mask, found, coordinates);
  return reserved_output(r, coordinates, found * mask->rank, tensor_count(mask) * mask->rank, found);
}

const OpDef op_nonzero_reserved = {
    .name = "nonzero_reserved",
    .help = "coordinates of the elements that are true, with room for all, and how many there are",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 2,
    .max_outputs = 2,
    .attributes = (const AttributeSpec[]){{0}},
    .infer = infer_nonzero_reserved,
    .reference = reference_nonzero_reserved,
};

static Value *reserve_nonzero(Builder *b, const Node *node) {
  Value *x = node->inputs[0];
  DTypeKind kind = dtype_kind(x->dtype);
  if (kind == KIND_STRING || kind == KIND_COMPLEX) return NULL;
  Value *mask = kind == KIND_BOOL ? x : build_binary(b, OP_ne, x, build_scalar(b, x->dtype, 0));
  return mask ? counted_of(b, build_node(b, &op_nonzero_reserved, 1, &mask, 2, NULL, NULL), x->rank, 1) : NULL;
}

const OpDef op_nonzero = {
    .name = "nonzero",
    .help = "coordinates of the elements that are not zero",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{0}},
    .infer = infer_nonzero,
    .reference = reference_nonzero,
    .data_dependent = true,
    .reserve = reserve_nonzero,
};
