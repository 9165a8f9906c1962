// Rules over scalar programs, as data: scalar_rules.inc is the table, this is how a row is read and applied. A pattern and what it becomes are
// expressions over the opcodes of ir/opcodes.inc:
//
//   mul(x, 1)                      an opcode and its operands, which stand in either order where that makes no difference to any bit
//   x                              any instruction; a letter twice is the same instruction
//   #c                             any constant
//   1                              this constant, -0 and 0 being two
//   ~0.7071067811865476            a constant near it: within 1e-6 of it, or what a narrower type can tell apart, as exporters round it
//   y: cast(x)                     gives a name to what an opcode gives
//   product(~0.5, x, g)            x and g, times constants that make 0.5 together: products, negations and quotients by constants in any order
//   cubic(x, ~a, ~b)               a x + b x^3 in any spelling, of an x that is named before
//   ... if power_of_two(c)         and what must hold of names (scalar_facts.h)
//
// What constants alone make in a replacement is computed at once. A cast there is the one that the pattern ends with.
#pragma once
#include "passes/rule.h"

typedef enum ScalarTypes {
  FLOATS,
  FLOATS_32,  // of 32 bits and less
  INTEGERS,
  NUMBERS,
  BOOLS,
  BITS,  // integers and bool
  ANY_TYPE,
} ScalarTypes;

typedef struct ScalarRule {
  Opcode root;        // where it is looked for
  ScalarTypes types;  // of the root's last operand
  const char *pattern, *replacement;
} ScalarRule;

typedef struct ScalarForm ScalarForm;  // a rule, read

MUST_CHECK Status scalar_form_read(Arena *arena, const ScalarRule *rule, ScalarForm **out);
// Applies it wherever it matches, from the first instruction to the last. NULL where nothing changes. Results keep their types, and where `rows`, their levels.
Program *scalar_form_apply(Arena *arena, const ScalarForm *form, const Program *program, bool rows);
