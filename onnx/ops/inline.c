// Graphs of a node copied into the graph around it.
#include "kernels/control/inline.h"
#include "onnx/ops/common.h"

Status translate_inline(Translation *t, Graph *body, Value *const *arguments, Value **results) {
  Node *before = t->at ? t->at->previous : t->graph->last;
  inline_graph(t->graph, t->at, body, false, arguments, results);
  for (Node *node = before ? before->next : t->graph->first; node != t->at; node = node->next) TRY(node_infer(node));
  return OK;
}
