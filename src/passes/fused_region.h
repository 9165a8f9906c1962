// Making what kernels/fused.h reads: a region of an anchor and the program behind it.
#pragma once
#include "kernels/fused.h"
#include "passes/rule.h"

typedef struct FusedParts {
  const Node *anchor;      // the new one is like it, in another graph or not
  Value *const *operands;  // anchor->input_count of them, in place of its own; NULL where absent
  const Node *behind;      // where the program comes from
  Program *program;        // input 0 is the anchor's result, input k reads[k - 1]; all are read
  Value *const *reads;     // program->input_count - 1 of them
  const Value *result;     // in whose place the region's will be
} FusedParts;

// The region stands before the root, not yet inferred; its body is.
MUST_CHECK Status add_fused(Rewrite *rewrite, const FusedParts *parts, Node **out);
// Drops what the program does not read, and reads each value once. Returns how many values are left; -1: it does not need the result.
int keep_reads(Program *program, int count, Value **reads);

extern const Rule rule_drop_unread;  // fuse_epilogue.c
