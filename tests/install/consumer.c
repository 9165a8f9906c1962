// A program from outside: knows the installed header and one library, nothing else. With libingot it builds an engine from a
// model, saves it and runs it; with libingot-runtime (RUNTIME_ONLY) it runs the engine that the other saved.
#include <ingot/ingot.h>
#include <stdio.h>
#include <stdlib.h>

static void check(ingot_error *error, const char *doing) {
  if (!error) return;
  fprintf(stderr, "%s: %s\n", doing, ingot_error_message(error));
  exit(1);
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  const char *model_path = arguments[1], *engine_path = arguments[2];
  ingot_config config;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
#ifndef RUNTIME_ONLY
  ingot_model *model;
  ingot_engine *built;
  check(ingot_model_open(model_path, &config, &model), "opening the model");
  check(ingot_engine_build(model, &config, &built), "building");
  check(ingot_engine_save(built, engine_path), "saving");
  ingot_engine_free(built);
  ingot_model_free(model);
#else
  (void)model_path;
#endif
  ingot_engine *engine;
  ingot_session *session;
  check(ingot_engine_load(engine_path, &config, &engine), "loading");
  check(ingot_session_create(engine, &config, &session), "opening a session");
  static unsigned char pixels[64];
  int64_t shape[] = {1, 1, 8, 8};
  ingot_tensor image = {.data = pixels,
                        .device = {INGOT_CPU, 0},
                        .ndim = 4,
                        .dtype = ingot_binding_dtype(ingot_engine_input(engine, 0)),
                        .shape = shape};
  ingot_tensor probabilities;
  check(ingot_session_run(session, &image, 1, &probabilities, 1), "running");
  float sum = 0;
  for (int i = 0; i < 10; i++) sum += ((const float *)probabilities.data)[i];
  ingot_session_free(session);
  ingot_engine_free(engine);
  printf("ingot %s: %d probabilities, sum %.3f\n", ingot_version(), 10, sum);
  return sum > 0.999f && sum < 1.001f ? 0 : 1;
}
