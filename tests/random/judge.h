// What a graph gives, and whether another graph gives the same: bit for bit, or as near as rounding explains.
#pragma once
#include "passes/rule.h"
#include "tests/random/evaluate.h"

typedef struct Judge {
  Arena *arena;
  const Graph *graph;  // as it was
  Graph *bound;
  uint64_t values;
  Tensor *inputs, *expected;
  int64_t strange;
  bool narrow;     // half precision occurs: fusing drops roundings
  bool open_bits;  // bits of a NaN show in the results
} Judge;

// What rewrites may change.
typedef struct Allowance {
  Exactness exactness;  // of all rules that applied
  DType precision;      // half precision that was asked for; DTYPE_COUNT: none
} Allowance;

typedef struct Verdict {
  bool bounded;   // not the same bits, within the bound
  bool unjudged;  // numbers left the range of their type in one of the runs: nothing can be said
} Verdict;

// Fails where the graph itself cannot be run: it is no graph to try rewrites on.
MUST_CHECK Status judge_begin(Arena *arena, const Graph *graph, uint64_t values, Judge *out);
// ERROR_MISMATCH where `changed` gives something else.
MUST_CHECK Status judge_results(const Judge *judge, const Tensor *actual, Allowance allowance, Verdict *verdict);
MUST_CHECK Status judge_compare(const Judge *judge, const Graph *changed, Allowance allowance, Verdict *verdict);
