// A constant of one element becomes part of the program that reads it: one operand fewer, and nothing to load.
#include <string.h>

#include "passes/programs.h"
#include "passes/rule.h"

static bool inlinable(const Value *value) {
  if (!value || !value->constant || tensor_count(value->constant) != 1) return false;
  DTypeKind kind = dtype_kind(value->dtype);
  return kind == KIND_FLOAT || kind == KIND_SIGNED || kind == KIND_UNSIGNED || kind == KIND_BOOL;
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
    if (inlinable(node->inputs[i])) return true;
  return false;
}

// A result that was there for each element may be one for each row without its operand: that is another shape.
static bool keeps_shapes(const Node *made, const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (!value_same_shape(made->outputs[i], node->outputs[i])) return false;
  return true;
}

static Status apply(Rewrite *r) {
  Node *node = matched(r, "root");
  WANT(any_inlinable(node), "it has no constant of one element");
  Arena *arena = node->graph->arena;
  Dim domain[MAX_RANK], after[MAX_RANK];
  int rank = node_domain(node, domain), count;
  Program *program = program_copy(arena, node_program(node, "program"));
  for (int i = 0; i < node->input_count; i++)
    if (inlinable(node->inputs[i])) replace_input(program, i, node->inputs[i]->constant);
  Node *made = rewrite_add(r, node->op, 0, NULL, node->output_count);
  set_program_inputs(made, program, node->input_count, node->inputs, 0);
  node_set_program(made, "program", program);
  const int64_t *axes = node_ints(node, "axes", &count);
  if (node_attribute(node, "axes")) node_set_ints(made, "axes", axes, count);
  bool same = node_domain(made, after) == rank && !memcmp(domain, after, (size_t)rank * sizeof *domain);
  if (!same || node_attribute(node, "dims")) node_set_dims(made, "dims", domain, rank);
  TRY(node_infer(made));
  WANT(keeps_shapes(made, node), "a result would be of another shape");
  return rewrite_root_by(r, made);
}

static const Rule inline_scalars = {.name = "inline_scalars",
                                    .help = "makes a constant of one element part of the program that reads it",
                                    .pattern = "@program(...)",
                                    .exactness = EXACT,
                                    .apply = apply};

const Pass pass_inline_scalars = {"inline_scalars", "makes constants of one element part of the programs that read them",
                                  (const Rule *const[]){&inline_scalars, NULL}};
