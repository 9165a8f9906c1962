// ingot-threads: eight threads make, run and free sessions of shared engines, a thousand in all, as a server does that starts one for
// each request. Thread sanitizer watches; each result is compared with the first one.
//
//   ingot-threads [--device cpu|cuda] [--threads N] [--sessions N] MODEL...
//
// Each model gives two engines: the one built, its model freed, and the same saved and loaded. Every thread also builds an engine of its
// own of a model that the others build from at the same time.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ingot/ingot.h"
#include "tests/options.h"

enum { MOST_ENGINES = 32, MOST_THREADS = 64, MOST_TENSORS = 8, MOST_RANK = 8, OPEN_DIM = 3 };

typedef struct Subject {
  const char *path;
  ingot_engine *engine;
  void *expected[MOST_TENSORS];
  size_t expected_bytes[MOST_TENSORS];
} Subject;

typedef struct Test {
  ingot_config config;
  ingot_model *shared_model;
  Subject subjects[MOST_ENGINES];
  int subject_count, sessions;
  pthread_mutex_t mutex;
  int next, failures;
} Test;

static void fail(Test *test, const char *where, ingot_error *error) {
  pthread_mutex_lock(&test->mutex);
  if (test->failures++ < 10) fprintf(stderr, "ingot-threads: %s: %s\n", where, error ? ingot_error_message(error) : "differs");
  pthread_mutex_unlock(&test->mutex);
  ingot_error_free(error);
}

static size_t bytes_of(const ingot_tensor *tensor) {
  size_t bytes = (tensor->dtype.bits + 7u) / 8;
  for (int k = 0; k < tensor->ndim; k++) bytes *= (size_t)tensor->shape[k];
  return bytes;
}

// Bytes that repeat and are small numbers in every type; strings are all one word.
static void fill(ingot_tensor *tensor) {
  static const char *const word = "word";
  size_t bytes = bytes_of(tensor), each = (tensor->dtype.bits + 7u) / 8;
  for (size_t i = 0; i < bytes / each; i++) {
    char *at = (char *)tensor->data + i * each;
    float number = (float)(i % 7) / 4;
    if (tensor->dtype.code == INGOT_FLOAT && tensor->dtype.bits == 32) memcpy(at, &number, sizeof number);
    else if (tensor->dtype.code == INGOT_STRING) memcpy(at, &word, sizeof word);
    else memset(at, 0, each), at[0] = (char)(i % 2);
  }
}

static void make_inputs(const ingot_engine *engine, int open_dim, ingot_tensor *inputs, int64_t (*shapes)[MOST_RANK]) {
  for (int i = 0; i < ingot_engine_input_count(engine); i++) {
    const ingot_binding *binding = ingot_engine_input(engine, i);
    const int64_t *dims = ingot_binding_dims(binding);
    int rank = ingot_binding_rank(binding);
    for (int k = 0; k < rank; k++) shapes[i][k] = dims[k] < 0 ? open_dim : dims[k];
    inputs[i] =
        (ingot_tensor){.device = {INGOT_CPU, 0}, .ndim = rank, .dtype = ingot_binding_dtype(binding), .shape = shapes[i]};
    inputs[i].data = aligned_alloc(64, (bytes_of(&inputs[i]) + 64) / 64 * 64);
    fill(&inputs[i]);
  }
}

// Runs once; the results become what is expected, or are compared with it.
static ingot_error *run_once(Subject *subject, ingot_session *session, int open_dim, bool expect, bool *same) {
  ingot_tensor inputs[MOST_TENSORS], outputs[MOST_TENSORS];
  int64_t shapes[MOST_TENSORS][MOST_RANK];
  int input_count = ingot_engine_input_count(subject->engine), output_count = ingot_engine_output_count(subject->engine);
  make_inputs(subject->engine, open_dim, inputs, shapes);
  ingot_error *error = ingot_session_run(session, inputs, input_count, outputs, output_count);
  *same = true;
  for (int i = 0; !error && open_dim == OPEN_DIM && i < output_count; i++) {
    size_t bytes = bytes_of(&outputs[i]);
    if (outputs[i].dtype.code == INGOT_STRING || !outputs[i].data) continue;
    if (expect) {
      subject->expected[i] = memcpy(malloc(bytes + 1), outputs[i].data, bytes);
      subject->expected_bytes[i] = bytes;
    } else if (bytes != subject->expected_bytes[i] || memcmp(subject->expected[i], outputs[i].data, bytes)) {
      *same = false;
    }
  }
  for (int i = 0; i < input_count; i++) free(inputs[i].data);
  return error;
}

