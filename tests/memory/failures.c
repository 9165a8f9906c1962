// Opening, building, saving, loading, running, profiling and freeing a model while memory runs out: every single request to the system is
// refused in turn, once alone and once with all that follow. Each time the outcome is success or an error with a message; nothing is left
// behind, no memory, file or descriptor; and afterwards the same works again.
//
//   ingot-memory-failures [--device cpu|cuda] [--from N] [--step N] [--no-profile] MODEL.onnx...
//
// Profiling runs every step a hundred times, which takes the emulated GPU longer than all else.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/memory/allocations.h"
#include "ingot/ingot.h"
#include "tests/options.h"

enum { PATIENCE_SECONDS = 120, MOST_INPUTS = 8, MOST_OUTPUTS = 8, MOST_RANK = 8, INPUT_BYTES = 1 << 16 };

typedef struct Subject {
  const char *path;
  char *bytes;  // of the model
  size_t size;
  char folder[64], engine[96], cache[96];
  ingot_device device;
  bool no_profile;
} Subject;

typedef struct Objects {
  ingot_model *from_memory, *model;
  ingot_engine *built, *copy, *engine;
  ingot_session *session;
  ingot_profile *profile;
  void *memory;  // the engine, saved
  size_t size;
  char *text;
} Objects;

static _Alignas(64) char input_bytes[MOST_INPUTS][INPUT_BYTES];
static int64_t shapes[MOST_INPUTS][MOST_RANK];

// Open dims are 2, integers are 2, floats are small and differ.
static int make_inputs(const ingot_engine *engine, ingot_tensor *inputs) {
  int count = ingot_engine_input_count(engine);
  for (int i = 0; i < count; i++) {
    const ingot_binding *binding = ingot_engine_input(engine, i);
    const int64_t *dims = ingot_binding_dims(binding);
    ingot_dtype dtype = ingot_binding_dtype(binding);
    int rank = ingot_binding_rank(binding);
    size_t elements = 1;
    for (int k = 0; k < rank; k++) {
      shapes[i][k] = dims[k] < 0 ? 2 : dims[k];
      elements *= (size_t)shapes[i][k];
    }
    for (size_t n = 0; n < elements; n++) {
      if (dtype.code == INGOT_FLOAT) ((float *)(void *)input_bytes[i])[n] = (float)(n * 7 % 11) * 0.1f - 0.4f;
      else ((int64_t *)(void *)input_bytes[i])[n] = 2;
    }
    inputs[i] =
        (ingot_tensor){.data = input_bytes[i], .device = {INGOT_CPU, 0}, .ndim = rank, .dtype = dtype, .shape = shapes[i]};
  }
  return count;
}

static ingot_error *use(const Subject *subject, const ingot_config *config, Objects *o) {
  ingot_error *error = ingot_session_create(o->engine, config, &o->session);
  if (error) return error;
  ingot_tensor inputs[MOST_INPUTS], outputs[MOST_OUTPUTS] = {0};
  int count = make_inputs(o->engine, inputs), output_count = ingot_engine_output_count(o->engine);
  const int64_t *wanted[MOST_INPUTS];
  for (int i = 0; i < count; i++) wanted[i] = shapes[i];
  error = ingot_session_set_shapes(o->session, wanted, count);
  for (int i = 0; i < 2 && !error; i++) error = ingot_session_run(o->session, inputs, count, outputs, output_count);
  if (!error && !subject->no_profile) error = ingot_session_profile(o->session, inputs, count, &o->profile);
  return error;
}

static ingot_error *live(const Subject *subject, Objects *o) {
  ingot_config config;
  ingot_config_init(&config);
  config.device = subject->device;
  config.cache_directory = subject->cache;
  config.threads = 2;
  ingot_error *error = ingot_model_open_memory(subject->bytes, subject->size, NULL, &config, &o->from_memory);
  if (!error) error = ingot_model_open(subject->path, &config, &o->model);
  if (!error) error = ingot_engine_build(o->model, &config, &o->built);
  if (!error) error = ingot_engine_save(o->built, subject->engine);
  if (!error) error = ingot_engine_save_memory(o->built, &o->memory, &o->size);
  if (!error) error = ingot_engine_load_memory(o->memory, o->size, &config, &o->copy);
  if (!error) error = ingot_engine_load(subject->engine, &config, &o->engine);
  if (error) return error;
  o->text = ingot_engine_text(o->engine);
  return use(subject, &config, o);
}

