// A static graph computed node by node by the references, with nothing fused, packed or threaded: what tests compare with.
#pragma once
#include <criterion/criterion.h>

#include "kernels/reference.h"

static inline void evaluate(const Graph *graph, Arena *arena, const Tensor *inputs, Tensor *outputs) {
  const Tensor **values = arena_array(arena, const Tensor *, graph->next_value_id);
  for (int i = 0; i < graph->input_count; i++) values[graph->inputs[i]->id] = &inputs[i];
  FOR_NODES(node, graph) {
    const Tensor **in = arena_array(arena, const Tensor *, node->input_count);
    Tensor *out = arena_array(arena, Tensor, node->output_count);
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) in[i] = node->inputs[i]->constant ? node->inputs[i]->constant : values[node->inputs[i]->id];
    Status status = reference_run(node, arena, in, out);
    cr_assert(!status, "%s: %s", node->op->name, status_message(status));
    for (int i = 0; i < node->output_count; i++) values[node->outputs[i]->id] = &out[i];
  }
  for (int i = 0; i < graph->output_count; i++) {
    const Value *value = graph->outputs[i];
    outputs[i] = value->constant ? *value->constant : *values[value->id];
  }
}
