// One engine on two GPUs in one process, emulated ones, which do not reach each other's memory: a kernel that is given the other's weights is
// reported. Sessions of one device share them, those of two do not, in whatever order they come and go.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

enum { INPUTS = 128, OUTPUTS = 8 };

static ingot_config config;
static char cache[] = "/tmp/ingot-devices-XXXXXX";
static ingot_engine *engine;
static float input[INPUTS], expected[OUTPUTS];
static int (*findings)(void), (*live)(void);
static int (*memory_info)(size_t *available, size_t *total);
static int (*retain)(void **context, int device), (*let_go)(int device);

static void expect_says(ingot_error *error, const char *says) {
  cr_expect(strstr(ingot_error_message(error), says), "'%s' does not say '%s'", ingot_error_message(error), says);
  ingot_error_free(error);
}

static size_t bytes_on_devices(void) {
  size_t available, total;
  cr_assert(!memory_info(&available, &total));
  return total - available;
}

static ingot_session *open_on(int device) {
  ingot_session *session;
  ingot_config there = config;
  there.device_index = device;
  expect_ok(ingot_session_create(engine, &there, &session));
  return session;
}

static ingot_tensor host_input(void) {
  static int64_t shape[] = {1, 2, 8, 8};
  return (ingot_tensor){.data = input, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
}

static void run(ingot_session *session, float out[OUTPUTS]) {
  ingot_tensor x = host_input(), y;
  expect_ok(ingot_session_run(session, &x, 1, &y, 1));
  memcpy(out, y.data, OUTPUTS * sizeof *out);
}

static void expect_right(ingot_session *session) {
  float out[OUTPUTS];
  for (int i = 0; i < 3; i++) {  // launched, recorded, replayed
    run(session, out);
    cr_expect_arr_eq(out, expected, sizeof expected);
  }
}

static void set_up(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about emulated devices");
  setenv("INGOT_EMULATOR_DEVICES", "2", 1);
  void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  *(void **)&findings = dlsym(library, "emulator_findings");
  *(void **)&live = dlsym(library, "emulator_live_objects");
  *(void **)&memory_info = dlsym(library, "cuMemGetInfo_v2");
  *(void **)&retain = dlsym(library, "cuDevicePrimaryCtxRetain");
  *(void **)&let_go = dlsym(library, "cuDevicePrimaryCtxRelease_v2");
  cr_assert(findings && live && memory_info && retain && let_go);
  cr_assert_not_null(mkdtemp(cache));
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CUDA;
  config.cache_directory = cache;
  for (int i = 0; i < INPUTS; i++) input[i] = (float)(i * 37 % 101) / 101;
  ingot_model *model;
  expect_ok(ingot_model_open("tests/emulator/faults/small.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  ingot_session *session = open_on(0);
  run(session, expected);
  ingot_session_free(session);
}
static void tear_down(void) {
  char command[300];
  if (!findings) return;
  ingot_engine_free(engine);
  cr_expect_eq(findings(), 0);
  cr_expect_eq(live(), 0);
  snprintf(command, sizeof command, "rm -rf '%s'", cache);
  cr_expect_eq(system(command), 0);
}
TestSuite(api_gpu_devices, .init = set_up, .fini = tear_down, .timeout = 120);

Test(api_gpu_devices, weights_are_one_copy_of_each_device) {
  size_t before = bytes_on_devices(), taken[4];
  ingot_session *sessions[4];
  for (int i = 0; i < 4; i++) {  // on devices 0, 0, 1, 1
    sessions[i] = open_on(i / 2);
    expect_right(sessions[i]);
    taken[i] = bytes_on_devices() - before;
    before += taken[i];
  }
  cr_expect_gt(taken[0], taken[1] + 1000, "the second session has %zu bytes, the first %zu", taken[1], taken[0]);
  cr_expect_eq(taken[2], taken[0]);
  cr_expect_eq(taken[3], taken[1]);
  static const int order[] = {0, 3, 2, 1};
  for (int i = 0; i < 4; i++) {  // what is left still has its weights
    ingot_session_free(sessions[order[i]]);
    for (int k = i + 1; k < 4; k++) expect_right(sessions[order[k]]);
  }
  ingot_session *again = open_on(1);
  expect_right(again);
  ingot_session_free(again);
}

Test(api_gpu_devices, a_context_of_the_callers_is_a_place_of_its_own) {
  void *context;
  ingot_session *theirs, *ours = open_on(0);
  ingot_config there = config;
  cr_assert(!retain(&context, 1));
  there.cuda_context = context;
  expect_ok(ingot_session_create(engine, &there, &theirs));
  expect_right(ours);
  expect_right(theirs);
  ingot_session_free(ours);
  expect_right(theirs);
  ingot_session_free(theirs);
  cr_expect_eq(let_go(1), 0);
}

Test(api_gpu_devices, a_tensor_says_which_device_it_is_on) {
  ingot_session *first = open_on(0), *second = open_on(1);
  ingot_tensor x = host_input(), y;
  ingot_output lent = {.size = sizeof lent, .tensor.device = {INGOT_CUDA, 1}};
  expect_ok(ingot_session_run_into(second, &x, 1, &lent, 1));
  cr_expect_eq(lent.tensor.device.device_id, 1);
  ingot_tensor from = lent.tensor;
  expect_says(ingot_session_run(first, &from, 1, &y, 1), "lies on GPU 1, but the session runs on GPU 0");
  lent.tensor.device.device_id = 0;
  expect_says(ingot_session_run_into(second, &x, 1, &lent, 1), "GPU");
  ingot_config nowhere = config;
  ingot_session *none;
  nowhere.device_index = 2;
  expect_says(ingot_session_create(engine, &nowhere, &none), "there is no GPU number 2: the driver sees 2");
  ingot_session_free(first);
  ingot_session_free(second);
}
