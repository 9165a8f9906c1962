// Every function with every pointer NULL, counts below zero and numbers out of range: an error or the documented nothing, never a crash.
// The table is by hand; that it names every function of the header is checked.
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/api_test.h"

#define MODEL "examples/digits/digits.onnx"

static ingot_config config;
static ingot_model *model;
static ingot_engine *engine;
static ingot_session *session;
static ingot_profile *profile;
static uint8_t pixels[64];
static int64_t shape[] = {1, 1, 8, 8};
static ingot_tensor input = {.data = pixels, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = shape};
static const char *covered[256];
static int covered_count;

static void set_up(void) {
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 1;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  expect_ok(ingot_session_create(engine, &config, &session));
  expect_ok(ingot_session_profile(session, &input, 1, &profile));
}
static void tear_down(void) {
  ingot_profile_free(profile);
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
}
TestSuite(api_null, .init = set_up, .fini = tear_down);

static void refused(const char *call, ingot_error *error) {
  cr_expect(error, "%s was not refused", call);
  cr_expect_eq(ingot_error_code(error), INGOT_INVALID_ARGUMENT, "%s: %s", call, ingot_error_message(error));
  cr_expect(*ingot_error_message(error), "%s is refused without a reason", call);
  ingot_error_free(error);
}

#define COVERED(call) covered[covered_count++] = #call
#define REFUSED(call) COVERED(call), refused(#call, call)
#define EQUALS(call, value) COVERED(call), equals(#call, (call) == (value))
#define EMPTY(call) COVERED(call), equals(#call, !strcmp(call, ""))
#define HARMLESS(call) COVERED(call), call

static void equals(const char *call, bool good) { cr_expect(good, "%s does not give what it should", call); }

static void errors_and_models(void) {
  HARMLESS(ingot_cancellation_request(NULL));
  HARMLESS(ingot_cancellation_reset(NULL));
  HARMLESS(ingot_cancellation_free(NULL));
  ingot_pinned *pinned = NULL;
  REFUSED(ingot_pinned_new(&config, 16, NULL));
  REFUSED(ingot_pinned_new(&config, 16, &pinned));  // of the CPU
  EQUALS(ingot_pinned_data(NULL), NULL);
  HARMLESS(ingot_pinned_free(NULL));
  ingot_cancellation *cancellation = NULL;
  HARMLESS(cancellation = ingot_cancellation_new());
  ingot_cancellation_free(cancellation);
  ingot_model *none = (ingot_model *)&none;
  EQUALS(ingot_error_code(NULL), INGOT_OK);
  EMPTY(ingot_error_message(NULL));
  HARMLESS(ingot_error_free(NULL));
  EQUALS(strcmp(ingot_version(), "0.1.0"), 0);
  COVERED(ingot_version());
  REFUSED(ingot_config_init(NULL));
  REFUSED(ingot_config_init_sized(NULL, sizeof(ingot_config)));
  REFUSED(ingot_model_open(NULL, &config, &none));
  REFUSED(ingot_model_open(MODEL, &config, NULL));
  REFUSED(ingot_model_open_memory(NULL, 4, NULL, &config, &none));
  REFUSED(ingot_model_open_memory("none", 4, NULL, &config, NULL));
  EQUALS(none, (ingot_model *)&none);  // untouched on failure
  HARMLESS(ingot_model_free(NULL));
  EQUALS(ingot_model_text(NULL), NULL);
  EMPTY(ingot_model_property(NULL, INGOT_MODEL_PRODUCER));
  EMPTY(ingot_model_property(model, (ingot_property)-1));
  EMPTY(ingot_model_property(model, (ingot_property)6));
  EQUALS(ingot_model_version(NULL), 0);
  const char *value = NULL;
  EQUALS(ingot_model_note(NULL, 0, &value), NULL);
  EQUALS(ingot_model_note(model, -1, NULL), NULL);
  EQUALS(ingot_model_note(model, INT_MAX, &value), NULL);
}

