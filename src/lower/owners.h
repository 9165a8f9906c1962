// Who wrote each byte of an arena last: a tree over the places where buffers begin and end, so that following a plan takes n log n.
#pragma once
#include "lower/plan.h"

typedef struct Owners {
  size_t *bounds;     // where buffers begin and end, ascending
  int count;          // of stretches between them
  int *owner;         // by node of the tree: the buffer that wrote all of it last, OWNER_NONE or OWNER_MIXED
  int *first, *last;  // by buffer: its stretches, the last excluded; equal where it has none
} Owners;

enum { OWNER_NONE = -1, OWNER_MIXED = -2 };
Owners *owners_new(const Plan *plan, Arena *arena);
void owners_write(Owners *owners, int buffer);
// The buffer itself where all of it was written by itself last; else one that wrote a part, or OWNER_NONE.
int owners_find(const Owners *owners, int buffer);
// Asks of each that wrote a part of the buffer's bytes last, some more than once; stops at the first for which `ask` says no, and returns it, or OWNER_NONE.
int owners_ask(const Owners *owners, int buffer, bool (*ask)(void *context, int owner), void *context);
