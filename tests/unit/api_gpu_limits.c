// Calls that are ended while a GPU works, on the emulated one, which can be told to be busy. Cancelled, out of time or out of memory, in opening, building,
// tuning, preparing, running and profiling: each ends with its own error, its objects stay usable, and what the GPU still uses is not
// given back under its hands (the emulated one reports that). No test depends on how long anything takes.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

#define MODEL "tests/emulator/faults/product.onnx"
enum { FOR_EVER = 1000000, MOST = 4096 };

static ingot_config plain;
static ingot_model *model;
static ingot_engine *engine;
static char cache[] = "/tmp/ingot-limits-XXXXXX";
static float input[MOST], expected[MOST];
static size_t expected_bytes;
static void (*be_busy)(double seconds);
static int (*findings)(void);

static void expect_code(ingot_error *error, ingot_code code, const char *what) {
  cr_expect_eq(ingot_error_code(error), code, "%s: %s", what, error ? ingot_error_message(error) : "no error");
  ingot_error_free(error);
}

static int64_t shape[8];
static ingot_tensor host_input(void) {
  const ingot_binding *binding = ingot_engine_input(engine, 0);
  for (int k = 0; k < ingot_binding_rank(binding); k++) shape[k] = ingot_binding_dims(binding)[k];
  return (ingot_tensor){.data = input,
                        .device = {INGOT_CPU, 0},
                        .ndim = ingot_binding_rank(binding),
                        .dtype = ingot_binding_dtype(binding),
                        .shape = shape};
}

static ingot_error *run(ingot_session *session, float *out, size_t *bytes) {
  ingot_tensor x = host_input(), y;
  ingot_error *error = ingot_session_run(session, &x, 1, &y, 1);
  if (error) return error;
  *bytes = y.dtype.bits / 8u;
  for (int k = 0; k < y.ndim; k++) *bytes *= (size_t)y.shape[k];
  cr_assert_leq(*bytes, sizeof expected);
  memcpy(out, y.data, *bytes);
  return NULL;
}

// Where it runs, the result is right.
static ingot_error *run_right(ingot_session *session) {
  float out[MOST];
  size_t bytes;
  ingot_error *error = run(session, out, &bytes);
  if (error) return error;
  cr_expect_eq(bytes, expected_bytes);
  cr_expect_arr_eq(out, expected, expected_bytes);
  return NULL;
}

static void expect_right(ingot_session *session) { expect_ok(run_right(session)); }

static void set_up(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about the emulated device");
  void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  *(void **)&be_busy = dlsym(library, "emulator_be_busy");
  *(void **)&findings = dlsym(library, "emulator_findings");
  cr_assert(be_busy && findings);
  cr_assert_not_null(mkdtemp(cache));
  expect_ok(ingot_config_init(&plain));
  plain.device = INGOT_DEVICE_CUDA;
  plain.cache_directory = cache;
  for (int i = 0; i < MOST; i++) input[i] = (float)(i * 37 % 101) / 101;
  expect_ok(ingot_model_open(MODEL, &plain, &model));
  expect_ok(ingot_engine_build(model, &plain, &engine));
  ingot_session *session;
  expect_ok(ingot_session_create(engine, &plain, &session));
  expect_ok(run(session, expected, &expected_bytes));
  ingot_session_free(session);
}
static void tear_down(void) {
  char command[300];
  if (!findings) return;
  ingot_engine_free(engine);
  ingot_model_free(model);
  cr_expect_eq(findings(), 0);
  snprintf(command, sizeof command, "rm -rf '%s'", cache);
  cr_expect_eq(system(command), 0);
}
TestSuite(api_gpu_limits, .init = set_up, .fini = tear_down, .timeout = 60);

// ---- waiting -----------------------------------------------------------------------------------------------------------------

// Lets the device go on, or the call end, when it was asked often enough while the device is busy.
typedef struct Watcher {
  int calls, patience;
  bool goes_on;
} Watcher;

static bool watch(void *context, const char *stage, double fraction, double seconds_left) {
  Watcher *w = context;
  if (strcmp(stage, "running")) return true;
  if (++w->calls < w->patience) return true;
  if (w->goes_on) be_busy(0);
  return w->goes_on;
}

Test(api_gpu_limits, the_watcher_is_told_while_a_gpu_works) {
  Watcher watcher = {.patience = 5, .goes_on = true};
  ingot_config watched = plain;
  ingot_session *session;
  watched.progress = watch;
  watched.progress_context = &watcher;
  expect_ok(ingot_session_create(engine, &watched, &session));
  expect_right(session);
  watcher.calls = 0;
  be_busy(FOR_EVER);
  expect_right(session);
  cr_expect_geq(watcher.calls, 5);
  ingot_session_free(session);
}

static ingot_error *run_busy(ingot_session *session) {
  float out[MOST];
  size_t bytes;
  be_busy(FOR_EVER);
  return run(session, out, &bytes);
}

// The device is still at work when the call is back, and the next run is right.
static void expect_usable(ingot_session *session) {
  be_busy(0);
  expect_right(session);
  expect_ok(ingot_session_synchronize(session));
  expect_right(session);
}

