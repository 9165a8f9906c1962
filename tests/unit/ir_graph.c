// The graph by what passes rely on: exact use lists, names, order, copies; and that the verifier catches each thing broken.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include "ir/verify.h"
#include "ir/op.h"

static Status infer_same(Node *node) {
  const Value *x = node->inputs[0];
  for (int i = 1; i < node->input_count; i++)
    if (!value_same_shape(x, node->inputs[i])) FAIL(ERROR_INVALID_MODEL, "inputs of different shapes");
  for (int i = 0; i < node->output_count; i++) value_set_type(node->outputs[i], x->dtype, x->rank, x->dims);
  return OK;
}

static Status infer_filter(Node *node) {
  Dim kept = dim_fresh(node->graph->dims, "kept");
  value_set_type(node->outputs[0], node->inputs[0]->dtype, 1, &kept);
  return OK;
}

static const AttributeSpec mix_attributes[] = {
    {"axes", ATTR_INTS, true}, {"alpha", ATTR_FLOATS, false}, {"body", ATTR_GRAPH, false}, {0}};
static const OpDef op_add = {
    .name = "add", .min_inputs = 2, .max_inputs = 2, .min_outputs = 1, .max_outputs = 1, .infer = infer_same};
static const OpDef op_relu = {
    .name = "relu", .min_inputs = 1, .max_inputs = 1, .min_outputs = 1, .max_outputs = 1, .infer = infer_same};
static const OpDef op_split = {
    .name = "split", .min_inputs = 1, .max_inputs = 1, .min_outputs = 1, .max_outputs = 4, .infer = infer_same};
static const OpDef op_filter = {.name = "filter",
                                .min_inputs = 1,
                                .max_inputs = 1,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .infer = infer_filter,
                                .data_dependent = true};
static const OpDef op_mix = {.name = "mix",
                             .min_inputs = 1,
                             .max_inputs = 3,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .attributes = mix_attributes,
                             .infer = infer_same};
static const OpDef *const ops[] = {&op_add, &op_relu, &op_split, &op_filter, &op_mix, NULL};

static Arena *arena;
static Graph *graph;
static Value *x, *y;

static void set_up(void) {
  arena = arena_new();
  graph = graph_new(arena, ops, "main");
  Dim dims[2] = {dim_symbol(graph->dims, "batch"), 4};
  x = graph_add_input(graph, "x", DTYPE_F32, 2, dims);
  y = graph_add_input(graph, "y", DTYPE_F32, 2, dims);
}

static void tear_down(void) { arena_free(arena); }

TestSuite(ir_graph, .init = set_up, .fini = tear_down);

static void expect_ok(Status status) { cr_assert(!status, "%s", status_message(status)); }

static void expect_broken(const char *message) {
  Status status = graph_verify(graph);
  cr_assert(status, "the verifier found nothing; expected '%s'", message);
  cr_expect(strstr(status_message(status), message), "'%s' does not say '%s'", status_message(status), message);
  status_free(status);
}

static Value *add_op(const OpDef *op, Value *a, Value *b) {
  Node *node = graph_add(graph, NULL, op, b ? 2 : 1, (Value *[]){a, b}, 1);
  expect_ok(node_infer(node));
  return node->outputs[0];
}

Test(ir_graph, nodes_are_typed_and_counted) {
  Value *sum = add_op(&op_add, x, y), *out = add_op(&op_relu, sum, NULL);
  graph_mark_output(graph, out);
  cr_expect_eq(graph->node_count, 2);
  cr_expect(value_same_shape(sum, x));
  cr_expect_eq(value_use_count(sum), 1);
  cr_expect_eq(value_use_count(out), 1);
  cr_expect_eq(sum->uses->node, out->producer);
  expect_ok(graph_verify(graph));
}

Test(ir_graph, same_value_twice_is_two_uses) {
  Value *sum = add_op(&op_add, x, x);
  cr_expect_eq(value_use_count(x), 2);
  node_set_input(sum->producer, 1, y);
  cr_expect_eq(value_use_count(x), 1);
  cr_expect_eq(value_use_count(y), 1);
  graph_mark_output(graph, sum);
  expect_ok(graph_verify(graph));
}

