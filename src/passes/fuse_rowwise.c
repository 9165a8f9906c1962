// Fusion around reductions: a row node takes in the pointwise nodes before and after it and the row nodes over the same rows, until
// a softmax or a layer norm written as ten operators reads its input once. Values that others use too stay as outputs.
#include "passes/rewrite.h"

static Node *try_inputs(Node *node) {
  for (int i = 0; i < node->input_count; i++) {
    Value *input = node->inputs[i];
    if (!input || !input->producer || !is_program_node(input->producer)) continue;
    Node *producer = input->producer;
    bool rows = producer->op == &op_rowwise || node->op == &op_rowwise;
    if (!rows) continue;
    // A pointwise producer with other users would be computed here and stored for them; only rows are worth that.
    if (producer->op == &op_elementwise && (producer->output_count != 1 || only_user(input) != node)) continue;
    Node *joined = join_nodes(producer, node);
    if (joined) return joined;
  }
  return NULL;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  for (Node *node = graph->first; node;) {
    Node *next = node->next;
    if (is_program_node(node))
      for (Node *joined; (joined = try_inputs(node)); node = joined) ++*changes;
    node = next;
  }
  return OK;
}

const Pass pass_fuse_rowwise = {"fuse_rowwise", "joins reductions with the pointwise nodes and reductions around them", true,
                                run};
