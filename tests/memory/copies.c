// Weights are one copy per engine and device: 64 MiB of them, planned for 40 batch sizes and run at three by two sessions, stay near one copy
// in memory beside the engine's own bytes. (Images of 4x4 and less get two: the library wants another order of them for the smallest batches.)
//
//   ingot-memory-copies [--batches N]
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ingot/ingot.h"
#include "tests/memory/models.h"
#include "tests/memory/resident.h"
#include "tests/options.h"

enum { MLP_WIDTH = 1448, CHANNELS = 480, LAYERS = 8, SIDE = 8, MOST_BATCHES = 64, LIMIT_MIB = 4, MARGIN_MIB = 40 };

static float input[MOST_BATCHES * CHANNELS * SIDE * SIDE];

static ingot_error *run_batch(ingot_session *session, bool images, int batch) {
  int64_t shape[4] = {batch, images ? CHANNELS : MLP_WIDTH, SIDE, SIDE};
  ingot_tensor output;
  ingot_tensor x = {
      .data = input, .device = {INGOT_CPU, 0}, .ndim = images ? 4 : 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
  return ingot_session_run(session, &x, 1, &output, 1);
}

static ingot_error *plan_batch(ingot_session *session, bool images, int batch) {
  int64_t shape[4] = {batch, images ? CHANNELS : MLP_WIDTH, SIDE, SIDE};
  const int64_t *shapes[] = {shape};
  return ingot_session_set_shapes(session, shapes, 1);
}

static ingot_error *build(bool images, ingot_engine **engine, size_t *weights) {
  ModelBytes bytes = images ? model_convolutions(CHANNELS, LAYERS) : model_perceptron(MLP_WIDTH, LAYERS);
  ingot_model *model = NULL;
  ingot_config config;
  ingot_error *error = ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  *weights = bytes.weight_bytes;
  if (!error) error = ingot_model_open_memory(bytes.data, bytes.size, NULL, &config, &model);
  free(bytes.data);
  if (!error) error = ingot_engine_build(model, &config, engine);
  ingot_model_free(model);
  return error;
}

static bool failed(ingot_error *error) {
  if (error) printf("%s\n", ingot_error_message(error));
  ingot_error_free(error);
  return error != NULL;
}

static bool is_one_copy(bool images, int batches) {
  ingot_engine *engine = NULL;
  ingot_session *sessions[2] = {0};
  ingot_config config;
  size_t weights = 0;
  ingot_error *error = build(images, &engine, &weights);
  malloc_trim(0);  // what earlier work freed would count as room
  size_t before = resident_bytes();
  if (!error) error = ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  config.plan_cache_limit = (size_t)LIMIT_MIB << 20;
  for (int s = 0; s < 2 && !error; s++) {
    error = ingot_session_create(engine, &config, &sessions[s]);
    for (int b = 1; b <= batches && !error; b++)
      error = b <= 3 ? run_batch(sessions[s], images, b) : plan_batch(sessions[s], images, b);
  }
  size_t grown = resident_bytes() - before;
  for (int s = 0; s < 2; s++) ingot_session_free(sessions[s]);
  ingot_engine_free(engine);
  if (failed(error)) return false;
  printf("%s, 2 sessions, %d batch sizes: %.1f MiB beside the engine; weights %.1f, margin %d MiB\n",
         images ? "convolutions" : "products", batches, (double)grown / 0x1p20, (double)weights / 0x1p20,
         2 * LIMIT_MIB + MARGIN_MIB);
  return grown <= weights + ((size_t)(2 * LIMIT_MIB + MARGIN_MIB) << 20);
}

int main(int argc, char **argv) {
  int batches = 40;
  const TestOption table[] = {{"--batches", TEST_INT, &batches, 1}, {NULL}};
  static const char usage[] = "ingot-memory-copies [--batches N]";
  if (test_options(argc, argv, table, usage) || batches > MOST_BATCHES) return fprintf(stderr, "usage: %s\n", usage), 2;
  bool products = is_one_copy(false, batches), convolutions = is_one_copy(true, batches);
  return products && convolutions ? 0 : 1;
}
