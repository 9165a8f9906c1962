// Convolutions, their relatives and pooling, against values worked out by hand.
#include "tests/unit/meaning.h"
#include "kernels/conv/conv.h"
#include "kernels/pool/pool.h"

Test(meaning_windows, conv_with_pads_and_stride) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 1, 3, 3), NULL);
  test_input(&t, DTYPE_F32, DIMS(1, 1, 2, 2), NUMBERS(1, 10, 100, 1000));
  Node *node = test_node(&t, &op_conv, 1);
  node_set_ints(node, "pads", (int64_t[]){1, 0, 0, 1}, 4);
  node_set_ints(node, "strides", (int64_t[]){2, 1}, 2);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 1, 2, 3), NUMBERS(1000, 2100, 200, 7643, 8754, 805));
  test_done(&t);
}

Test(meaning_windows, conv_groups_and_dilation) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 2, 4), NUMBERS(1, 2, 3, 4, 5, 6, 7, 8));
  test_input(&t, DTYPE_F32, DIMS(4, 1, 2), NUMBERS(1, 1, 1, -1, 2, 0, 0, 2));
  Node *node = test_node(&t, &op_conv, 1);
  node_set_ints(node, "dilations", (int64_t[]){2}, 1);
  node_set_int(node, "group", 2);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 4, 2), NUMBERS(4, 6, -2, -2, 10, 12, 14, 16));
  test_done(&t);
}

Test(meaning_windows, conv_of_bytes_sums_to_i32) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_U8, DIMS(1, 1, 3), NUMBERS(200, 200, 200));
  test_input(&t, DTYPE_I8, DIMS(1, 1, 3), NUMBERS(100, 100, -1));
  test_node(&t, &op_conv, 1);
  test_run(&t);
  cr_assert_eq(t.outputs[0].dtype, DTYPE_I32);
  test_expect(&t, 0, DIMS(1, 1, 1), NUMBERS(39800));
  test_done(&t);
}

Test(meaning_windows, conv_dims_stay_symbolic) {
  MeaningTest t = meaning_test_new();
  DimTable *dims = t.graph->dims;
  Dim h = dim_symbol(dims, "h");
  Value *x = graph_add_input(t.graph, "x", DTYPE_F32, 4, (Dim[]){dim_symbol(dims, "n"), 3, h, h});
  Value *w = graph_add_input(t.graph, "w", DTYPE_F32, 4, (Dim[]){8, 3, 3, 3});
  Node *node = graph_add(t.graph, NULL, &op_conv, 2, (Value *[]){x, w}, 1);
  node_set_ints(node, "pads", (int64_t[]){1, 1, 1, 1}, 4);
  cr_assert_null(node_infer(node));
  cr_assert_eq(node->outputs[0]->dims[2], h, "a 3x3 kernel with pads of 1 keeps the size");
  node_set_ints(node, "strides", (int64_t[]){2, 2}, 2);
  cr_assert_null(node_infer(node));
  DimBinding binding = dim_binding_new(t.arena);
  dim_bind(&binding, t.arena, "h", 7);
  int64_t size;
  cr_assert(dim_evaluate(dims, &binding, node->outputs[0]->dims[2], &size));
  cr_assert_eq(size, 4);
  test_done(&t);
}

Test(meaning_windows, conv_rejects_channels_that_differ) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 3, 4), NULL);
  test_input(&t, DTYPE_F32, DIMS(2, 2, 3), NULL);
  Status status = node_infer(test_node(&t, &op_conv, 1));
  cr_assert_not_null(status);
  cr_assert_not_null(strstr(status_message(status), "input channels"), "%s", status_message(status));
  status_free(status);
  test_done(&t);
}

Test(meaning_windows, conv_transpose_overlaps_add) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 1, 3), NUMBERS(1, 2, 3));
  test_input(&t, DTYPE_F32, DIMS(1, 1, 3), NUMBERS(1, 10, 100));
  Node *node = test_node(&t, &op_conv_transpose, 1);
  node_set_ints(node, "strides", (int64_t[]){2}, 1);
  node_set_ints(node, "pads", (int64_t[]){1, 0}, 2);
  node_set_ints(node, "output_padding", (int64_t[]){1}, 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 1, 7), NUMBERS(10, 102, 20, 203, 30, 300, 0));
  test_done(&t);
}

