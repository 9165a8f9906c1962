// See parts.h.
#include "tests/cases/parts.h"

#include <string.h>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"

bool join_results_known(const char *name) { return !strcmp(name, "first") || !strcmp(name, "last"); }

static bool may_join(const Value *value) {
  const Node *producer = value->producer;
  return producer && !producer->op->view && value->kind == VALUE_TENSOR && value->rank > 0 && value_is_static(value) &&
         value->dtype != DTYPE_STRING && dtype_kind(value->dtype) != KIND_COMPLEX;
}

static Status add_copy(Graph *graph, Value *source, Value **out) {
  Program *program = program_new(graph->arena, 1);
  program_output(program, program_input(program, 0, source->dtype));
  Node *copy = graph_add(graph, NULL, &op_elementwise, 1, &source, 1);
  node_set_program(copy, "program", program);
  TRY(node_infer(copy));
  *out = copy->outputs[0];
  memcpy((*out)->order, source->order, sizeof source->order);
  return OK;
}

static Status join(Graph *graph, Value *value, int axis, Value **out) {
  Value *copy;
  TRY(add_copy(graph, value, &copy));
  Node *concat = graph_add(graph, NULL, &op_concat, 2, (Value *[]){copy, value}, 1);
  node_set_int(concat, "axis", axis);
  TRY(node_infer(concat));
  memcpy(concat->outputs[0]->order, value->order, sizeof value->order);
  return add_copy(graph, concat->outputs[0], out);
}

Status join_results(Graph *graph, const char *name) {
  for (int i = 0; i < graph->output_count; i++) {
    Value *value = graph->outputs[i], *joined;
    if (!may_join(value)) continue;
    TRY(join(graph, value, strcmp(name, "last") ? 0 : value->rank - 1, &joined));
    graph_replace_output(graph, i, joined);
  }
  return OK;
}
