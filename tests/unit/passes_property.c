// No pass changes what a graph computes. Every operator case, alone and between neighbours that passes like to move and fuse, goes
// through every pass alone and through the whole pipeline; the references give the same before and after.
#include "kernels/cases.h"

#include <math.h>
#include <string.h>

#include "tests/evaluate.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "kernels/build.h"
#include "kernels/conv/conv.h"
#include "kernels/fused.h"
#include "kernels/ops.h"
#include "passes/passes.h"

// ---- neighbours --------------------------------------------------------------------------------------------------------------

static Value *filled(Builder *b, DType dtype, int rank, const int64_t *dims, double first, double step) {
  Tensor tensor;
  b->status = tensor_new(b->graph->arena, dtype, rank, dims, &tensor);
  int64_t count = b->status ? 0 : tensor_count(&tensor);
  for (int64_t i = 0; i < count; i++) tensor_set_f(&tensor, i, first + step * (double)(i % 7));
  return build_constant(b, &tensor);
}

// As a batch norm comes from a model: a scale and a shift for each channel.
static Value *channel_affine(Builder *b, Value *x) {
  int64_t dims[MAX_RANK];
  for (int k = 0; k < x->rank; k++) dims[k] = k == 1 ? x->dims[1] : 1;
  Value *scale = filled(b, x->dtype, x->rank, dims, 0.5, 0.25), *shift = filled(b, x->dtype, x->rank, dims, -1, 0.5);
  return build_binary(b, OP_add, build_binary(b, OP_mul, x, scale), shift);
}

static Value *softmax(Builder *b, Value *x) {
  int64_t axis = x->rank - 1;
  Value *e = build_unary(b, OP_exp, build_binary(b, OP_sub, x, build_reduce(b, OP_reduce_max, x, &axis, 1, true)));
  return build_binary(b, OP_div, e, build_reduce(b, OP_reduce_sum, e, &axis, 1, true));
}

static Value *reversed(Builder *b, Value *x) {
  int perm[MAX_RANK];
  for (int k = 0; k < x->rank; k++) perm[k] = x->rank - 1 - k;
  return build_transpose(b, x, perm);
}

enum { DRESSES = 6 };

static Value *dress_output(Builder *b, Value *y, int dress) {
  Value *half = build_scalar(b, y->dtype, 0.5);
  switch (dress) {
    case 1:
      y = y->rank >= 2 ? channel_affine(b, y) : build_binary(b, OP_mul, y, half);
      return build_unary(b, OP_relu, build_binary(b, OP_add, y, half));
    case 2:
      return build_binary(
          b, OP_add, build_unary(b, OP_sigmoid, build_reshape(b, reversed(b, y), 1, (Dim[]){value_count_dim(b->graph, y)})),
          half);
    case 3:
      return y->rank ? build_binary(b, OP_mul, softmax(b, build_binary(b, OP_mul, y, half)), half) : build_unary(b, OP_neg, y);
    case 4: {  // used twice, beside a residual
      Value *r = build_unary(b, OP_relu, y);
      return build_binary(b, OP_add, build_binary(b, OP_mul, r, y), build_binary(b, OP_max, r, half));
    }
    case 5: return reversed(b, build_unary(b, OP_tanh, reversed(b, build_binary(b, OP_sub, y, half))));
    default: return y;
  }
}

static bool is_plain_float(const Value *value) {
  return value->kind == VALUE_TENSOR && (value->dtype == DTYPE_F32 || value->dtype == DTYPE_F16) && value_is_static(value);
}

// Weights of convolutions become constants, as they are in models.
static void fix_weights(Graph *graph, const Tensor *inputs) {
  Arena *scratch = arena_scratch();
  FOR_NODES(node, graph) {
    Fused fused;
    fused_read(node, scratch, &fused);
    int weights = fused.anchor->op == &op_conv ? fused_input(&fused, 1) : -1;
    for (int i = 0; weights >= 0 && i < graph->input_count; i++)
      if (node->inputs[weights] == graph->inputs[i]) node_set_input(node, weights, graph_add_constant(graph, NULL, &inputs[i]));
  }
  arena_free(scratch);
}

