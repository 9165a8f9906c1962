// Plans that an engine holds: a session takes them as they are, on the CPU or on the emulated GPU; where one does not fit, the log says why,
// another is made, and the answers are the same.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/layout.h"
#include "tests/unit/api_test.h"

#define MODEL "tests/regress/bn_f32/model.onnx"
enum { MOST_LOG = 4096, MOST_ELEMENTS = 1 << 16 };

static ingot_config config;
static char heard[MOST_LOG], cache[] = "/tmp/ingot-held-XXXXXX";
static float given[MOST_ELEMENTS], expected[MOST_ELEMENTS];
static size_t answer_bytes;
static void *file;
static size_t file_size;

static void hear(void *context, ingot_severity severity, const char *message) {
  size_t length = strlen(heard);
  snprintf(heard + length, sizeof heard - length, "%s\n", message);
}

// The results of a session on the engine; what was logged is in `heard`.
static void answer(ingot_engine *engine, const ingot_config *with, float *out) {
  const ingot_binding *binding = ingot_engine_input(engine, 0);
  ingot_tensor input = {.data = given,
                        .device = {INGOT_CPU, 0},
                        .ndim = ingot_binding_rank(binding),
                        .dtype = ingot_binding_dtype(binding),
                        .shape = (int64_t *)(uintptr_t)ingot_binding_dims(binding)};
  ingot_tensor result;
  ingot_session *session;
  heard[0] = 0;
  expect_ok(ingot_session_create(engine, with, &session));
  expect_ok(ingot_session_run(session, &input, 1, &result, 1));
  answer_bytes = sizeof *out;
  for (int i = 0; i < result.ndim; i++) answer_bytes *= (size_t)result.shape[i];
  cr_assert_leq(answer_bytes, sizeof expected);
  memcpy(out, result.data, answer_bytes);
  ingot_session_free(session);
}

static ingot_engine *load(const void *bytes) {
  ingot_engine *engine;
  expect_ok(ingot_engine_load_memory(bytes, file_size, &config, &engine));
  return engine;
}

static void set_up(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  bool emulated = driver && strstr(driver, "emulator");
  ingot_model *model;
  ingot_engine *engine;
  cr_assert_not_null(mkdtemp(cache));
  expect_ok(ingot_config_init(&config));
  config.device = emulated ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  config.threads = 1;
  config.cache_directory = cache;
  config.log = hear;
  config.log_most = INGOT_VERBOSE;
  for (int i = 0; i < MOST_ELEMENTS; i++) given[i] = (float)(i * 37 % 101) / 32 - 1;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_engine_save_memory(engine, &file, &file_size));
  answer(engine, &config, expected);
  cr_expect(strstr(heard, "running by the engine's plan"), "%s", heard);
  ingot_engine_free(engine);
}

static void tear_down(void) {
  char command[300];
  snprintf(command, sizeof command, "rm -rf '%s'", cache);
  cr_expect_eq(system(command), 0);
  free(file);
}
TestSuite(api_held_plans, .init = set_up, .fini = tear_down, .timeout = 120);

static void expect_same(ingot_engine *engine, const ingot_config *with, const char *says) {
  static float answers[MOST_ELEMENTS];
  answer(engine, with, answers);
  cr_expect(strstr(heard, says), "'%s' is not in:\n%s", says, heard);
  cr_expect(!memcmp(answers, expected, answer_bytes), "other answers: %s", says);
}

Test(api_held_plans, a_loaded_engine_runs_by_its_plan) {
  ingot_engine *engine = load(file);
  cr_assert_eq(ingot_engine_plan_count(engine), 1);
  const ingot_plan *plan = ingot_engine_plan(engine, 0);
  cr_expect(strstr(ingot_plan_needs(plan), "plan version"), "%s", ingot_plan_needs(plan));
  cr_expect(!strncmp(ingot_plan_text(plan), "plan for ", 9));
  cr_expect_geq(ingot_plan_steps(engine, plan), 1);
  cr_expect_eq(ingot_plan_missing_kernels(engine, plan), 0);
  cr_expect_eq(ingot_plan_kernels(engine, plan) > 0, config.device == INGOT_DEVICE_CUDA);
  expect_same(engine, &config, "running by the engine's plan");
  void *again;
  size_t size;
  expect_ok(ingot_engine_save_memory(engine, &again, &size));
  cr_expect(size == file_size && !memcmp(again, file, size), "saved again it is another file");
  free(again);
  ingot_engine_free(engine);
}