static ingot_error *use_session(Test *test, Subject *subject, bool expect, bool *same) {
  ingot_session *session;
  ingot_error *error = ingot_session_create(subject->engine, &test->config, &session);
  if (error) return error;
  for (int run = 0; !error && *same && run < 3; run++)  // another shape between, where shapes are open
    error = run_once(subject, session, run == 1 ? OPEN_DIM + 1 : OPEN_DIM, expect && run == 0, same);
  ingot_session_free(session);
  return error;
}

static void build_own(Test *test) {
  ingot_engine *engine;
  ingot_error *error = ingot_engine_build(test->shared_model, &test->config, &engine);
  if (error) {
    fail(test, "building", error);
    return;
  }
  free(ingot_engine_text(engine));
  ingot_engine_free(engine);
}

static void *work(void *context) {
  Test *test = context;
  build_own(test);
  for (;;) {
    pthread_mutex_lock(&test->mutex);
    int number = test->next++;
    pthread_mutex_unlock(&test->mutex);
    if (number >= test->sessions) return NULL;
    Subject *subject = &test->subjects[number % test->subject_count];
    bool same = true;
    ingot_error *error = use_session(test, subject, false, &same);
    if (error || !same) fail(test, subject->path, error);
  }
}

// The model's engine, and that engine again by way of a file.
static ingot_error *add_subjects(Test *test, const char *path) {
  ingot_model *model;
  Subject *built = &test->subjects[test->subject_count], *loaded = built + 1;
  char file[] = "/tmp/ingot-threads-XXXXXX";
  ingot_error *error = ingot_model_open(path, &test->config, &model);
  if (error) return error;
  error = ingot_engine_build(model, &test->config, &built->engine);
  if (test->shared_model) ingot_model_free(model);
  else test->shared_model = model;
  int descriptor = mkstemp(file);
  if (descriptor >= 0) close(descriptor);
  if (!error) error = ingot_engine_save(built->engine, file);
  if (!error) error = ingot_engine_load(file, &test->config, &loaded->engine);
  unlink(file);
  built->path = loaded->path = path;
  for (int i = 0; !error && i < 2; i++) {
    bool same = true;
    error = use_session(test, &built[i], true, &same);
  }
  if (!error) test->subject_count += 2;
  return error;
}

int main(int argc, char **argv) {
  static Test test = {.sessions = 1000, .mutex = PTHREAD_MUTEX_INITIALIZER};
  int threads = 8;
  ingot_error_free(ingot_config_init(&test.config));
  test.config.threads = 2;
  bool cuda = false;
  const TestOption options[] = {{"--device", TEST_DEVICE, &cuda},
                                {"--threads", TEST_INT, &threads, 1},
                                {"--sessions", TEST_INT, &test.sessions, 1},
                                {NULL}};
  static const char usage[] = "ingot-threads [--device cpu|cuda] [--threads N] [--sessions N] MODEL...";
  int models = test_options(argc, argv, options, usage);
  if (!models || 2 * models > MOST_ENGINES || threads > MOST_THREADS) return fprintf(stderr, "usage: %s\n", usage), 2;
  test.config.device = cuda ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  for (int i = 1; i <= models; i++) {
    ingot_error *error = add_subjects(&test, argv[i]);
    if (!error) continue;
    fail(&test, argv[i], error);
    return 1;
  }
  pthread_t handles[MOST_THREADS];
  for (int i = 0; i < threads; i++)
    if (pthread_create(&handles[i], NULL, work, &test)) return perror("ingot-threads"), 2;
  for (int i = 0; i < threads; i++) pthread_join(handles[i], NULL);
  for (int i = 0; i < test.subject_count; i++) {
    ingot_engine_free(test.subjects[i].engine);
    for (int k = 0; k < MOST_TENSORS; k++) free(test.subjects[i].expected[k]);
  }
  ingot_model_free(test.shared_model);
  printf("%d sessions on %d threads, %d of them wrong\n", test.sessions, threads, test.failures);
  return test.failures ? 1 : 0;
}
