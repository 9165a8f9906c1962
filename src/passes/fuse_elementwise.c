// Vertical fusion of pointwise nodes: a node whose only user is another pointwise node over the same domain is computed inside it.
// This comes before epilogue fusion, so that an activation written as ten operators is one node when an anchor takes it.
#include "passes/rewrite.h"

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  for (Node *node = graph->first; node;) {
    Node *next = node->next;
    if (node->op == &op_elementwise) {
      for (int i = 0; i < node->input_count; i++) {
        Value *input = node->inputs[i];
        if (!input || !input->producer || input->producer->op != &op_elementwise || input->producer->output_count != 1)
          continue;
        if (!may_join(input->producer, node) || only_user(input) != node) continue;
        Node *joined = join_nodes(input->producer, node);
        if (!joined) continue;
        ++*changes;
        node = joined;  // its inputs may join in turn
        i = -1;
      }
    }
    node = next;
  }
  return OK;
}

const Pass pass_fuse_elementwise = {"fuse_elementwise", "joins chains of pointwise nodes", true, run};
