// ingot-hostile: damages models and sees what happens. Whatever is cut off, flipped or spliced, a model is refused with a reason, or it is
// built and run; nothing crashes, and opening and building come to an end. Meant for a build with sanitizers.
//
//   ingot-hostile [--rounds N] [--seed N] [--limit SECONDS] [--filter TEXT] FILE.onnx|FOLDER...
//
// Each model is damaged in a process of its own, which notes in shared memory what it is at: when it dies, that is reported and the next
// damage follows in a new process. Only a run may take longer than the limit: a damaged loop may well have 2^60 iterations.
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "ingot/ingot.h"
#include "tests/options.h"

typedef enum At { AT_OPEN, AT_BUILD, AT_PREPARE, AT_RUN, AT_END } At;
static const char *const at_names[] = {"opening", "building", "preparing", "running", "ending"};

typedef struct Progress {
  volatile int damage, at;
  volatile int refused, built, ran;
} Progress;

typedef struct Options {
  int rounds, limit;
  uint64_t seed;
  const char *filter;
} Options;

typedef struct Tally {
  int models, damages, refused, built, ran, failures, slow;
} Tally;

static uint64_t state;
static uint64_t next_random(uint64_t below) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return below ? (state * 0x2545f4914f6cdd1dull >> 11) % below : 0;
}

// ---- damage ------------------------------------------------------------------------------------------------------------------

// The damage's number decides all of it, so that one can be looked at again.
static size_t damage(uint8_t *bytes, size_t size, int number, uint64_t seed) {
  static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 2, 8, 0x40};
  state = (seed * 1000003 + (uint64_t)number + 1) * 0x9e3779b97f4a7c15ull | 1;
  for (int i = 0; i < 4; i++) next_random(1);
  if (number == 0) return size;  // as it is
  if (number % 5 == 4) return next_random(size);
  int changes = 1 + (int)next_random(number % 5 == 3 ? 12 : 2);
  for (int i = 0; i < changes && size; i++) {
    size_t at = next_random(size), length = 1 + next_random(8);
    switch (next_random(4)) {
      case 0: bytes[at] ^= (uint8_t)(1 << next_random(8)); break;
      case 1: bytes[at] = odd[next_random(sizeof odd)]; break;
      case 2: bytes[at] += next_random(2) ? 1 : 255; break;
      default:  // something from elsewhere in the model
        if (at + length <= size) memmove(bytes + at, bytes + next_random(size - length + 1), length);
    }
  }
  return size;
}

// ---- what is done with it ----------------------------------------------------------------------------------------------------

static bool small_input(const ingot_binding *binding, int64_t *dims, size_t *bytes) {
  const int64_t *declared = ingot_binding_dims(binding);
  int bits = ingot_binding_dtype(binding).bits, rank = ingot_binding_rank(binding);
  *bytes = ((size_t)bits + 7) / 8;
  if (rank < 0 || rank > 8 || !*bytes) return false;
  for (int k = 0; k < rank; k++) {
    dims[k] = declared[k] < 0 ? 1 + (int64_t)next_random(3) : declared[k];
    if (dims[k] > 1 << 16 || (*bytes *= (size_t)dims[k]) > 1 << 20) return false;
  }
  return true;
}

// Strings are pointers that Ingot has to believe: these are real ones.
static void fill(uint8_t *data, size_t bytes, ingot_dtype dtype) {
  static const char *const words[] = {"", "a", "word", "1.5", "-7", "\xc3\xa4"};
  size_t size = ((size_t)dtype.bits + 7) / 8;
  if (dtype.code == INGOT_STRING) {
    for (size_t i = 0; i < bytes / sizeof *words; i++)
      memcpy(data + i * sizeof *words, &words[next_random(sizeof words / sizeof *words)], sizeof *words);
    return;
  }
  // Small values, mostly: indices and sizes that reach somewhere.
  for (size_t i = 0; i < bytes; i++)
    data[i] = dtype.code == INGOT_FLOAT ? (uint8_t)next_random(256) : i % size ? 0 : (uint8_t)next_random(5);
}

static void run_session(ingot_engine *engine, ingot_session *session, Progress *progress) {
  enum { MOST = 16 };
  static int64_t dims[MOST][8];
  ingot_tensor inputs[MOST], outputs[MOST];
  int count = ingot_engine_input_count(engine), output_count = ingot_engine_output_count(engine), made = 0;
  bool possible = count <= MOST && output_count <= MOST;
  for (; possible && made < count; made++) {
    const ingot_binding *binding = ingot_engine_input(engine, made);
    ingot_dtype dtype = ingot_binding_dtype(binding);
    size_t bytes;
    possible = small_input(binding, dims[made], &bytes);
    if (!possible) break;
    uint8_t *data = malloc(bytes + 1);
    fill(data, bytes, dtype);
    inputs[made] = (ingot_tensor){
        .data = data, .device = {INGOT_CPU, 0}, .ndim = ingot_binding_rank(binding), .dtype = dtype, .shape = dims[made]};
  }
  if (possible) {
    progress->at = AT_RUN;
    ingot_error *error = ingot_session_run(session, inputs, count, outputs, output_count);
    progress->ran += !error;
    ingot_error_free(error);
  }
  for (int i = 0; i < made; i++) free(inputs[i].data);
}