// Built without a device, for several; this one takes its own plan, whose kernels are there.
Test(api_held_plans, built_for_what_is_not_here) {
  if (config.device != INGOT_DEVICE_CUDA) cr_skip_test("kernels are compiled where the emulator is");
  ingot_config far = config;
  ingot_model *model;
  ingot_engine *engine;
  far.targets = "sm_80,L4,rtx4090,H100,H200";
  expect_ok(ingot_model_open(MODEL, &far, &model));
  expect_ok(ingot_engine_build(model, &far, &engine));
  ingot_model_free(model);
  cr_assert_eq(ingot_engine_plan_count(engine), 5);
  cr_expect_str_eq(ingot_plan_needs(ingot_engine_plan(engine, 1)), "plan version 4, sm_89");
  cr_expect_eq(ingot_plan_multiprocessors(ingot_engine_plan(engine, 1)), 58);
  cr_expect_eq(ingot_plan_multiprocessors(ingot_engine_plan(engine, 2)), 128);
  for (int i = 0; i < 5; i++) {
    const ingot_plan *plan = ingot_engine_plan(engine, i);
    cr_expect_geq(ingot_plan_kernels(engine, plan), 1);
    cr_expect_eq(ingot_plan_missing_kernels(engine, plan), 0, "%s", ingot_plan_needs(plan));
  }
  expect_same(engine, &config, "running by the engine's plan");
  cr_expect(!strstr(heard, "planned in"), "%s", heard);
  ingot_engine_free(engine);
}

Test(api_held_plans, targets_that_make_no_sense_are_refused) {
  ingot_config far = config;
  ingot_model *model;
  far.device = INGOT_DEVICE_AUTO;
  far.targets = "sm_91";
  expect_error(ingot_model_open(MODEL, &far, &model), INGOT_INVALID_ARGUMENT, "sm_90a, H100, H200");
  far.targets = "";
  expect_error(ingot_model_open(MODEL, &far, &model), INGOT_INVALID_ARGUMENT, "is called ''");
  far.targets = "H100,,L4";
  expect_error(ingot_model_open(MODEL, &far, &model), INGOT_INVALID_ARGUMENT, "is called ''");
  far.targets = "H100,";
  far.tuning_seconds = 1;
  expect_error(ingot_model_open(MODEL, &far, &model), INGOT_INVALID_ARGUMENT, "tuning measures");
  far.tuning_seconds = 0;
  far.device = INGOT_DEVICE_CPU;
  expect_error(ingot_model_open(MODEL, &far, &model), INGOT_INVALID_ARGUMENT, "targets are GPUs");
}

// Another text of the same length somewhere in the plans, under a checksum that is right.
static ingot_engine *altered(const char *from, const char *to) {
  Header header;
  char *bytes = malloc(file_size);
  memcpy(bytes, file, file_size);
  memcpy(&header, bytes, sizeof header);
  const SectionEntry *plans = &header.sections[SECTION_PLANS];
  char *at = memmem(bytes + plans->offset, plans->size, from, strlen(from));
  cr_assert(at, "'%s' is not in the plans", from);
  memcpy(at, to, strlen(to));
  engine_seal(bytes);
  ingot_engine *engine = load(bytes);
  free(bytes);
  return engine;
}

Test(api_held_plans, what_does_not_fit_is_refused_with_the_reason_and_made_anew) {
  static const struct {
    const char *from, *to, *says;
  } rows[] = {
      {"plan version 4", "plan version 9", "it was made for 'plan version 9"},
      {"\nstep 0:", "\nstep 7:", "step 7 is number 0"},
      {"\nbuffer ", "\nbudder ", "expected a buffer, a step or the end"},
      {"input 0, ", "input 5, ", "the graph has no input 5"},
      {" steps 0 to", " steps 1 to", "line"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ingot_engine *engine = altered(rows[i].from, rows[i].to);
    expect_same(engine, &config, "the engine's plan is not used, and made anew");
    cr_expect(strstr(heard, rows[i].says), "'%s' is not in:\n%s", rows[i].says, heard);
    ingot_engine_free(engine);
  }
}

Test(api_held_plans, other_threads_are_another_cpu) {
  if (config.device != INGOT_DEVICE_CPU) cr_skip_test("this is about the CPU");
  ingot_engine *engine = load(file);
  ingot_config two = config;
  two.threads = 2;
  expect_same(engine, &two, "1 threads");
  cr_expect(strstr(heard, "made anew"), "%s", heard);
  ingot_engine_free(engine);
}

// Kernels without their text are not there once those of the engine are not trusted.
Test(api_held_plans, a_plan_for_a_gpu_is_trusted_or_not_taken) {
  if (config.device != INGOT_DEVICE_CUDA) cr_skip_test("this is about a GPU");
  ingot_config wary = config;
  wary.untrusted_engine = true;
  ingot_engine *engine = load(file);
  expect_same(engine, &wary, "planned in");
  cr_expect(!strstr(heard, "running by the engine's plan"), "%s", heard);
  ingot_engine_free(engine);
}
