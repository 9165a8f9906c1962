// What plans of many shapes leave on a GPU, the emulated one, which counts the modules that are loaded: each plan's kernels go with it, those of
// several plans with the last, and results stay right.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

enum { SHAPES = 12, WIDTH = 8, FIXED = 4, SHARED = 2 };

static ingot_config config;
static char cache[] = "/tmp/ingot-plans-XXXXXX";
static float x[SHAPES * WIDTH], z[FIXED * WIDTH];
static int (*modules)(void), (*findings)(void), (*live)(void);
static void *library;

static void set_up(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about the emulated device");
  library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  *(void **)&modules = dlsym(library, "emulator_modules");
  *(void **)&findings = dlsym(library, "emulator_findings");
  *(void **)&live = dlsym(library, "emulator_live_objects");
  cr_assert(modules && findings && live);
  cr_assert_not_null(mkdtemp(cache));
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CUDA;
  config.cache_directory = cache;
  for (int i = 0; i < SHAPES * WIDTH; i++) x[i] = (float)(i * 37 % 101) - 50;
  for (int i = 0; i < FIXED * WIDTH; i++) z[i] = (float)(i % 5);
}
static void tear_down(void) {
  char command[300];
  if (!findings) return;
  cr_expect_eq(findings(), 0);
  cr_expect_eq(live(), 0);
  snprintf(command, sizeof command, "rm -rf '%s'", cache);
  cr_expect_eq(system(command), 0);
}
TestSuite(api_gpu_plans, .init = set_up, .fini = tear_down, .timeout = 300);

static ingot_engine *build(const char *path) {
  ingot_model *model;
  ingot_engine *engine;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  return engine;
}

// ---- kernels of many shapes --------------------------------------------------------------------------------------------------

static void run_rows(ingot_session *session, int64_t rows) {
  int64_t open[] = {rows, WIDTH}, fixed[] = {FIXED, WIDTH};
  ingot_dtype f32 = {INGOT_FLOAT, 32, 1};
  ingot_tensor inputs[] = {{.data = x, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = f32, .shape = open},
                           {.data = z, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = f32, .shape = fixed}};
  ingot_tensor outputs[2];
  expect_ok(ingot_session_run(session, inputs, 2, outputs, 2));
  const float *y = outputs[0].data, *v = outputs[1].data;
  float sum = 0;
  for (int64_t i = 0; i < rows; i++) sum += y[i * WIDTH];
  cr_assert_float_eq(sum, 1, 1e-5f);
  sum = 0;
  for (int i = 0; i < WIDTH; i++) sum += v[i];
  cr_expect_float_eq(sum, 1, 1e-5f);
}

// How many modules there are after each shape of two rounds, and at the end.
static void run_shapes(ingot_engine *engine, size_t limit, int counts[2 * SHAPES]) {
  ingot_session *session;
  ingot_config limited = config;
  limited.plan_cache_limit = limit;
  expect_ok(ingot_session_create(engine, &limited, &session));
  for (int i = 0; i < 2 * SHAPES; i++) {
    run_rows(session, i % SHAPES + 1);
    counts[i] = modules();
  }
  ingot_session_free(session);
  cr_expect_eq(modules(), 0);
}

Test(api_gpu_plans, kernels_go_with_their_plans) {
  int all[2 * SHAPES], few[2 * SHAPES], one[2 * SHAPES];
  ingot_engine *engine = build("tests/emulator/faults/rows.onnx");
  run_shapes(engine, 0, all);
  cr_expect_eq(all[0], 1 + SHARED, "a kernel that is the shape's own, and those of all plans");
  for (int i = 0; i < SHAPES; i++) {
    cr_expect_eq(all[i], 1 + SHARED + i, "the kernels of the fixed half and of rows of any length are every plan's");
    cr_expect_eq(all[SHAPES + i], SHARED + SHAPES, "shapes that come again find their plans");
  }
  run_shapes(engine, 1, one);
  for (int i = 0; i < 2 * SHAPES; i++) cr_expect_eq(one[i], 1 + SHARED, "after run %d: %d modules", i, one[i]);
  run_shapes(engine, 512 << 10, few);
  int most = 0;
  for (int i = 0; i < 2 * SHAPES; i++) most = few[i] > most ? few[i] : most;
  cr_expect(most > 1 + SHARED && most < SHARED + SHAPES, "%d modules", most);
  ingot_engine_free(engine);
}

// Where a run is still going on while its plan's turn to go comes, and with graphs of launches.
Test(api_gpu_plans, kernels_that_run_stay) {
  int64_t shape[] = {0, WIDTH}, fixed[] = {FIXED, WIDTH};
  ingot_dtype f32 = {INGOT_FLOAT, 32, 1};
  ingot_engine *engine = build("tests/emulator/faults/rows.onnx");
  ingot_session *session;
  ingot_config limited = config;
  limited.plan_cache_limit = 1;
  expect_ok(ingot_session_create(engine, &limited, &session));
  for (int i = 0; i < 30; i++) {
    shape[0] = i / 3 % SHAPES + 1;  // three times: launches, their graph recorded, replayed
    ingot_tensor inputs[] = {{.data = x, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = f32, .shape = shape},
                             {.data = z, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = f32, .shape = fixed}};
    ingot_output lent[2] = {{.size = sizeof *lent, .tensor.device = {INGOT_CUDA, 0}},
                            {.size = sizeof *lent, .tensor.device = {INGOT_CUDA, 0}}};
    expect_ok(ingot_session_run_into(session, inputs, 2, lent, 2));  // does not wait
  }
  run_rows(session, 2);
  ingot_session_free(session);
  ingot_engine_free(engine);
}