static void attempt(const uint8_t *bytes, size_t size, Progress *progress) {
  ingot_config config;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  config.threads = 1;
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  progress->at = AT_OPEN;
  ingot_error *error = ingot_model_open_memory(bytes, size, NULL, &config, &model);
  if (!error) {
    progress->at = AT_BUILD;
    error = ingot_engine_build(model, &config, &engine);
  }
  if (error && !*ingot_error_message(error)) abort();  // refused without a reason
  if (!error) {
    progress->at = AT_PREPARE;
    progress->built++;
    error = ingot_session_create(engine, &config, &session);
  } else {
    progress->refused++;
  }
  if (!error) run_session(engine, session, progress);
  progress->at = AT_END;
  ingot_error_free(error);
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
}

static void child(const Bytes *good, const Options *options, int first, Progress *progress) {
  for (int number = first; number < options->rounds; number++) {
    uint8_t *copy = malloc(good->size + 1);
    memcpy(copy, good->data, good->size);
    size_t size = damage(copy, good->size, number, options->seed);
    uint8_t *exact = malloc(size ? size : 1);  // of its exact size: a step beyond shows
    memcpy(exact, copy, size);
    free(copy);
    progress->damage = number;
    attempt(exact, size, progress);
    free(exact);
  }
  _exit(0);
}

// ---- processes ---------------------------------------------------------------------------------------------------------------

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Waits for the child; kills it when one damage takes longer than the limit. Returns true where it came to its end by itself.
static bool watch(pid_t pid, const Options *options, const Progress *progress, int *status) {
  int damage = -1;
  double since = now();
  while (waitpid(pid, status, WNOHANG) == 0) {
    poll(NULL, 0, 2);
    if (progress->damage != damage) {
      damage = progress->damage;
      since = now();
    }
    if (now() - since < options->limit) continue;
    kill(pid, SIGKILL);
    waitpid(pid, status, 0);
    return false;
  }
  return true;
}

static void check_model(const char *path, const Options *options, Tally *tally) {
  Arena *arena = arena_new();
  Bytes good;
  Status failed = file_read(path, 0, arena, &good);
  if (failed) {
    fprintf(stderr, "ingot-hostile: %s\n", status_message(failed));
    status_free(failed);
    tally->failures++;
    arena_free(arena);
    return;
  }
  Progress *progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  tally->models++;
  for (int first = 0; first < options->rounds; first = progress->damage + 1) {
    progress->damage = first;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) child(&good, options, first, progress);
    int status;
    bool ended = watch(pid, options, progress, &status);
    if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    if (!ended && progress->at == AT_RUN) {
      tally->slow++;
      continue;
    }
    printf("FAIL %s damage %d: %s while %s\n", path, progress->damage, ended ? "crashed" : "did not end",
           at_names[progress->at]);
    tally->failures++;
  }
  tally->damages += options->rounds;
  tally->refused += progress->refused;
  tally->built += progress->built;
  tally->ran += progress->ran;
  munmap(progress, sizeof *progress);
  arena_free(arena);
}

static void walk(const char *path, const Options *options, Tally *tally) {
  struct stat info;
  if (stat(path, &info)) return;
  if (!S_ISDIR(info.st_mode)) {
    if (!strcmp(path_extension(path), ".onnx") && info.st_size < 1 << 22 && (!options->filter || strstr(path, options->filter)))
      check_model(path, options, tally);
    return;
  }
  struct dirent **entries;
  int count = scandir(path, &entries, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    char inner[4096];
    snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.') walk(inner, options, tally);
    free(entries[i]);
  }
  if (count >= 0) free(entries);
}

int main(int count, char **arguments) {
  Options options = {.rounds = 10, .limit = 20};
  Tally tally = {0};
  long seed = 1;
  const TestOption table[] = {{"--rounds", TEST_INT, &options.rounds, 1},
                              {"--seed", TEST_LONG, &seed},
                              {"--limit", TEST_INT, &options.limit, 1},
                              {"--filter", TEST_TEXT, &options.filter},
                              {NULL}};
  int paths =
      test_options(count, arguments, table, "ingot-hostile [--rounds N] [--seed N] [--limit SECONDS] [--filter TEXT] PATH...");
  options.seed = (uint64_t)seed;
  for (int i = 1; i <= paths; i++) walk(arguments[i], &options, &tally);
  printf("%d models damaged %d times: %d refused, %d built, %d run to the end, %d stopped while running, %d failures\n",
         tally.models, tally.damages, tally.refused, tally.built, tally.ran, tally.slow, tally.failures);
  return tally.failures || !tally.models;
}