static void dress(Graph *graph, const Tensor *inputs, int dress) {
  if (!dress) return;
  fix_weights(graph, inputs);
  Node *last = graph->last;
  Builder b = {.graph = graph, .at = graph->first};
  // Before: pointwise work on the first input, for the nodes that were there. It is exact, so that what rounds or compares
  // afterwards sees the same numbers whether intermediate results were stored or not.
  Value *x = graph->input_count ? graph->inputs[0] : NULL;
  if (x && is_plain_float(x) && last) {
    Value *before = build_unary(&b, OP_neg, build_binary(&b, OP_mul, x, build_scalar(&b, x->dtype, 0.5)));
    for (Node *node = b.at; node; node = node == last ? NULL : node->next)
      for (int i = 0; i < node->input_count && before; i++)
        if (node->inputs[i] == x) node_set_input(node, i, before);
  }
  b.at = NULL;
  int outputs = graph->output_count;
  for (int i = 0; i < outputs; i++) {
    Value *y = graph->outputs[i];
    if (!is_plain_float(y) || y->is_input || y->constant) continue;
    Value *after = dress_output(&b, y, dress);
    cr_assert(!b.status, "%s", status_message(b.status));
    if (after != y) graph_replace_output(graph, i, after);
  }
  cr_assert(!b.status, "%s", status_message(b.status));
}

// ---- the property ------------------------------------------------------------------------------------------------------------

static void note_change(void *context, const char *pass, const Graph *graph) { *(bool *)context = true; }

static const char *text_of(Arena *arena, const Graph *graph) {
  Text text = text_new(arena);
  GraphTextOptions options = {0};
  graph_print(&text, graph, &options);
  return text.length < 8000 ? text_get(&text) : "(a long graph)";
}

// A fused chain does not round between its links, so the coarsest type in the graph decides how far results may be apart.
static void tolerance_of(const OperatorCase *row, const Graph *graph, DType dtype, double *rtol, double *atol) {
  operator_case_tolerance(row, dtype, rtol, atol);
  if (!dtype_is_float(dtype)) return;
  FOR_NODES(node, graph)
  for (int i = 0; i < node->output_count + node->input_count; i++) {
    const Value *value = i < node->output_count ? node->outputs[i] : node->inputs[i - node->output_count];
    if (!value || value->dtype >= DTYPE_COUNT || !dtype_is_float(value->dtype)) continue;
    double r, a;
    operator_case_tolerance(row, value->dtype, &r, &a);
    *rtol = fmax(*rtol, r);
    *atol = fmax(*atol, a);
  }
}

static void compare(const OperatorCase *row, const Graph *before, const Graph *after, const Tensor *inputs,
                    const Tensor *expected, double loose, const char *what, Arena *arena) {
  Tensor *outputs = arena_array(arena, Tensor, after->output_count + 1);
  cr_assert_eq(before->output_count, after->output_count);
  evaluate(after, arena, inputs, outputs);
  for (int i = 0; i < after->output_count; i++) {
    cr_assert_str_eq(before->outputs[i]->name, after->outputs[i]->name, "%s: %s renames an output", row->name, what);
    double rtol, atol;
    tolerance_of(row, before, expected[i].dtype, &rtol, &atol);
    cr_assert_eq(outputs[i].dtype, expected[i].dtype, "%s: %s changes the type of output %d", row->name, what, i);
    if (expected[i].dtype == DTYPE_STRING) continue;
    Comparison c = tensor_compare(&outputs[i], &expected[i], rtol * loose, atol * loose);
    cr_assert_eq(
        c.mismatches, 0, "%s: %s changes output %d at %lld of %lld: %g for %g\n%s\n%s", row->name, what, i,
        (long long)c.first_mismatch, (long long)c.count, tensor_get_f(&outputs[i], c.first_mismatch < 0 ? 0 : c.first_mismatch),
        tensor_get_f(&expected[i], c.first_mismatch < 0 ? 0 : c.first_mismatch), text_of(arena, before), text_of(arena, after));
  }
}

static void check_pass(const OperatorCase *row, const Graph *graph, const Tensor *inputs, const Tensor *expected,
                       const char *pass, const PassOptions *options, double loose) {
  Arena *arena = arena_new();
  Graph *changed = graph_copy(arena, graph);
  bool touched = false;
  PassOptions watched = *options;
  watched.verify = true;
  watched.observe = note_change;
  watched.observe_context = &touched;
  Status status = pass ? passes_run_named(changed, pass, &watched) : passes_run(changed, &watched, NULL, 0, NULL);
  cr_assert(!status, "%s: %s: %s\n%s", row->name, pass ? pass : "the pipeline", status_message(status), text_of(arena, graph));
  if (touched) compare(row, graph, changed, inputs, expected, loose, pass ? pass : "the pipeline", arena);
  arena_free(arena);
}

