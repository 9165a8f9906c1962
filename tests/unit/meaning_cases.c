// Every operator case is sound: it builds, verifies, and the reference computes it, with the types and dims that inference gave.
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "kernels/cases.h"

static void run_case(const OperatorCase *row) {
  Arena *arena = arena_new();
  Graph *graph = NULL;
  Status status = operator_case_build(row, arena, core_ops, &graph);
  cr_assert_null(status, "%s", status_message(status));
  Tensor *inputs = arena_array(arena, Tensor, (size_t)graph->input_count);
  status = operator_case_fill(row, graph, arena, 1, inputs);
  cr_assert_null(status, "%s", status_message(status));
  const Tensor **tensors = arena_array(arena, const Tensor *, graph->next_value_id);
  for (int i = 0; i < graph->input_count; i++) tensors[graph->inputs[i]->id] = &inputs[i];
  FOR_NODES(node, graph) {
    const Tensor **operands = arena_array(arena, const Tensor *, (size_t)node->input_count);
    Tensor *outputs = arena_array(arena, Tensor, (size_t)node->output_count);
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) operands[i] = node->inputs[i]->constant ? node->inputs[i]->constant : tensors[node->inputs[i]->id];
    status = reference_run(node, arena, operands, outputs);
    cr_assert_null(status, "%s: %s", row->name, status_message(status));
    for (int i = 0; i < node->output_count; i++) {
      const Value *value = node->outputs[i];
      tensors[value->id] = &outputs[i];
      cr_expect_eq(outputs[i].dtype, value->dtype, "%s: output %d is %s, inferred %s", row->name, i,
                   dtype_name(outputs[i].dtype), dtype_name(value->dtype));
      cr_expect_eq(outputs[i].rank, value->rank, "%s: output %d", row->name, i);
      for (int k = 0; k < value->rank; k++)
        if (dim_is_static(value->dims[k])) cr_expect_eq(outputs[i].dims[k], value->dims[k], "%s: output %d", row->name, i);
    }
  }
  arena_free(arena);
}

Test(meaning_cases, every_case_runs) {
  int count = 0;
  for (const OperatorCase *row = operator_cases; row->name; row++, count++) run_case(row);
  cr_assert_geq(count, 300);
}

Test(meaning_cases, names_are_unique) {
  Arena *arena = arena_new();
  StringMap *names = string_map_new(arena);
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    cr_expect_null(string_map_get(names, row->name), "%s occurs twice", row->name);
    string_map_set(names, row->name, (void *)row);
  }
  arena_free(arena);
}

Test(meaning_cases, every_operator_has_cases) {
  for (int i = 0; core_ops[i]; i++) {
    const OpDef *op = core_ops[i];
    if (!op->reference) continue;  // the executor's own
    bool found = false;
    for (const OperatorCase *row = operator_cases; row->name && !found; row++) {
      char call[64];
      snprintf(call, sizeof call, " %s(", op->name);
      found = strstr(row->nodes, call) != NULL;
    }
    cr_expect(found, "%s has no case", op->name);
  }
}
