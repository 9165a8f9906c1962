// What plan.c and plan_lines.c share: a plan while it is made.
#pragma once
#include "lower/lines.h"
#include "lower/plan.h"

typedef struct Binding {
  bool bound;
  int buffer;  // -1: a result's, until it is known whether it is written into a line
  int64_t offset;
  TensorDesc desc;
} Binding;

typedef struct Planner {
  Plan *plan;
  Arena *arena;
  const PlanTarget *target;
  Lines *lines;
  Binding *bindings;  // by value id
  uint32_t binding_capacity;
} Planner;

Binding *planner_binding(Planner *p, const Value *value);
// A buffer as large as the value with these dims.
PlanBuffer *planner_add_buffer(Planner *p, PlanBufferKind kind, int index, const Value *value, const int64_t *dims);
// Dense memory of its own for the value; index as in PlanBuffer.
MUST_CHECK Status planner_bind_new(Planner *p, const Value *value, PlanBufferKind kind, int index);
MUST_CHECK Status planner_plan_node(Planner *p, Node *node);
// A node that copies its input, not yet inferred.
Node *planner_add_copy(Graph *graph, Node *at, Value *source);
void planner_note_copy(Planner *p, PlanCopy copy);

// ---- plan_lines.c

// A concatenation whose operands lie where it is, but for one at most, which is copied there. *done: it is there, and takes no step.
MUST_CHECK Status planner_plan_in_line(Planner *p, Node *node, bool *done);
// Results that have no memory yet are written into their lines, or get memory of their own where the way that computes them cannot.
MUST_CHECK Status planner_settle(Planner *p, const Node *node, PlanStep *step);
