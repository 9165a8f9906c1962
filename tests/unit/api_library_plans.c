// An engine's plan with a step of a library: taken where the library is of the same version, else refused with the reason, and the session answers all
// the same. On the emulated GPU, with a cuBLASLt that multiplies on the host and says what version it is told to say.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/api_test.h"

#define MODEL "tests/emulator/faults/product.onnx"
enum { M = 4, K = 16, N = 8 };

static ingot_config config;
static char heard[4096], cache[] = "/tmp/ingot-library-XXXXXX", tuning[] = "/tmp/ingot-library-tuning-XXXXXX";
static float x[M * K];

static void hear(void *context, ingot_severity severity, const char *message) {
  size_t length = strlen(heard);
  snprintf(heard + length, sizeof heard - length, "%s\n", message);
}

static void set_up(void) {
  const char *library = getenv("INGOT_CUBLASLT");
  if (!library || !strstr(library, "fake")) cr_skip_test("this is about the library that stands in for cuBLASLt");
  cr_assert_not_null(mkdtemp(cache));
  FILE *file = fdopen(mkstemp(tuning), "w");
  fputs(
      "ingot tuning 1\nemulated sm_90\tmatmul f32[4:16,16:1] const f32[16:8,8:1] -> f32[4:8,8:1]\tcublaslt\t"
      "algo 0 tile 0 stages 0 splitk 0\tcuBLASLt 130100\t1.0\tagrees\n",
      file);
  fclose(file);
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CUDA;
  config.cache_directory = cache;
  config.tuning_file = tuning;
  config.log = hear;
  config.log_most = INGOT_VERBOSE;
  for (int i = 0; i < M * K; i++) x[i] = (float)(i % 7) - 3;
}

static void tear_down(void) {
  char command[300];
  snprintf(command, sizeof command, "rm -rf '%s' '%s'", cache, tuning);
  cr_expect_eq(system(command), 0);
}
TestSuite(api_library_plans, .init = set_up, .fini = tear_down, .timeout = 60);

static void answer(ingot_engine *engine, float *y) {
  int64_t shape[] = {M, K};
  ingot_tensor input = {.data = x, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape}, result;
  ingot_session *session;
  heard[0] = 0;
  expect_ok(ingot_session_create(engine, &config, &session));
  expect_ok(ingot_session_run(session, &input, 1, &result, 1));
  memcpy(y, result.data, M * N * sizeof *y);
  ingot_session_free(session);
}

Test(api_library_plans, another_version_is_refused_with_the_reason) {
  ingot_model *model;
  ingot_engine *engine;
  float first[M * N], second[M * N];
  setenv("FAKE_CUBLASLT_VERSION", "130100", 1);
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  cr_assert_eq(ingot_engine_plan_count(engine), 1);
  const ingot_plan *plan = ingot_engine_plan(engine, 0);
  cr_expect(strstr(ingot_plan_text(plan), "  library cublaslt_matmul "), "%s", ingot_plan_text(plan));
  cr_expect(strstr(ingot_plan_needs(plan), "libraries on emulated"), "%s", ingot_plan_needs(plan));
  answer(engine, first);
  cr_expect(strstr(heard, "running by the engine's plan"), "%s", heard);
  setenv("FAKE_CUBLASLT_VERSION", "130200", 1);
  answer(engine, second);
  cr_expect(strstr(heard, "made anew: opening cublaslt_matmul: the call was made for cuBLASLt 130100, and here is 130200"),
            "%s", heard);
  for (int i = 0; i < M * N; i++) cr_expect_float_eq(first[i], second[i], 1e-4f);
  ingot_engine_free(engine);
}

static void tune(void) {
  ingot_model *model;
  ingot_engine *engine;
  heard[0] = 0;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  ingot_engine_free(engine);
}

// A way that the library lists and then does not make is in the database like others, and not asked for again.
Test(api_library_plans, a_way_that_is_not_made_is_recorded) {
  Arena *arena = arena_new();
  Bytes bytes;
  setenv("FAKE_CUBLASLT_VERSION", "130100", 1);
  setenv("FAKE_CUBLASLT_REFUSES", "1", 1);
  config.tuning_seconds = 600;
  config.log_most = INGOT_INFO;
  tune();
  cr_expect(strstr(heard, " 0 rejected, 1 known before"), "%s", heard);
  cr_assert_null(file_read(tuning, 0, arena, &bytes));
  const char *text = (const char *)bytes.data;
  cr_expect(
      strstr(text, "\tcublaslt\talgo 1 tile 0 stages 0 splitk 0\tcuBLASLt 130100\t0.000\tfailed: cuBLASLt has no algorithm"),
      "%s", text);
  int entries = -1;  // the first line is none
  for (const char *at = text; *at; at++) entries += *at == '\n';
  tune();
  char known[64];
  snprintf(known, sizeof known, " 0 candidates timed, 0 rejected, %d known before", entries);
  cr_expect(strstr(heard, known), "'%s' is not in:\n%s", known, heard);
  arena_free(arena);
}
