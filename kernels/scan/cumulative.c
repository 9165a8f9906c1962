// cumulative: y[i] = the sum or product of x[0..i] along an axis; exclusive leaves x[i] itself out, reverse starts from the end.
#include <string.h>
#include "base/budget.h"
#include "kernels/meaning.h"
#include "kernels/scan/scan.h"

static Status read_kind(const Node *node, bool *product) {
  const char *kind = node_string(node, "kind", "sum");
  *product = strcmp(kind, "prod") == 0;
  if (!*product && strcmp(kind, "sum") != 0) FAIL(ERROR_INVALID_MODEL, "unknown kind '%s'", kind);
  return OK;
}

static Status infer_cumulative(Node *node) {
  Value *x;
  int axis;
  bool product;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_axis(node, "axis", x->rank, &axis));
  TRY(read_kind(node, &product));
  if (!dtype_is_float(x->dtype) && !dtype_is_integer(x->dtype))
    FAIL(ERROR_INVALID_MODEL, "no running sum of %s", dtype_name(x->dtype));
  value_set_type(node->outputs[0], x->dtype, x->rank, x->dims);
  return OK;
}

static Status reference_cumulative(Reference *r) {
  const Tensor *x = r->inputs[0];
  Tensor *out;
  bool product, exclusive = node_int(r->node, "exclusive", 0) != 0, reverse = node_int(r->node, "reverse", 0) != 0;
  TRY(read_kind(r->node, &product));
  TRY(reference_output(r, 0, x->dtype, x->rank, x->dims, &out));
  if (tensor_count(x) == 0) return OK;
  AxisView view = axis_view(x->rank, x->dims, (int)node_int(r->node, "axis", 0));
  bool in_ints = dtype_computes_in_int(x->dtype);
  for (int64_t o = 0; o < view.outer; o++)
    for (int64_t j = 0; j < view.inner; j++) {
      budget_step((uint64_t)view.size);
      double real = product;
      uint64_t integer = product;
      for (int64_t i = 0; i < view.size; i++) {
        int64_t at = (o * view.size + (reverse ? view.size - 1 - i : i)) * view.inner + j;
        double before = real;
        uint64_t integer_before = integer;
        if (in_ints) {
          uint64_t value = (uint64_t)tensor_get_i(x, at);
          integer = product ? integer * value : integer + value;
          tensor_set_i(out, at, (int64_t)(exclusive ? integer_before : integer));
        } else {
          double value = tensor_get_f(x, at);
          real = product ? real * value : real + value;
          tensor_set_f(out, at, exclusive ? before : real);
        }
      }
    }
  return OK;
}

// Sums of one number are its multiples.
static bool index_form_of_cumulative(const Node *node, const IndexForm *inputs, IndexForm *out) {
  if (strcmp(node_string(node, "kind", ""), "sum") || node_int(node, "reverse", 0)) return false;
  for (int i = 0; i < node->outputs[0]->rank; i++)
    if (inputs[0].steps[i] != 0) return false;
  *out = (IndexForm){.base = node_int(node, "exclusive", 0) ? 0 : inputs[0].base};
  out->steps[node_int(node, "axis", 0)] = inputs[0].base;
  return true;
}

const OpDef op_cumulative = {
    .name = "cumulative",
    .help = "running sums or products along an axis",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"kind", ATTR_STRING, true},
                                          {"axis", ATTR_INTS, true},
                                          {"exclusive", ATTR_INTS, false},
                                          {"reverse", ATTR_INTS, false},
                                          {0}},
    .infer = infer_cumulative,
    .reference = reference_cumulative,
    .index_form = index_form_of_cumulative,
};
