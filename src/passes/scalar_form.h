// A rule over scalar programs as terms: what scalar_form.c reads, scalar_match.c finds and scalar_rule.c builds.
#pragma once
#include "passes/scalar_facts.h"
#include "passes/scalar_rule.h"

enum { MAX_SCALAR_TERMS = 40, MAX_SCALAR_OPERANDS = 3, MAX_SCALAR_FACTS = 3, LETTERS = 26 };

typedef enum ScalarTermKind {
  SCALAR_ANY,
  SCALAR_CONSTANT,
  SCALAR_NUMBER,
  SCALAR_NEAR,
  SCALAR_OPCODE,
  SCALAR_PRODUCT,  // operands: factors; number: what constants make
  SCALAR_CUBIC,    // number and cube: coefficients
} ScalarTermKind;

typedef struct ScalarTerm {
  ScalarTermKind kind;
  Opcode op;
  int letter;  // that names it, from 0; -1: none
  double number, cube;
  int operands[MAX_SCALAR_OPERANDS], operand_count;
} ScalarTerm;

typedef struct ScalarCondition {
  const ScalarFact *fact;
  int letters[MAX_SCALAR_OPERANDS];
} ScalarCondition;

struct ScalarForm {
  const ScalarRule *rule;
  ScalarTerm terms[MAX_SCALAR_TERMS];
  int count, pattern, replacement;
  ScalarCondition conditions[MAX_SCALAR_FACTS];
  int condition_count;
};

// What the letters stand for where the pattern matches at an instruction.
typedef struct ScalarMatch {
  const ScalarForm *form;
  const Program *program;
  const uint8_t *levels;
  int root, bound[LETTERS];
  int steps;  // taken in the search: products have many readings
} ScalarMatch;

bool scalar_match(ScalarMatch *match, int root);
