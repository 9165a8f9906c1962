// Changing what a graph gives out.
#include "ir/graph.h"

void graph_replace_output(Graph *graph, int index, Value *value) {
  Value *old = graph->outputs[index];
  const char *name = old->name;
  graph->outputs[index] = value;
  value->is_output = true;
  old->is_output = false;
  for (int i = 0; i < graph->output_count; i++) old->is_output |= graph->outputs[i] == old;
  if (old->is_input || old->is_output) return;
  value_rename(graph, value, name);
  value->given_as = old->given_as;
}

int graph_keep_defaults(Graph *graph) {
  int kept = 0, given = 0;
  for (int i = 0; i < graph->input_count; i++) {
    Value *input = graph->inputs[i];
    if (!input->initial) {
      graph->inputs[given++] = input;
      continue;
    }
    const char *name = input->name;
    Value *constant = graph_add_constant(graph, NULL, input->initial);
    input->is_input = false;
    value_replace(input, constant);
    value_rename(graph, constant, name);
    kept++;
  }
  graph->input_count = given;
  return kept;
}
