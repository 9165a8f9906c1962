// Patterns of rules, compiled, and the search for what they match. See rule.h for their text.
#pragma once
#include "ir/op.h"

enum { MAX_TERMS = 24, MAX_ALTERNATIVES = 6, MAX_CHOICES = 4, MAX_PATTERN_NAME = 24 };

typedef enum TermKind { TERM_VALUE, TERM_CONSTANT, TERM_NODE } TermKind;
typedef enum Operands { OPERANDS_EXACT, OPERANDS_FIRST, OPERANDS_SOME, OPERANDS_ANY } Operands;

typedef struct Term {
  TermKind kind;
  char name[MAX_PATTERN_NAME];  // "": it has none
  const OpDef *ops[MAX_ALTERNATIVES];
  int op_count;                    // 0: any
  bool (*trait)(const OpDef *op);  // NULL: any
  bool alone, optional;
  Operands operands;
  int first[MAX_TERMS], operand_count;  // terms of its operands
} Term;

typedef struct Pattern {
  Term terms[MAX_TERMS];  // the root is the last
  int count;
} Pattern;

typedef struct Match {
  const Pattern *pattern;
  Node *root;
  Node *nodes[MAX_TERMS];    // by term
  Value *values[MAX_TERMS];  // by term
  // Places tried of operands that may stand anywhere; see match_next.
  int choice[MAX_CHOICES], limit[MAX_CHOICES], choices, decided;
} Match;

MUST_CHECK Status pattern_compile(const char *text, const OpDef *const *ops, Pattern *out);
bool pattern_may_match(const Pattern *pattern, const Node *root);  // by its operator alone
// match_begin, then match_next until it is false: each match once, operands that may stand anywhere from the first place on.
void match_begin(Match *match, const Pattern *pattern, Node *root);
bool match_next(Match *match);
int pattern_term(const Pattern *pattern, const char *name);  // -1: there is none of that name
