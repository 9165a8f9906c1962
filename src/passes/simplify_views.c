// Views that do nothing go; a view of a view becomes one view; pointwise nodes with one large operand move in front of the
// view they read through, so that they reach the anchor whose epilogue they can be.
#include <string.h>

#include "kernels/view/view.h"
#include "passes/rewrite.h"

static bool is_noop(const Node *node) {
  const Value *in = node->inputs[0], *out = node->outputs[0];
  int count;
  if (node->op == &op_transpose) {
    const int64_t *perm = node_ints(node, "perm", &count);
    for (int i = 0; i < count; i++)
      if (perm[i] != i) return false;
    return true;
  }
  if (!value_same_shape(in, out)) return false;
  if (node->op == &op_reshape || node->op == &op_expand) return true;
  if (node->op != &op_slice) return false;
  const Dim *starts = node_dims(node, "starts", &count);
  const int64_t *steps = node_ints(node, "steps", &count);
  for (int i = 0; i < count; i++)
    if (starts[i] != 0 || steps[i] != 1) return false;
  return true;
}

// node and the view before it, of the same kind, become one.
static bool compose(Node *node) {
  Node *before = node->inputs[0]->producer;
  if (!before || before->op != node->op) return false;
  int count;
  if (node->op == &op_transpose) {
    const int64_t *first = node_ints(before, "perm", &count), *second = node_ints(node, "perm", &count);
    int64_t perm[MAX_RANK];
    for (int i = 0; i < count; i++) perm[i] = first[second[i]];
    node_set_ints(node, "perm", perm, count);
  } else if (node->op != &op_reshape && node->op != &op_expand) {
    return false;
  }
  node_merge_origins(node, before);
  node_set_input(node, 0, before->inputs[0]);
  return true;
}

// pointwise(view(x)) with otherwise only scalars -> view(pointwise(x)).
static Status hoist(Graph *graph, Node *node, bool *done) {
  *done = false;
  if (node->op != &op_elementwise || node->output_count != 1 || node_attribute(node, "dims")) return OK;
  int through = -1;
  for (int i = 0; i < node->input_count; i++) {
    if (node->inputs[i] && value_is_scalar(node->inputs[i]) && node->inputs[i]->rank <= 1) continue;
    if (through >= 0) return OK;
    through = i;
  }
  if (through < 0) return OK;
  Value *viewed = node->inputs[through];
  Node *view = viewed->producer;
  if (!view || (view->op != &op_transpose && view->op != &op_reshape) || only_user(viewed) != node) return OK;
  if (!view->inputs[0]->producer || view->inputs[0]->rank < 1) return OK;  // nothing there to fuse with
  if (!value_same_shape(viewed, node->outputs[0])) return OK;
  const Program *program = node_program(node, "program");
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_index || program->code[i].op == OP_extent) return OK;
  Node *moved = graph_add(graph, view, &op_elementwise, node->input_count, node->inputs, 1);
  node_set_input(moved, through, view->inputs[0]);
  // Scalars of a constant's kind exist everywhere; computed ones have to exist before the view.
  for (int i = 0; i < node->input_count; i++)
    if (i != through && node->inputs[i] && node->inputs[i]->producer) {
      node_move_before(moved, node);
      node_move_before(view, node);
      break;
    }
  node_set_program(moved, "program", program_copy(graph->arena, program));
  node_merge_origins(moved, node);
  TRY(node_infer(moved));
  node_set_input(view, 0, moved->outputs[0]);
  TRY(node_infer(view));
  value_replace(node->outputs[0], view->outputs[0]);
  node_remove(node);
  *done = true;
  return OK;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  FOR_NODES_SAFE(node, graph) {
    if (node->op->is_view && node->inputs[0]) {
      while (compose(node)) ++*changes;
      if (is_noop(node) && value_can_replace(node->outputs[0], node->inputs[0])) {
        value_replace(node->outputs[0], node->inputs[0]);
        node_remove(node);
        ++*changes;
      }
      continue;
    }
    bool done;
    TRY(hoist(graph, node, &done));
    *changes += done;
  }
  return OK;
}

const Pass pass_simplify_views = {"simplify_views", "composes and removes views, moves pointwise work in front of them", true,
                                  run};
