// What the rules over scalar programs look for: each row of their table has a pattern as text (passes/scalar_rule.h), and here an instance of it is written, operands
// that commute in either order, as one node or as one for each operation, as exporters write it.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/rowwise/rowwise.h"
#include "passes/scalar_rule.h"
#include "tests/random/maker.h"

static const ScalarRule rows[] = {
#define SCALAR_RULE(name, root, types, pattern, replacement, exactness, bound) {OP_##root, types, pattern, replacement},
#include "passes/scalar_rules.inc"
#undef SCALAR_RULE
};

enum { LETTERS = 26, MOST_PARTS = 4 };

typedef struct Instance {
  Maker *maker;
  const char *at;     // in the pattern
  const char *facts;  // what must hold of names: the text behind "if"
  Program *program;
  DType dtype;         // of what has no reason to be another
  int names[LETTERS];  // instructions, plus one
} Instance;

static bool accept(Instance *in, const char *text) {
  while (*in->at == ' ') in->at++;
  size_t length = strlen(text);
  if (strncmp(in->at, text, length)) return false;
  in->at += length;
  return true;
}

static bool says(const Instance *in, const char *fact) { return in->facts && strstr(in->facts, fact); }

static int add_input(Instance *in, DType dtype) { return program_input(in->program, in->program->input_count, dtype); }

static int number(Instance *in, DType dtype) {
  accept(in, "~");
  char *end;
  double value = strtod(in->at, &end);
  in->at = end;
  return program_const(in->program, dtype, value);
}

// A letter: an operand, made to be what the facts say.
static int named(Instance *in, DType dtype) {
  bool constant = accept(in, "#");
  int *name = &in->names[*in->at++ - 'a'];
  if (*name) return *name - 1;
  static const double powers[] = {0.25, 0.5, 2, 4, -2, 1};
  int made;
  if (constant) made = program_const(in->program, dtype, powers[maker_below(in->maker, 6)]);
  else made = add_input(in, dtype);
  if (!constant && says(in, "not_negative(x)") && dtype != DTYPE_BOOL)
    made = program_op1(in->program, maker_one_in(in->maker, 2) ? OP_abs : OP_relu, made);
  if (!constant && says(in, "of_rows(x)") && name == &in->names['x' - 'a'])
    made = program_reduce(in->program, OP_reduce_sum, program_op2(in->program, OP_mul, made, made), dtype);
  *name = made + 1;
  return made;
}

static int expression(Instance *in, DType dtype);

// Factors in a drawn order, one after another.
static int product(Instance *in, DType dtype) {
  int parts[MOST_PARTS], count = 0;
  do parts[count++] = expression(in, dtype);
  while (accept(in, ",") && count < MOST_PARTS);
  accept(in, ")");
  for (int i = count - 1; i > 0; i--) {
    int other = maker_below(in->maker, i + 1), part = parts[i];
    parts[i] = parts[other], parts[other] = part;
  }
  for (int i = 1; i < count; i++) parts[0] = program_op2(in->program, OP_mul, parts[0], parts[i]);
  return parts[0];
}

// a x + b x^3, or x (a + b x^2).
static int cubic(Instance *in, DType dtype) {
  Program *p = in->program;
  int x = expression(in, dtype);
  accept(in, ",");
  int a = expression(in, dtype);
  accept(in, ",");
  int b = expression(in, dtype), square = program_op2(p, OP_mul, x, x);
  accept(in, ")");
  if (maker_one_in(in->maker, 2))
    return program_op2(p, OP_mul, x, program_op2(p, OP_add, a, program_op2(p, OP_mul, b, square)));
  return program_op2(p, OP_add, program_op2(p, OP_mul, a, x), program_op2(p, OP_mul, b, program_op2(p, OP_mul, square, x)));
}

static bool commutes(Opcode op) {
  return op == OP_add || op == OP_mul || op == OP_min || op == OP_max || op == OP_eq || op == OP_ne || op == OP_and ||
         op == OP_or || op == OP_xor;
}

// What an operand has to be for the opcode to give dtype.
static DType operand_type(Instance *in, Opcode op, DType dtype, int index) {
  static const DType any[] = {DTYPE_F32, DTYPE_F16, DTYPE_I32, DTYPE_I64, DTYPE_BOOL, DTYPE_F64};
  if (op == OP_select) return index ? dtype : DTYPE_BOOL;
  if (op == OP_cast ||
      (opcode_info(op)->result == RESULT_BOOL && in->dtype == DTYPE_BOOL && dtype == DTYPE_BOOL && in->names['x' - 'a'] == 0))
    return any[maker_below(in->maker, COUNT_OF(any))];
  return dtype;
}

static int operation(Instance *in, DType dtype, const char *name) {
  Opcode op;
  int operands[3] = {0};
  if (!strcmp(name, "product")) return product(in, dtype);
  if (!strcmp(name, "cubic")) return cubic(in, dtype);
  if (!opcode_parse(name, &op)) return program_const(in->program, dtype, 0);
  DType wanted = operand_type(in, op, dtype, 0);
  for (int i = 0; i < opcode_info(op)->arity; i++) {
    if (i) accept(in, ",");
    operands[i] = expression(in, op == OP_select && i ? dtype : wanted);
  }
  accept(in, ")");
  if (op == OP_cast) return program_cast(in->program, dtype, operands[0]);
  if (opcode_info(op)->reduces) return program_reduce(in->program, op, operands[0], dtype);
  if (opcode_info(op)->arity == 1) return program_op1(in->program, op, operands[0]);
  if (opcode_info(op)->arity == 3) return program_op3(in->program, op, operands[0], operands[1], operands[2]);
  bool swapped = commutes(op) && maker_one_in(in->maker, 2);
  return program_op2(in->program, op, operands[swapped], operands[!swapped]);
}

