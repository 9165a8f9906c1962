// Changing what a graph gives out.
#include "ir/graph.h"

void graph_replace_output(Graph *graph, int index, Value *value) {
  Value *old = graph->outputs[index];
  const char *name = old->name;
  graph->outputs[index] = value;
  value->is_output = true;
  old->is_output = false;
  for (int i = 0; i < graph->output_count; i++) old->is_output |= graph->outputs[i] == old;
  if (!old->is_input && !old->is_output) value_rename(graph, value, name);
}
