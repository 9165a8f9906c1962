// Sequences and optionals given as inputs: what is taken, what is refused, and results handed on as the next run's inputs.
#include <stdio.h>
#include <string.h>

#include "tests/unit/api_test.h"

typedef struct Opened {
  ingot_engine *engine;
  ingot_session *session;
} Opened;

static Opened open_case(const char *name) {
  Opened opened;
  ingot_config config;
  ingot_model *model;
  char path[128];
  snprintf(path, sizeof path, "tests/regress/%s/model.onnx", name);
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 1;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &opened.engine));
  expect_ok(ingot_session_create(opened.engine, &config, &opened.session));
  ingot_model_free(model);
  return opened;
}

static void close_case(Opened opened) {
  ingot_session_free(opened.session);
  ingot_engine_free(opened.engine);
}

static float values[] = {-1, 2, -3, 4, 5, -6};
static int64_t one_row[] = {1, 2}, two_rows[] = {2, 2}, three[] = {3};

static ingot_tensor tensor(float *data, int64_t *shape, int rank) {
  return (ingot_tensor){.data = data, .device = {INGOT_CPU, 0}, .ndim = rank, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
}

static ingot_tensor sequence(ingot_tensor *elements, int64_t *count) {
  return (ingot_tensor){.data = elements, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_TENSORS, 64, 1}, .shape = count};
}

Test(api_sequences, are_taken_and_checked) {
  Opened opened = open_case("given_sequence_concat");
  const ingot_binding *binding = ingot_engine_input(opened.engine, 0);
  cr_expect_eq(ingot_binding_kind(binding), INGOT_SEQUENCE);
  cr_expect_eq(ingot_binding_rank(binding), -1);
  cr_expect_str_eq(ingot_binding_dtype_name(binding), "f32");
  cr_expect_eq(ingot_binding_kind(ingot_engine_output(opened.engine, 0)), INGOT_TENSOR);
  int64_t count = 2;
  ingot_tensor elements[] = {tensor(values, one_row, 2), tensor(values + 2, two_rows, 2)}, given = sequence(elements, &count),
               out;
  expect_ok(ingot_session_run(opened.session, &given, 1, &out, 1));
  cr_assert(out.ndim == 2 && out.shape[0] == 3 && out.shape[1] == 2);
  for (int i = 0; i < 6; i++) cr_expect_eq(((float *)out.data)[i], values[i] > 0 ? values[i] : 0);
  count = 1;  // other lengths are other plans
  expect_ok(ingot_session_run(opened.session, &given, 1, &out, 1));
  cr_expect_eq(out.shape[0], 1);
  count = 2;

  ingot_tensor nothing = {0};
  expect_invalid(ingot_session_run(opened.session, &elements[0], 1, &out, 1),
                 "input 's' is a sequence, but a tensor was given");
  expect_invalid(ingot_session_run(opened.session, &nothing, 1, &out, 1), "has no default and is no optional");
  expect_invalid(ingot_session_run(opened.session, NULL, 0, &out, 1), "0 were given");
  ingot_tensor bad = given;
  bad.ndim = 2;
  expect_invalid(ingot_session_run(opened.session, &bad, 1, &out, 1), "has one axis, its elements");
  bad = given;
  bad.shape = NULL;
  expect_invalid(ingot_session_run(opened.session, &bad, 1, &out, 1), "has one axis, its elements");
  bad = given;
  bad.data = NULL;
  expect_invalid(ingot_session_run(opened.session, &bad, 1, &out, 1), "has no data");
  bad = given;
  bad.device.device_type = INGOT_CUDA;
  expect_invalid(ingot_session_run(opened.session, &bad, 1, &out, 1), "is on the host");
  int64_t negative = -1;
  bad = sequence(elements, &negative);
  expect_invalid(ingot_session_run(opened.session, &bad, 1, &out, 1), "has one axis, its elements");
  bad = sequence(&given, (int64_t[]){1});
  expect_invalid(ingot_session_run(opened.session, &bad, 1, &out, 1), "element 0");
  elements[1].dtype.code = INGOT_INT;
  expect_invalid(ingot_session_run(opened.session, &given, 1, &out, 1), "holds f32, but its element 1 is i32");
  elements[1].dtype.code = INGOT_FLOAT;
  elements[1].shape = NULL;
  expect_invalid(ingot_session_run(opened.session, &given, 1, &out, 1), "element 1");
  elements[1].shape = two_rows;
  expect_invalid(ingot_session_set_shapes(opened.session, (const int64_t *[]){two_rows}, 1),
                 "is a sequence, which has no shape");

  ingot_output into = {.size = sizeof into, .owner = INGOT_OWNED_BY_CALLER, .capacity = 24, .tensor.data = values + 2};
  expect_invalid(ingot_session_run_into(opened.session, &given, 1, &into, 1), "output 'y' and input 's' share memory");
  ingot_profile *profile;
  expect_ok(ingot_session_profile(opened.session, &given, 1, &profile));
  ingot_profile_free(profile);
  close_case(opened);
}

