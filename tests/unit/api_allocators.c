// Memory of the caller's: everything large comes from its allocators and goes back to them, with the size it was asked for; what they refuse
// is an error. The device's half runs on the emulated GPU.
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_test.h"

#define MODEL "examples/digits/digits.onnx"

typedef struct Ledger {
  pthread_mutex_t mutex;
  size_t live, most, blocks;
  int wrong;
  long refuse_at;  // which allocation fails; 0: none
  long count;
  int (*take)(unsigned long long *address, size_t size);  // cuMemAlloc and cuMemFree; NULL: malloc
  int (*give)(unsigned long long address);
} Ledger;

static void *allocate(void *context, size_t bytes, size_t alignment) {
  Ledger *ledger = context;
  unsigned long long address = 0;
  pthread_mutex_lock(&ledger->mutex);
  bool refused = ledger->refuse_at && ++ledger->count == ledger->refuse_at;
  if (!bytes || (alignment & (alignment - 1))) ledger->wrong++;
  if (!refused) {
    if (ledger->take) ledger->take(&address, bytes);
    else address = (unsigned long long)(uintptr_t)aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (!ledger->take) memset((void *)(uintptr_t)address, 0xa5, bytes);  // not zeroed: that is Ingot's work
    ledger->live += bytes;
    ledger->blocks++;
    if (ledger->live > ledger->most) ledger->most = ledger->live;
  }
  pthread_mutex_unlock(&ledger->mutex);
  return (void *)(uintptr_t)address;
}

static void release(void *context, void *memory, size_t bytes) {
  Ledger *ledger = context;
  pthread_mutex_lock(&ledger->mutex);
  if (!memory || bytes > ledger->live || !ledger->blocks) ledger->wrong++;
  ledger->live -= bytes;
  ledger->blocks--;
  if (ledger->give) ledger->give((unsigned long long)(uintptr_t)memory);
  else free(memory);
  pthread_mutex_unlock(&ledger->mutex);
}

static ingot_allocator of(Ledger *ledger) {
  *ledger = (Ledger){.mutex = PTHREAD_MUTEX_INITIALIZER};
  return (ingot_allocator){sizeof(ingot_allocator), allocate, release, ledger};
}

// The whole way of a model. The error that ended it, or NULL.
static ingot_error *whole_way(const ingot_config *config, float *result) {
  ingot_model *model = NULL;
  ingot_engine *engine = NULL, *loaded = NULL;
  ingot_session *session = NULL;
  void *bytes = NULL;
  size_t size;
  static uint8_t pixels[3 * 64];
  int64_t shape[] = {3, 1, 8, 8};
  for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 37);
  ingot_tensor out, in = {.data = pixels, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = shape};
  ingot_error *error = ingot_model_open(MODEL, config, &model);
  if (!error) error = ingot_engine_build(model, config, &engine);
  ingot_model_free(model);
  if (!error) error = ingot_engine_save_memory(engine, &bytes, &size);
  if (!error) error = ingot_engine_load_memory(bytes, size, config, &loaded);
  if (!error) error = ingot_session_create(loaded, config, &session);
  for (int i = 0; i < 3 && !error; i++) error = ingot_session_run(session, &in, 1, &out, 1);
  if (!error) memcpy(result, out.data, 30 * sizeof *result);
  ingot_session_free(session);
  ingot_engine_free(loaded);
  ingot_engine_free(engine);
  free(bytes);
  return error;
}

static ingot_config cpu_config(void) {
  ingot_config config;
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 2;
  return config;
}

static void expect_settled(const Ledger *ledger) {
  cr_expect_eq(ledger->wrong, 0);
  cr_expect_eq(ledger->live, 0, "%zu bytes were kept", ledger->live);
  cr_expect_eq(ledger->blocks, 0);
}

Test(api_allocators, the_hosts_memory_is_the_callers) {
  Ledger ledger;
  ingot_allocator host = of(&ledger);
  ingot_config plain = cpu_config(), config = plain;
  float expected[30], result[30];
  config.host_allocator = &host;
  expect_ok(whole_way(&plain, expected));
  expect_ok(whole_way(&config, result));
  cr_expect_arr_eq(result, expected, sizeof expected);
  cr_expect_gt(ledger.most, 100000, "the weights alone have more than %zu bytes", ledger.most);
  expect_settled(&ledger);
}

Test(api_allocators, what_it_refuses_is_an_error) {
  Ledger ledger;
  ingot_allocator host = of(&ledger);
  ingot_config config = cpu_config();
  config.host_allocator = &host;
  ingot_config plain = config;
  float expected[30], result[30];
  bool ended = false;
  plain.host_allocator = NULL;
  expect_ok(whole_way(&plain, expected));
  for (long at = 1; !ended && at < 10000; at++) {
    host = of(&ledger);
    ledger.refuse_at = at;
    ingot_error *error = whole_way(&config, result);
    if (error) cr_expect_eq(ingot_error_code(error), INGOT_OUT_OF_MEMORY, "%s", ingot_error_message(error));
    ended = ledger.count < at;
    if (!error) cr_expect_arr_eq(result, expected, sizeof expected, "allocation %ld was refused", at);  // what is done without
    ingot_error_free(error);
    expect_settled(&ledger);
  }
  cr_expect(ended);
}

Test(api_allocators, half_an_allocator_is_refused) {
  Ledger ledger;
  ingot_allocator good = of(&ledger), bad;
  ingot_config config = cpu_config();
  ingot_model *none;
  config.host_allocator = &bad;
  for (int i = 0; i < 4; i++) {
    bad = good;
    if (i == 0) bad.size = 0;
    if (i == 1) bad.size += 8;
    if (i == 2) bad.allocate = NULL;
    if (i == 3) bad.release = NULL;
    ingot_error *error = ingot_model_open(MODEL, &config, &none);
    cr_expect_eq(ingot_error_code(error), INGOT_INVALID_ARGUMENT);
    ingot_error_free(error);
  }
  config.host_allocator = NULL;
  config.device_allocator = &good;
  ingot_error *error = ingot_model_open(MODEL, &config, &none);
  cr_expect(strstr(ingot_error_message(error), "about a GPU"));
  ingot_error_free(error);
}

Test(api_allocators, the_devices_memory_is_the_callers) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about the emulated device");
  void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  cr_assert_not_null(library);
  Ledger ledger, host_ledger;
  ingot_allocator device = of(&ledger), host = of(&host_ledger);
  *(void **)&ledger.take = dlsym(library, "cuMemAlloc_v2");
  *(void **)&ledger.give = dlsym(library, "cuMemFree_v2");
  cr_assert(ledger.take && ledger.give);
  ingot_config config = cpu_config();
  config.device = INGOT_DEVICE_CUDA;
  config.device_allocator = &device;
  config.host_allocator = &host;
  float result[30];
  expect_ok(whole_way(&config, result));
  cr_expect_gt(ledger.most, 80000, "%zu", ledger.most);
  expect_settled(&ledger);
  expect_settled(&host_ledger);
  ledger.count = 0;
  ledger.refuse_at = 2;
  ingot_error *error = whole_way(&config, result);
  cr_expect_eq(ingot_error_code(error), INGOT_OUT_OF_MEMORY, "%s", ingot_error_message(error));
  ingot_error_free(error);
  expect_settled(&ledger);
}
