// Resize, running sums, top-k, nonzero and recurrent layers, against values worked out by hand.
#include "tests/unit/meaning.h"
#include "kernels/recurrent/recurrent.h"
#include "kernels/resize/resize.h"
#include "kernels/scan/scan.h"
#include "kernels/sort/sort.h"

static void expect_resize(int in, const double *x, int out, const char *mode, const char *coordinates, const char *extra,
                          const double *expected) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, in), x);
  if (strcmp(coordinates, "tf_crop_and_resize") == 0) test_input(&t, DTYPE_F32, DIMS(4), NUMBERS(0, 0.5, 1, 1.5));
  Node *node = test_node(&t, &op_resize, 1);
  node_set_dims(node, "dims", (Dim[]){1, out}, 2);
  node_set_string(node, "mode", mode);
  node_set_string(node, "coordinates", coordinates);
  node_set_float(node, "extrapolation", -1);
  if (strcmp(mode, "nearest") == 0 && extra) node_set_string(node, "nearest", extra);
  if (extra && strcmp(extra, "antialias") == 0) node_set_int(node, "antialias", 1);
  if (extra && strcmp(extra, "exclude_outside") == 0) node_set_int(node, "exclude_outside", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, out), expected);
  test_done(&t);
}

Test(meaning_sequences, resize_coordinates) {
  const double *x = NUMBERS(0, 10, 20, 30);
  expect_resize(2, x, 4, "linear", "half_pixel", NULL, NUMBERS(0, 2.5, 7.5, 10));
  expect_resize(2, x, 4, "linear", "asymmetric", NULL, NUMBERS(0, 5, 10, 10));
  expect_resize(2, x, 3, "linear", "align_corners", NULL, NUMBERS(0, 5, 10));
  expect_resize(4, x, 1, "linear", "pytorch_half_pixel", NULL, NUMBERS(0));
  expect_resize(4, x, 1, "linear", "half_pixel", NULL, NUMBERS(15));
  expect_resize(3, x, 3, "linear", "tf_crop_and_resize", NULL, NUMBERS(10, 20, -1));
}

Test(meaning_sequences, resize_nearest_rules) {
  const double *x = NUMBERS(0, 10, 20, 30);
  expect_resize(4, x, 2, "nearest", "half_pixel", "round_prefer_floor", NUMBERS(0, 20));
  expect_resize(4, x, 2, "nearest", "half_pixel", "round_prefer_ceil", NUMBERS(10, 30));
  expect_resize(2, x, 4, "nearest", "asymmetric", "floor", NUMBERS(0, 0, 10, 10));
  expect_resize(2, x, 4, "nearest", "asymmetric", "ceil", NUMBERS(0, 10, 10, 10));
}

Test(meaning_sequences, resize_filters) {
  const double *x = NUMBERS(0, 10, 20, 30);
  // Shrinking by 2 with a filter of reach 2: weights 1/4, 3/4, 3/4, 1/4 over 2, ends repeated.
  expect_resize(4, x, 2, "linear", "half_pixel", "antialias", NUMBERS(6.25, 23.75));
  // At a quarter: (-0.1055, 0.8789, 0.2617, -0.0352); the first tap is outside and repeats x[0], or is left out.
  expect_resize(2, x, 4, "cubic", "half_pixel", NULL, NUMBERS(-1.0546875, 2.265625, 7.734375, 11.0546875));
  expect_resize(1, NUMBERS(7), 3, "cubic", "half_pixel", "exclude_outside", NUMBERS(7, 7, 7));
}

Test(meaning_sequences, cumulative_variants) {
  const struct {
    const char *kind;
    int exclusive, reverse;
    double expected[4];
  } cases[] = {
      {"sum", 0, 0, {1, 3, 6, 10}}, {"sum", 1, 0, {0, 1, 3, 6}}, {"sum", 1, 1, {9, 7, 4, 0}}, {"prod", 0, 1, {24, 24, 12, 4}}};
  for (int i = 0; i < 4; i++) {
    MeaningTest t = meaning_test_new();
    test_input(&t, i % 2 ? DTYPE_I32 : DTYPE_F32, DIMS(4, 1), NUMBERS(1, 2, 3, 4));
    Node *node = test_node(&t, &op_cumulative, 1);
    node_set_string(node, "kind", cases[i].kind);
    node_set_int(node, "axis", 0);
    node_set_int(node, "exclusive", cases[i].exclusive);
    node_set_int(node, "reverse", cases[i].reverse);
    test_run(&t);
    test_expect(&t, 0, DIMS(4, 1), cases[i].expected);
    test_done(&t);
  }
}

Test(meaning_sequences, topk_breaks_ties_by_place) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F16, DIMS(4, 2), NUMBERS(1, 8, 3, 7, 3, 9, 2, 8));
  Node *node = test_node(&t, &op_topk, 2);
  node_set_dims(node, "k", (Dim[]){2}, 1);
  node_set_int(node, "axis", 0);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 2), NUMBERS(3, 9, 3, 8));
  test_expect(&t, 1, DIMS(2, 2), NUMBERS(1, 2, 2, 0));
  node_set_int(node, "largest", 0);
  test_run(&t);
  test_expect(&t, 1, DIMS(2, 2), NUMBERS(0, 1, 3, 0));
  test_done(&t);
}

