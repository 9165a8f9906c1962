// Binding a specialised graph to the sizes of another call. What specialising found stays as it is (what was folded, which regions stand);
// the sizes that follow from the inputs' are computed anew, and every node infers its types again, so that a model whose symbols do not hold what
// they say is found out.
#pragma once
#include "lower/specialise.h"

typedef struct Rebinding Rebinding;

typedef struct MadeConstants {
  Node *node;
  Value **constants;  // of its results, in the graph that reads them
} MadeConstants;

// Constants that were computed and are others for other sizes, with the nodes that made them: a graph of their own beside the one they were taken from.
typedef struct FromSizes {
  Graph *graph;
  IntMap *values;  // by a constant's number: what stands for it in `graph`
  MadeConstants *list;
  uint32_t count, capacity;
} FromSizes;

// Symbols that stand for what inputs hold (reads.h).
enum { MAX_READ = 16 };  // elements of one
typedef struct ReadSymbol {
  Dim symbol;
  int input, element;
  int64_t now;  // in the call that was specialised for
} ReadSymbol;
typedef struct ReadSymbols {
  ReadSymbol *list;
  uint32_t count, capacity;
} ReadSymbols;

FromSizes from_sizes_new(Graph *beside);
// Of a node that is about to be computed and removed: NULL where its results are the same for all sizes; else room for the constants that take
// the results' place, to be filled before from_sizes_made.
Value **from_sizes_add(FromSizes *from, const Node *node);
void from_sizes_made(FromSizes *from, Value *const *constants, int count);

// Of a static graph whose open sizes are known (Value.open, Attribute.open) and are what they say. NULL where one follows from something else than
// the inputs' sizes: *why, for a log. Lives in the arena, which outlives nothing of the graph.
Rebinding *rebinding_new(Graph *graph, const FromSizes *from, const ReadSymbols *reads, Arena *arena, const char **why);
// Gives the graph these inputs' sizes. *fits false: it is not for them, and is to be used no more. What attributes say and constants hold is in
// the arena, which lives until the next call at least.
MUST_CHECK Status rebind(Rebinding *rebinding, const StageInput *inputs, Arena *arena, bool *fits);