static void engines(void) {
  static const int wrong[] = {-1, 1, INT_MIN, INT_MAX};
  ingot_engine *none = NULL;
  void *bytes = NULL;
  size_t size;
  REFUSED(ingot_engine_build(NULL, &config, &none));
  REFUSED(ingot_engine_build(model, &config, NULL));
  REFUSED(ingot_engine_save(NULL, "/dev/null"));
  REFUSED(ingot_engine_save(engine, NULL));
  REFUSED(ingot_engine_load(NULL, &config, &none));
  REFUSED(ingot_engine_load(MODEL, &config, NULL));
  REFUSED(ingot_engine_save_memory(NULL, &bytes, &size));
  REFUSED(ingot_engine_save_memory(engine, NULL, &size));
  REFUSED(ingot_engine_save_memory(engine, &bytes, NULL));
  REFUSED(ingot_engine_load_memory(NULL, 4, &config, &none));
  REFUSED(ingot_engine_load_memory("none", 4, &config, NULL));
  HARMLESS(ingot_engine_free(NULL));
  EQUALS(ingot_engine_input_count(NULL), 0);
  EQUALS(ingot_engine_output_count(NULL), 0);
  EQUALS(ingot_engine_text(NULL), NULL);
  EQUALS(ingot_engine_pass_count(NULL), 0);
  EQUALS(ingot_engine_input(NULL, 0), NULL);
  EQUALS(ingot_engine_output(NULL, 0), NULL);
  EQUALS(ingot_engine_pass(NULL, 0), NULL);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    EQUALS(ingot_engine_input(engine, wrong[i]), NULL);
    EQUALS(ingot_engine_output(engine, wrong[i]), NULL);
    EMPTY(ingot_binding_dim_name(ingot_engine_input(engine, 0), wrong[i] == 1 ? 4 : wrong[i]));
  }
  EQUALS(ingot_engine_pass(engine, -1), NULL);
  EQUALS(ingot_engine_pass(engine, ingot_engine_pass_count(engine)), NULL);
  EMPTY(ingot_binding_name(NULL));
  EQUALS(ingot_binding_kind(NULL), INGOT_NOTHING);
  EQUALS(ingot_binding_dtype(NULL).bits, 0);
  EQUALS(strcmp(ingot_binding_dtype_name(NULL), "unknown"), 0);
  COVERED(ingot_binding_dtype_name(NULL));
  EQUALS(ingot_binding_has_default(NULL), false);
  EQUALS(ingot_binding_rank(NULL), -1);
  EQUALS(ingot_binding_dims(NULL), NULL);
  EMPTY(ingot_binding_dim_name(NULL, 0));
  EMPTY(ingot_pass_name(NULL));
  EQUALS(ingot_pass_changes(NULL), 0);
  EQUALS(ingot_engine_rewrite_count(NULL), 0);
  EQUALS((void *)ingot_engine_rewrite(NULL, 0), NULL);
  EQUALS(strlen(ingot_rewrite_pass(NULL)), 0);
  EQUALS(strlen(ingot_rewrite_rule(NULL)), 0);
  EQUALS(strlen(ingot_rewrite_place(NULL)), 0);
  EQUALS(strlen(ingot_rewrite_before(NULL)), 0);
  EQUALS(strlen(ingot_rewrite_after(NULL)), 0);
  EQUALS(ingot_engine_plan_count(NULL), 0);
  EQUALS((void *)ingot_engine_plan(NULL, 0), NULL);
  EQUALS((void *)ingot_engine_plan(engine, -1), NULL);
  EQUALS((void *)ingot_engine_plan(engine, ingot_engine_plan_count(engine)), NULL);
  EMPTY(ingot_plan_needs(NULL));
  EQUALS(ingot_plan_multiprocessors(NULL), 0);
  EMPTY(ingot_plan_text(NULL));
  EQUALS(ingot_plan_steps(engine, NULL), 0);
  EQUALS(ingot_plan_kernels(NULL, NULL), 0);
  EQUALS(ingot_plan_missing_kernels(engine, NULL), 0);
  EQUALS(ingot_pass_nodes_before(NULL), 0);
  EQUALS(ingot_pass_nodes_after(NULL), 0);
  EQUALS(ingot_pass_seconds(NULL), 0);
}

