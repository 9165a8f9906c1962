// See comparable.h.
#include "tests/random/comparable.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/view/view.h"

static void give_nan(Graph *graph, Node *bits, double number) {
  Value *x = bits->inputs[0];
  if (!dtype_is_float(x->dtype)) return;
  Program *program = program_new(graph->arena, 1);
  int read = program_input(program, 0, x->dtype), nan = program_const_f(program, x->dtype, number);
  program_output(program, program_op3(program, OP_select, program_op1(program, OP_isnan, read), nan, read));
  Node *node = graph_add(graph, bits, &op_elementwise, 1, &x, 1);
  node_set_program(node, "program", program);
  value_set_type(node->outputs[0], x->dtype, x->rank, x->dims);
  node_set_input(bits, 0, node->outputs[0]);
}

void graph_give_one_nan(Graph *graph, double nan) {
  FOR_NODES(node, graph) {
    if (node->op == &op_bitcast) give_nan(graph, node, nan);
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) graph_give_one_nan(node->attributes[i].graph, nan);
  }
}
