// if: one of two graphs. An output has what both branches say: dims that differ become symbols, ranks that differ are unknown, and where
// one gives a tensor and the other a sequence or nothing, only the run knows which.
#include "kernels/control/body.h"
#include "kernels/control/control.h"

static Status infer_branch(Node *node, const char *attribute, Graph **out) {
  int captures = node->input_count - 1;
  bool changed = false;
  TRY(body_read(node, attribute, captures, out));
  if ((*out)->output_count != node->output_count)
    FAIL(ERROR_INVALID_MODEL, "'%s' has %d outputs where %d are expected", attribute, (*out)->output_count, node->output_count);
  for (int i = 0; i < captures; i++) body_set_input((*out)->inputs[i], meaning_input(node, 1 + i), &changed);
  return changed ? body_infer(*out) : OK;
}

static Status merge_outputs(Node *node, int output, const Value *a, const Value *b) {
  Value *value = node->outputs[output];
  DType dtype = a->dtype;
  Dim dims[MAX_RANK];
  value->kind = a->kind == b->kind ? a->kind : VALUE_OPTIONAL;
  if (value->kind != VALUE_TENSOR) {
    value_set_type(value, a->dtype == b->dtype ? dtype : DTYPE_COUNT, -1, NULL);
    return OK;
  }
  if (a->dtype != b->dtype) {
    if (a->dtype < DTYPE_COUNT && b->dtype < DTYPE_COUNT)
      FAIL(ERROR_INVALID_MODEL, "output %d is %s in one branch, %s in the other", output, dtype_name(a->dtype),
           dtype_name(b->dtype));
    dtype = DTYPE_COUNT;
  }
  if (a->rank != b->rank || a->rank < 0) {
    value_set_type(value, dtype, -1, NULL);
    return OK;
  }
  for (int i = 0; i < a->rank; i++)
    dims[i] = a->dims[i] == b->dims[i] ? body_outer_dim(node, a->dims[i], output, i) : body_own_dim(node, output, i);
  value_set_type(value, dtype, a->rank, dims);
  return OK;
}

static Status infer_if(Node *node) {
  Value *condition;
  Graph *then_branch, *else_branch;
  TRY(meaning_require(node, 0, &condition));
  if (condition->dtype != DTYPE_BOOL) FAIL(ERROR_INVALID_MODEL, "the condition is %s", dtype_name(condition->dtype));
  TRY(infer_branch(node, "then_branch", &then_branch));
  TRY(infer_branch(node, "else_branch", &else_branch));
  for (int i = 0; i < node->output_count; i++) TRY(merge_outputs(node, i, then_branch->outputs[i], else_branch->outputs[i]));
  return OK;
}

const OpDef op_if = {
    .name = "if",
    .help = "one of two graphs, by a condition",
    .min_inputs = 1,
    .max_inputs = -1,
    .min_outputs = 1,
    .max_outputs = -1,
    .attributes = (const AttributeSpec[]){{"then_branch", ATTR_GRAPH, true}, {"else_branch", ATTR_GRAPH, true}, {0}},
    .infer = infer_if,
    .is_control = true,
    .exact_values = true,
};
