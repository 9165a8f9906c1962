// Unique, non-maximum suppression, Fourier transforms, random numbers, determinants, sampling; against values worked out by hand.
#include "tests/unit/meaning.h"
#include "kernels/fft/fft.h"
#include "kernels/linear/linear.h"
#include "kernels/random/random.h"
#include "kernels/resize/resize.h"
#include "kernels/sort/sort.h"

Test(meaning_rest, unique_sorted_and_by_first_place) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(2, 3), NUMBERS(2, 1, 1, 3, 4, 3));
  Node *node = test_node(&t, &op_unique, 4);
  test_run(&t);
  test_expect(&t, 0, DIMS(4), NUMBERS(1, 2, 3, 4));
  test_expect(&t, 1, DIMS(4), NUMBERS(1, 0, 3, 4));
  test_expect(&t, 2, DIMS(6), NUMBERS(1, 0, 0, 2, 3, 2));
  test_expect(&t, 3, DIMS(4), NUMBERS(2, 1, 2, 1));
  node_set_int(node, "sorted", 0);
  test_run(&t);
  test_expect(&t, 0, DIMS(4), NUMBERS(2, 1, 3, 4));
  test_expect(&t, 2, DIMS(6), NUMBERS(0, 1, 1, 2, 3, 2));
  test_done(&t);
}

Test(meaning_rest, unique_columns) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_I32, DIMS(2, 3), NUMBERS(5, 1, 5, 2, 9, 2));
  Node *node = test_node(&t, &op_unique, 4);
  node_set_int(node, "axis", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 2), NUMBERS(1, 5, 9, 2));
  test_expect(&t, 1, DIMS(2), NUMBERS(1, 0));
  test_expect(&t, 3, DIMS(2), NUMBERS(1, 2));
  test_done(&t);
}

Test(meaning_rest, nms_leaves_out_overlaps) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 4, 4), NUMBERS(0, 0, 1, 1, 0, 0.1, 1, 1.1, 1, 2, 0, 3, 0, 5, 1, 6));
  test_input(&t, DTYPE_F32, DIMS(1, 1, 4), NUMBERS(0.8, 0.9, 0.5, 0.1));
  test_input(&t, DTYPE_I64, DIMS(1), NUMBERS(10));
  test_input(&t, DTYPE_F32, DIMS(1), NUMBERS(0.5));
  test_input(&t, DTYPE_F32, DIMS(1), NUMBERS(0.2));
  test_node(&t, &op_nms, 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(2, 3), NUMBERS(0, 0, 1, 0, 0, 2));
  tensor_set_f(&t.inputs[3], 0, 0.9);
  test_run(&t);
  test_expect(&t, 0, DIMS(3, 3), NUMBERS(0, 0, 1, 0, 0, 0, 0, 0, 2));
  test_done(&t);
}

Test(meaning_rest, dft_of_a_wave_and_back) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 4, 1), NUMBERS(0, 1, 0, -1));
  Node *node = test_node(&t, &op_dft, 1);
  node_set_int(node, "axis", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 4, 2), NUMBERS(0, 0, 0, -2, 0, 0, 0, 2));
  node_set_int(node, "onesided", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 3, 2), NUMBERS(0, 0, 0, -2, 0, 0));
  test_done(&t);

  t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 3, 2), NUMBERS(0, 0, 0, -2, 0, 0));
  node = test_node(&t, &op_dft, 1);
  node_set_int(node, "axis", 1);
  node_set_int(node, "inverse", 1);
  node_set_int(node, "onesided", 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(1, 4, 1), NUMBERS(0, 1, 0, -1));
  test_done(&t);
}

// The generator's published test vectors: zero key and counter, and its 10 rounds.
Test(meaning_rest, random_words_are_philox) {
  uint32_t words[4];
  random_block(0, 0, words);
  cr_assert_eq(words[0], 0x6627e8d5u);
  cr_assert_eq(words[1], 0xe169c58du);
  cr_assert_eq(words[2], 0xbc57ac4cu);
  cr_assert_eq(words[3], 0x9b00dbd8u);
}

Test(meaning_rest, random_numbers_have_their_moments) {
  for (int normal = 0; normal < 2; normal++) {
    MeaningTest t = meaning_test_new();
    Node *node = test_node(&t, &op_random, 1);
    node_set_string(node, "kind", normal ? "normal" : "uniform");
    node_set_dims(node, "dims", (Dim[]){100, 100}, 2);
    node_set_int(node, "seed", 7);
    node_set_float(node, "low", 2);
    node_set_float(node, "high", 4);
    node_set_float(node, "mean", 3);
    node_set_float(node, "scale", 0.5);
    test_run(&t);
    double sum = 0, squares = 0;
    for (int i = 0; i < 10000; i++) {
      double x = tensor_get_f(&t.outputs[0], i);
      cr_assert(normal || (x >= 2 && x < 4));
      sum += x;
      squares += (x - 3) * (x - 3);
    }
    cr_assert(fabs(sum / 10000 - 3) < 0.03);
    cr_assert(fabs(squares / 10000 - (normal ? 0.25 : 1.0 / 3)) < 0.02);
    test_done(&t);
  }
}

Test(meaning_rest, det_pivots) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F64, DIMS(3, 2, 2), NUMBERS(0, 1, 1, 0, 1, 2, 2, 4, 3, 1, 4, 2));
  test_node(&t, &op_det, 1);
  test_run(&t);
  test_expect(&t, 0, DIMS(3), NUMBERS(-1, 0, 2));
  test_done(&t);
}

Test(meaning_rest, grid_sample_paddings) {
  const struct {
    const char *mode, *padding;
    double expected[3];
  } cases[] = {{"linear", "zeros", {15, 5, 0}},
               {"linear", "border", {15, 10, 20}},
               {"linear", "reflection", {15, 10, 20}},
               {"nearest", "border", {20, 10, 20}},
               {"cubic", "border", {15, 9.0625, 20}}};
  for (int i = 0; i < 5; i++) {
    MeaningTest t = meaning_test_new();
    test_input(&t, DTYPE_F32, DIMS(1, 1, 1, 2), NUMBERS(10, 20));
    // x places 0.5, -0.5 and 2, which reflects at 1.5 to 1; y in the only row
    test_input(&t, DTYPE_F32, DIMS(1, 1, 3, 2), NUMBERS(0, 0, -1, 0, 1.5, 0));
    Node *node = test_node(&t, &op_grid_sample, 1);
    node_set_string(node, "mode", cases[i].mode);
    node_set_string(node, "padding", cases[i].padding);
    if (strcmp(cases[i].mode, "nearest") == 0) tensor_set_f(&t.inputs[1], 0, 0.2);
    test_run(&t);
    test_expect(&t, 0, DIMS(1, 1, 1, 3), cases[i].expected);
    test_done(&t);
  }
}

Test(meaning_rest, roi_align_means_a_bin) {
  MeaningTest t = meaning_test_new();
  test_input(&t, DTYPE_F32, DIMS(1, 1, 4, 4), NULL);
  test_input(&t, DTYPE_F32, DIMS(1, 4), NUMBERS(1, 1, 3, 3));
  test_input(&t, DTYPE_I64, DIMS(1), NUMBERS(0));
  Node *node = test_node(&t, &op_roi_align, 1);
  node_set_int(node, "sampling", 2);
  test_run(&t);  // the region is centred between elements 5, 6, 9 and 10
  test_expect(&t, 0, DIMS(1, 1, 1, 1), NUMBERS(7.5));
  test_done(&t);
}
