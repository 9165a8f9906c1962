// Every operator there is: a node of the table of operator cases, with its attributes, among the others. What its case says of its inputs
// (indices within an axis) holds for constants; floats of any kind may be values that are there.
#include "base/checked.h"
#include "kernels/cases.h"
#include "kernels/ops.h"
#include "tests/random/maker.h"

static bool is_common(const Value *value) {
  static const DType common[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_BF16, DTYPE_I32,
                                 DTYPE_I64, DTYPE_I8,  DTYPE_U8,  DTYPE_BOOL};
  for (size_t i = 0; i < COUNT_OF(common); i++)
    if (value->dtype == common[i]) return value->kind == VALUE_TENSOR && value_is_static(value) && maker_small(value);
  return false;
}

static bool is_usable(const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++)
    if (!is_common(graph->inputs[i])) return false;
  FOR_NODES(node, graph) {
    if (!node->op->reference || node->op->random || node->op->data_dependent) return false;
    for (int i = 0; i < node->output_count; i++)
      if (!is_common(node->outputs[i])) return false;
  }
  return graph->first != NULL;
}

static Value *draw_operand(Maker *maker, const OperatorCase *row, const Value *like, const Tensor *filled) {
  bool any_number = dtype_is_float(like->dtype) && !*row->fill;
  for (int tries = 0; any_number && tries < 6; tries++) {
    Value *value = maker_pick(maker, NULL);
    if (value && value->dtype == like->dtype && value_is_static(value) && value_same_shape(value, like)) return value;
  }
  if (any_number && maker_one_in(maker, 2)) return maker_input(maker, like->dtype, like->rank, like->dims);
  return graph_add_constant(maker->graph, NULL, filled);
}

static bool splice(Maker *maker, const OperatorCase *row, const Graph *graph, const Tensor *inputs) {
  Value **map = arena_array(maker->graph->arena, Value *, graph->next_value_id);
  for (int i = 0; i < graph->input_count; i++)
    map[graph->inputs[i]->id] = draw_operand(maker, row, graph->inputs[i], &inputs[i]);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++) {
      const Value *input = node->inputs[i];
      if (input && input->constant && !map[input->id]) map[input->id] = graph_add_constant(maker->graph, NULL, input->constant);
    }
    Node *copy = node_copy(maker->graph, node, map);
    if (!maker_finish(maker, copy)) return false;
    for (int i = 0; i < node->output_count; i++) map[node->outputs[i]->id] = copy->outputs[i];
  }
  return true;
}

static bool make_case(Maker *maker) {
  int count = 0;
  while (operator_cases[count].name) count++;
  const OperatorCase *row = &operator_cases[maker_below(maker, count)];
  Arena *arena = maker->graph->arena;
  Graph *graph;
  Status status = operator_case_build(row, arena, core_ops, &graph);
  bool good = !status && is_usable(graph);
  status_free(status);
  if (!good) return false;
  Tensor *inputs = arena_array(arena, Tensor, (size_t)graph->input_count + 1);
  status = operator_case_fill(row, graph, arena, draw_word(&maker->draw), inputs);
  good = !status && splice(maker, row, graph, inputs);
  status_free(status);
  return good;
}

const MakeRow case_makes[] = {{"case", 8, make_case}, {0}};