// What a run lent may go into the next.
Test(api_sequences, results_are_inputs_again) {
  Opened opened = open_case("given_sequence_empty");
  int64_t count = 0;
  ingot_tensor elements[8] = {{0}}, outputs[2], inputs[2] = {sequence(NULL, &count), tensor(values, (int64_t[]){2}, 1)};
  for (int round = 1; round <= 8; round++) {
    values[0] = (float)round;
    expect_ok(ingot_session_run(opened.session, inputs, 2, outputs, 2));
    cr_assert_eq(ingot_session_output_length(opened.session, 0), round);
    for (int i = 0; i < round; i++) {
      expect_ok(ingot_session_output_element(opened.session, 0, i, &elements[i]));
      cr_expect_eq(*(float *)elements[i].data, (float)(i + 1));
    }
    count = round;
    inputs[0].data = elements;
  }
  close_case(opened);
}

Test(api_sequences, optionals) {
  Opened opened = open_case("given_optional_given");
  cr_expect_eq(ingot_binding_kind(ingot_engine_input(opened.engine, 0)), INGOT_OPTIONAL);
  ingot_tensor inputs[] = {tensor(values, three, 1), tensor(values + 3, three, 1)}, out;
  expect_ok(ingot_session_run(opened.session, inputs, 2, &out, 1));
  cr_expect_eq(*(float *)out.data, values[0] + values[3]);
  inputs[0] = (ingot_tensor){0};
  expect_ok(ingot_session_run(opened.session, inputs, 2, &out, 1));
  cr_expect_eq(*(float *)out.data, values[3]);
  inputs[1] = (ingot_tensor){0};
  expect_invalid(ingot_session_run(opened.session, inputs, 2, &out, 1), "input 'x' is left out");
  close_case(opened);

  opened = open_case("given_optional_nothing_passed_on");
  int64_t count = 2;
  ingot_tensor elements[] = {tensor(values, one_row, 2), tensor(values + 2, two_rows, 2)}, given = sequence(elements, &count);
  expect_ok(ingot_session_run(opened.session, &given, 1, &out, 1));
  cr_expect_eq(ingot_session_output_kind(opened.session, 0), INGOT_SEQUENCE);
  cr_expect_eq(ingot_session_output_length(opened.session, 0), 2);
  given = (ingot_tensor){0};
  expect_ok(ingot_session_run(opened.session, &given, 1, &out, 1));
  cr_expect_eq(ingot_session_output_kind(opened.session, 0), INGOT_NOTHING);
  expect_ok(ingot_session_run(opened.session, &out, 1, &out, 1));  // as it came out
  cr_expect_eq(ingot_session_output_kind(opened.session, 0), INGOT_NOTHING);
  close_case(opened);
}
