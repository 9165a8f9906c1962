// A graph computed node by node by the references, branches and loops included: as it is stored, in double throughout, or in double with
// what every node stores shaken by as much as rounding it could. Shaken runs tell how far results may be apart where a rewrite rounds less
// often or elsewhere: no closed bound holds for sums that cancel and numbers that are compared.
#pragma once
#include "tests/random/draw.h"
#include "tests/random/inside.h"
#include "base/map.h"
#include "ir/op.h"

enum { SHAKEN_BY = 4 };  // half units in the last place

typedef struct Evaluation {
  Arena *arena;
  Draw *shakes;          // NULL: nothing is shaken
  bool rounds;           // what is shaken is rounded to its type, too: numbers become equal
  const IntMap *stored;  // of a graph in double: by value, the dtype it has in the model, plus one
  DType precision;       // what f32 is stored as on request; DTYPE_COUNT: f32
  DimBinding sizes;      // of what nodes turned out to give
  int64_t strange;       // elements that are no finite numbers, of all results
  double largest;        // of all finite ones, inputs and constants too
  bool opens;            // regions are run node by node, so that the largest may be inside of one; shaken ones are anyway
  int depth;             // of the region at hand, whose values are no results
} Evaluation;

// Sizes of open dims are drawn from 1 to this; 0: as suits the generator's graphs, few and mostly small.
extern int evaluate_most;
// The graph with what is symbolic in it replaced by the sizes that `values` draws for its symbols.
Graph *evaluate_bind(Arena *arena, const Graph *graph, uint64_t values);
// The inputs that `values` draws, by their names.
MUST_CHECK Status evaluate_inputs(Arena *arena, const Graph *bound, uint64_t values, Tensor *inputs);
// A copy in which every float is f64. *stored tells the former types; inside, where it is given, takes the programs to be shaken. Fails where a node sees the bits of
// a number.
MUST_CHECK Status evaluate_widen(Arena *arena, const Graph *bound, IntMap *stored, Inside *inside, Graph **out);
Tensor evaluate_wide_tensor(Arena *arena, const Tensor *tensor);  // floats as f64, others as they are
MUST_CHECK Status evaluate_run(Evaluation *evaluation, const Graph *bound, const Tensor *inputs, Tensor *outputs);
