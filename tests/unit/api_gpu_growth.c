// A session whose shapes want more and more memory, on the emulated GPU, which tells what the driver was asked for: from the second growth on memory
// grows in place, and graphs that were recorded before are launched after it.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_test.h"

#define MODEL "tests/emulator/faults/grow.onnx"
enum { COLUMNS = 8, MOST_ROWS = 2000 };

static void (*forget_calls)(long at, int code, bool sticky, const char *name);
static long (*calls)(void);
static const char *(*call_name)(long call);
static int (*findings)(void);

static void *find(void *library, const char *name) {
  void *symbol = dlsym(library, name);
  cr_assert(symbol, "%s", name);
  return symbol;
}

static int times_called(const char *name) {
  int count = 0;
  for (long i = 1; i <= calls(); i++) count += call_name(i) && !strcmp(call_name(i), name);
  return count;
}

// Equal rows, whose number the result does not depend on. Calls of the driver are counted from the beginning of it.
static const float *run_from(ingot_session *session, int64_t rows, int begin, float out[COLUMNS]) {
  static float x[MOST_ROWS * COLUMNS];
  int64_t shape[] = {rows, COLUMNS};
  ingot_tensor input = {.data = x, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape}, output;
  for (int64_t i = 0; i < rows * COLUMNS; i++) x[i] = (float)((i % COLUMNS * 3 + begin) % COLUMNS) / COLUMNS;
  forget_calls(0, 0, false, "");
  expect_ok(ingot_session_run(session, &input, 1, &output, 1));
  memcpy(out, output.data, COLUMNS * sizeof *out);
  return output.data;
}

static void run(ingot_session *session, int64_t rows, float out[COLUMNS]) { run_from(session, rows, 0, out); }

static void expect_same(const float *a, const float *b) {
  for (int i = 0; i < COLUMNS; i++) cr_expect_float_eq(a[i], b[i], 1e-5, "%g and %g", (double)a[i], (double)b[i]);
}

Test(api_gpu_growth, keeps_recorded_graphs, .timeout = 240) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about the emulated device");
  void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  *(void **)&forget_calls = find(library, "emulator_fail");
  *(void **)&calls = find(library, "emulator_calls");
  *(void **)&call_name = find(library, "emulator_call_name");
  *(void **)&findings = find(library, "emulator_findings");
  ingot_config config;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  float one[COLUMNS], many[COLUMNS];
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CUDA;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  expect_ok(ingot_session_create(engine, &config, &session));

  run(session, 1, one);
  cr_expect_eq(times_called("cuMemMap"), 0, "a shape alone has what it needs");
  for (int i = 0; i < 3; i++) {
    run(session, 200, many);
    cr_expect_eq(times_called("cuMemAddressReserve"), i == 0, "run %d", i);
    expect_same(many, one);
  }
  cr_expect_eq(times_called("cuGraphLaunch"), 1);
  run(session, MOST_ROWS, many);
  expect_same(many, one);
  cr_expect_eq(times_called("cuMemMap"), 1, "more behind what there is");
  cr_expect_eq(times_called("cuMemAddressReserve") + times_called("cuMemUnmap"), 0, "in place");
  run(session, 200, many);
  expect_same(many, one);
  cr_expect_eq(times_called("cuGraphLaunch"), 1, "the graph of before");
  cr_expect_eq(times_called("cuLaunchKernel") + times_called("cuStreamBeginCapture_v2"), 0);

  // A smaller shape finds room for all it needs. What was taken of one is nobody else's later.
  for (int64_t rows = 100; rows < 104; rows++) {
    run(session, rows, many);
    expect_same(many, one);
    cr_expect_eq(times_called("cuMemAlloc_v2") + times_called("cuMemFree_v2"), 0, "%lld rows", (long long)rows);
  }
  ingot_result *taken;
  const float *values = run_from(session, 103, 0, many);
  expect_ok(ingot_session_take_output(session, 0, &taken));
  for (int64_t rows = 103; rows < 105; rows++) {
    run_from(session, rows, 1, many);
    cr_expect(memcmp(many, one, sizeof one), "other inputs");
  }
  expect_same(values, one);
  ingot_result_free(taken);

  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
  cr_expect_eq(findings(), 0);
}
