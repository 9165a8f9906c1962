// What is done while calls fail: building, loading, inferring, profiling and tuning, over the public interface alone. A call of the library that
// fails is made again: after a passing failure the second must succeed on the same objects, and results must be right.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <unistd.h>
#include "tests/emulator/faults/faults.h"

static ingot_config config_of(Run *run) {
  ingot_config config;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CUDA;
  config.cache_directory = run->subject->cache;
  config.log = log_message;
  config.log_context = run;
  config.log_most = INGOT_VERBOSE;
  return config;
}

// A sticky failure makes the second attempt fail as well, with an error as clear as the first's.
#define TWICE(run, what, call) (judge(run, what, call) || judge(run, what, call))

static void check_output(Run *run, const char *what, const float *values) {
  for (size_t i = 0; i < run->subject->output_count; i++) {
    if (fabsf(values[i] - run->subject->expected[i]) < 1e-4f) continue;
    problem(run, "%s: element %zu is %g, not %g", what, i, (double)values[i], (double)run->subject->expected[i]);
    return;
  }
}

enum { PLACES = 2 };

// Of one place to the next.
static size_t place_bytes(const Subject *s) { return (s->input_bytes + 511) / 512 * 512 + 4096; }

static ingot_tensor input_of(Run *run, bool on_device, int place) {
  const Subject *s = run->subject;
  return (ingot_tensor){.data = on_device ? (char *)run->device + (size_t)place * place_bytes(s) : s->input,
                        .device = {on_device ? INGOT_CUDA : INGOT_CPU, 0},
                        .ndim = s->input_rank,
                        .dtype = s->input_dtype,
                        .shape = (int64_t *)s->input_shape};
}

// Runs with the input and output on the host; the library's memory, or the caller's.
static ingot_error *run_on_host(Run *run, ingot_session *session, bool own) {
  static const float untouched = 12345;
  float buffer[64];
  ingot_tensor input = input_of(run, false, 0);
  ingot_output output = {.size = sizeof output};
  for (size_t i = 0; i < 64; i++) buffer[i] = untouched;
  if (own)
    output = (ingot_output){sizeof output, INGOT_OWNED_BY_CALLER, {.data = buffer, .device = {INGOT_CPU, 0}}, sizeof buffer};
  ingot_error *error = ingot_session_run_into(session, &input, 1, &output, 1);
  if (!error) check_output(run, "output on the host", output.tensor.data);
  else if (!own && output.tensor.data) problem(run, "a run that failed handed out an output");
  else if (own && buffer[0] != untouched) check_output(run, "the output of a run that failed", buffer);
  return error;
}

// Device memory of the emulator is memory of this process.
static ingot_error *run_on_device(Run *run, ingot_session *session, int place) {
  ingot_tensor input = input_of(run, true, place);
  float *result = (float *)((char *)input.data + (run->subject->input_bytes + 511) / 512 * 512);
  memset(result, 0, run->subject->output_count * sizeof *result);
  ingot_output output = {sizeof output,
                         INGOT_OWNED_BY_CALLER,
                         {.data = result, .device = {INGOT_CUDA, 0}},
                         run->subject->output_count * sizeof *result};
  ingot_error *error = ingot_session_run_into(session, &input, 1, &output, 1);
  if (!error) error = ingot_session_synchronize(session);
  if (!error) check_output(run, "output on the device", result);
  return error;
}

// --- Building.

static void remove_files(const char *folder) {
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));) {
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (entry->d_name[0] != '.') unlink(path);
  }
  closedir(dir);
}

// Kernels are compiled anew.
static bool forget_kernels(Run *run) {
  char folder[8192];
  snprintf(folder, sizeof folder, "%s/kernels", run->subject->cache);
  remove_files(folder);
  return true;
}

static bool build_with(Run *run, double seconds) {
  ingot_config config = config_of(run);
  config.tuning_seconds = seconds;
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  bool good = TWICE(run, "opening the model", ingot_model_open(run->subject->path, &config, &model)) &&
              TWICE(run, "building", ingot_engine_build(model, &config, &engine)) &&
              TWICE(run, "saving", ingot_engine_save(engine, run->subject->engine));
  ingot_model_free(model);
  judge_free(run);
  ingot_engine_free(engine);
  judge_free(run);
  return good;
}

