// An anchor with pointwise programs behind it as one step of several results: what the anchor makes, where others want it as it is, and what each program makes of that, written from the same
// registers. The region's body holds the anchor first, then the programs (elementwise nodes):
//
//   %w, %y = region(%x, %s) {body: graph joined(%x, %s) -> (%w, %y) { %w = pool(%x) %y = elementwise(%w, %s) {program: ...} }}
//
// In front of a concatenation others, and slices, may stand, which make its operands (gather/assembly.h); then there need be no program.
//
// A program reads the anchor's result and inputs of the region, not what another one makes. Inside, the anchor's result is not rounded (control/region.h).
#pragma once
#include "kernels/site.h"

typedef struct Behind {
  const Node *anchor;
  bool assembled;  // something stands in front of it
  int operands;    // inputs of the region: first the anchor's, in its order; assembled: those of all that moves, in any order
  int beside;      // then what programs read beside its result, each once
  const Program *
      program;  // of one element: input 0 is the anchor's result, input k the site's number operands + k - 1; outputs are the region's
} Behind;

// Whether the site is such a region of this operator, without programs that depend on places; all results have the dims of the anchor's.
bool behind_read(const Site *site, const OpDef *op, Arena *arena, Behind *out);
