// How the text of a rowwise kernel is written: what rowwise_text.c and rowwise_reductions.c share.
#pragma once
#include "kernels/rowwise/rowwise_plan.h"

typedef struct Emitter {
  const RowPlan *p;
  Text *text;
  const char **values;  // of row-level instructions, and of element-level ones in the pass being written
  const char *index_type;
  const char *row;  // which of its rows element i is of
} Emitter;

// The steps this thread takes, LANES apart.
static inline const char *row_begin(const RowPlan *p) { return p->splits > 1 ? "first_step + lane" : "lane"; }
static inline const char *row_end(const RowPlan *p) {
  return p->splits > 1 ? "last_step" : extent_text(p->arguments, p->all_steps, false);
}

// The result of a reduction, or what follows from another's moments, as an expression for its row i.
char *reduction_result(const Emitter *e, int instruction);
// Declares the accumulators of the reductions that a pass feeds.
void add_accumulators(Emitter *e, int pass);
// Feeds the value of a reduction's operand, element i of step k.
void add_feed(Emitter *e, int instruction);
// At the end of each round of the loop over steps, and behind the loop: what moments ask for.
void add_recentring(Emitter *e, int pass);
void add_rebase(Emitter *e, int pass);
// All threads' results of a pass become one, which all of them get.
void add_combination(Emitter *e, int pass);
// The results of a launch, one for each split, into the workspace; and of an earlier launch's pass, of which each lane takes some.
void add_partial_stores(Emitter *e, int pass);
void add_partial_loads(Emitter *e, int pass);
