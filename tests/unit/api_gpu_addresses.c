// Calls that bring other addresses each time, on the emulated GPU, which tells what the driver was asked for: from the third on a call launches the
// recorded graph, told of its addresses, and no kernel by itself; every result is that of the input at its own address.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_test.h"

#define MODEL "tests/emulator/faults/chain.onnx"
enum { PLACES = 3, CALLS = 9, MOST = 4096, APART = 1 << 15 };

static ingot_config config;
static char cache[] = "/tmp/ingot-addresses-XXXXXX";
static void (*forget_calls)(long at, int code, bool sticky, const char *name);
static long (*calls)(void);
static const char *(*call_name)(long call);
static int (*findings)(void);
static ingot_engine *engine;
static int64_t shape[8];
static size_t elements, results;
static float expected[PLACES][MOST];
static char *memory;  // of the device, which is memory of this process
static void *context;
static int (*push)(void *context), (*pop)(void **context), (*finish)(void *stream);
static int (*copy_in)(unsigned long long to, const void *from, size_t size, void *stream);

static void *find(void *library, const char *name) {
  void *symbol = dlsym(library, name);
  cr_assert(symbol, "%s", name);
  return symbol;
}

static void take_memory(void *library) {
  int (*retain)(void **context, int device);
  int (*take)(unsigned long long *address, size_t size);
  *(void **)&retain = find(library, "cuDevicePrimaryCtxRetain");
  *(void **)&push = find(library, "cuCtxPushCurrent_v2");
  *(void **)&pop = find(library, "cuCtxPopCurrent_v2");
  *(void **)&take = find(library, "cuMemAlloc_v2");
  *(void **)&copy_in = find(library, "cuMemcpyHtoDAsync_v2");
  *(void **)&finish = find(library, "cuStreamSynchronize");
  unsigned long long address;
  cr_assert(!retain(&context, 0) && !push(context) && !take(&address, 2 * PLACES * APART) && !pop(&context));
  memory = (char *)(uintptr_t)address;
}

static ingot_tensor input_at(int place) {
  return (ingot_tensor){.data = memory + (size_t)place * APART,
                        .device = {INGOT_CUDA, 0},
                        .ndim = ingot_binding_rank(ingot_engine_input(engine, 0)),
                        .dtype = {INGOT_FLOAT, 32, 1},
                        .shape = shape};
}

static float *result_at(int place) { return (float *)(void *)(memory + (size_t)(PLACES + place) * APART); }

// Of a session of its own, on the host.
static void expect_at(int place) {
  float values[MOST];
  ingot_session *session;
  ingot_tensor x = input_at(place), y;
  x.data = values;
  x.device = (ingot_place){INGOT_CPU, 0};
  for (size_t i = 0; i < elements; i++) values[i] = (float)((i * 37 + (size_t)place * 11) % 101) / 101;
  cr_assert(!push(context) && !copy_in((uintptr_t)memory + (size_t)place * APART, values, elements * sizeof *values, NULL));
  cr_assert(!finish(NULL) && !pop(&context));
  expect_ok(ingot_session_create(engine, &config, &session));
  expect_ok(ingot_session_run(session, &x, 1, &y, 1));
  results = 1;
  for (int k = 0; k < y.ndim; k++) results *= (size_t)y.shape[k];
  cr_assert_leq(results, MOST);
  memcpy(expected[place], y.data, results * sizeof(float));
  ingot_session_free(session);
}

static void describe_input(void) {
  const ingot_binding *binding = ingot_engine_input(engine, 0);
  cr_assert_eq(ingot_binding_dtype(binding).code, INGOT_FLOAT);
  elements = 1;
  for (int k = 0; k < ingot_binding_rank(binding); k++) elements *= (size_t)(shape[k] = ingot_binding_dims(binding)[k]);
  cr_assert(elements <= MOST && elements * sizeof(float) <= APART);
}

