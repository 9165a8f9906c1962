// Outlining: nodes become one region (kernels/control/region.h) that holds them; and inlining, the way back. rule.h has both for rules, rewrite_outline and
// rewrite_inline; here is what they are made of.
#pragma once
#include "ir/op.h"

typedef struct Outline {
  Arena *scratch;
  Graph *graph;
  Node **nodes;  // each once, in the graph's order
  int count;
  IntMap *inside;  // them, by address
  Node **ahead;    // between the first and the last: what they read, directly or not; in the graph's order
  uint32_t ahead_count, ahead_capacity;
  Value **given;  // results that others use, or that the graph gives out
  uint32_t given_count, given_capacity;
} Outline;

// Looks at the nodes of one graph. Returns why they cannot be one step, or NULL.
const char *outline_plan(Arena *scratch, Node *const *nodes, int count, Outline *out);
// Adds the region, named `name`, before the first node; what is ahead moves before it. Result i is like given[i], whose place it is to take.
Node *outline_make(const Outline *outline, const char *name);