// In half precision results are near, as far as their values fit into it; types of inputs and outputs stay.
static void check_narrow(const OperatorCase *row, const Graph *graph, const Tensor *inputs, const Tensor *expected,
                         DType precision) {
  Arena *arena = arena_new();
  Graph *changed = graph_copy(arena, graph);
  PassOptions options = {.device = DEVICE_CUDA, .sm = 90, .precision = precision, .verify = true};
  Status status = passes_run(changed, &options, NULL, 0, NULL);
  cr_assert(!status, "%s in %s: %s", row->name, dtype_name(precision), status_message(status));
  Tensor *outputs = arena_array(arena, Tensor, changed->output_count + 1);
  evaluate(changed, arena, inputs, outputs);
  for (int i = 0; i < changed->output_count; i++) {
    cr_assert_eq(outputs[i].dtype, expected[i].dtype, "%s in %s: the type of output %d\n%s", row->name, dtype_name(precision),
                 i, text_of(arena, changed));
    double largest = 0;
    for (int64_t k = 0; dtype_is_float(expected[i].dtype) && k < tensor_count(&expected[i]); k++)
      largest = fmax(largest, fabs(tensor_get_f(&expected[i], k)));
    if (expected[i].dtype != DTYPE_F32 || largest < 0.01 || largest > 1000) continue;
    Comparison c = tensor_compare(&outputs[i], &expected[i], 1, 1);
    double bound = (precision == DTYPE_F16 ? 0.01 : 0.06) * fmax(row->loose, 1);
    cr_assert(c.norm_error < bound, "%s in %s: output %d is off by %g\n%s", row->name, dtype_name(precision), i, c.norm_error,
              text_of(arena, changed));
  }
  arena_free(arena);
}

static void check_case(const OperatorCase *row, int dress_number) {
  Arena *arena = arena_new();
  Graph *graph;
  Status status = operator_case_build(row, arena, core_ops, &graph);
  cr_assert(!status, "%s", status_message(status));
  Tensor *inputs = arena_array(arena, Tensor, graph->input_count + 1),
         *expected = arena_array(arena, Tensor, graph->output_count + 1);
  status = operator_case_fill(row, graph, arena, 3, inputs);
  cr_assert(!status, "%s", status_message(status));
  dress(graph, inputs, dress_number);
  evaluate(graph, arena, inputs, expected);
  // Folding a scale into weights rounds them once more.
  double loose = dress_number ? 8 : 2;
  for (DeviceKind device = DEVICE_CPU; device <= DEVICE_CUDA; device++) {
    PassOptions options = {.device = device, .sm = 90, .precision = DTYPE_COUNT, .tf32 = device == DEVICE_CUDA};
    for (int i = 0; device == DEVICE_CPU && pass_at(i); i++)
      check_pass(row, graph, inputs, expected, pass_at(i)->name, &options, loose);
    check_pass(row, graph, inputs, expected, NULL, &options, loose);
  }
  check_narrow(row, graph, inputs, expected, DTYPE_F16);
  check_narrow(row, graph, inputs, expected, DTYPE_BF16);
  arena_free(arena);
}

// Each dress is tried on every so-manieth case, others each time (tests/CMakeLists.txt; each without).
#ifndef CASES_STEP
#define CASES_STEP 1
#endif
static void check_all(int dress_number) {
  int number = dress_number;
  for (const OperatorCase *row = operator_cases; row->name; row++, number++) {
    OperatorCase dressed = *row;
    if (dress_number) dressed.loose = fmax(row->loose, 1);  // what is put around an exact operator rounds
    if (number % CASES_STEP == 0) check_case(&dressed, dress_number);
  }
}

Test(passes_property, plain) { check_all(0); }
Test(passes_property, affine_and_relu) { check_all(1); }
Test(passes_property, views_between) { check_all(2); }
Test(passes_property, softmax_behind) { check_all(3); }
Test(passes_property, residuals) { check_all(4); }
Test(passes_property, transposed_twice) { check_all(5); }
