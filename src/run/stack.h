// What the iterations of a loop yield, stacked to one tensor: each row is copied behind the one before, on the device where it is computed. Strings are stacked
// on the host.
#pragma once
#include "run/places.h"

typedef struct Stack {
  Places *places;  // its memory, which outlives it
  int64_t most;    // rows there can be
  bool sure;       // there will be as many
  bool reverse;    // the last row comes first; only where it is sure
  RunTensor whole;
  int64_t count;
} Stack;

MUST_CHECK Status stack_push(Stack *stack, Device *device, const RunTensor *row);
// The tensor, with the axis of the iterations at `axis`. declared: what it is where there was none.
MUST_CHECK Status stack_finish(Stack *stack, Device *device, const Value *declared, int axis, RunTensor *out);