Test(meaning_windows, deform_conv_without_offsets_is_conv) {
  MeaningTest t = meaning_test_new();
  double zero[16] = {0};
  test_input(&t, DTYPE_F32, DIMS(1, 1, 3, 3), NULL);
  test_input(&t, DTYPE_F32, DIMS(1, 1, 1, 2), NUMBERS(1, 10));
  test_input(&t, DTYPE_F32, DIMS(1, 4, 3, 2), NULL);
  for (int i = 0; i < 24; i++) tensor_set_f(&t.inputs[2], i, i < 6 ? 0.5 : i < 16 ? zero[i - 6] : 0);
  test_node(&t, &op_deform_conv, 1);
  test_run(&t);  // the first tap reads half a row further down; below the last row is zero
  test_expect(&t, 0, DIMS(1, 1, 3, 2), NUMBERS(11.5, 22.5, 44.5, 55.5, 73, 83.5));
  test_done(&t);
}

Test(meaning_windows, col2im_adds_overlaps) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 2, 3), NUMBERS(1, 2, 3, 10, 20, 30));
  Node *node = test_node(&t, &op_col2im, 1);
  node_set_dims(node, "image", (Dim[]){4}, 1);
  node_set_ints(node, "block", (int64_t[]){2}, 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 1, 4), NUMBERS(1, 12, 23, 30));
  test_done(&t);
}

Test(meaning_windows, pool_max_with_indices) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 2, 2, 3), NUMBERS(1, 5, 2, 4, 3, 6, -1, -2, -3, -4, -5, -6));
  Node *node = test_node(&t, &op_pool, 2);
  node_set_string(node, "kind", "max");
  node_set_ints(node, "kernel", (int64_t[]){2, 2}, 2);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 2, 1, 2), NUMBERS(5, 6, -1, -2));
  test_expect(&t, 1, DIMS(1, 2, 1, 2), NUMBERS(1, 5, 6, 7));
  node_set_int(node, "storage_order", 1);
  test_run(&t);
  test_expect(&t, 1, DIMS(1, 2, 1, 2), NUMBERS(2, 5, 6, 8));
  test_done(&t);
}

Test(meaning_windows, pool_average_counts_padding_when_told) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 1, 4), NUMBERS(2, 4, 6, 8));
  Node *node = test_node(&t, &op_pool, 1);
  node_set_string(node, "kind", "average");
  node_set_ints(node, "kernel", (int64_t[]){3}, 1);
  node_set_ints(node, "pads", (int64_t[]){1, 0}, 2);
  node_set_ints(node, "strides", (int64_t[]){2}, 1);
  node_set_int(node, "ceil_mode", 1);
  test_run(&t);  // the last window starts inside and sees one element
  test_expect(&t, 0, DIMS(1, 1, 2), NUMBERS(3, 6));
  node_set_int(node, "count_include_pad", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 1, 2), NUMBERS(2, 6));
  test_done(&t);
}

Test(meaning_windows, pool_ceil_drops_windows_in_the_right_padding) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 1, 2, 2), NUMBERS(1, 2, 3, 4));
  Node *node = test_node(&t, &op_pool, 1);
  node_set_string(node, "kind", "max");
  node_set_ints(node, "kernel", (int64_t[]){1, 1}, 2);
  node_set_ints(node, "strides", (int64_t[]){2, 2}, 2);
  node_set_int(node, "ceil_mode", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 1, 1, 1), NUMBERS(1));
  test_done(&t);
}

Test(meaning_windows, pool_norm) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 1, 3), NUMBERS(3, -4, 0));
  Node *node = test_node(&t, &op_pool, 1);
  node_set_string(node, "kind", "lp");
  node_set_ints(node, "kernel", (int64_t[]){2}, 1);
  node_set_int(node, "p", 2);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 1, 2), NUMBERS(5, 4));
  test_done(&t);
}
