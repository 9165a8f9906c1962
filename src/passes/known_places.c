// Rules over integers that follow from where they stand (index_form.h): positions and masks of positions, which exporters write out where sizes are open.
// Programs whose elements are all the same number become that number. They belong to fold_constants, so that what constants then give is computed.
#include <math.h>
#include <string.h>

#include "kernels/gather/gather.h"
#include "kernels/view/view.h"
#include "passes/index_form.h"
#include "passes/places.h"
#include "passes/programs.h"

static Node *add_number(Rewrite *r, const Value *like, const Tensor *number) {
  Value *one = graph_add_constant(rewrite_graph(r), NULL, number);
  Node *expand = rewrite_add(r, &op_expand, 1, &one, 1);
  node_set_dims(expand, "dims", like->dims, like->rank);
  return expand;
}

// The number that a program without operands gives everywhere; false where it computes, or its type rounds it, which inside of a region happens later.
static bool written_number(const Node *node, Tensor *one) {
  const Program *program = node_program(node, "program");
  const Instruction *result = &program->code[program->outputs[0]];
  if (node->input_count || result->op != OP_const) return false;
  if (!dtype_is_float(result->dtype)) return tensor_set_i(one, 0, result->integer), true;
  tensor_set_f(one, 0, result->number);
  return tensor_get_f(one, 0) == result->number;
}

static bool computed_number(const Value *out, Tensor *one) {
  DimTable *table = out->graph->dims;
  IndexForm form;
  int64_t number;
  if (!index_form_of(out, &form) || !index_form_is_constant(&form, out->rank)) return false;
  if (!dim_get_constant(table, dim_with_elements(table, form.base, out->rank, out->dims), &number)) return false;
  tensor_set_i(one, 0, number);
  return true;
}

static bool gives_one(const Node *node) {
  return node->output_count == 1 && dtype_kind(node->outputs[0]->dtype) != KIND_COMPLEX;
}

static Status known_elements(Rewrite *r) {
  const Node *root = matched(r, "root");
  const Value *out = root->outputs[0];
  Tensor one;
  TRY(tensor_new(rewrite_graph(r)->arena, out->dtype, 0, NULL, &one));
  WANT(written_number(root, &one) || computed_number(out, &one), "its elements differ, or follow from sizes");
  return rewrite_root_by(r, add_number(r, out, &one));
}

static Status view_of_number(Rewrite *r) {
  const Value *number = operand(r, "number");
  Tensor one = *number->constant;
  WANT(tensor_count(&one) == 1, "its elements differ");
  one.rank = 0;
  return rewrite_root_by(r, add_number(r, matched(r, "root")->outputs[0], &one));
}

// --- Positions inside of programs.

// Over the axes of an operand that is neither a constant nor one number, where all that it follows from is known; NULL where it is not.
static const Program *program_of_positions(const Value *value) {
  DimTable *table = value->graph->dims;
  IndexForm form;
  int64_t base, step;
  if (value->constant || !dtype_is_integer(value->dtype) || !index_form_of(value, &form)) return NULL;
  if (index_form_is_constant(&form, value->rank) || !dim_get_constant(table, form.base, &base)) return NULL;
  Program *program = program_new(value->graph->arena, 0);
  int sum = program_const_i(program, value->dtype, base);
  for (int i = 0; i < value->rank; i++) {
    if (!dim_get_constant(table, form.steps[i], &step)) return NULL;
    int at = program_index(program, value->dtype, i);
    if (step != 1) at = program_op2(program, OP_mul, at, program_const_i(program, value->dtype, step));
    if (step) sum = !i && !base ? at : program_op2(program, OP_add, at, sum);
  }
  program_output(program, sum);
  return program;
}

// Of one integer, or one that is expanded.
static const Program *program_of_number(const Value *value) {
  const Tensor *number = repeated_constant(value);
  if (!number || tensor_count(number) != 1 || (!dtype_is_integer(value->dtype) && value->dtype != DTYPE_BOOL)) return NULL;
  Program *program = program_new(value->graph->arena, 0);
  program_output(program, program_const_i(program, value->dtype, tensor_get_i(number, 0)));
  return program;
}

// Whether a number is no longer rounded when it is stored in this type.
static bool is_stored_as_is(const Instruction *in, DType dtype) {
  uint64_t element[2];
  if (in->op == OP_cast) return in->dtype == dtype || dtype_bits(in->dtype) < dtype_bits(dtype);
  if (in->op != OP_const || isnan(in->number)) return true;
  element_set_f(dtype, element, in->number);
  return element_get_f(dtype, element) == in->number;
}

