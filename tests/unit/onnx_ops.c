// Translations of ONNX operators: shapes stay symbolic, versions differ where the specification does, and what cannot be is refused with
// the node's name. Values are the backend suite's business.
#include <criterion/criterion.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/build.h"
#include "kernels/deferred.h"
#include "kernels/ops.h"
#include "onnx/ops/translate.h"

typedef struct Fixture {
  Arena *arena;
  Graph *graph;
  Node *attributes;  // holds the ONNX attributes; not part of the graph
  Dim batch, seq;
} Fixture;

static Fixture fixture_new(void) {
  Arena *arena = arena_new();
  Graph *graph = graph_new(arena, core_ops, "test");
  Node *attributes = arena_new_of(arena, Node);
  attributes->graph = graph;
  return (Fixture){arena, graph, attributes, dim_symbol(graph->dims, "batch"), dim_symbol(graph->dims, "seq")};
}

static Value *input(Fixture *f, DType dtype, int rank, const Dim *dims) {
  return graph_add_input(f->graph, NULL, dtype, rank, dims);
}

static Value *dims_value(Fixture *f, const Dim *dims, int count) {
  Builder b = {f->graph, NULL, OK};
  return build_dims(&b, dims, count);
}

static Value *ints(Fixture *f, const int64_t *values, int count) {
  return graph_add_constant(f->graph, NULL, tensor_vector_i64(f->arena, values, count));
}
#define INTS(f, ...) ints((f), (int64_t[]){__VA_ARGS__}, (int)COUNT_OF(((int64_t[]){__VA_ARGS__})))

static Status translate(Fixture *f, const char *op, int opset, int count, Value *const *inputs, Value **output) {
  Translation t = {.graph = f->graph,
                   .op_type = op,
                   .domain = "",
                   .name = "the_node",
                   .opset = opset,
                   .input_count = count,
                   .inputs = inputs,
                   .output_count = 1,
                   .outputs = output,
                   .attributes = f->attributes};
  return translate_run(&t);
}

static Value *translated(Fixture *f, const char *op, int opset, int count, Value *const *inputs) {
  Value *output = NULL;
  Status status = translate(f, op, opset, count, inputs, &output);
  cr_assert_null(status, "%s", status_message(status));
  return output;
}

static void expect_dims(Fixture *f, const Value *value, int rank, const Dim *dims) {
  cr_assert_eq(value->rank, rank, "rank %d", value->rank);
  for (int i = 0; i < rank; i++) {
    Text text = text_new(f->arena);
    dim_print(&text, f->graph->dims, value->dims[i]);
    cr_assert_eq(value->dims[i], dims[i], "axis %d is %s", i, text_get(&text));
  }
}

Test(onnx_ops, reshape_divides_symbols_out) {
  Fixture f = fixture_new();
  Value *x = input(&f, DTYPE_F32, 3, (Dim[]){f.batch, f.seq, 768});
  Value *heads = translated(&f, "Reshape", 13, 2, (Value *[]){x, INTS(&f, 0, 0, 12, -1)});
  expect_dims(&f, heads, 4, (Dim[]){f.batch, f.seq, 12, 64});
  Value *rows = translated(&f, "Reshape", 13, 2, (Value *[]){x, INTS(&f, -1, 768)});
  expect_dims(&f, rows, 2, (Dim[]){dim_mul(f.graph->dims, f.batch, f.seq), 768});
  Dim shape[] = {f.batch, dim_constant(f.graph->dims, -1), 768};
  Value *back = translated(&f, "Reshape", 13, 2, (Value *[]){rows, dims_value(&f, shape, 3)});
  expect_dims(&f, back, 3, (Dim[]){f.batch, f.seq, 768});
  arena_free(f.arena);
}

Test(onnx_ops, slice_bounds_are_those_of_python) {
  Fixture f = fixture_new();
  Value *x = input(&f, DTYPE_F32, 2, (Dim[]){f.batch, f.seq});
  Value *all = translated(&f, "Slice", 13, 4, (Value *[]){x, INTS(&f, 0), INTS(&f, INT64_MAX), INTS(&f, 1)});
  expect_dims(&f, all, 2, (Dim[]){f.batch, f.seq});
  Dim past = dim_symbol(f.graph->dims, "past"), both = dim_add(f.graph->dims, past, f.seq);
  Value *mask = input(&f, DTYPE_F32, 1, &both);
  Value *tail = translated(&f, "Slice", 13, 3, (Value *[]){mask, dims_value(&f, &past, 1), dims_value(&f, &both, 1)});
  expect_dims(&f, tail, 1, &f.seq);
  Value *fixed = input(&f, DTYPE_F32, 1, (Dim[]){10});
  Value *last = translated(&f, "Slice", 13, 3, (Value *[]){fixed, INTS(&f, -3), INTS(&f, 100)});
  expect_dims(&f, last, 1, (Dim[]){3});
  Value *reversed =
      translated(&f, "Slice", 13, 5, (Value *[]){fixed, INTS(&f, -1), INTS(&f, INT64_MIN), INTS(&f, 0), INTS(&f, -2)});
  expect_dims(&f, reversed, 1, (Dim[]){5});
  arena_free(f.arena);
}