static void finish(Objects *o) {
  ingot_profile_free(o->profile);
  ingot_session_free(o->session);
  ingot_engine_free(o->engine);
  ingot_engine_free(o->copy);
  ingot_engine_free(o->built);
  ingot_model_free(o->model);
  ingot_model_free(o->from_memory);
  free(o->text);
  free(o->memory);
}

static int entries(const char *folder) {
  int count = 0;
  DIR *dir = opendir(folder);
  while (dir && readdir(dir)) count++;
  if (dir) closedir(dir);
  return count;
}

static int problems, errors, successes;

static void problem(long number, bool sticky, const char *what, long value) {
  const char *function = allocations_refused();
  printf("request %ld (%s)%s: %s (%ld)\n", number, function ? function : "none", sticky ? " and all that follow" : "", what,
         value);
  problems++;
}

// One life of the objects with request `number` refused. Returns how many requests there were.
static long live_once(const Subject *subject, long number, bool sticky) {
  Objects objects = {0};
  long before = allocations_live(), files = entries("/proc/self/fd");
  alarm(PATIENCE_SECONDS);
  allocations_start(number, sticky);
  ingot_error *error = live(subject, &objects);
  finish(&objects);
  long count = allocations_stop();
  alarm(0);
  if (number) *(error ? &errors : &successes) += 1;
  if (error && !number) printf("%s: %s\n", subject->path, ingot_error_message(error));
  if (error && !number) problem(number, sticky, "an error without a refusal", ingot_error_code(error));
  if (error && !ingot_error_message(error)[0]) problem(number, sticky, "an error without a message", ingot_error_code(error));
  ingot_error_free(error);
  if (allocations_live() != before) problem(number, sticky, "blocks left behind", allocations_live() - before);
  if (entries("/proc/self/fd") != files) problem(number, sticky, "descriptors left behind", entries("/proc/self/fd") - files);
  if (entries(subject->folder) > 4) problem(number, sticky, "files left behind", entries(subject->folder) - 4);
  return count;
}

static bool read_model(Subject *subject) {
  FILE *file = fopen(subject->path, "rb");
  struct stat info;
  if (!file || fstat(fileno(file), &info)) return false;
  subject->size = (size_t)info.st_size;
  subject->bytes = malloc(subject->size + 1);
  bool whole = subject->bytes && fread(subject->bytes, 1, subject->size, file) == subject->size;
  fclose(file);
  return whole;
}

static void try_model(Subject *subject, long from, long step) {
  for (int i = 0; i < 2; i++) live_once(subject, 0, false);  // libraries are opened, kernels are in the cache
  long count = live_once(subject, 0, false);
  for (int sticky = 0; sticky < 2; sticky++)
    for (long number = from; number <= count; number += step) {
      live_once(subject, number, sticky);
      if (number % 16 == 1) live_once(subject, 0, false);
    }
  printf("%s: %ld requests; refusing them gave %d errors, and %d times success\n", subject->path, count, errors, successes);
}

static void remove_folder(const char *folder) {
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));) {
    char path[512];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (unlink(path)) remove_folder(path);
  }
  closedir(dir);
  rmdir(folder);
}

int main(int argc, char **argv) {
  Subject subject = {.folder = "/tmp/ingot-memory-XXXXXX", .device = INGOT_DEVICE_CPU};
  long from = 1, step = 1;
  bool cuda = false;
  const TestOption options[] = {{"--device", TEST_DEVICE, &cuda},
                                {"--from", TEST_LONG, &from, 1},
                                {"--step", TEST_LONG, &step, 1},
                                {"--no-profile", TEST_FLAG, &subject.no_profile},
                                {NULL}};
  static const char usage[] = "ingot-memory-failures [--device cpu|cuda] [--from N] [--step N] [--no-profile] MODEL...";
  int models = test_options(argc, argv, options, usage);
  if (!models) return fprintf(stderr, "usage: %s\n", usage), 2;
  if (cuda) subject.device = INGOT_DEVICE_CUDA;
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!mkdtemp(subject.folder)) return 1;
  snprintf(subject.engine, sizeof subject.engine, "%s/engine", subject.folder);
  snprintf(subject.cache, sizeof subject.cache, "%s/cache", subject.folder);
  mkdir(subject.cache, 0700);
  for (int i = 1; i <= models; i++) {
    subject.path = argv[i];
    if (read_model(&subject)) try_model(&subject, from, step);
    else problem(0, false, "the model cannot be read", 0);
    free(subject.bytes);
  }
  remove_folder(subject.folder);
  return problems ? 1 : 0;
}
