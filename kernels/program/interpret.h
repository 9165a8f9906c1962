// Running a scalar program on the host, instruction by instruction over strips. This part knows classes of registers and which
// loop an instruction needs; where strips come from, and what a row is, is the business of strips.c.
#pragma once
#include "kernels/program/strip.h"

// What computes one instruction: compute (and again with its own result as first operand), or convert; then narrow.
typedef struct StripStep {
  StripCompute *compute, *again;
  StripConvert *convert, *narrow;
  int a, b, c;  // operands
  int flags;
} StripStep;

typedef struct StripProgram {
  const Program *program;
  const StripTable *table;
  // What references use: floats of every width are in double registers, each step's result rounded to f32 where it is of f32 or less. Sums are not, nor what a step
  // only chooses or turns the sign of.
  // Functions and sums so are as exact as the type allows, and arithmetic that is meant to round (adding and subtracting a large
  // number) rounds as it does in the kernels that are compared with it.
  bool precise;
  RegisterClass *classes;  // of each instruction
  StripStep *steps;        // of each instruction that has operands and is no reduction
} StripProgram;

RegisterClass register_class(DType dtype, bool precise);
size_t register_size(RegisterClass class);  // bytes of one element
const StripTable *strip_table_best(void);   // the widest loops this processor runs
void strip_program_init(StripProgram *strip, Arena *arena, const Program *program, bool precise);
// Runs instructions list[0 .. count) in order on n elements. registers[i] is the register of instruction i: for operands given, for
// listed instructions written. Registers of inputs, index, extents and reductions are the caller's to fill. A result may share its
// register with an operand unless step->again is set.
void program_run_strip(const StripProgram *strip, const int *list, int count, void *const *registers, int64_t n);
// Fills a register: with number if the class is a float's, else with integer.
void strip_fill(RegisterClass class, void *out, double number, int64_t integer, int64_t n);