static bool build(Run *run) { return build_with(run, 0); }
// To the last candidate, whatever the machine.
static bool tune(Run *run) { return build_with(run, 1e6); }

// What was built in spite of a failure works.
static void use_engine(Run *run) {
  if (!run->good) return;
  ingot_config config = config_of(run);
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  ingot_error *error = ingot_engine_load(run->subject->engine, &config, &engine);
  if (!error) error = ingot_session_create(engine, &config, &session);
  if (!error) error = run_on_host(run, session, false);
  if (error) problem(run, "the engine that was built cannot be used: %s", ingot_error_message(error));
  ingot_error_free(error);
  ingot_session_free(session);
  ingot_engine_free(engine);
}

// --- Loading and inferring.

static bool open_session(Run *run, ingot_engine **engine, ingot_session **session) {
  ingot_config config = config_of(run);
  return TWICE(run, "loading", ingot_engine_load(run->subject->engine, &config, engine)) &&
         TWICE(run, "creating a session", ingot_session_create(*engine, &config, session));
}

static void close_session(Run *run, ingot_engine *engine, ingot_session *session) {
  ingot_session_free(session);
  judge_free(run);
  ingot_engine_free(engine);
  judge_free(run);
}

static bool load(Run *run) {
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  bool good = open_session(run, &engine, &session);
  close_session(run, engine, session);
  return good;
}

enum { REPEATS = 3, FRESH_REPEATS = 4 };  // launched one by one, captured and replayed, replayed

static bool infer_host(Run *run) {
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  bool good = open_session(run, &engine, &session);
  for (int i = 0; i < REPEATS && good; i++) good = TWICE(run, "running", run_on_host(run, session, i != 1));
  close_session(run, engine, session);
  return good;
}

static bool infer_device(Run *run) {
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  bool good = open_session(run, &engine, &session);
  for (int i = 0; i < REPEATS && good; i++) good = TWICE(run, "running", run_on_device(run, session, 0));
  if (good)
    good = TWICE(run, "running on the host", run_on_host(run, session, false));  // a graph that is in the way is given up
  close_session(run, engine, session);
  return good;
}

// Launched one by one, captured, and replayed with other arguments.
static bool infer_fresh(Run *run) {
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  bool good = open_session(run, &engine, &session);
  for (int i = 0; i < FRESH_REPEATS && good; i++) good = TWICE(run, "running", run_on_device(run, session, i % PLACES));
  close_session(run, engine, session);
  return good;
}

// The subject's rows again and again, which do not change its results: memory for the first shape, for the second, more behind that, and the second again.
static ingot_error *run_rows(Run *run, ingot_session *session, int64_t rows) {
  const Subject *s = run->subject;
  char *data = malloc((size_t)rows * s->input_bytes);
  int64_t shape[SHAPE_LIMIT];
  ingot_tensor input = input_of(run, false, 0);
  ingot_output output = {.size = sizeof output};
  for (int64_t i = 0; i < rows; i++) memcpy(data + (size_t)i * s->input_bytes, s->input, s->input_bytes);
  memcpy(shape, s->input_shape, sizeof shape);
  shape[0] = rows;
  input.data = data, input.shape = shape;
  ingot_error *error = ingot_session_run_into(session, &input, 1, &output, 1);
  if (!error) check_output(run, "rows", output.tensor.data);
  free(data);
  return error;
}

static bool infer_growing(Run *run) {
  static const int64_t rows[] = {1, 150, 450, 150, 150};
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  bool good = open_session(run, &engine, &session);
  for (size_t i = 0; i < sizeof rows / sizeof *rows && good; i++) good = TWICE(run, "running", run_rows(run, session, rows[i]));
  close_session(run, engine, session);
  return good;
}