Test(meaning_sequences, topk_keeps_large_integers_apart) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_I64, DIMS(2), NULL);
  int64_t *x = t.inputs[0].data;
  x[0] = (1ll << 60) + 1;
  x[1] = (1ll << 60) + 2;
  Node *node = test_node(&t, &op_topk, 2);
  node_set_dims(node, "k", (Dim[]){1}, 1);
  node_set_int(node, "axis", 0);
  test_run(&t);
  test_expect(&t, 1, DIMS(1), NUMBERS(1));
  test_done(&t);
}

Test(meaning_sequences, nonzero_lists_coordinates) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_BOOL, DIMS(2, 2), NUMBERS(1, 0, 1, 1));
  test_node(&t, &op_nonzero, 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 3), NUMBERS(0, 1, 1, 0, 0, 1));
  Dim first = t.node->outputs[0]->dims[1];
  cr_assert(!dim_is_static(first));
  cr_assert_null(node_infer(t.node));
  cr_assert_eq(t.node->outputs[0]->dims[1], first, "inferring again gives the same symbol");
  test_done(&t);
}

// One hidden unit and linear functions make the recurrences sums that can be done in the head.
Test(meaning_sequences, rnn_runs_both_ways) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(3, 1, 1), NUMBERS(1, 2, 3));
  test_input(&t, DTYPE_F32, DIMS(2, 1, 1), NUMBERS(1, 10));
  test_input(&t, DTYPE_F32, DIMS(2, 1, 1), NUMBERS(2, 1));
  test_absent(&t);
  test_input(&t, DTYPE_I32, DIMS(1), NUMBERS(2));
  Node *node = test_node(&t, &op_recurrent, 2);
  node_set_string(node, "kind", "rnn");
  node_set_string(node, "direction", "bidirectional");
  node_set_strings(node, "activations", (const char *[]){"Affine", "Relu"}, 2);
  node_set_floats(node, "beta", NUMBERS(0.5), 1);
  test_run(&t);  // forward h = x + 2h + 0.5; backward h = max(0, 10x + h), from the second of two steps
  test_expect(&t, 0, DIMS(3, 2, 1, 1), NUMBERS(1.5, 30, 5.5, 20, 0, 0));
  test_expect(&t, 1, DIMS(2, 1, 1), NUMBERS(5.5, 30));
  test_done(&t);
}

Test(meaning_sequences, lstm_gates_and_peepholes) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 1, 1), NUMBERS(1));
  test_input(&t, DTYPE_F32, DIMS(1, 4, 1), NUMBERS(1, 2, 3, 4));  // i, o, f, c
  test_input(&t, DTYPE_F32, DIMS(1, 4, 1), NUMBERS(1, 1, 1, 1));
  test_input(&t, DTYPE_F32, DIMS(1, 8), NUMBERS(0, 0, 0, 0, 1, 1, 1, 1));
  test_absent(&t);
  test_input(&t, DTYPE_F32, DIMS(1, 1, 1), NUMBERS(2));
  test_input(&t, DTYPE_F32, DIMS(1, 1, 1), NUMBERS(3));
  test_input(&t, DTYPE_F32, DIMS(1, 3), NUMBERS(10, 100, 1000));  // i, o, f
  Node *node = test_node(&t, &op_recurrent, 3);
  node_set_string(node, "kind", "lstm");
  node_set_strings(node, "activations", (const char *[]){"Affine", "Affine", "Affine"}, 3);
  test_run(&t);
  // i = 1+3 + 10*3 = 34, f = 3+3 + 1000*3 = 3006, c = 4+3 = 7, C = 3006*3 + 34*7 = 9256, o = 2+3 + 100*9256
  test_expect(&t, 2, DIMS(1, 1, 1), NUMBERS(9256));
  test_expect(&t, 1, DIMS(1, 1, 1), NUMBERS(925605.0 * 9256));
  test_done(&t);
}

Test(meaning_sequences, gru_resets_before_or_after) {
  for (int linear = 0; linear < 2; linear++) {
    MeaningTest t = meaning_test_new();
    test_input(&t, DTYPE_F32, DIMS(1, 1, 1), NUMBERS(1));
    test_input(&t, DTYPE_F32, DIMS(1, 3, 1), NUMBERS(0, 1, 1));  // z, r, h
    test_input(&t, DTYPE_F32, DIMS(1, 3, 1), NUMBERS(0, 1, 2));
    test_input(&t, DTYPE_F32, DIMS(1, 6), NUMBERS(0.25, 0, 0, 0, 0, 5));
    test_absent(&t);
    test_input(&t, DTYPE_F32, DIMS(1, 1, 1), NUMBERS(4));
    Node *node = test_node(&t, &op_recurrent, 2);
    node_set_string(node, "kind", "gru");
    node_set_int(node, "linear_before_reset", linear);
    node_set_strings(node, "activations", (const char *[]){"Affine", "Affine"}, 2);
    test_run(&t);
    // z = 0.25, r = 5. before: 1 + 2*(5*4) + 5 = 46; after: 1 + 5*(2*4 + 5) = 66. h = 0.75*that + 0.25*4
    test_expect(&t, 1, DIMS(1, 1, 1), linear ? NUMBERS(50.5) : NUMBERS(35.5));
    test_done(&t);
  }
}
