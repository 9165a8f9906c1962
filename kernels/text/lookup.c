// lookup: each element of x, found among `keys`, becomes the value at the same place; others become the default. NaN finds NaN.
#include <string.h>
#include "kernels/meaning.h"
#include "kernels/text/strings.h"

static Status infer_lookup(Node *node) {
  Value *x;
  TRY(meaning_require(node, 0, &x));
  const Tensor *keys = node_tensor(node, "keys"), *values = node_tensor(node, "values"),
               *otherwise = node_tensor(node, "default");
  if (!keys || !values || !otherwise || tensor_count(keys) != tensor_count(values) || tensor_count(otherwise) != 1)
    FAIL(ERROR_INVALID_MODEL, "keys and values differ in number");
  if (keys->dtype != x->dtype)
    FAIL(ERROR_INVALID_MODEL, "its input is %s and its keys %s", dtype_name(x->dtype), dtype_name(keys->dtype));
  if (values->dtype != otherwise->dtype) FAIL(ERROR_INVALID_MODEL, "its values and default differ in type");
  value_set_type(node->outputs[0], values->dtype, x->rank, x->dims);
  return OK;
}

static Status run_lookup(Reference *r) {
  const Tensor *x = r->inputs[0], *keys = node_tensor(r->node, "keys"), *values = node_tensor(r->node, "values");
  const Tensor *otherwise = node_tensor(r->node, "default");
  size_t key_size = dtype_size(keys->dtype), size = dtype_size(values->dtype);
  int64_t count = tensor_count(x), key_count = tensor_count(keys);
  Tensor *out;
  TRY(reference_output(r, 0, values->dtype, x->rank, x->dims, &out));
  for (int64_t i = 0; i < count; i++) {
    const char *wanted = (const char *)x->data + (size_t)i * key_size, *result = otherwise->data;
    for (int64_t k = key_count - 1; k >= 0; k--) {  // the last of equal keys counts
      if (element_compare(x->dtype, wanted, (const char *)keys->data + (size_t)k * key_size) != 0) continue;
      result = (const char *)values->data + (size_t)k * size;
      break;
    }
    memcpy((char *)out->data + (size_t)i * size, result, size);
  }
  return OK;
}

static const AttributeSpec attributes[] = {
    {"keys", ATTR_TENSOR, true}, {"values", ATTR_TENSOR, true}, {"default", ATTR_TENSOR, true}, {0}};
const OpDef op_lookup = {"lookup",   "values found by keys", 1, 1, 1, 1, attributes, infer_lookup,
                         run_lookup, .exact_values = true};