static int expression(Instance *in, DType dtype) {
  while (*in->at == ' ') in->at++;
  if (islower((unsigned char)in->at[0]) && in->at[1] == ':') {
    int *name = &in->names[*in->at - 'a'];
    in->at += 2;
    int made = expression(in, dtype);
    *name = made + 1;
    return made;
  }
  if (*in->at == '#' || (islower((unsigned char)in->at[0]) && !islower((unsigned char)in->at[1]))) return named(in, dtype);
  if (!islower((unsigned char)*in->at)) return number(in, dtype);
  char name[24];
  size_t length = strcspn(in->at, "(");
  length = MIN(length, sizeof name - 1);
  memcpy(name, in->at, length);
  name[length] = 0;
  in->at += length;
  accept(in, "(");
  return operation(in, dtype, name);
}

static DType draw_dtype(Maker *maker, ScalarTypes types) {
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64,
                                 DTYPE_I32, DTYPE_I64, DTYPE_U8,  DTYPE_BOOL};
  int float_count = 5, count = COUNT_OF(dtypes);
  switch (types) {
    case FLOATS: return dtypes[maker_below(maker, float_count)];
    case FLOATS_32: return dtypes[maker_below(maker, float_count - 1)];
    case INTEGERS: return dtypes[float_count + maker_below(maker, count - 1 - float_count)];
    case NUMBERS: return dtypes[maker_below(maker, count - 1)];
    case BOOLS: return DTYPE_BOOL;
    case BITS: return dtypes[float_count + maker_below(maker, count - float_count)];
    default: return dtypes[maker_below(maker, count)];
  }
}

static Value *draw_value(Maker *maker, DType dtype, const Value *like) {
  for (int tries = 0; tries < 8; tries++) {
    Value *value = maker_pick(maker, NULL);
    if (value && value->dtype == dtype && value->rank && (!like || value_same_shape(value, like))) return value;
  }
  Dim dims[2] = {maker_size(maker), maker_size(maker)};
  return maker_input(maker, dtype, like ? like->rank : 2, like ? like->dims : dims);
}

// Each instruction as a node of its own.
static bool spell_out(Maker *maker, const Program *program, Value *const *inputs) {
  Value **values = arena_array(maker->graph->arena, Value *, (size_t)program->count);
  for (int i = 0; i < program->count; i++) {
    const Instruction *in = &program->code[i];
    const OpcodeInfo *info = opcode_info(in->op);
    if (in->op == OP_input) {
      values[i] = inputs[in->args[0]];
      continue;
    }
    Value *operands[3];
    Program *one = program_new(maker->graph->arena, info->arity);
    Instruction step = *in;
    for (int k = 0; k < info->arity; k++) {
      operands[k] = values[in->args[k]];
      step.args[k] = program_input(one, k, program->code[in->args[k]].dtype);
    }
    int made = in->op == OP_const  ? program_const(one, in->dtype, dtype_is_float(in->dtype) ? in->number : (double)in->integer)
               : in->op == OP_cast ? program_cast_with(one, in->dtype, step.args[0], in->integer)
               : info->arity == 1  ? program_op1(one, in->op, step.args[0])
               : info->arity == 2  ? program_op2(one, in->op, step.args[0], step.args[1])
                                   : program_op3(one, in->op, step.args[0], step.args[1], step.args[2]);
    program_output(one, made);
    Node *node = maker_node(maker, &op_elementwise, info->arity, operands, 1);
    node_set_program(node, "program", one);
    values[i] = node->outputs[0];
    if (!maker_finish(maker, node)) return false;
  }
  return true;
}

static bool make_scalar_rule(Maker *maker) {
  const ScalarRule *row = &rows[maker_below(maker, COUNT_OF(rows))];
  const char *facts = strstr(row->pattern, " if ");
  Instance in = {maker, row->pattern, facts, program_new(maker->graph->arena, 0), draw_dtype(maker, row->types), {0}};
  int result = expression(&in, opcode_info(row->root)->result == RESULT_BOOL ? DTYPE_BOOL : in.dtype);
  program_output(in.program, result);
  Value **inputs = arena_array(maker->graph->arena, Value *, (size_t)in.program->input_count + 1);
  for (int i = 0; i < in.program->count; i++) {
    const Instruction *code = &in.program->code[i];
    if (code->op == OP_input) inputs[code->args[0]] = draw_value(maker, code->dtype, code->args[0] ? inputs[0] : NULL);
  }
  Status refused = program_check(in.program);
  status_free(refused);
  if (refused) return false;
  bool over_rows = program_has_reduction(in.program);
  if (!over_rows && in.program->input_count && maker_one_in(maker, 3)) return spell_out(maker, in.program, inputs);
  Node *node = maker_node(maker, over_rows ? &op_rowwise : &op_elementwise, in.program->input_count, inputs, 1);
  node_set_program(node, "program", in.program);
  if (over_rows) node_set_int(node, "axes", in.program->input_count ? inputs[0]->rank - 1 : 0);
  return maker_finish(maker, node);
}

const MakeRow rule_makes[] = {{"scalar_rule", 12, make_scalar_rule}, {0}};
