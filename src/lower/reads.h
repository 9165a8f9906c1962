// Sizes that follow from what small integer inputs hold: counts and lengths that a model computes, or is told. Each element of such an input becomes a symbol, operators that
// wait for it are translated in terms of that, and one graph serves whatever is read there, as it serves other sizes of its inputs. Where a size decides which branch is taken, as of
// boxes there are none, the graph has the branch of one call, and serves all calls that take it.
#pragma once
#include "lower/specialise.h"

// What a size decided: an expression that is not 0, or is.
typedef struct SizeFact {
  Dim condition;
  bool holds;
} SizeFact;

typedef struct GraphReads {
  Graph *graph;  // NULL: no operator is translated and no branch chosen
  bool *read;    // by input: its contents are symbols, which are read at each call (StageInput.read) and 0 or more
  SizeFact *facts;
  uint32_t fact_count, fact_capacity;
  bool of_this_call;  // there is none because something that is read is less than 0; other calls may have one
} GraphReads;

// known: the inputs whose contents are known at each call. What has to be a constant all the same, as axes do, is not read. An error: the graph cannot be had without numbers.
MUST_CHECK Status graph_with_reads(const Graph *graph, const StageInput *inputs, const SpecialiseHooks *hooks,
                                   const bool *known, Arena *arena, GraphReads *out);
// Whether the graph is for these inputs.
bool reads_hold(const GraphReads *reads, const StageInput *inputs);