static bool take_device_memory(Run *run) {
  const Emulated *e = run->emulated;
  const Subject *s = run->subject;
  void *context;
  bool good = !e->retain(&context, 0) && !e->push(context) && !e->alloc(&run->device, PLACES * place_bytes(s));
  for (int i = 0; i < PLACES; i++)
    good = good && !e->copy_in(run->device + (size_t)i * place_bytes(s), s->input, s->input_bytes, NULL) && !e->finish(NULL);
  return !e->pop(&context) && good;
}

static void give_device_memory(Run *run) {
  run->emulated->free(run->device);
  run->emulated->release(0);
}

// Each step alone, and then a run.
static bool profile(Run *run) {
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  ingot_tensor input = input_of(run, false, 0);
  ingot_profile *profile = NULL;
  bool good = open_session(run, &engine, &session) &&
              TWICE(run, "profiling", ingot_session_profile(session, &input, 1, &profile)) &&
              TWICE(run, "running", run_on_host(run, session, false));
  ingot_profile_free(profile);
  close_session(run, engine, session);
  return good;
}

const Scenario scenarios[] = {
    {"build", forget_kernels, build, use_engine},
    {"load", NULL, load, NULL},
    {"inference on the host", forget_kernels, infer_host, NULL},
    {"inference on the device", take_device_memory, infer_device, give_device_memory},
    {"inference at fresh addresses", take_device_memory, infer_fresh, give_device_memory},
    {"growing shapes", infer_growing, infer_growing, NULL, .sizes = OPEN,
     .asked_for = true},  // its kernels are compiled before
    {"profile", NULL, profile, NULL, .repeats = true},
    {"tuning", forget_kernels, tune, use_engine, .repeats = true, .sizes = FIXED},
    {NULL},
};

// --- Subjects.

static ingot_error *subject_expect(Subject *s) {
  ingot_config config;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  config.threads = 1;
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  ingot_tensor output;
  ingot_error *error = ingot_model_open(s->path, &config, &model);
  if (!error) error = ingot_engine_build(model, &config, &engine);
  if (!error) error = ingot_session_create(engine, &config, &session);
  if (!error) {
    const ingot_binding *binding = ingot_engine_input(engine, 0);
    const int64_t *dims = ingot_binding_dims(binding);
    s->input_rank = ingot_binding_rank(binding);
    s->input_dtype = ingot_binding_dtype(binding);
    size_t elements = 1;
    for (int i = 0; i < s->input_rank; i++) {
      s->open |= dims[i] < 0;
      elements *= (size_t)(s->input_shape[i] = dims[i] < 0 ? 1 : dims[i]);
    }
    s->input_bytes = elements * s->input_dtype.bits / 8;
    s->input = malloc(s->input_bytes);
    for (size_t i = 0; s->input && i < elements; i++) {
      unsigned value = (unsigned)(i * 37 % 101);
      if (s->input_dtype.code == INGOT_FLOAT) ((float *)s->input)[i] = (float)value / 101;
      else ((unsigned char *)s->input)[i] = (unsigned char)value;
    }
    Run run = {.subject = s};
    ingot_tensor input = input_of(&run, false, 0);
    error = ingot_session_run(session, &input, 1, &output, 1);
  }
  if (!error) {
    s->output_count = 1;
    for (int i = 0; i < output.ndim; i++) s->output_count *= (size_t)output.shape[i];
    s->expected = malloc(s->output_count * sizeof *s->expected);
    if (s->expected) memcpy(s->expected, output.data, s->output_count * sizeof *s->expected);
  }
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
  return error;
}

bool subject_open(const Emulated *emulated, const char *path, const char *folder, Subject *out) {
  *out = (Subject){.path = path};
  snprintf(out->engine, sizeof out->engine, "%s/model.ingot", folder);
  snprintf(out->cache, sizeof out->cache, "%s", folder);
  ingot_error *error = subject_expect(out);
  if (error) fprintf(stderr, "faults: %s: %s\n", path, ingot_error_message(error));
  ingot_error_free(error);
  return !error && out->expected && out->output_count <= 64;
}

void subject_close(Subject *s) {
  char folder[8192];
  snprintf(folder, sizeof folder, "%s/kernels", s->cache);
  remove_files(folder);
  rmdir(folder);
  unlink(s->engine);
  free(s->input);
  free(s->expected);
}
