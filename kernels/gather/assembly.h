// What concatenations and slices, one upon the other, put together: boxes of their operands at places of the result. A picture that is rolled along two axes is four of them.
#pragma once
#include "ir/graph.h"

enum { MOST_BOXES = 64 };

typedef struct AssemblyBox {
  const Value *from;                                   // what no concatenation and no slice of the graph makes
  int64_t at[MAX_RANK], to[MAX_RANK], dims[MAX_RANK];  // where it begins there, and in the result
} AssemblyBox;

// A concatenation, or a slice that goes forward in steps of one, whose sizes are known.
bool assembly_joins(const Node *node);
bool assembly_cuts(const Node *node);
// The boxes of a static value; -1: there are more than MOST_BOXES. Values for which `ends` says so are taken as they are, whoever makes them.
int assembly_boxes(const Value *whole, bool (*ends)(const void *context, const Value *value), const void *context,
                   AssemblyBox *out);
