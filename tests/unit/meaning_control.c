// Types of if, loop and scan: what the graphs they hold say, and what iterations change.
#include "tests/unit/meaning.h"
#include "kernels/control/control.h"
#include "kernels/gather/gather.h"
#include "kernels/view/view.h"

static Value *capture(Graph *body, const Value *like) {
  return graph_add_input(body, NULL, like->dtype, like->rank, like->dims);
}

static Value *concat_of(Graph *graph, Value *a, Value *b) {
  Node *node = graph_add(graph, NULL, &op_concat, 2, (Value *[]){a, b}, 1);
  node_set_int(node, "axis", 0);
  cr_assert_null(node_infer(node));
  return node->outputs[0];
}

Test(meaning_control, if_merges_what_branches_say) {
  MeaningTest t = meaning_test_new();
  Dim n = dim_symbol(t.graph->dims, "n");
  Value *condition = graph_add_input(t.graph, "c", DTYPE_BOOL, 0, NULL);
  Value *x = graph_add_input(t.graph, "x", DTYPE_F32, 2, (Dim[]){n, 4});
  Graph *then_branch = graph_new_inside(t.graph, "then"), *else_branch = graph_new_inside(t.graph, "else");
  graph_mark_output(then_branch, capture(then_branch, x));
  Value *inner = capture(else_branch, x);
  graph_mark_output(else_branch, concat_of(else_branch, inner, inner));
  Node *node = graph_add(t.graph, NULL, &op_if, 2, (Value *[]){condition, x}, 1);
  node_set_graph(node, "then_branch", then_branch);
  node_set_graph(node, "else_branch", else_branch);
  cr_assert_null(node_infer(node));
  const Value *y = node->outputs[0];
  cr_assert_eq(y->rank, 2);
  cr_assert_eq(y->dims[1], 4);
  cr_assert(!dim_is_static(y->dims[0]) && y->dims[0] != n);
  Dim before = y->dims[0];
  cr_assert_null(node_infer(node));
  cr_assert_eq(y->dims[0], before);
  test_done(&t);
}

Test(meaning_control, if_with_two_ranks_has_none) {
  MeaningTest t = meaning_test_new();
  Value *condition = graph_add_input(t.graph, "c", DTYPE_BOOL, 0, NULL);
  Graph *branches[2] = {graph_new_inside(t.graph, "then"), graph_new_inside(t.graph, "else")};
  for (int i = 0; i < 2; i++)
    graph_mark_output(branches[i],
                      graph_add_constant(branches[i], NULL,
                                         i ? tensor_scalar_i64(t.arena, 1) : tensor_vector_i64(t.arena, (int64_t[]){1}, 1)));
  Node *node = graph_add(t.graph, NULL, &op_if, 1, &condition, 1);
  node_set_graph(node, "then_branch", branches[0]);
  node_set_graph(node, "else_branch", branches[1]);
  cr_assert_null(node_infer(node));
  cr_assert_eq(node->outputs[0]->rank, -1);
  cr_assert_eq(node->outputs[0]->dtype, DTYPE_I64);
  test_done(&t);
}

// s grows by one row of x in each iteration; the body also yields s's last axis unchanged, and the fixed row.
static Node *growing_loop(MeaningTest *t, Value *trips, Value **x) {
  Graph *body = graph_new_inside(t->graph, "body");
  Value *start = graph_add_input(t->graph, "start", DTYPE_F32, 2, (Dim[]){1, 3});
  *x = graph_add_input(t->graph, "x", DTYPE_F32, 2, (Dim[]){1, 3});
  graph_add_input(body, "i", DTYPE_I64, 0, NULL);
  Value *go = graph_add_input(body, "go", DTYPE_BOOL, 0, NULL);
  Value *state = graph_add_input(body, "state", DTYPE_F32, 2, (Dim[]){1, 3});
  Value *row = graph_add_input(body, "row", DTYPE_F32, 2, (Dim[]){1, 3});
  graph_mark_output(body, go);
  graph_mark_output(body, concat_of(body, state, row));
  graph_mark_output(body, row);
  Node *node = graph_add(t->graph, NULL, &op_loop, 4, (Value *[]){trips, NULL, start, *x}, 2);
  node_set_graph(node, "body", body);
  node_set_int(node, "states", 1);
  return node;
}

Test(meaning_control, loop_frees_the_dims_it_changes) {
  MeaningTest t = meaning_test_new();
  Value *x, *trips = graph_add_constant(t.graph, NULL, tensor_scalar_i64(t.arena, 5));
  Node *node = growing_loop(&t, trips, &x);
  Status status = node_infer(node);
  cr_assert_null(status, "%s", status_message(status));
  cr_assert_eq(node->outputs[0]->rank, 2);
  cr_assert(!dim_is_static(node->outputs[0]->dims[0]));
  cr_assert_eq(node->outputs[0]->dims[1], 3);
  cr_assert(!dim_is_static(node_graph(node, "body")->inputs[2]->dims[0]));
  const Value *stacked = node->outputs[1];
  cr_assert(stacked->rank == 3 && stacked->dims[0] == 5 && stacked->dims[1] == 1 && stacked->dims[2] == 3);
  Dim size = node->outputs[0]->dims[0];
  cr_assert_null(node_infer(node));
  cr_assert_eq(node->outputs[0]->dims[0], size);
  test_done(&t);
}

Test(meaning_control, loop_of_unknown_trips_stacks_a_symbol) {
  MeaningTest t = meaning_test_new();
  Value *x, *trips = graph_add_input(t.graph, "trips", DTYPE_I64, 0, NULL);
  Node *node = growing_loop(&t, trips, &x);
  cr_assert_null(node_infer(node));
  cr_assert(!dim_is_static(node->outputs[1]->dims[0]));
  test_done(&t);
}

Test(meaning_control, scan_slices_and_stacks_along_its_axes) {
  MeaningTest t = meaning_test_new();
  Dim n = dim_symbol(t.graph->dims, "n");
  Value *state = graph_add_input(t.graph, "s", DTYPE_F32, 1, (Dim[]){2});
  Value *x = graph_add_input(t.graph, "x", DTYPE_F32, 2, (Dim[]){2, n});
  Graph *body = graph_new_inside(t.graph, "body");
  Value *s = graph_add_input(body, NULL, DTYPE_F32, 1, (Dim[]){2}),
        *slice = graph_add_input(body, NULL, DTYPE_F32, 1, (Dim[]){2});
  graph_mark_output(body, s);
  graph_mark_output(body, concat_of(body, s, slice));
  Node *node = graph_add(t.graph, NULL, &op_scan, 2, (Value *[]){state, x}, 2);
  node_set_graph(node, "body", body);
  node_set_int(node, "states", 1);
  node_set_int(node, "scan_inputs", 1);
  node_set_ints(node, "input_axes", (int64_t[]){1}, 1);
  node_set_ints(node, "output_axes", (int64_t[]){1}, 1);
  Status status = node_infer(node);
  cr_assert_null(status, "%s", status_message(status));
  cr_assert(node->outputs[0]->rank == 1 && node->outputs[0]->dims[0] == 2);
  cr_assert(node->outputs[1]->rank == 2 && node->outputs[1]->dims[0] == 4 && node->outputs[1]->dims[1] == n);
  test_done(&t);
}
