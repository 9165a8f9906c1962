// What the operator translations share: axes and attributes across opsets, appending core nodes that have attributes, dim
// arithmetic that keeps shapes symbolic. Builder calls chain without checks; translate_end at the end reports the first error.
#pragma once
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/build.h"
#include "onnx/ops/translate.h"

static inline Builder translate_begin(const Translation *t) { return (Builder){t->graph, t->at, OK}; }
Status translate_end(Translation *t, Builder *b);  // the builder's first error, naming the ONNX node

// Appends a core operator by its name. Set attributes on the result, then close it with node_done, which infers
// and returns the first output. After an error both still take their arguments and do nothing.
Node *node_start(Builder *b, const char *op, int input_count, Value *const *inputs, int output_count);
Value *node_done(Builder *b, Node *node);

// -rank <= axis < rank becomes 0 <= axis < rank.
MUST_CHECK Status normalise_axis(const Translation *t, int64_t axis, int rank, int *out);
MUST_CHECK Status normalise_axes(const Translation *t, int64_t *axes, int count, int rank);
// An operand that is an attribute in old opsets and an input in new ones: *values NULL where absent. Leaves with deferred.
MUST_CHECK Status ints_operand(Translation *t, const char *attribute, int input, const int64_t **values, int *count);
#define TAKE_INTS(t, attribute, input, values, count)                \
  do {                                                               \
    TRY(ints_operand((t), (attribute), (input), (values), (count))); \
    if ((t)->deferred) return OK;                                    \
  } while (0)
// NEED_DIMS for sizes: none of them may be negative, and at least `least` of them are needed.
MUST_CHECK Status check_sizes(const Translation *t, const Dim *sizes, int count, int least);
#define NEED_SIZES(t, input, sizes, count, least)       \
  do {                                                  \
    NEED_DIMS((t), (input), (sizes), (count));          \
    TRY(check_sizes((t), *(sizes), *(count), (least))); \
  } while (0)
MUST_CHECK Status check_present(const Translation *t);  // every input, for operators that take any number
// Inputs first to last, where present, have one value for each channel.
MUST_CHECK Status check_channels(const Translation *t, int first, int last, Dim channels);
static inline bool translate_wants(const Translation *t, int output) { return output < t->output_count; }
static inline Value *translate_input(const Translation *t, int input) {
  return translate_has(t, input) ? t->inputs[input] : NULL;
}
MUST_CHECK Status dtype_attribute(const Translation *t, const char *name, DType otherwise, DType *out);  // ONNX number

// Program shorthand: the dtype is that of the operands.
static inline int op1(Program *p, Opcode op, int a) { return program_op1(p, op, a); }
static inline int op2(Program *p, Opcode op, int a, int b) { return program_op2(p, op, a, b); }
static inline int op3(Program *p, Opcode op, int a, int b, int c) { return program_op3(p, op, a, b, c); }
static inline DType program_dtype(const Program *p, int a) { return p->code[a].dtype; }
static inline int constant_like(Program *p, int a, double value) { return program_const(p, program_dtype(p, a), value); }
int reduce_mean(Program *p, int a);  // over the row axes
DType compute_dtype(DType dtype);    // f32 for narrow floats, else the type itself

// Dim arithmetic with the knowledge that dims are not negative.
bool dim_not_negative(const DimTable *table, Dim dim);  // provably
bool dim_at_most(const DimTable *table, Dim a, Dim b);  // provably a <= b
Dim dim_least(DimTable *table, Dim a, Dim b);
Dim dim_most(DimTable *table, Dim a, Dim b);
Dim dims_product(DimTable *table, const Dim *dims, int count);
// product(numerator) / product(denominator), cancelling what both have.
Dim dims_quotient(DimTable *table, const Dim *numerator, int numerator_count, const Dim *denominator, int denominator_count);

// x of shape [C] becomes [C, 1, ...] so that it broadcasts along `axis` of a tensor of this rank.
Value *align_to_axis(Builder *b, Value *x, int axis, int rank);
Value *build_slice_axis(Builder *b, Value *x, int axis, Dim start, Dim count);  // step 1
Value *build_concat2(Builder *b, Value *x, Value *y, int axis);
Value *build_mul(Builder *b, Value *x, Value *y);
Value *build_add(Builder *b, Value *x, Value *y);
Value *build_scale(Builder *b, Value *x, double factor);
Value *build_swap(Builder *b, Value *x, int i, int j);  // transposes two axes
Value *build_softmax(Builder *b, Value *x, int axis);
Value *build_product(Builder *b, Value *x, Value *y);  // numpy's matmul, with its rules for operands of rank 1

// Copies the nodes of a graph in front of t->at. `arguments` stand for its inputs; symbols of the inputs' dims become the
// arguments' dims. results: one for each of the graph's outputs.
MUST_CHECK Status translate_inline(Translation *t, Graph *body, Value *const *arguments, Value **results);
