// Memory over many runs of many shapes, through the public interface: a convolutional net and a perceptron meet shapes at random, more than
// their plans' limit holds. What the process has resident stays below the weights, the limit that was set and 64 MiB.
//
//   ingot-memory-shapes [--runs N] [--shapes N] [--limit MiB] [--verbose]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ingot/ingot.h"
#include "tests/memory/models.h"
#include "tests/memory/resident.h"
#include "tests/options.h"

enum { CHANNELS = 24, WIDTH = 256, MARGIN_MIB = 64, LARGEST = 1 << 20 };

typedef struct Options {
  long runs;
  int shapes;
  size_t limit;
  bool verbose;
} Options;

static float input[LARGEST];

// Shape number k of 25 x 20 images, or of batches.
static int shape_of(bool images, int k, int64_t shape[4]) {
  if (!images) {
    shape[0] = k + 1, shape[1] = WIDTH;
    return 2;
  }
  shape[0] = 1, shape[1] = CHANNELS, shape[2] = 8 + k % 25, shape[3] = 8 + k / 25;
  return 4;
}

static ingot_error *run_shape(ingot_session *session, bool images, int k) {
  int64_t shape[4];
  ingot_tensor output;
  ingot_tensor x = {.data = input,
                    .device = {INGOT_CPU, 0},
                    .ndim = shape_of(images, k, shape),
                    .dtype = {INGOT_FLOAT, 32, 1},
                    .shape = shape};
  return ingot_session_run(session, &x, 1, &output, 1);
}

static ingot_error *run_all(ingot_session *session, bool images, const Options *options, size_t *peak) {
  uint64_t state = 88172645463325252u;
  for (long i = 0; i < options->runs; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    // All once, then some more often than others, so that plans both stay and go.
    int k = (int)(i < options->shapes ? i : (long)(state % (uint64_t)options->shapes) * (long)(state >> 32 & 255) / 256);
    ingot_error *error = run_shape(session, images, k);
    if (error) return error;
    if (i % 64 == 63) *peak = resident_bytes() > *peak ? resident_bytes() : *peak;
    if (options->verbose && i % (options->runs / 16 + 1) == 0) printf("  after %ld runs: %zu MiB\n", i, resident_bytes() >> 20);
  }
  return NULL;
}

static ingot_error *open_session(bool images, const Options *options, ingot_session **session, size_t *weights) {
  ModelBytes bytes = images ? model_convolutions(CHANNELS, 6) : model_perceptron(WIDTH, 8);
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  ingot_config config;
  ingot_error *error = ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  config.plan_cache_limit = options->limit;
  if (!error) error = ingot_model_open_memory(bytes.data, bytes.size, NULL, &config, &model);
  free(bytes.data);
  *weights = bytes.weight_bytes;
  if (!error) error = ingot_engine_build(model, &config, &engine);
  ingot_model_free(model);
  if (!error) error = ingot_session_create(engine, &config, session);
  ingot_engine_free(engine);
  return error;
}

static bool stays_below(bool images, const Options *options) {
  ingot_session *session = NULL;
  size_t weights, peak = 0;
  ingot_error *error = open_session(images, options, &session, &weights);
  if (!error) error = run_all(session, images, options, &peak);
  ingot_session_free(session);
  if (error) {
    printf("%s\n", ingot_error_message(error));
    ingot_error_free(error);
    return false;
  }
  size_t most = weights + options->limit + ((size_t)MARGIN_MIB << 20);
  printf("%s, %ld runs of %d shapes: %.1f MiB at most; weights %.1f, limit %.1f, margin %d MiB\n",
         images ? "images" : "batches", options->runs, options->shapes, (double)peak / 0x1p20, (double)weights / 0x1p20,
         (double)options->limit / 0x1p20, MARGIN_MIB);
  return peak <= most;
}

int main(int argc, char **argv) {
  Options options = {.runs = 1500, .shapes = 500};
  long limit = 16;
  const TestOption table[] = {{"--runs", TEST_LONG, &options.runs, 1},
                              {"--shapes", TEST_INT, &options.shapes, 1},
                              {"--limit", TEST_LONG, &limit, 1},
                              {"--verbose", TEST_FLAG, &options.verbose},
                              {NULL}};
  static const char usage[] = "ingot-memory-shapes [--runs N] [--shapes N] [--limit MIB] [--verbose]";
  if (test_options(argc, argv, table, usage)) return fprintf(stderr, "usage: %s\n", usage), 2;
  options.limit = (size_t)limit << 20;
  bool batches = stays_below(false, &options), images = stays_below(true, &options);
  return batches && images ? 0 : 1;
}
