// The host's functions, called from inside of a call, find the host's locale and floating-point mode, and what they change stays changed;
// what Ingot computes does not depend on it, in threads that they lend neither.
#include <fenv.h>
#include <locale.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

typedef struct Host {
  _Atomic int logs, progresses, allocations, releases, forks, wrong;
  int rounding;
  bool speaks_german;
} Host;

// 1 + 2^-30 rounds to 1 or to the next float: the mode as arithmetic sees it.
static void look(Host *host, _Atomic int *calls) {
  volatile float one = 1, little = 0x1p-30f;
  bool up = one + little > 1;
  ++*calls;
  if (fegetround() != host->rounding || up != (host->rounding == FE_UPWARD)) ++host->wrong;
  if (host->speaks_german && strcmp(localeconv()->decimal_point, ",")) ++host->wrong;
}

static void on_log(void *context, ingot_severity severity, const char *message) { look(context, &((Host *)context)->logs); }

static bool on_progress(void *context, const char *stage, double fraction, double seconds_left) {
  look(context, &((Host *)context)->progresses);
  return true;
}

static void *on_allocate(void *context, size_t bytes, size_t alignment) {
  void *memory;
  look(context, &((Host *)context)->allocations);
  return posix_memalign(&memory, alignment, bytes) ? NULL : memory;
}
static void on_release(void *context, void *memory, size_t bytes) {
  look(context, &((Host *)context)->releases);
  free(memory);
}

static void on_parallel(void *context, int count, void (*task)(void *argument, int index), void *argument) {
  look(context, &((Host *)context)->forks);
  for (int i = 0; i < count; i++) task(argument, i);
  look(context, &((Host *)context)->forks);
}

enum { COUNT = 1 << 16 };
static float input[COUNT];

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, if rounding is to nearest.
static void build_and_run(Host *host) {
  ingot_config config;
  ingot_allocator allocator = {.size = sizeof allocator, .allocate = on_allocate, .release = on_release, .context = host};
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 2;
  config.log = on_log;
  config.log_context = config.progress_context = config.parallel_context = host;
  config.log_most = INGOT_VERBOSE;
  config.progress = on_progress;
  config.parallel = on_parallel;
  config.host_allocator = &allocator;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  expect_ok(ingot_model_open("tests/regress/magic_round_any_size/model.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  expect_ok(ingot_session_create(engine, &config, &session));
  int64_t shape[] = {COUNT};
  ingot_tensor tensor = {.data = input, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape},
               out;
  for (int i = 0; i < COUNT; i++) input[i] = 0.3f;
  expect_ok(ingot_session_run(session, &tensor, 1, &out, 1));
  int rounded_up = 0;
  for (int i = 0; i < COUNT; i++) rounded_up += ((const float *)out.data)[i] != 0;
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
  cr_expect_eq(rounded_up, 0, "%d results were rounded in the host's mode", rounded_up);
  cr_expect(host->logs && host->progresses && host->allocations && host->releases && host->forks);
  cr_expect_eq(host->wrong, 0, "%d calls found another mode or locale", host->wrong);
}

Test(callbacks, find_the_hosts_floating_point_mode) {
  Host host = {.rounding = FE_UPWARD};
  fesetround(FE_UPWARD);
  build_and_run(&host);
  cr_expect_eq(fegetround(), FE_UPWARD);
  fesetround(FE_TONEAREST);
}

static bool change_rounding(void *context, const char *stage, double fraction, double seconds_left) {
  fesetround(FE_DOWNWARD);
  return true;
}

Test(callbacks, keep_what_they_change) {
  ingot_config config;
  ingot_model *model;
  expect_ok(ingot_config_init(&config));
  config.progress = change_rounding;
  expect_ok(ingot_model_open("tests/regress/magic_round_any_size/model.onnx", &config, &model));
  cr_expect_eq(fegetround(), FE_DOWNWARD);
  fesetround(FE_TONEAREST);
  ingot_model_free(model);
}

Test(callbacks, find_the_hosts_locale) {
  char folder[] = "/tmp/ingot-callbacks-XXXXXX", command[256];
  cr_assert(mkdtemp(folder));
  snprintf(command, sizeof command, "localedef -c -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
  setenv("LOCPATH", folder, 1);
  bool made = system(command) == 0 || access(folder, R_OK) == 0;
  if (!made || !setlocale(LC_ALL, "de_DE.UTF-8")) cr_skip("SKIPPED, with decimal commas: localedef cannot make de_DE.UTF-8");
  Host host = {.rounding = FE_TONEAREST, .speaks_german = true};
  build_and_run(&host);
  cr_expect_str_eq(localeconv()->decimal_point, ",");
  snprintf(command, sizeof command, "rm -r %s", folder);
  cr_expect_eq(system(command), 0);
}