Test(ir_graph, replace_moves_uses_output_and_name) {
  Value *a = add_op(&op_relu, x, NULL), *b = add_op(&op_relu, y, NULL);
  Value *c = add_op(&op_add, a, a);
  value_rename(graph, a, "result");
  graph_mark_output(graph, a);
  graph_mark_output(graph, a);
  node_move_before(b->producer, graph->first);
  value_replace(a, b);
  cr_expect_eq(value_use_count(a), 0);
  cr_expect_eq(c->producer->inputs[0], b);
  cr_expect_eq(c->producer->inputs[1], b);
  cr_expect_eq(graph->outputs[0], b);
  cr_expect_eq(graph->outputs[1], b);
  cr_expect_str_eq(b->name, "result");
  cr_expect_neq(strcmp(a->name, "result"), 0);
  node_remove(a->producer);
  expect_ok(graph_verify(graph));
  cr_expect_not(value_can_replace(b, x));
}

Test(ir_graph, names_stay_unique) {
  Value *a = add_op(&op_relu, x, NULL);
  cr_expect_neq(strcmp(graph_add_input(graph, "x", DTYPE_F32, 0, NULL)->name, "x"), 0);
  value_rename(graph, a, "y");
  cr_expect_eq(graph_find_value(graph, "y"), a);
  cr_expect_neq(strcmp(y->name, "y"), 0);
  cr_expect_eq(graph_find_value(graph, y->name), y);
  node_remove(a->producer);
  cr_expect_null(graph_find_value(graph, "y"));
}

Test(ir_graph, sort_follows_what_outputs_need) {
  Value *a = add_op(&op_relu, x, NULL), *b = add_op(&op_relu, y, NULL), *c = add_op(&op_add, a, b);
  graph_mark_output(graph, c);
  node_move_before(c->producer, a->producer);
  expect_broken("not made before it");
  graph_sort(graph);
  expect_ok(graph_verify(graph));
  cr_expect_eq(graph->first, a->producer);
  cr_expect_eq(graph->last, c->producer);
}

Test(ir_graph, sort_of_a_long_chain_needs_no_stack) {
  Value *value = x;
  for (int i = 0; i < 100000; i++) {
    Node *node = graph_add(graph, graph->first, &op_relu, 1, &value, 1);
    value = node->outputs[0];
  }
  graph_mark_output(graph, value);
  graph_sort(graph);
  cr_expect_eq(graph->last, value->producer);
  cr_expect_eq(graph->first->inputs[0], x);
}

Test(ir_graph, attributes_are_copied_and_typed) {
  Node *node = graph_add(graph, NULL, &op_mix, 1, &x, 1);
  int64_t axes[3] = {0, -1, INT64_MIN};
  node_set_ints(node, "axes", axes, 3);
  axes[0] = 9;
  int count;
  cr_expect_eq(node_ints(node, "axes", &count)[0], 0);
  cr_expect_eq(count, 3);
  cr_expect_eq(node_float(node, "axes", 2.5), 2.5);
  node_set_float(node, "alpha", 0.5);
  node_drop_attribute(node, "axes");
  cr_expect_null(node_ints(node, "axes", &count));
  cr_expect_eq(node_float(node, "alpha", 0), 0.5);
  cr_expect_eq(node_int(node, "axes", 7), 7);
}

Test(ir_graph, copy_stands_alone) {
  Value *split = add_op(&op_split, x, NULL);
  Tensor tensor;
  expect_ok(tensor_new(arena, DTYPE_F32, 2, (int64_t[]){2, 4}, &tensor));
  Value *constant = graph_add_constant(graph, "v9", &tensor);
  Graph *body = graph_new_inside(graph, "body");
  Value *inner = graph_add_input(body, "in", DTYPE_F32, 2, x->dims);
  graph_mark_output(body, inner);
  Node *mix = graph_add(graph, NULL, &op_mix, 3, (Value *[]){split, NULL, constant}, 1);
  mix->op = &op_mix;
  node_set_int(mix, "axes", 1);
  node_set_graph(mix, "body", body);
  value_set_type(mix->outputs[0], DTYPE_F32, 2, split->dims);
  graph_mark_output(graph, mix->outputs[0]);
  graph_mark_output(graph, constant);
  Arena *other = arena_new();
  Graph *copy = graph_copy(other, graph);
  cr_expect_eq(copy->node_count, 2);
  cr_expect_eq(graph_find_value(copy, "v9")->constant->data, tensor.data);
  cr_expect_str_eq(dim_symbol_name(copy->dims, copy->inputs[0]->dims[0]), "batch");
  cr_expect_eq(node_graph(copy->last, "body")->dims, copy->dims);
  cr_expect_neq(node_graph(copy->last, "body"), body);
  cr_expect_null(copy->last->inputs[1]);
  cr_expect_eq(copy->outputs[1]->constant->data, tensor.data);
  cr_expect_str_eq(copy->outputs[0]->name, mix->outputs[0]->name);
  arena_free(other);
}

