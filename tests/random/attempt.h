// The only door to the passes: a way to rewrite a graph, and what comes of it.
#pragma once
#include "tests/random/judge.h"

enum { MOST_RULES = 512 };

typedef struct RewriteWay {
  char passes[512];   // comma-separated, in this order; "": the pipeline
  char without[512];  // rules and passes that are left out
  bool cuda, tf32;
  DType precision;  // DTYPE_F16 or DTYPE_BF16; DTYPE_COUNT: as written
} RewriteWay;

void way_print(Text *text, const RewriteWay *way);  // "passes fold_scale,layout without merge_twins cuda tf32 precision f16"
MUST_CHECK Status way_parse(const char *text, RewriteWay *out);

void way_list_pipeline(RewriteWay *way);         // the pipeline's passes by name
bool way_drop_pass(RewriteWay *way, int index);  // false where there are not more than one, or not so many

// Each pass and each rule once. NULL: there are not so many.
const char *pass_name_at(int index);
const char *rule_name_at(int index);
// A rule alone is its pass without its other rules. False where there are none.
bool way_rule_alone(RewriteWay *way, int index);

typedef struct Attempt {
  Verdict verdict;
  bool changed;             // some pass had something to do
  int applied[MOST_RULES];  // how often, by the number of the rule
} Attempt;

// Runs the passes over a copy of the judge's graph, verifying after each, and compares. What has been rewritten reads back from its text, and a pass
// of rules that runs again finds nothing to do.
MUST_CHECK Status attempt_way(const Judge *judge, const RewriteWay *way, Attempt *attempt);
MUST_CHECK Status attempt_reads_back(const Graph *graph);
// The text of the graph that a way gives.
MUST_CHECK Status attempt_text(Arena *arena, const Graph *graph, const RewriteWay *way, const char **out);
