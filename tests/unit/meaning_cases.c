// Every operator case is sound: it builds, verifies, and the reference computes it, with the types and dims that inference gave.
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "kernels/cases.h"
#include "kernels/ops.h"
#include "kernels/reference.h"

static void check_output(const OperatorCase *row, int index, const Value *inferred, const Tensor *computed) {
  cr_expect_eq(computed->dtype, inferred->dtype, "%s: output %d is %s, inferred %s", row->name, index,
               dtype_name(computed->dtype), dtype_name(inferred->dtype));
  cr_expect_eq(computed->rank, inferred->rank, "%s: output %d has rank %d", row->name, index, computed->rank);
  for (int i = 0; i < inferred->rank; i++)
    if (dim_is_static(inferred->dims[i]))
      cr_expect_eq(computed->dims[i], inferred->dims[i], "%s: output %d axis %d", row->name, index, i);
}

static Status run_case(const OperatorCase *row, Arena *arena) {
  Graph *graph = NULL;
  TRY(operator_case_build(row, arena, core_ops, &graph));
  Tensor *inputs = arena_array(arena, Tensor, (size_t)graph->input_count);
  TRY(operator_case_fill(row, graph, arena, 1, inputs));
  const Tensor **tensors = arena_array(arena, const Tensor *, graph->next_value_id);
  for (int i = 0; i < graph->input_count; i++) tensors[graph->inputs[i]->id] = &inputs[i];
  FOR_NODES(node, graph) {
    const Tensor **operands = arena_array(arena, const Tensor *, (size_t)node->input_count);
    Tensor *outputs = arena_array(arena, Tensor, (size_t)node->output_count);
    for (int i = 0; i < node->input_count; i++) {
      const Value *value = node->inputs[i];
      if (value) operands[i] = value->constant ? value->constant : tensors[value->id];
    }
    TRY(reference_run(node, arena, operands, outputs));
    for (int i = 0; i < node->output_count; i++) {
      tensors[node->outputs[i]->id] = &outputs[i];
      check_output(row, i, node->outputs[i], &outputs[i]);
    }
  }
  return OK;
}

Test(meaning_cases, every_case_runs) {
  int count = 0;
  for (const OperatorCase *row = operator_cases; row->name; row++, count++) {
    Arena *arena = arena_new();
    Status status = run_case(row, arena);
    cr_expect_null(status, "%s: %s", row->name, status_message(status));
    status_free(status);
    arena_free(arena);
  }
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

// Strings, tables and decision trees live on the host and are computed by their reference alone; cases cannot hold strings. The ONNX
// backend suite is their test.
static bool is_host_only(const OpDef *op) {
  static const char *const names[] = {"string_", "lookup", "ngrams", "trees"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strncmp(op->name, names[i], strlen(names[i]))) return true;
  return false;
}

Test(meaning_cases, every_operator_has_cases) {
  for (int i = 0; core_ops[i]; i++) {
    const OpDef *op = core_ops[i];
    if (!op->reference || is_host_only(op)) continue;  // without reference: the executor's own
    bool found = false;
    for (const OperatorCase *row = operator_cases; row->name && !found; row++) {
      char call[64];
      snprintf(call, sizeof call, " %s(", op->name);
      found = strstr(row->nodes, call) != NULL;
    }
    cr_expect(found, "%s has no case", op->name);
  }
}
