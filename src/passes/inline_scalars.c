// A constant that is one number, whatever its shape, becomes part of the program that reads it: one operand fewer, and nothing to load.
#include <string.h>

#include "ir/graph_value.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/rule.h"

enum { MOST_EQUAL = 4096 };  // elements that are compared

static bool all_equal(const Tensor *tensor) {
  int64_t count = tensor_count(tensor);
  if (count == 1) return true;
  if (!count || count > MOST_EQUAL || (!dtype_is_integer(tensor->dtype) && tensor->dtype != DTYPE_BOOL)) return false;
  for (int64_t i = 1; i < count; i++)
    if (tensor_get_i(tensor, i) != tensor_get_i(tensor, 0)) return false;
  return true;
}

// The one number that all elements of the value are; NULL where there is none. Floats that happen to be equal are weights.
static const Tensor *number_of(const Value *value) {
  if (!value) return NULL;
  const Tensor *tensor = repeated_constant(value);
  DTypeKind kind = dtype_kind(value->dtype);
  bool is_number = kind == KIND_FLOAT || kind == KIND_SIGNED || kind == KIND_UNSIGNED || kind == KIND_BOOL;
  return tensor && is_number && all_equal(tensor) ? tensor : NULL;
}

static void replace_input(Program *program, int input, const Tensor *scalar) {
  for (int i = 0; i < program->count; i++) {
    Instruction *instruction = &program->code[i];
    if (instruction->op != OP_input || instruction->args[0] != input) continue;
    DType dtype = instruction->dtype;
    *instruction = (Instruction){.op = OP_const, .dtype = dtype};
    if (dtype_is_float(dtype)) instruction->number = tensor_get_f(scalar, 0);
    else instruction->integer = tensor_get_i(scalar, 0);
  }
}

static bool any_inlinable(const Node *node) {
  for (int i = 0; i < node->input_count; i++)
    if (number_of(node->inputs[i])) return true;
  return false;
}

static Status apply(Rewrite *r) {
  Node *node = matched(r, "root");
  WANT(any_inlinable(node), "none of its operands is one number");
  Program *program = program_copy(node->graph->arena, node_program(node, "program"));
  for (int i = 0; i < node->input_count; i++)
    if (number_of(node->inputs[i])) replace_input(program, i, number_of(node->inputs[i]));
  Node *made = rewrite_add(r, node->op, 0, NULL, node->output_count);
  WANT(set_program_over(made, node, program, node->input_count, node->inputs, 0),
       "how many elements there are is open without it");
  return rewrite_root_by(r, made);
}

// Axes of one element in front of a constant's own say nothing where another operand has as many axes as the result.
static bool has_idle_axes(const Value *value) { return value && value->constant && value->rank > 1 && value->dims[0] == 1; }

static bool any_idle(const Node *node) {
  bool idle = false, whole = false;
  for (int i = 0; i < node->input_count; i++) {
    idle = idle || has_idle_axes(node->inputs[i]);
    whole = whole || (node->inputs[i] && !has_idle_axes(node->inputs[i]) && node->inputs[i]->rank == node->outputs[0]->rank);
  }
  return idle && whole;
}

static Value *without_idle_axes(Rewrite *r, const Value *value) {
  Tensor tensor = *value->constant;
  int idle = 0;
  while (idle + 1 < tensor.rank && tensor.dims[idle] == 1) idle++;
  tensor.rank -= idle;
  memmove(tensor.dims, tensor.dims + idle, (size_t)tensor.rank * sizeof *tensor.dims);
  return graph_add_constant(rewrite_graph(r), NULL, &tensor);
}

static Status drop_idle_axes(Rewrite *r) {
  Node *node = matched(r, "root");
  Node *made = rewrite_like(r, node);
  for (int i = 0; i < node->input_count; i++)
    if (has_idle_axes(node->inputs[i])) node_set_input(made, i, without_idle_axes(r, node->inputs[i]));
  return rewrite_root_by(r, made);
}

static const Rule rule_drop_idle_axes = {.name = "drop_idle_axes",
                                         .help = "a constant operand has no axes of one element in front of its own",
                                         .pattern = "elementwise(...)",
                                         .exactness = EXACT,
                                         .root = any_idle,
                                         .apply = drop_idle_axes};
static const Rule inline_scalars = {.name = "inline_scalars",
                                    .help = "makes a constant that is one number part of the program that reads it",
                                    .pattern = "@program(...)",
                                    .exactness = EXACT,
                                    .apply = apply};

const Pass pass_inline_scalars = {"inline_scalars", "makes constants that are one number part of the programs that read them",
                                  (const Rule *const[]){&inline_scalars, &rule_drop_idle_axes, NULL}};
