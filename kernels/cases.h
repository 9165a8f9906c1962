// The operator cases: for each core operator, small graphs that reach its corners (tails, one element, nothing at all, odd strides,
// every type and mode). One table, run by the tests of every executor against the reference, and by the benchmarks.
//
// A case is data: the text of a graph (ir/graph_text.h) whose values leave their types to inference, and how its inputs are
// filled. Rows live in kernels/<folder>/cases.inc.
#pragma once
#include "ir/op.h"

typedef struct OperatorCase {
  const char *name;       // "conv/groups_f16": the operator, then what is special
  const char *signature;  // "(%x: f32[2, 3], %i: i64[4]) -> (%y)"
  const char *nodes;      // "%y: ?[?] = gather(%x, %i) {axis: 0}"
  // How inputs differ from the default (floats uniform in [-1, 1), signed integers in [-8, 8], unsigned in [0, 15], bool 0 or 1):
  // "i in 0 4; x in 0.5 2", or "i distinct 0 9": along axis 0, different numbers below 9, or
  // "x edges 2 0": NaN, infinities and the like, every second element, or "w constant -1 1": no input but a constant of the graph, of
  // numbers that every float type has. "" for none.
  const char *fill;
  double loose;  // how many times the usual tolerance its results may be off; above 1, integers by one step
} OperatorCase;

extern const OperatorCase operator_cases[];  // ends with a NULL name

// The graph, inferred and verified, with its constants.
MUST_CHECK Status operator_case_build(const OperatorCase *row, Arena *arena, const OpDef *const *ops, Graph **out);
// Makes the graph's inputs (input_count tensors): the same ones for the same seed.
MUST_CHECK Status operator_case_fill(const OperatorCase *row, const Graph *graph, Arena *arena, uint64_t seed, Tensor *inputs);
// What an output of this type may differ by, for tensor_compare.
void operator_case_tolerance(const OperatorCase *row, DType dtype, double *rtol, double *atol);
