// Builders: one call appends one inferred core node and returns its (first) output. Used by the ONNX translations, passes and
// tests. All of them insert before `at` (NULL: at the end). Integer contents (Value.contents) are carried through views,
// concat, gather and integer arithmetic, so that shape arithmetic stays symbolic and disappears.
#pragma once
#include "ir/op.h"

struct Builder {
  Graph *graph;
  Node *at;
  Status status;  // first error; later calls then return NULL at once, so that a chain is checked once at its end
};

Value *build_node(Builder *b, const OpDef *op, int input_count, Value *const *inputs, int output_count,
                  void (*attributes)(Node *node, void *context), void *context);  // general form; outputs via producer
// The second half of build_node, for a node appended with graph_add whose attributes are set: infers, folds, gives its output.
Value *build_finish(Builder *b, Node *node);
Value *build_constant(Builder *b, const Tensor *tensor);
Value *build_scalar(Builder *b, DType dtype, double value);
Value *build_dims(Builder *b, const Dim *values, int count);  // i64 vector with these contents
Value *build_transpose(Builder *b, Value *x, const int *perm);
Value *build_reshape(Builder *b, Value *x, int rank, const Dim *dims);  // dims already resolved (no -1 or 0 marks)
Value *build_slice(Builder *b, Value *x, const Dim *starts, const int64_t *steps, const Dim *dims);
Value *build_expand(Builder *b, Value *x, int rank, const Dim *dims);          // numpy broadcast
Value *build_squeeze(Builder *b, Value *x, const int64_t *axes, int count);    // axes normalised to 0 <= axis < rank
Value *build_unsqueeze(Builder *b, Value *x, const int64_t *axes, int count);  // axes normalised in the output's rank
Value *build_flatten(Builder *b, Value *x, int axis);                          // to 2-D
Value *build_elementwise(Builder *b, Program *program, int input_count,
                         Value *const *inputs);  // domain: broadcast of the inputs
Value *build_elementwise_over(Builder *b, Program *program, int input_count, Value *const *inputs, int rank, const Dim *dims);
Value *build_rowwise(Builder *b, Program *program, int input_count, Value *const *inputs, const int64_t *axes, int axis_count);
Value *build_unary(Builder *b, Opcode op, Value *x);
Value *build_binary(Builder *b, Opcode op, Value *x, Value *y);
Value *build_cast(Builder *b, Value *x, DType dtype);
Value *build_reduce(Builder *b, Opcode op, Value *x, const int64_t *axes, int axis_count, bool keep);  // OP_reduce_*
Value *build_matmul(Builder *b, Value *x, Value *y);  // both rank >= 2, numpy batch rules
Value *build_concat(Builder *b, int count, Value *const *values, int axis);
Value *build_gather(Builder *b, Value *x, Value *indices, int axis);
Value *build_where(Builder *b, Value *condition, Value *x, Value *y);
Value *build_range(Builder *b, DType dtype, Dim count, double start, double step);
Value *build_fill(Builder *b, DType dtype, double value, int rank, const Dim *dims);
Value *build_output(Value *first, int index);  // further output of the node that made `first`

// The elements of a small integer or boolean value, where all of them are known: from its contents or its constant. NULL where not.
const Dim *build_contents(Graph *graph, const Value *value, int *count);
// A value of its own with x's elements, never folded into x: for an output that would otherwise be an input or another output.
MUST_CHECK Status build_copy(Graph *graph, Node *at, Value *x, Value **out);
