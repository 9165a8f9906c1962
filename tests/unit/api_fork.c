// A child process gets an answer or an error from whatever it does with objects of its parent's, and never hangs.
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

#define MODEL "examples/digits/digits.onnx"
enum { IMAGES = 400 };

static ingot_config config;
static ingot_engine *engine;
static uint8_t pixels[IMAGES * 64];
static int64_t shape[] = {IMAGES, 1, 8, 8};
static ingot_tensor input = {.data = pixels, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = shape};

static void build(void) {
  ingot_model *model;
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 4;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
}

// The exit code of work, done in a child that has a minute.
static int in_child(int (*work)(void *), void *context) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(work(context));
  }
  cr_assert(child > 0 && waitpid(child, &status, 0) == child);
  cr_assert(WIFEXITED(status), "the child died of signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

static int use_parents_session(void *session) {
  ingot_tensor out;
  ingot_error *error = ingot_session_run(session, &input, 1, &out, 1);
  bool refused = error && strstr(ingot_error_message(error), "forked");
  ingot_error_free(error);
  ingot_session_free(session);
  return refused ? 0 : 1;
}

// 0: right results, 2: an error that says why not.
static int use_new_session(void *context) {
  ingot_session *session;
  ingot_tensor out;
  ingot_error *error = ingot_session_create(engine, &config, &session);
  if (error) return strstr(ingot_error_message(error), "forked") ? 2 : 1;
  error = ingot_session_run(session, &input, 1, &out, 1);
  int code = error ? 1 : context && memcmp(out.data, context, IMAGES * 10 * sizeof(float));
  ingot_session_free(session);
  ingot_engine_free(engine);
  return code ? 1 : 0;
}

Test(api_fork, before_the_first_session_a_child_works) {
  build();
  cr_expect_eq(in_child(use_new_session, NULL), 0);
  ingot_engine_free(engine);
}

Test(api_fork, after_use_a_child_works_or_is_told_why_not) {
  ingot_session *session;
  ingot_tensor out;
  static float expected[IMAGES * 10];
  build();
  expect_ok(ingot_session_create(engine, &config, &session));
  for (int i = 0; i < 3; i++) expect_ok(ingot_session_run(session, &input, 1, &out, 1));
  memcpy(expected, out.data, sizeof expected);
  cr_expect_eq(in_child(use_parents_session, session), 0);
  int code = in_child(use_new_session, expected);
  cr_expect(code == 0 || code == 2, "the child ended with %d", code);
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));  // and the parent goes on
  cr_expect_arr_eq(out.data, expected, sizeof expected);
  ingot_session_free(session);
  ingot_engine_free(engine);
}