static void set_up(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about the emulated device");
  void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  *(void **)&forget_calls = find(library, "emulator_fail");
  *(void **)&calls = find(library, "emulator_calls");
  *(void **)&call_name = find(library, "emulator_call_name");
  *(void **)&findings = find(library, "emulator_findings");
  cr_assert_not_null(mkdtemp(cache));
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CUDA;
  config.cache_directory = cache;
  ingot_model *model;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  describe_input();
  take_memory(library);
  for (int place = 0; place < PLACES; place++) expect_at(place);
}
static void tear_down(void) {
  char command[300];
  if (!findings) return;
  ingot_engine_free(engine);
  cr_expect_eq(findings(), 0);
  snprintf(command, sizeof command, "rm -rf '%s'", cache);
  cr_expect_eq(system(command), 0);
}
TestSuite(api_gpu_addresses, .init = set_up, .fini = tear_down, .timeout = 120);

static int times_called(const char *name) {
  int count = 0;
  for (long i = 1; i <= calls(); i++) count += call_name(i) && !strncmp(call_name(i), name, strlen(name));
  return count;
}

static void run_at(ingot_session *session, int in, int out) {
  ingot_tensor x = input_at(in);
  float *result = result_at(out);
  ingot_output y = {sizeof y, INGOT_OWNED_BY_CALLER, {.data = result, .device = {INGOT_CUDA, 0}}, APART};
  memset(result, 0, results * sizeof *result);
  expect_ok(ingot_session_run_into(session, &x, 1, &y, 1));
  expect_ok(ingot_session_synchronize(session));
  cr_expect_arr_eq(result, expected[in], results * sizeof *result, "input %d to result %d", in, out);
}

Test(api_gpu_addresses, are_told_to_the_recorded_graph) {
  ingot_session *session;
  expect_ok(ingot_session_create(engine, &config, &session));
  for (int i = 0; i < CALLS; i++) {
    forget_calls(0, 0, false, "");
    run_at(session, i % PLACES, i * 2 % PLACES);
    cr_expect_eq(times_called("cuGraphInstantiate"), i == 1, "call %d", i);
    cr_expect_eq(times_called("cuGraphLaunch"), i >= 1, "call %d", i);
    if (i >= 2) cr_expect_eq(times_called("cuLaunchKernel"), 0, "call %d", i);
    if (i >= 2) cr_expect_gt(times_called("cuGraphExecKernelNodeSetParams"), 0, "call %d", i);
  }
  forget_calls(0, 0, false, "");
  run_at(session, (CALLS - 1) % PLACES, (CALLS - 1) * 2 % PLACES);  // the same as before: nothing is told
  cr_expect_eq(times_called("cuGraphExecKernelNodeSetParams"), 0);
  forget_calls(0, 0, false, "");
  run_at(session, (CALLS - 1) % PLACES, CALLS % PLACES);  // a result goes elsewhere: only its kernels are
  cr_expect_eq(times_called("cuGraphExecKernelNodeSetParams"), 1);
  ingot_session_free(session);
}

// Of few kernels, each is launched: a graph that is told costs more.
Test(api_gpu_addresses, are_given_to_few_kernels) {
  ingot_model *model;
  ingot_session *session;
  ingot_engine_free(engine);
  expect_ok(ingot_model_open("tests/emulator/faults/product.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  describe_input();
  for (int place = 0; place < PLACES; place++) expect_at(place);
  expect_ok(ingot_session_create(engine, &config, &session));
  for (int i = 0; i < CALLS; i++) {
    forget_calls(0, 0, false, "");
    run_at(session, i % PLACES, i * 2 % PLACES);
    cr_expect_eq(times_called("cuGraph"), 0, "call %d", i);
  }
  for (int i = 0; i < 2; i++) {
    forget_calls(0, 0, false, "");
    run_at(session, 0, 0);
  }
  cr_expect_eq(times_called("cuGraphLaunch"), 1, "addresses that come again are recorded");
  ingot_session_free(session);
}

// What cannot be told is launched, and said once.
Test(api_gpu_addresses, that_cannot_be_told_are_launched) {
  ingot_session *session;
  expect_ok(ingot_session_create(engine, &config, &session));
  for (int i = 0; i < 3; i++) run_at(session, i % PLACES, i % PLACES);
  forget_calls(1, 1, false, "cuGraphExecKernelNodeSetParams");
  for (int i = 0; i < 3; i++) run_at(session, i % PLACES, i % PLACES);
  forget_calls(0, 0, false, "");
  run_at(session, 0, 1);
  cr_expect_gt(times_called("cuLaunchKernel"), 0);
  cr_expect_eq(times_called("cuGraphLaunch"), 0);
  ingot_session_free(session);
}