// A program without operands, over integers, that is shorter than what it takes to read its result.
static const Program *program_of_mask(const Value *value) {
  enum { SHORT = 32 };
  const Node *producer = value->producer;
  if (!producer || producer->op != &op_elementwise || producer->input_count || producer->output_count != 1) return NULL;
  const Program *program = node_program(producer, "program");
  for (int i = 0; i < program->count; i++) {
    Opcode op = program->code[i].op;
    bool counts = dtype_is_integer(program->code[i].dtype) || program->code[i].dtype == DTYPE_BOOL;
    if (!counts && op != OP_const && op != OP_select && op != OP_cast) return NULL;
    if (!counts && !is_stored_as_is(&program->code[i], value->dtype)) return NULL;
  }
  return program->count <= SHORT ? program : NULL;
}

// Code of a program over the value's axes as part of one whose domain it is broadcast to.
static Instruction broadcast_code(const Value *value, int rank, Instruction code) {
  if (code.op != OP_index && code.op != OP_extent) return code;
  Dim size = value->dims[code.args[0]];
  if (size == 1)
    return (Instruction){.op = OP_const, .dtype = code.dtype, .number = code.op == OP_extent, .integer = code.op == OP_extent};
  code.args[0] += rank - value->rank;
  return code;
}

static int append_code(Program *to, const Program *inner, const Value *value, int rank) {
  int *map = arena_array(to->arena, int, (size_t)inner->count + 1);
  for (int i = 0; i < inner->count; i++) {
    Instruction code = broadcast_code(value, rank, inner->code[i]);
    for (int k = 0; k < opcode_info(code.op)->arity; k++) code.args[k] = map[code.args[k]];
    map[i] = program_instruction(to, code);
  }
  return map[inner->outputs[0]];
}

Program *program_with_inner(const Program *old, int input, const Program *inner, const Value *value, int rank) {
  Program *made = program_new(old->arena, old->input_count);
  int *map = arena_array(old->arena, int, (size_t)old->count + 1);
  for (int i = 0; i < old->count; i++) {
    Instruction code = old->code[i];
    bool replaced = code.op == OP_input && code.args[0] == input;
    for (int k = 0; k < opcode_info(code.op)->arity; k++) code.args[k] = map[code.args[k]];
    map[i] = replaced ? program_cast(made, code.dtype, append_code(made, inner, value, rank)) : program_instruction(made, code);
  }
  for (int i = 0; i < old->output_count; i++) program_output(made, map[old->outputs[i]]);
  return made;
}

static Status positions_inside(Rewrite *r) {
  Node *root = matched(r, "root");
  Dim domain[MAX_RANK];
  int rank = node_domain(root, domain), found = -1;
  const Program *inner = NULL;
  for (int i = 0; i < root->input_count && !inner; i++) {
    const Value *value = root->inputs[i];
    if (!value || value->rank > rank) continue;
    inner = program_of_number(value);
    if (!inner) inner = program_of_mask(value);
    if (!inner) inner = program_of_positions(value);
    found = i;
  }
  WANT(inner, "no operand of it follows from positions");
  Node *made = rewrite_add(r, &op_elementwise, 0, NULL, root->output_count);
  Program *program = program_with_inner(node_program(root, "program"), found, inner, root->inputs[found], rank);
  WANT(set_program_over(made, root, program, root->input_count, root->inputs, 0),
       "how many elements there are is open without it");
  return rewrite_root_by(r, made);
}

const Rule rule_known_elements = {.name = "known_elements",
                                  .help = "a program whose elements are all one number is that number",
                                  .pattern = "elementwise(...)",
                                  .exactness = EXACT,
                                  .root = gives_one,
                                  .apply = known_elements};
const Rule rule_view_of_number = {.name = "view_of_number",
                                  .help = "a view of one number, repeated, is that number",
                                  .pattern = "@view(expand(#number))",
                                  .exactness = EXACT,
                                  .apply = view_of_number};
const Rule rule_positions_inside = {.name = "positions_inside",
                                    .help = "a program that reads positions counts them itself",
                                    .pattern = "elementwise(...)",
                                    .exactness = EXACT,
                                    .root = reads_little,
                                    .apply = positions_inside};