Test(onnx_ops, shape_arithmetic_disappears) {
  Fixture f = fixture_new();
  Value *x = input(&f, DTYPE_F32, 2, (Dim[]){f.batch, f.seq});
  Value *shape = translated(&f, "Shape", 13, 1, &x);
  node_set_int(f.attributes, "axis", 0);
  Value *seq =
      translated(&f, "Gather", 13, 2, (Value *[]){shape, graph_add_constant(f.graph, NULL, tensor_scalar_i64(f.arena, 1))});
  node_drop_attribute(f.attributes, "axis");
  Value *zero = graph_add_constant(f.graph, NULL, tensor_scalar_i64(f.arena, 0));
  Value *one = graph_add_constant(f.graph, NULL, tensor_scalar_i64(f.arena, 1));
  expect_dims(&f, translated(&f, "Range", 11, 3, (Value *[]){zero, seq, one}), 1, &f.seq);
  Value *row = input(&f, DTYPE_F32, 2, (Dim[]){1, f.seq});
  expect_dims(&f, translated(&f, "Expand", 13, 2, (Value *[]){row, shape}), 2, (Dim[]){f.batch, f.seq});
  arena_free(f.arena);
}

// What a model computes of sizes is known where comparisons and signs are open, too.
Test(onnx_ops, arithmetic_of_open_sizes_is_exact) {
  Fixture f = fixture_new();
  DimTable *table = f.graph->dims;
  Dim less = dim_sub(table, f.seq, 5), one = 1;
  Value *n = dims_value(&f, &less, 1), *two = dims_value(&f, (Dim[]){2}, 1);
  static const struct {
    const char *op;
    int64_t at_2, at_8;  // of seq - 5 and 2
  } cases[] = {{"Div", -1, 1}, {"Mod", 1, 1},   {"Min", -3, 2},          {"Max", 2, 3},
               {"Less", 1, 0}, {"Equal", 0, 0}, {"GreaterOrEqual", 0, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Value *y = translated(&f, cases[i].op, 16, 2, (Value *[]){n, two});
    for (int k = 0; k < 2; k++) {
      DimBinding binding = dim_binding_new(f.arena);
      dim_bind(&binding, f.arena, dim_symbol_name(table, f.seq), k ? 8 : 2);
      int64_t value;
      cr_assert_not_null(y->contents, "%s", cases[i].op);
      cr_assert(dim_evaluate(table, &binding, *y->contents, &value));
      cr_expect_eq(value, k ? cases[i].at_8 : cases[i].at_2, "%s gives %lld", cases[i].op, (long long)value);
    }
  }
  Value *is_less = translated(&f, "Less", 16, 2, (Value *[]){n, two});
  Value *chosen = translated(&f, "Where", 16, 3, (Value *[]){is_less, dims_value(&f, &one, 1), dims_value(&f, &f.seq, 1)});
  Value *x = input(&f, DTYPE_F32, 1, (Dim[]){1});
  Value *wide = translated(&f, "Expand", 16, 2, (Value *[]){x, chosen});
  cr_assert_eq(wide->dims[0], *chosen->contents);
  arena_free(f.arena);
}

Test(onnx_ops, resize_and_pad_take_open_sizes) {
  Fixture f = fixture_new();
  DimTable *table = f.graph->dims;
  Value *x = input(&f, DTYPE_F32, 4, (Dim[]){f.batch, 3, f.seq, 8});
  Dim sizes[] = {f.batch, 3, dim_mul(table, f.seq, 2), 16};
  Value *resized = translated(&f, "Resize", 13, 4, (Value *[]){x, NULL, NULL, dims_value(&f, sizes, 4)});
  expect_dims(&f, resized, 4, sizes);
  Dim pads[] = {0, 0, dim_mod(table, dim_sub(table, 0, f.seq), 4), 0, 0, 0, dim_sub(table, 6, f.seq), dim_constant(table, -3)};
  Value *padded = translated(&f, "Pad", 13, 2, (Value *[]){x, dims_value(&f, pads, 8)});
  expect_dims(&f, padded, 4, (Dim[]){f.batch, 3, dim_add(table, pads[2], 6), 5});
  arena_free(f.arena);
}

Test(onnx_ops, softmax_flattened_before_13) {
  Fixture f = fixture_new();
  Value *x = input(&f, DTYPE_F32, 3, (Dim[]){2, 3, 4});
  int count;
  Value *old = translated(&f, "Softmax", 11, 1, &x);
  node_ints(old->producer, "axes", &count);
  cr_assert_eq(count, 2);
  Value *new = translated(&f, "Softmax", 13, 1, &x);
  cr_assert_eq(*node_ints(new->producer, "axes", &count), 2);
  cr_assert_eq(count, 1);
  arena_free(f.arena);
}

Test(onnx_ops, einsum_is_a_product_where_it_can_be) {
  Fixture f = fixture_new();
  Dim dims[] = {f.batch, 12, f.seq, 64};
  Value *q = input(&f, DTYPE_F32, 4, dims), *k = input(&f, DTYPE_F32, 4, dims);
  node_set_string(f.attributes, "equation", "bhqd,bhkd->bhqk");
  Value *scores = translated(&f, "Einsum", 12, 2, (Value *[]){q, k});
  expect_dims(&f, scores, 4, (Dim[]){f.batch, 12, f.seq, f.seq});
  int products = 0;
  FOR_NODES(node, f.graph) products += strcmp(node->op->name, "matmul") == 0;
  cr_assert_eq(products, 1);
  arena_free(f.arena);
}

Test(onnx_ops, waits_for_a_shape_and_goes_on) {
  Fixture f = fixture_new();
  Value *x = input(&f, DTYPE_F32, 2, (Dim[]){4, 6}), *shape = input(&f, DTYPE_I64, 1, (Dim[]){2});
  Value *y = translated(&f, "Reshape", 13, 2, (Value *[]){x, shape});
  graph_mark_output(f.graph, y);
  Node *deferred = y->producer;
  cr_assert_eq(deferred->op, &op_deferred);
  node_set_input(deferred, 1, INTS(&f, 3, -1));
  bool done;
  Status status = translate_deferred(deferred, NULL, &done);
  cr_assert_null(status, "%s", status_message(status));
  cr_assert(done);
  expect_dims(&f, f.graph->outputs[0], 2, (Dim[]){3, 8});
  arena_free(f.arena);
}

static void expect_refusal(Fixture *f, const char *op, int count, Value *const *inputs, const char *words) {
  Value *output;
  int nodes = f->graph->node_count;
  Status status = translate(f, op, 13, count, inputs, &output);
  cr_assert_not_null(status, "%s was taken", op);
  cr_assert(strstr(status_message(status), "the_node"), "%s", status_message(status));
  cr_assert(strstr(status_message(status), words), "%s", status_message(status));
  cr_assert_eq(f->graph->node_count, nodes, "%s left nodes behind", op);
  status_free(status);
}

Test(onnx_ops, refuses_what_cannot_be) {
  Fixture f = fixture_new();
  Value *x = input(&f, DTYPE_F32, 2, (Dim[]){4, 6}), *n = input(&f, DTYPE_I32, 2, (Dim[]){4, 6});
  expect_refusal(&f, "Reshape", 2, (Value *[]){x, INTS(&f, -1, -1)}, "two values");
  expect_refusal(&f, "Reshape", 2, (Value *[]){x, INTS(&f, -2, 3)}, "-2");
  expect_refusal(&f, "Add", 2, (Value *[]){x, n}, "i32, expected f32");
  expect_refusal(&f, "Expand", 2, (Value *[]){x, INTS(&f, 4, 5)}, "broadcast");
  expect_refusal(&f, "Tile", 2, (Value *[]){x, INTS(&f, 2, -1)}, "-1");
  expect_refusal(&f, "Split", 2, (Value *[]){x, INTS(&f, 3)}, "3 together");
  expect_refusal(&f, "Pad", 2, (Value *[]){x, INTS(&f, -1, 0, -4, 0)}, "cuts more");
  node_set_int(f.attributes, "axis", 7);
  expect_refusal(&f, "ArgMax", 1, &x, "axis 7");
  node_drop_attribute(f.attributes, "axis");
  node_set_string(f.attributes, "equation", "ij,jk");
  expect_refusal(&f, "Einsum", 1, &x, "equation");
  arena_free(f.arena);
}