Test(ir_graph, verifier_names_what_is_broken) {
  Value *a = add_op(&op_relu, x, NULL), *b = add_op(&op_add, a, y);
  graph_mark_output(graph, b);
  expect_ok(graph_verify(graph));

  Use *uses = a->uses;
  a->uses = NULL;
  expect_broken("2 uses are recorded for 3");
  a->uses = uses;
  b->producer->inputs[0] = x;
  expect_broken("which it is not");
  b->producer->inputs[0] = a;

  b->dims[1] = 5;
  expect_broken("is 5 where inference says 4");
  b->dims[1] = 4;
  b->dtype = DTYPE_F16;
  expect_broken("is f16 where inference says f32");
  b->dtype = DTYPE_F32;
  b->order[0] = 1;
  expect_broken("not a permutation");
  b->order[0] = 0;

  const char *name = a->name;
  a->name = "y";
  expect_broken("belongs to another value");
  a->name = name;

  a->producer->op = &op_mix;
  node_set_int(a->producer, "axes", 1);
  node_set_int(a->producer, "edge", 1);
  expect_broken("has no attribute 'edge'");
  node_drop_attribute(a->producer, "edge");
  expect_ok(graph_verify(graph));
  node_set_float(a->producer, "axes", 1);
  expect_broken("of another kind");
  node_drop_attribute(a->producer, "axes");
  expect_broken("lacks the attribute 'axes'");
  node_set_int(a->producer, "axes", 1);
  node_add_input(b->producer, x);
  expect_broken("has 3 inputs");
}

Test(ir_graph, verifying_leaves_no_symbols_behind) {
  Value *kept = add_op(&op_filter, x, NULL);
  graph_mark_output(graph, kept);
  Dim before = kept->dims[0];
  for (int i = 0; i < 5; i++) expect_ok(graph_verify(graph));
  cr_expect_eq(kept->dims[0], before);
  cr_expect_str_eq(dim_symbol_name(graph->dims, dim_fresh(graph->dims, "kept")), "kept1");
  kept->dims[0] = 3;  // specialised since
  expect_ok(graph_verify(graph));
}

Test(ir_graph, strides_follow_the_order) {
  Value *value = graph_add_input(graph, "image", DTYPE_F32, 4, (Dim[]){2, 3, 5, 7});
  memcpy(value->order, (uint8_t[]){0, 2, 3, 1}, 4);
  int64_t strides[MAX_RANK];
  value_strides(value, strides);
  cr_expect(strides[0] == 105 && strides[1] == 1 && strides[2] == 21 && strides[3] == 3);
  cr_expect_not(value_is_row_major(value));
  value_set_type(value, DTYPE_F32, 4, (Dim[]){2, 3, 6, 7});
  cr_expect_eq(value->order[1], 2);
}

Test(ir_graph, origins_merge_without_duplicates) {
  Origin first[] = {{"conv1", "Conv"}}, second[] = {{"bn1", "BatchNormalization"}, {"conv1", "Conv"}};
  graph->current_origins = first;
  graph->current_origin_count = 1;
  Node *a = add_op(&op_relu, x, NULL)->producer;
  graph->current_origins = second;
  graph->current_origin_count = 2;
  Node *b = add_op(&op_relu, x, NULL)->producer;
  node_merge_origins(a, b);
  cr_expect_eq(a->origin_count, 2);
  cr_expect_str_eq(a->origins[1].name, "bn1");
}

// Host tensors.

Test(ir_graph, elements_round_and_saturate) {
  static const struct {
    DType dtype;
    double in, out;
  } rows[] = {
      {DTYPE_F16, 65519.999, 65504},
      {DTYPE_F16, 65520, INFINITY},
      {DTYPE_F16, 2049 + 1e-9, 2050},
      {DTYPE_F16, 2049, 2048},
      {DTYPE_BF16, 1.00390625, 1},
      {DTYPE_F8E4M3FN, 1000, 448},
      {DTYPE_F8E5M2, INFINITY, INFINITY},
      {DTYPE_F4E2M1, -9, -6},
      {DTYPE_I8, 200, 127},
      {DTYPE_I8, 2.5, 2},
      {DTYPE_I8, NAN, 0},
      {DTYPE_U8, -3, 0},
      {DTYPE_U64, 1e30, 0x1p64},
      {DTYPE_I64, -1e30, -0x1p63},
      {DTYPE_I4, 9, 7},
      {DTYPE_U2, 9, 3},
      {DTYPE_BOOL, 0.25, 1},
      {DTYPE_C64, 1.5, 1.5},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    Tensor *tensor = tensor_scalar_f(arena, rows[i].dtype, rows[i].in);
    cr_expect_eq(tensor_get_f(tensor, 0), rows[i].out, "%s of %g is %g", dtype_name(rows[i].dtype), rows[i].in,
                 tensor_get_f(tensor, 0));
  }
  Tensor *wrapped = tensor_scalar_f(arena, DTYPE_I4, 0);
  tensor_set_i(wrapped, 0, 9);
  cr_expect_eq(tensor_get_i(wrapped, 0), -7);
  Tensor *large = tensor_scalar_i64(arena, INT64_MAX);
  cr_expect_eq(tensor_get_i(large, 0), INT64_MAX);
}

