// A host that speaks a language with decimal commas: engines are written, read and run as in any other, numbers in strings too. The
// locale is made here, since a machine may have none.
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

static char folder[] = "/tmp/ingot-locale-XXXXXX";

static void speak_german(void) {
  cr_assert(mkdtemp(folder));
  char command[256];
  snprintf(command, sizeof command, "localedef -c -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
  setenv("LOCPATH", folder, 1);
  bool made = system(command) == 0 || access(folder, R_OK) == 0;
  if (!made || !setlocale(LC_ALL, "de_DE.UTF-8")) cr_skip("SKIPPED, with decimal commas: localedef cannot make de_DE.UTF-8");
  char text[16];
  snprintf(text, sizeof text, "%.1f", 0.5);
  cr_assert_str_eq(text, "0,5");
}

static ingot_engine *build(const char *path) {
  ingot_config config;
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  ingot_model *model;
  ingot_engine *engine;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  return engine;
}

static void expect_result(ingot_engine *engine) {
  ingot_config config;
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 2;
  ingot_session *session;
  expect_ok(ingot_session_create(engine, &config, &session));
  float x[] = {0.25f, 1.5f, -3.75f};
  int64_t shape[] = {3};
  ingot_tensor input = {.data = x, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape},
               output = {0};
  expect_ok(ingot_session_run(session, &input, 1, &output, 1));
  const float *y = output.data;
  for (int i = 0; i < 3; i++) cr_expect_eq(y[i], x[i] * 0.1f + 2.5f, "[%d] is %g", i, (double)y[i]);
  ingot_session_free(session);
}

// x goes to strings and back: its text has the point that the standard prescribes.
Test(locale, engines_do_not_care) {
  speak_german();
  ingot_engine *engine = build("tests/regress/numbers_in_strings/model.onnx");
  expect_result(engine);
  char path[64], text[16];
  snprintf(path, sizeof path, "%s/engine", folder);
  expect_ok(ingot_engine_save(engine, path));
  char *printed = ingot_engine_text(engine);
  cr_expect(strstr(printed, "2.5"), "the text has no 2.5: %s", printed);
  free(printed);
  ingot_engine_free(engine);
  expect_ok(ingot_engine_load(path, NULL, &engine));
  expect_result(engine);
  ingot_engine_free(engine);
  snprintf(text, sizeof text, "%.1f", 0.5);
  cr_expect_str_eq(text, "0,5", "the host's own locale is gone: %s", text);
}