static void sessions(void) {
  ingot_session *none = NULL;
  const int64_t *shapes[] = {NULL}, negative[] = {-1, 1, 8, 8}, *others[] = {negative};
  REFUSED(ingot_session_create(NULL, &config, &none));
  REFUSED(ingot_session_create(engine, &config, NULL));
  HARMLESS(ingot_session_free(NULL));
  EMPTY(ingot_session_device(NULL));
  REFUSED(ingot_session_set_shapes(NULL, shapes, 1));
  REFUSED(ingot_session_set_shapes(session, NULL, 1));
  REFUSED(ingot_session_set_shapes(session, shapes, 1));
  REFUSED(ingot_session_set_shapes(session, shapes, -1));
  REFUSED(ingot_session_set_shapes(session, NULL, 0));
  REFUSED(ingot_session_set_shapes(session, others, 1));
  REFUSED(ingot_session_synchronize(NULL));
  REFUSED(ingot_session_follow(NULL, NULL));
  REFUSED(ingot_session_follow(session, NULL));  // on the CPU
  REFUSED(ingot_session_precede(NULL, NULL));
  REFUSED(ingot_session_precede(session, NULL));
  EQUALS(ingot_session_memory(NULL, INGOT_MEMORY_ARENA), 0);
  EQUALS(ingot_session_memory(session, (ingot_memory)999), 0);
  EQUALS(ingot_session_memory(session, (ingot_memory)-1), 0);
}

static void runs(void) {
  ingot_tensor out, bad = input;
  EQUALS(ingot_session_output_kind(NULL, 0), INGOT_NOTHING);
  EQUALS(ingot_session_output_kind(session, -1), INGOT_NOTHING);
  EQUALS(ingot_session_output_kind(session, INT_MAX), INGOT_NOTHING);
  EQUALS(ingot_session_output_length(NULL, 0), 0);
  EQUALS(ingot_session_output_length(session, 1), 0);
  REFUSED(ingot_session_output_element(NULL, 0, 0, &out));
  REFUSED(ingot_session_output_element(session, 0, 0, NULL));
  REFUSED(ingot_session_output_element(session, 0, -1, &out));
  REFUSED(ingot_session_output_element(session, 0, 0, &out));
  REFUSED(ingot_session_output_element(session, INT_MIN, 0, &out));
  ingot_result *taken = NULL;
  REFUSED(ingot_session_take_output(NULL, 0, &taken));
  REFUSED(ingot_session_take_output(session, 0, NULL));
  REFUSED(ingot_session_take_output(session, -1, &taken));
  REFUSED(ingot_session_take_output(session, INT_MAX, &taken));
  REFUSED(ingot_session_take_output(session, 0, &taken));  // before the first run
  HARMLESS(ingot_result_free(NULL));
  ingot_output into = {.size = sizeof into};
  double milliseconds;
  char *plan;
  ingot_profile *none = NULL;
  REFUSED(ingot_session_run(NULL, &input, 1, &out, 1));
  REFUSED(ingot_session_run(session, NULL, 1, &out, 1));
  REFUSED(ingot_session_run(session, &input, 1, NULL, 1));
  REFUSED(ingot_session_run(session, NULL, 0, NULL, 0));
  REFUSED(ingot_session_run(session, &input, -1, &out, 1));
  REFUSED(ingot_session_run(session, &input, 1, &out, -1));
  REFUSED(ingot_session_run(session, &input, INT_MAX, &out, INT_MIN));
  REFUSED(ingot_session_run_into(NULL, &input, 1, &into, 1));
  REFUSED(ingot_session_run_into(session, NULL, 1, &into, 1));
  REFUSED(ingot_session_run_into(session, &input, 1, NULL, 1));
  REFUSED(ingot_session_run_into(session, &input, -1, &into, 1));
  REFUSED(ingot_session_run_into(session, &input, 1, &into, INT_MIN));
  REFUSED(ingot_session_run_ordered(NULL, NULL, &input, 1, &into, 1));
  REFUSED(ingot_session_run_ordered(session, NULL, NULL, 1, &into, 1));
  REFUSED(ingot_session_run_ordered(session, NULL, &input, 1, NULL, 1));
  REFUSED(ingot_session_run_ordered(session, NULL, &input, 1, &into, 1));  // on the CPU
  REFUSED(ingot_session_profile(NULL, &input, 1, &none));
  REFUSED(ingot_session_profile(session, NULL, 1, &none));
  REFUSED(ingot_session_profile(session, &input, 1, NULL));
  REFUSED(ingot_session_profile(session, &input, -1, &none));
  REFUSED(ingot_session_plan_text(NULL, &input, 1, &plan));
  REFUSED(ingot_session_plan_text(session, NULL, 1, &plan));
  REFUSED(ingot_session_plan_text(session, &input, 1, NULL));
  REFUSED(ingot_session_plan_text(session, &input, -1, &plan));
  REFUSED(ingot_session_explain(NULL, &input, 1, "0", false, &plan));
  REFUSED(ingot_session_explain(session, NULL, 1, "0", false, &plan));
  REFUSED(ingot_session_explain(session, &input, 1, NULL, false, &plan));
  REFUSED(ingot_session_explain(session, &input, 1, "0", true, NULL));
  REFUSED(ingot_session_explain(session, &input, -1, "0", true, &plan));
  REFUSED(ingot_session_time(NULL, &input, 1, 0.01, &milliseconds));
  REFUSED(ingot_session_time(session, NULL, 1, 0.01, &milliseconds));
  REFUSED(ingot_session_time(session, &input, 1, 0.01, NULL));
  REFUSED(ingot_session_time(session, &input, -1, 0.01, &milliseconds));
  REFUSED(ingot_session_time(session, &input, 1, -1, &milliseconds));
  REFUSED(ingot_session_time(session, &input, 1, 0.0 / 0.0, &milliseconds));
  bad.shape = NULL;
  REFUSED(ingot_session_run(session, &bad, 1, &out, 1));
  bad = input;
  bad.ndim = INT_MIN;
  REFUSED(ingot_session_run(session, &bad, 1, &out, 1));
  bad = input;
  bad.dtype.lanes = 4;
  REFUSED(ingot_session_run(session, &bad, 1, &out, 1));
  bad = input;
  bad.device.device_type = 0;
  REFUSED(ingot_session_run(session, &bad, 1, &out, 1));
  bad = (ingot_tensor){.device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_TENSORS, 64, 1}, .shape = shape};
  REFUSED(ingot_session_run(session, &bad, 1, &out, 1));
  bad.shape = NULL;
  REFUSED(ingot_session_run(session, &bad, 1, &out, 1));
  bad = (ingot_tensor){0};
  REFUSED(ingot_session_run(session, &bad, 1, &out, 1));
}

