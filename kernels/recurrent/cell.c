// See cell.h.
#include "kernels/recurrent/cell.h"

typedef struct Cell {
  Program *program;
  const RecurrentSpec *spec;
  int direction, next_input;
} Cell;

static Cell cell_new(Arena *arena, const RecurrentSpec *spec, int direction) {
  return (Cell){.program = program_new(arena, 0), .spec = spec, .direction = direction};
}

static int add_input(Cell *cell, int *number) {
  *number = cell->next_input++;
  cell->program->input_count = cell->next_input;
  return program_input(cell->program, *number, DTYPE_F32);
}

static int number(Cell *cell, double value) { return program_const_f(cell->program, DTYPE_F32, value); }
static int binary(Cell *cell, Opcode op, int a, int b) { return program_op2(cell->program, op, a, b); }
static int unary(Cell *cell, Opcode op, int a) { return program_op1(cell->program, op, a); }
static int select(Cell *cell, Opcode test, int a, int b, int yes, int no) {
  return program_op3(cell->program, OP_select, binary(cell, test, a, b), yes, no);
}

static int activate(Cell *cell, const RecurrentActivation *activation, int x) {
  int alpha = number(cell, activation->alpha), beta = number(cell, activation->beta), zero = number(cell, 0),
      one = number(cell, 1);
  switch (activation->function) {
    case FUNCTION_RELU: return unary(cell, OP_relu, x);
    case FUNCTION_TANH: return unary(cell, OP_tanh, x);
    case FUNCTION_SIGMOID: return unary(cell, OP_sigmoid, x);
    case FUNCTION_AFFINE: return binary(cell, OP_add, binary(cell, OP_mul, x, alpha), beta);
    case FUNCTION_LEAKY_RELU: return select(cell, OP_ge, x, zero, x, binary(cell, OP_mul, x, alpha));
    case FUNCTION_THRESHOLDED_RELU: return select(cell, OP_gt, x, alpha, x, zero);
    case FUNCTION_SCALED_TANH: return binary(cell, OP_mul, alpha, unary(cell, OP_tanh, binary(cell, OP_mul, x, beta)));
    case FUNCTION_HARD_SIGMOID:
      return binary(cell, OP_min, binary(cell, OP_max, binary(cell, OP_add, binary(cell, OP_mul, x, alpha), beta), zero), one);
    case FUNCTION_ELU: return select(cell, OP_ge, x, zero, x, binary(cell, OP_mul, alpha, unary(cell, OP_expm1, x)));
    case FUNCTION_SOFTSIGN: return binary(cell, OP_div, x, binary(cell, OP_add, one, unary(cell, OP_abs, x)));
    default:
      return binary(cell, OP_add, unary(cell, OP_log1p, unary(cell, OP_exp, unary(cell, OP_neg, unary(cell, OP_abs, x)))),
                    unary(cell, OP_relu, x));
  }
}

// The function of a gate, behind the clip.
static int gate(Cell *cell, int function, int x) {
  double clip = cell->spec->clip;
  if (clip > 0) x = binary(cell, OP_min, binary(cell, OP_max, x, number(cell, -clip)), number(cell, clip));
  return activate(cell, &cell->spec->activations[cell->direction][function], x);
}

static int one_minus(Cell *cell, int x) { return binary(cell, OP_sub, number(cell, 1), x); }

static int sum_of(Cell *cell, CellInputs *inputs, int k) {
  int x = add_input(cell, &inputs->input_gates[k]), h = add_input(cell, &inputs->state_gates[k]);
  return binary(cell, OP_add, x, h);
}

static void lstm(Cell *cell, bool peepholes, CellInputs *inputs) {
  int sums[4], looks[3] = {0};
  for (int k = 0; k < 4; k++) sums[k] = sum_of(cell, inputs, k);
  int before = add_input(cell, &inputs->c);
  for (int k = 0; k < 3; k++) {
    inputs->peephole[k] = -1;
    if (peepholes) looks[k] = add_input(cell, &inputs->peephole[k]);
  }
  if (peepholes) sums[0] = binary(cell, OP_add, sums[0], binary(cell, OP_mul, looks[0], before));
  if (peepholes) sums[2] = binary(cell, OP_add, sums[2], binary(cell, OP_mul, looks[2], before));
  int i = gate(cell, 0, sums[0]);
  int f = cell->spec->input_forget ? one_minus(cell, i) : gate(cell, 0, sums[2]);
  int c = binary(cell, OP_add, binary(cell, OP_mul, f, before), binary(cell, OP_mul, i, gate(cell, 1, sums[3])));
  if (peepholes) sums[1] = binary(cell, OP_add, sums[1], binary(cell, OP_mul, looks[1], c));
  int o = gate(cell, 0, sums[1]);
  program_output(cell->program, binary(cell, OP_mul, o, activate(cell, &cell->spec->activations[cell->direction][2], c)));
  program_output(cell->program, c);
}

static void update(Cell *cell, int z, int candidate, int before) {
  program_output(cell->program,
                 binary(cell, OP_add, binary(cell, OP_mul, one_minus(cell, z), candidate), binary(cell, OP_mul, z, before)));
}

static void gru(Cell *cell, CellInputs *inputs) {
  int z = gate(cell, 0, sum_of(cell, inputs, 0)), reset = gate(cell, 0, sum_of(cell, inputs, 1));
  int x = add_input(cell, &inputs->input_gates[2]), h = add_input(cell, &inputs->state_gates[2]);
  int candidate = gate(cell, 1, binary(cell, OP_add, x, binary(cell, OP_mul, reset, h)));
  update(cell, z, candidate, add_input(cell, &inputs->h));
}

Program *cell_program(Arena *arena, const RecurrentSpec *spec, int direction, bool peepholes, CellInputs *inputs) {
  Cell cell = cell_new(arena, spec, direction);
  if (spec->kind == RECURRENT_LSTM) lstm(&cell, peepholes, inputs);
  else if (spec->kind == RECURRENT_GRU) gru(&cell, inputs);
  else program_output(cell.program, gate(&cell, 0, sum_of(&cell, inputs, 0)));
  return cell.program;
}

Program *cell_reset_program(Arena *arena, const RecurrentSpec *spec, int direction, CellInputs *inputs) {
  Cell cell = cell_new(arena, spec, direction);
  program_output(cell.program, gate(&cell, 0, sum_of(&cell, inputs, 0)));
  int reset = gate(&cell, 0, sum_of(&cell, inputs, 1));
  program_output(cell.program, binary(&cell, OP_mul, reset, add_input(&cell, &inputs->h)));
  return cell.program;
}

Program *cell_update_program(Arena *arena, const RecurrentSpec *spec, int direction, CellInputs *inputs, int *z) {
  Cell cell = cell_new(arena, spec, direction);
  int candidate = gate(&cell, 1, sum_of(&cell, inputs, 2));
  int update_gate = add_input(&cell, z);
  update(&cell, update_gate, candidate, add_input(&cell, &inputs->h));
  return cell.program;
}