Test(api_gpu_limits, a_watcher_ends_a_run_that_a_gpu_is_at) {
  Watcher watcher = {.patience = 1 << 30};
  ingot_config watched = plain;
  ingot_session *session;
  watched.progress = watch;
  watched.progress_context = &watcher;
  expect_ok(ingot_session_create(engine, &watched, &session));
  for (int i = 0; i < 3; i++) {
    expect_right(session);
    watcher.calls = 0;
    watcher.patience = 2 + i;
    expect_code(run_busy(session), INGOT_CANCELLED, "a run");
    watcher.patience = 1 << 30;
    expect_usable(session);
  }
  ingot_session_free(session);
}

Test(api_gpu_limits, time_ends_while_a_gpu_works) {
  ingot_config hasty = plain;
  ingot_session *session;
  hasty.time_limit = 2;
  expect_ok(ingot_session_create(engine, &hasty, &session));
  expect_right(session);
  expect_code(run_busy(session), INGOT_LIMIT, "a run");
  expect_usable(session);
  ingot_session_free(session);
}

static bool armed;
static bool request(void *context, const char *stage, double fraction, double seconds_left) {
  if (armed) ingot_cancellation_request(context);
  return true;
}

Test(api_gpu_limits, a_run_is_cancelled_from_outside_while_a_gpu_works) {
  ingot_cancellation *cancellation = ingot_cancellation_new();
  ingot_config watched = plain;
  ingot_session *session;
  watched.cancellation = watched.progress_context = cancellation;
  watched.progress = request;
  expect_ok(ingot_session_create(engine, &watched, &session));
  expect_right(session);
  armed = true;
  expect_code(run_busy(session), INGOT_CANCELLED, "a run");
  expect_code(ingot_session_synchronize(session), INGOT_CANCELLED, "waiting for what was begun");
  be_busy(0);  // and freed while the device has work of it
  ingot_session_free(session);
  ingot_cancellation_free(cancellation);
}

// ---- every kind of call ------------------------------------------------------------------------------------------------------

// One of each, with its own configuration; what it makes is freed. NULL: it went through.
static ingot_error *open_model(const ingot_config *config) {
  ingot_model *made = NULL;
  ingot_error *error = ingot_model_open(MODEL, config, &made);
  ingot_model_free(made);
  return error;
}
static ingot_error *build(const ingot_config *config) {
  ingot_engine *made = NULL;
  ingot_error *error = ingot_engine_build(model, config, &made);
  ingot_engine_free(made);
  return error;
}
static ingot_error *tune(const ingot_config *config) {
  ingot_config tuned = *config;
  tuned.tuning_seconds = 1e6;  // to the last candidate
  return build(&tuned);
}

typedef ingot_error *(*Use)(ingot_session *session);
static ingot_error *prepare(ingot_session *session) {
  host_input();
  const int64_t *shapes[] = {shape};
  return ingot_session_set_shapes(session, shapes, 1);
}
static ingot_error *run_once(ingot_session *session) {
  float out[MOST];
  size_t bytes;
  return run(session, out, &bytes);
}
static ingot_error *profile(ingot_session *session) {
  ingot_tensor x = host_input();
  ingot_profile *made = NULL;
  ingot_error *error = ingot_session_profile(session, &x, 1, &made);
  ingot_profile_free(made);
  return error;
}

static const struct {
  const char *name;
  ingot_error *(*call)(const ingot_config *config);
} calls[] = {{"opening", open_model}, {"building", build}, {"tuning", tune}};
static const struct {
  const char *name;
  Use use;
} uses[] = {{"preparing", prepare}, {"running", run_once}, {"profiling", profile}};

// Ends the call when it is asked the n-th time.
typedef struct Ender {
  long asked, at;
} Ender;
static bool end_at(void *context, const char *stage, double fraction, double seconds_left) {
  Ender *e = context;
  return ++e->asked != e->at;
}

Test(api_gpu_limits, every_call_is_ended_by_its_watcher) {
  Ender ender = {0};
  ingot_config watched = plain;
  watched.progress = end_at;
  watched.progress_context = &ender;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    for (ender.at = 1; ender.at < 100; ender.at += 1 + ender.at / 3) {
      ender.asked = 0;
      ingot_error *error = calls[i].call(&watched);
      if (ender.asked < ender.at) {
        expect_ok(error);
        cr_expect_gt(ender.at, 1, "%s asks nobody", calls[i].name);
        break;
      }
      expect_code(error, INGOT_CANCELLED, calls[i].name);
    }
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
    for (long at = 1; at < 100; at += 1 + at / 3) {
      ingot_session *session;
      ender = (Ender){0};
      expect_ok(ingot_session_create(engine, &watched, &session));
      ender = (Ender){.at = at};
      ingot_error *error = uses[i].use(session);
      bool ended = ender.asked < at;
      ender.at = 0;
      if (ended) expect_ok(error);
      else expect_code(error, INGOT_CANCELLED, uses[i].name);
      expect_right(session);
      ingot_session_free(session);
      if (!ended) continue;
      cr_expect_gt(at, 1, "%s asks nobody", uses[i].name);
      break;
    }
}

