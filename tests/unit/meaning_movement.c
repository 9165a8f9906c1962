// Views, gathers, scatters, concat, pad and matrix products, against values worked out by hand.
#include "tests/unit/meaning.h"
#include "kernels/gather/gather.h"
#include "kernels/matmul/matmul.h"
#include "kernels/pad/pad.h"
#include "kernels/view/view.h"

Test(meaning_movement, transpose_permutes) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_I16, DIMS(2, 1, 3), NULL);
  node_set_ints(test_node(&t, &op_transpose, 1), "perm", (int64_t[]){2, 0, 1}, 3);
  test_run(&t);
  test_expect(&t, 0, DIMS(3, 2, 1), NUMBERS(0, 3, 1, 4, 2, 5));
  test_done(&t);
}

Test(meaning_movement, slice_flips_and_steps) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F64, DIMS(2, 5), NULL);
  Node *node = test_node(&t, &op_slice, 1);
  node_set_dims(node, "starts", (Dim[]){1, 4}, 2);
  node_set_ints(node, "steps", (int64_t[]){-1, -2}, 2);
  node_set_dims(node, "dims", (Dim[]){2, 3}, 2);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 3), NUMBERS(9, 7, 5, 4, 2, 0));
  node_set_dims(node, "dims", (Dim[]){2, 4}, 2);
  Status status = node_infer(node);
  cr_assert_not_null(status, "a slice beyond the start is refused");
  status_free(status);
  test_done(&t);
}

Test(meaning_movement, expand_repeats) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_U8, DIMS(2, 1), NULL);
  node_set_dims(test_node(&t, &op_expand, 1), "dims", (Dim[]){2, 2, 3}, 3);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 2, 3), NUMBERS(0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1));
  test_done(&t);
}

Test(meaning_movement, dims_evaluate_negative_constants) {
  MeaningTest t = meaning_test_new();
  Dim values[] = {4, dim_constant(t.graph->dims, -3)};
  node_set_dims(test_node(&t, &op_dims, 1), "values", values, 2);
  test_run(&t);
  test_expect(&t, 0, DIMS(2), NUMBERS(4, -3));
  test_done(&t);
}

Test(meaning_movement, matmul_broadcasts_batches) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(2, 1, 1, 2), NUMBERS(1, 2, 3, 4));
  test_input(&t, DTYPE_F32, DIMS(2, 2, 2), NUMBERS(1, 0, 0, 1, 1, 2, 3, 4));
  test_node(&t, &op_matmul, 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 2, 1, 2), NUMBERS(1, 2, 7, 10, 3, 4, 15, 22));
  test_done(&t);
}

Test(meaning_movement, matmul_of_bytes_sums_to_i32) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_I8, DIMS(1, 3), NUMBERS(127, 127, -128));
  test_input(&t, DTYPE_I8, DIMS(3, 1), NUMBERS(127, 127, -128));
  test_node(&t, &op_matmul, 1);
  test_run(&t);
  cr_assert_eq(t.outputs[0].dtype, DTYPE_I32);
  test_expect(&t, 0, DIMS(1, 1), NUMBERS(48642));
  test_done(&t);
}

Test(meaning_movement, gather_wraps_negative_indices) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F16, DIMS(2, 3), NULL);
  test_input(&t, DTYPE_I64, DIMS(2), NUMBERS(-1, 0));
  node_set_int(test_node(&t, &op_gather, 1), "axis", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 2), NUMBERS(2, 0, 5, 3));
  test_done(&t);
}

Test(meaning_movement, gather_refuses_indices_outside) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(3), NULL);
  test_input(&t, DTYPE_I32, DIMS(1), NUMBERS(3));
  Node *node = test_node(&t, &op_gather, 1);
  node_set_int(node, "axis", 0);
  cr_assert_null(node_infer(node));
  Reference reference = {node, t.arena, (const Tensor *[]){&t.inputs[0], &t.inputs[1]}, t.outputs};
  Status status = op_gather.reference(&reference);
  cr_assert_not_null(status);
  cr_assert_eq(status_code(status), ERROR_INVALID_ARGUMENT);
  status_free(status);
  test_done(&t);
}