static void profiles(void) {
  static const int wrong[] = {-1, INT_MIN, INT_MAX};
  HARMLESS(ingot_profile_free(NULL));
  EQUALS(ingot_profile_step_count(NULL), 0);
  EMPTY(ingot_profile_name(NULL, 0));
  EMPTY(ingot_profile_op(NULL, 0));
  EMPTY(ingot_profile_tactic(NULL, 0));
  EMPTY(ingot_profile_origins(NULL, 0));
  EQUALS(ingot_profile_milliseconds(NULL, 0), 0);
  EQUALS(ingot_profile_predicted(NULL, 0), 0);
  EQUALS(ingot_profile_stream(NULL, 0), 0);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    EMPTY(ingot_profile_name(profile, wrong[i]));
    EMPTY(ingot_profile_op(profile, wrong[i]));
    EMPTY(ingot_profile_tactic(profile, wrong[i]));
    EMPTY(ingot_profile_origins(profile, wrong[i]));
    EQUALS(ingot_profile_milliseconds(profile, wrong[i]), 0);
    EQUALS(ingot_profile_predicted(profile, wrong[i]), 0);
    EQUALS(ingot_profile_stream(profile, wrong[i]), 0);
  }
}

static bool is_covered(const char *call) {
  for (int i = 0; i < covered_count; i++)
    if (strstr(covered[i], call)) return true;
  return false;
}

// Every name in front of a parenthesis that the header declares.
static void expect_all_covered(void) {
  FILE *file = fopen("include/ingot/ingot.h", "re");
  char line[512];
  int declared = 0;
  cr_assert_not_null(file);
  while (fgets(line, sizeof line, file)) {
    const char *at = strstr(line, "INGOT_API ");
    if (at != line || !(at = strstr(at + 10, "ingot_"))) continue;
    for (const char *next; (next = strstr(at + 1, "ingot_")) && next < strchr(line, '('); at = next) continue;
    size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");
    cr_assert_eq(at[length], '(', "not a declaration: %s", line);
    char call[128];
    snprintf(call, sizeof call, "%.*s(", (int)length, at);
    cr_expect(is_covered(call), "%s stands in no row", call);
    declared++;
  }
  fclose(file);
  cr_expect_gt(declared, 40);
}

Test(api_null, every_function) {
  errors_and_models();
  engines();
  sessions();
  runs();
  profiles();
  expect_all_covered();
  ingot_tensor out;
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));  // and the session goes on
}