Test(api_gpu_limits, every_call_is_cancelled_from_outside_and_by_time) {
  ingot_cancellation *cancellation = ingot_cancellation_new();
  ingot_config cancelled = plain, hasty = plain;
  cancelled.cancellation = cancellation;
  hasty.time_limit = 1e-9;
  ingot_cancellation_request(cancellation);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    expect_code(calls[i].call(&cancelled), INGOT_CANCELLED, calls[i].name);
    expect_code(calls[i].call(&hasty), INGOT_LIMIT, calls[i].name);
  }
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
    ingot_session *session;
    ingot_cancellation_reset(cancellation);
    expect_ok(ingot_session_create(engine, &cancelled, &session));
    ingot_cancellation_request(cancellation);
    expect_code(uses[i].use(session), INGOT_CANCELLED, uses[i].name);
    ingot_cancellation_reset(cancellation);
    expect_right(session);
    ingot_cancellation_request(cancellation);  // with its plan at hand
    expect_code(uses[i].use(session), INGOT_CANCELLED, uses[i].name);
    ingot_cancellation_reset(cancellation);
    expect_right(session);
    ingot_session_free(session);
  }
  ingot_cancellation_free(cancellation);
}

// ---- memory ------------------------------------------------------------------------------------------------------------------

Test(api_gpu_limits, every_call_has_a_limit_of_host_memory) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    ingot_config tight = plain;
    ingot_error *error = NULL;
    int refused = 0;
    for (tight.memory_limit = 1000; tight.memory_limit < 64 << 20; tight.memory_limit *= 2) {
      error = calls[i].call(&tight);
      if (!error) break;
      refused++;
      expect_code(error, INGOT_LIMIT, calls[i].name);
    }
    expect_ok(error);
    cr_expect_gt(refused, 2, "%s", calls[i].name);
  }
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
    ingot_config tight = plain;
    bool fits = false;
    int refused = 0;
    for (tight.memory_limit = 1000; !fits && tight.memory_limit < 64 << 20; tight.memory_limit += tight.memory_limit / 4) {
      ingot_session *session = NULL;
      ingot_error *error = ingot_session_create(engine, &tight, &session);
      if (!error) error = uses[i].use(session);
      if (!error) error = run_right(session);  // which may take more than the use did
      fits = !error;
      if (error) expect_code(error, INGOT_LIMIT, uses[i].name), refused++;
      ingot_session_free(session);
    }
    cr_expect(fits && refused > 2, "%s", uses[i].name);
  }
}

// Device memory that has an end: so many bytes at once.
typedef struct Purse {
  size_t held, most, limit;
  int (*take)(unsigned long long *address, size_t size);
  int (*give)(unsigned long long address);
} Purse;
static void *purse_take(void *context, size_t bytes, size_t alignment) {
  Purse *purse = context;
  unsigned long long address;
  if (purse->held + bytes > purse->limit || purse->take(&address, bytes)) return NULL;
  purse->held += bytes;
  if (purse->held > purse->most) purse->most = purse->held;
  return (void *)(uintptr_t)address;
}
static void purse_give(void *context, void *memory, size_t bytes) {
  Purse *purse = context;
  purse->held -= bytes;
  cr_expect_eq(purse->give((uintptr_t)memory), 0);
}

Test(api_gpu_limits, every_call_has_an_end_of_device_memory) {
  void *library = dlopen(getenv("INGOT_LIBCUDA"), RTLD_NOW | RTLD_LOCAL);
  Purse purse = {0};
  *(void **)&purse.take = dlsym(library, "cuMemAlloc_v2");
  *(void **)&purse.give = dlsym(library, "cuMemFree_v2");
  ingot_allocator allocator = {sizeof allocator, purse_take, purse_give, &purse};
  ingot_config tight = plain;
  tight.device_allocator = &allocator;
  purse.limit = SIZE_MAX;
  expect_ok(tune(&tight));
  cr_expect_eq(purse.held, 0);
  size_t most = purse.most;
  cr_assert_gt(most, 1000);
  for (purse.limit = 1; purse.limit < most; purse.limit *= 2) {
    ingot_error *error = tune(&tight);  // a way that does not fit is passed over; where a site itself does not, it is an error
    if (error) expect_code(error, INGOT_OUT_OF_MEMORY, "tuning");
    cr_expect_eq(purse.held, 0);
  }
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
    ingot_session *session;
    int refused = 0;
    bool fits = false;
    for (purse.limit = 1; !fits && purse.limit < (size_t)1 << 30; purse.limit *= 2) {
      expect_ok(ingot_session_create(engine, &tight, &session));
      ingot_error *error = uses[i].use(session);
      fits = !error;
      refused += error != NULL;
      if (error) expect_code(error, INGOT_OUT_OF_MEMORY, uses[i].name);
      purse.limit *= 1024;  // memory is there again: the same session goes on
      expect_right(session);
      purse.limit /= 1024;
      ingot_session_free(session);
      cr_expect_eq(purse.held, 0);
    }
    cr_expect(fits && refused > 2, "%s", uses[i].name);
  }
}
