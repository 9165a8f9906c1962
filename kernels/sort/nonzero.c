// nonzero: the coordinates of the elements that are not zero, in row-major order, one column each. A scalar has no
// coordinates: its result is [0, n].
#include "kernels/meaning.h"
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

static Status reference_nonzero(Reference *r) {
  const Tensor *x = r->inputs[0];
  int64_t count = tensor_count(x), found = 0, strides[MAX_RANK];
  for (int64_t i = 0; i < count; i++) found += is_nonzero(x, i);
  Tensor *out;
  TRY(reference_output(r, 0, DTYPE_I64, 2, (int64_t[]){x->rank, found}, &out));
  dims_strides(x->rank, x->dims, strides);
  int64_t *to = out->data, n = 0;
  for (int64_t i = 0; i < count; i++) {
    if (!is_nonzero(x, i)) continue;
    for (int k = 0; k < x->rank; k++) to[k * found + n] = i / strides[k] % x->dims[k];
    n++;
  }
  return OK;
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
};
