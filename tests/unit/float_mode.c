// The floating-point mode is the host's: whatever it has set, results are the same, subnormal numbers among them, and it finds its own
// mode when the call returns. Worker threads, and threads borrowed from a host, likewise.
#include <fenv.h>
#include <math.h>
#include <string.h>

#include "base/float_mode.h"
#include "base/thread.h"
#include "tests/unit/api_test.h"

enum { COUNT = 8 };

static void run(const char *path, const float *x, ingot_tensor *outputs, int output_count,
                void (*check)(const ingot_tensor *)) {
  ingot_config config;
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 2;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_session_create(engine, &config, &session));
  int64_t shape[] = {COUNT};
  ingot_tensor input = {
      .data = (void *)(uintptr_t)x, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
  expect_ok(ingot_session_run(session, &input, 1, outputs, output_count));
  check(outputs);
  ingot_session_free(session);
  ingot_engine_free(engine);
}

static void check_subnormals(const ingot_tensor *outputs) {
  uint32_t halves[2];
  const float *ceilings = outputs[1].data;
  const uint8_t *negative = outputs[3].data;
  memcpy(halves, outputs[0].data, sizeof halves);
  cr_expect_eq(halves[0], 35681, "half of 1e-40 has the bits %u", halves[0]);
  cr_expect_eq(halves[1], 0x80000000u + 35681);
  cr_expect_eq(ceilings[0], 1);
  cr_expect_eq(negative[1], 1);
}

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, if rounding is to nearest.
static void check_rounding(const ingot_tensor *outputs) {
  const float *y = outputs[0].data, expected[COUNT] = {0, 0, 1, 2, 2, -1, -3, 8};
  for (int i = 0; i < COUNT; i++) cr_expect_eq(y[i], expected[i], "[%d] is %g", i, (double)y[i]);
}

static void run_both(void) {
  const float tiny[COUNT] = {1e-40f, -1e-40f, 3e-38f, 0, -0.0f, 1e-45f, 1.5f, -2};
  const float plain[COUNT] = {0.3f, 0.5f, 0.7f, 1.5f, 2.4f, -0.6f, -3.2f, 7.9f};
  ingot_tensor outputs[4] = {0};
  run("tests/regress/subnormals/model.onnx", tiny, outputs, 4, check_subnormals);
  memset(outputs, 0, sizeof outputs);
  run("tests/regress/repro_magic_round/model.onnx", plain, outputs, 1, check_rounding);
}

Test(float_mode, the_hosts_mode_changes_nothing_and_stays) {
  run_both();
  fenv_t before;
  cr_assert_eq(fegetenv(&before), 0);
  fesetround(FE_UPWARD);
#if defined(__x86_64__)
  enum { FLUSH_RESULTS = 1 << 15, FLUSH_OPERANDS = 1 << 6, DIVISION_HAPPENED = 1 << 2, INVALID_TRAPS = 1 << 7 };
  unsigned mode = (__builtin_ia32_stmxcsr() | FLUSH_RESULTS | FLUSH_OPERANDS | DIVISION_HAPPENED) & ~(unsigned)INVALID_TRAPS;
  __builtin_ia32_ldmxcsr(mode);
  run_both();
  unsigned after = __builtin_ia32_stmxcsr();
  fesetenv(&before);
  cr_expect_eq(after, mode, "the mode was %x and is %x", mode, after);
#else
  run_both();
  int rounding = fegetround();
  fesetenv(&before);
  cr_expect_eq(rounding, FE_UPWARD);
#endif
}

static void halve(void *context, int64_t begin, int64_t end) {
  volatile float tiny = 1e-40f;
  for (int64_t i = begin; i < end; i++) ((float *)context)[i] = tiny * 0.5f;
}

// Threads that were started while the host flushed do not.
Test(float_mode, workers_do_not_inherit) {
  float products[4096];
  FloatMode before = float_mode_take();
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 1 << 15 | 1 << 6);
#endif
  ThreadPool *pool = thread_pool_new(3);
  float_mode_restore(before);
  parallel_for(pool, 4096, 1, halve, products);
  for (int i = 0; i < 4096; i++) cr_assert(products[i] > 0, "[%d] was flushed", i);
  thread_pool_free(pool);
}
