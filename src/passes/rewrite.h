// A rule at work, as the workshop tries it: what is behind rule.h.
#pragma once
#include "passes/pattern.h"
#include "passes/rule_log.h"
#include "passes/worklist.h"

struct Rewrite {
  Graph *graph;
  const PassOptions *options;
  Arena *scratch;
  Pattern *patterns;  // by rule
  bool *left_out;     // by rule
  void **states;      // by rule
  Worklist waiting;
  int applications;
  // Of the rule that is tried:
  int rule;
  Match match;
  const char *refusal;
  bool changed;  // something that was there before
  RuleTrial trial;
};

void rewrite_push(Rewrite *rewrite, NodeList *nodes, Node *node);
void rewrite_come_from_all(Rewrite *rewrite, Node *node);  // its origins are those of all that was matched
// The node that made a value with one user fewer, and the only user that is left, may match now.
void rewrite_one_user_fewer(Rewrite *rewrite, const Value *value);
