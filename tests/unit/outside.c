// Indices outside of their axis are errors that name the node, on every device: on a GPU they show when the results are fetched. A run with
// good indices afterwards is none the worse. On the GPU that INGOT_LIBCUDA names, if it is set, else on the CPU.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_test.h"

enum { ROWS = 3, COLUMNS = 4 };

static ingot_error *run(ingot_session *session, int64_t first, int64_t second) {
  float x[ROWS * COLUMNS];
  for (int i = 0; i < ROWS * COLUMNS; i++) x[i] = (float)i;
  int64_t indices[] = {first, second}, x_shape[] = {ROWS, COLUMNS}, index_shape[] = {2};
  ingot_tensor inputs[] = {
      {.data = x, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = x_shape},
      {.data = indices, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_INT, 64, 1}, .shape = index_shape}};
  ingot_tensor output = {0};
  return ingot_session_run(session, inputs, 2, &output, 1);
}

static void expect_outside(ingot_session *session, const char *name, int64_t first, int64_t second, const char *says) {
  ingot_error *error = run(session, first, second);
  cr_assert(error, "%s: nothing was said of %lld, %lld", name, (long long)first, (long long)second);
  const char *message = ingot_error_message(error);
  cr_expect_eq(ingot_error_code(error), INGOT_INVALID_ARGUMENT, "%s", message);
  cr_expect(strstr(message, says), "%s: '%s' does not say '%s'", name, message, says);
  cr_expect(strstr(message, "running '"), "%s: '%s' names no node", name, message);
  ingot_error_free(error);
}

static void check(const char *name) {
  ingot_config config;
  expect_ok(ingot_config_init(&config));
  config.device = getenv("INGOT_LIBCUDA") ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  config.threads = 2;
  char path[64];
  snprintf(path, sizeof path, "tests/outside/%s.onnx", name);
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_session_create(engine, &config, &session));
  for (int round = 0; round < 2; round++) {  // on a GPU the second time is replayed
    expect_ok(run(session, 2, 0));
    expect_ok(run(session, 2, 0));
    expect_outside(session, name, 1, 9, "index 9 is outside an axis of size 3");
    expect_outside(session, name, -7, 0, "index -7 is outside an axis of size 3");
    expect_outside(session, name, INT64_MAX, 0, "index 9223372036854775807 is outside");
  }
  expect_ok(run(session, 0, 1));
  ingot_session_free(session);
  ingot_engine_free(engine);
}

Test(outside, gather) { check("gather"); }
Test(outside, gather_columns) { check("gather_columns"); }
Test(outside, gather_elements) { check("gather_elements"); }
Test(outside, gather_nd) { check("gather_nd"); }
Test(outside, scatter_elements) { check("scatter_elements"); }
Test(outside, scatter_nd) { check("scatter_nd"); }
Test(outside, roi_align) { check("roi_align"); }
Test(outside, none_gather) { check("none_gather"); }
Test(outside, none_gather_before) { check("none_gather_before"); }
Test(outside, none_gather_nd) { check("none_gather_nd"); }
Test(outside, none_scatter_nd) { check("none_scatter_nd"); }
Test(outside, none_roi_align) { check("none_roi_align"); }