Test(ir_graph, tensors_refuse_impossible_sizes) {
  Tensor tensor;
  Status status = tensor_new(arena, DTYPE_F32, 3, (int64_t[]){0, INT64_MAX, 16}, &tensor);
  cr_expect(status);
  status_free(status);
  status = tensor_new(arena, DTYPE_F32, 1, (int64_t[]){-1}, &tensor);
  cr_expect(status);
  status_free(status);
  expect_ok(tensor_new(arena, DTYPE_F32, 2, (int64_t[]){0, 5}, &tensor));
  cr_expect_eq(tensor_bytes(&tensor), 0);
}

Test(ir_graph, comparison_counts_and_locates) {
  Tensor a, b;
  expect_ok(tensor_new(arena, DTYPE_F32, 1, (int64_t[]){5}, &a));
  expect_ok(tensor_new(arena, DTYPE_F16, 1, (int64_t[]){5}, &b));
  const double actual[] = {1, NAN, INFINITY, 4.5, 0}, expected[] = {1, NAN, INFINITY, 4, 0};
  for (int i = 0; i < 5; i++) {
    tensor_set_f(&a, i, actual[i]);
    tensor_set_f(&b, i, expected[i]);
  }
  Comparison result = tensor_compare(&a, &b, 1e-3, 1e-7);
  cr_expect_eq(result.mismatches, 1);
  cr_expect_eq(result.first_mismatch, 3);
  cr_expect_eq(result.max_absolute, 0.5);
  cr_expect_eq(result.max_relative, 0.125);
  cr_expect_float_eq(result.norm_error, 0.5 / sqrt(17), 1e-12);
  cr_expect_eq(tensor_compare(&a, &b, INFINITY, 0).mismatches, 0);  // 0 agrees with 0
  tensor_set_f(&a, 2, -INFINITY);
  cr_expect_eq(tensor_compare(&a, &b, 1, 1).mismatches, 1);
  a.rank = 0;
  cr_expect_gt(tensor_compare(&a, &b, 1, 1).mismatches, 0);
}

Test(ir_graph, norms_of_very_large_and_very_small_numbers) {
  for (double scale = 1e-300; scale < 1e301; scale *= 1e100) {
    Tensor a, b;
    expect_ok(tensor_new(arena, DTYPE_F64, 1, (int64_t[]){3}, &a));
    expect_ok(tensor_new(arena, DTYPE_F64, 1, (int64_t[]){3}, &b));
    for (int i = 0; i < 3; i++) {
      tensor_set_f(&a, i, (i + 1) * scale);
      tensor_set_f(&b, i, (i == 2 ? 4 : i + 1) * scale);
    }
    cr_expect_float_eq(tensor_compare(&a, &b, 1, 1).norm_error, 1 / sqrt(21), 1e-12, "scale %g", scale);
  }
}

// Its copies remember it too, but not once they hold other bytes.
Test(tensor, a_hash_is_of_the_bytes_at_hand) {
  Arena *arena = arena_new();
  int64_t dims[] = {300};
  Tensor plain, named, other;
  cr_assert_null(tensor_new(arena, DTYPE_F32, 1, dims, &plain));
  cr_assert_null(tensor_new(arena, DTYPE_F32, 1, dims, &other));
  for (int i = 0; i < 300; i++) tensor_set_f(&plain, i, i);
  named = plain;
  tensor_give_name(&named, arena);
  for (int i = 0; i < 2; i++) cr_expect_eq(tensor_hash(&named).low, tensor_hash(&plain).low);
  Tensor copy = named, part = named, moved = named;
  cr_expect_eq(tensor_hash(&copy).high, tensor_hash(&plain).high);
  part.dims[0] = 200;
  cr_expect_neq(tensor_hash(&part).low, tensor_hash(&plain).low);
  moved.data = other.data;
  cr_expect_eq(tensor_hash(&moved).low, tensor_hash(&other).low);
  arena_free(arena);
}