Test(meaning_movement, gather_elements_and_nd) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(2, 3), NULL);
  test_input(&t, DTYPE_I64, DIMS(1, 3), NUMBERS(1, 0, -1));
  node_set_int(test_node(&t, &op_gather_elements, 1), "axis", 0);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 3), NUMBERS(3, 1, 5));
  test_done(&t);
  t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(2, 2, 2), NULL);
  test_input(&t, DTYPE_I64, DIMS(2, 1), NUMBERS(1, 0));
  node_set_int(test_node(&t, &op_gather_nd, 1), "batch_dims", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 2), NUMBERS(2, 3, 4, 5));
  test_done(&t);
}

Test(meaning_movement, scatters_reduce) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(3), NUMBERS(1, 2, 3));
  test_input(&t, DTYPE_I64, DIMS(3), NUMBERS(0, 0, -1));
  test_input(&t, DTYPE_F32, DIMS(3), NUMBERS(10, 20, 30));
  Node *node = test_node(&t, &op_scatter_elements, 1);
  node_set_int(node, "axis", 0);
  node_set_string(node, "reduction", "add");
  test_run(&t);
  test_expect(&t, 0, DIMS(3), NUMBERS(31, 2, 33));
  node_set_string(node, "reduction", "none");
  test_run(&t);
  test_expect(&t, 0, DIMS(3), NUMBERS(20, 2, 30));
  test_done(&t);
  t = meaning_test_new();
  test_input(&t, DTYPE_I32, DIMS(2, 2), NUMBERS(1, 2, 3, 4));
  test_input(&t, DTYPE_I64, DIMS(2, 1), NUMBERS(1, 1));
  test_input(&t, DTYPE_I32, DIMS(2, 2), NUMBERS(5, 0, 2, 9));
  node_set_string(test_node(&t, &op_scatter_nd, 1), "reduction", "max");
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 2), NUMBERS(1, 2, 5, 9));
  test_done(&t);
}

Test(meaning_movement, concat_joins_an_inner_axis) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_BF16, DIMS(2, 1), NULL);
  test_input(&t, DTYPE_BF16, DIMS(2, 0), NULL);
  test_input(&t, DTYPE_BF16, DIMS(2, 2), NULL);
  node_set_int(test_node(&t, &op_concat, 1), "axis", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 3), NUMBERS(0, 0, 1, 1, 2, 3));
  test_done(&t);
}

Test(meaning_movement, concat_moves_strings) {
  MeaningTest t = meaning_test_new();
  for (int i = 0; i < 2; i++) {
    cr_assert_null(tensor_new(t.arena, DTYPE_STRING, 1, (int64_t[]){1}, &t.inputs[i]));
    *(const char **)t.inputs[i].data = i ? "world" : "hello";
    t.present[t.input_count++] = true;
  }
  node_set_int(test_node(&t, &op_concat, 1), "axis", 0);
  test_run(&t);
  cr_assert_str_eq(((const char **)t.outputs[0].data)[1], "world");
  test_done(&t);
}

Test(meaning_movement, pad_modes) {
  const struct {
    const char *mode;
    double expected[8];
  } cases[] = {{"constant", {9, 9, 1, 2, 3, 9, 9, 9}},
               {"reflect", {3, 2, 1, 2, 3, 2, 1, 2}},
               {"edge", {1, 1, 1, 2, 3, 3, 3, 3}},
               {"wrap", {2, 3, 1, 2, 3, 1, 2, 3}}};
  for (int i = 0; i < 4; i++) {
    MeaningTest t = meaning_test_new();
    test_input(&t, DTYPE_F32, DIMS(3), NUMBERS(1, 2, 3));
    test_input(&t, DTYPE_F32, 0, NULL, NUMBERS(9));
    Node *node = test_node(&t, &op_pad, 1);
    node_set_dims(node, "pads", (Dim[]){2, 3}, 2);
    node_set_string(node, "mode", cases[i].mode);
    test_run(&t);
    test_expect(&t, 0, DIMS(8), cases[i].expected);
    test_done(&t);
  }
}
