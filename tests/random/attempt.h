// The only door to the passes: a way to rewrite a graph, and what comes of it.
#pragma once
#include "tests/random/judge.h"

typedef struct Way {
  char passes[512];  // comma-separated, in this order; "": the pipeline
  bool cuda, tf32;
  DType precision;  // DTYPE_F16 or DTYPE_BF16; DTYPE_COUNT: as written
} Way;

void way_print(Text *text, const Way *way);  // "passes fold_scale,layout cuda tf32 precision f16"
MUST_CHECK Status way_parse(const char *text, Way *out);

void way_list_pipeline(Way *way);         // the pipeline's passes by name
bool way_drop_pass(Way *way, int index);  // false where there are not more than one, or not so many

int pass_count(void);  // each counted once
const char *pass_at(int index);

// Runs the passes over a copy of the judge's graph, verifying after each, and compares. *changed: some pass had something to do.
MUST_CHECK Status attempt_way(const Judge *judge, const Way *way, Verdict *verdict, bool *changed);
// The text of the graph that a way gives.
MUST_CHECK Status attempt_text(Arena *arena, const Graph *graph, const Way *way, const char **out);
