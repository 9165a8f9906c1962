// bitcast: the same bits read as another type of the same width. Types of 4 and 2 bits are stored one to a byte with their sign
// spread, so between those the stored byte is made anew.
#include <string.h>
#include "kernels/meaning.h"
#include "kernels/view/view.h"

static Status infer_bitcast(Node *node) {
  Value *x;
  TRY(meaning_require(node, 0, &x));
  int64_t dtype = node_int(node, "dtype", x->dtype);
  bool same = dtype == (int64_t)x->dtype;
  if (dtype < 0 || dtype >= DTYPE_COUNT || (!same && (dtype == DTYPE_STRING || x->dtype == DTYPE_STRING)) ||
      dtype_bits((DType)dtype) != dtype_bits(x->dtype))
    FAIL(ERROR_INVALID_MODEL, "%s cannot be read as type %lld, which has another width", dtype_name(x->dtype),
         (long long)dtype);
  value_set_type(node->outputs[0], (DType)dtype, x->rank, x->dims);
  return OK;
}

static Status reference_bitcast(Reference *r) {
  const Tensor *x = r->inputs[0];
  DType dtype = (DType)node_int(r->node, "dtype", x->dtype);
  Tensor *out;
  TRY(reference_output(r, 0, dtype, x->rank, x->dims, &out));
  if (tensor_bytes(out) == 0) return OK;
  memcpy(out->data, x->data, tensor_bytes(out));
  int bits = dtype_bits(dtype);
  if (bits >= 8) return OK;
  uint8_t *bytes = out->data, mask = (uint8_t)((1 << bits) - 1), sign = (uint8_t)(1 << (bits - 1));
  for (int64_t i = 0; i < tensor_count(out); i++) {
    bytes[i] &= mask;
    if (dtype_kind(dtype) == KIND_SIGNED && bytes[i] & sign) bytes[i] |= (uint8_t)~mask;
  }
  return OK;
}

static const AttributeSpec attributes[] = {{"dtype", ATTR_INTS, true}, {0}};
const OpDef op_bitcast = {
    "bitcast", "the same bits as another type", 1, 1, 1, 1, attributes, infer_bitcast, reference_bitcast, .exact_values = true};
