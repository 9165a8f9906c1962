// A constant in the form that a kernel computes with, as a recipe: a small graph over tensors of the model, run by the references. So it can be
// printed, its text says what the bytes are, and where the tensors change it is run again.
#pragma once
#include "base/hash.h"
#include "kernels/build.h"

typedef struct Recipe {
  Graph *graph;            // one input for each source; one output, the constant, row-major
  const Tensor **sources;  // outlive the recipe
  uint32_t source_count, source_capacity;
  Builder b;
  size_t bytes;
  Hash128 key;  // of the graph's text and what the sources hold: equal ones give equal bytes
} Recipe;

Recipe *recipe_new(Arena *arena);
Value *recipe_source(Recipe *recipe, const Tensor *tensor);
// x with zeros behind the elements of an axis, which has `size` of them then.
Value *recipe_pad(Recipe *recipe, Value *x, int axis, int64_t size);
// The first error of building it; the recipe is complete then.
MUST_CHECK Status recipe_finish(Recipe *recipe, Value *constant);
// One that was finished and printed: its graph, as many tensors, and its key.
MUST_CHECK Status recipe_again(Graph *graph, const Tensor **sources, uint32_t source_count, Hash128 key, Recipe **out);
MUST_CHECK Status recipe_run(const Recipe *recipe, void *out);  // recipe->bytes
