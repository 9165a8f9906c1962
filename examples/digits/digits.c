// Handwritten digits, from model to answer: casts digits.onnx into an engine, saves and loads it, runs it over a test split it
// was not trained on, and tells what came out, how fast, and what the optimiser did. Everything Ingot is asked goes through the
// public interface; the rest is drawing.
//
//   digits FOLDER [cpu|cuda]     FOLDER: where digits.onnx, test_images.npy and test_labels.npy are
#include <ingot/ingot.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10 };

static void check(ingot_error *error, const char *doing) {
  if (!error) return;
  fprintf(stderr, "digits: %s: %s\n", doing, ingot_error_message(error));
  ingot_error_free(error);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The bytes of an 8-bit .npy array: behind a header whose length stands at its ninth byte.
static uint8_t *read_array(const char *folder, const char *name, size_t *count) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  uint8_t head[10];
  if (!file || fread(head, 1, sizeof head, file) != sizeof head) {
    fprintf(stderr, "digits: cannot read %s\n", path);
    exit(1);
  }
  long start = 10 + (head[8] | head[9] << 8);
  fseek(file, 0, SEEK_END);
  *count = (size_t)(ftell(file) - start);
  fseek(file, start, SEEK_SET);
  uint8_t *bytes = malloc(*count);
  if (!bytes || fread(bytes, 1, *count, file) != *count) exit(1);
  fclose(file);
  return bytes;
}

// ---- inference ---------------------------------------------------------------------------------------------------------------

// Probabilities of `count` images, valid until the session's next run.
static const float *classify(ingot_session *session, uint8_t *images, int64_t count) {
  int64_t shape[] = {count, 1, SIDE, SIDE};
  ingot_tensor input = {.data = images, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = shape};
  ingot_tensor output;
  check(ingot_session_run(session, &input, 1, &output, 1), "running");
  return output.data;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

// Median milliseconds of a call with `count` images, from host memory to host memory; `before`: what such a call took, or 0 where there was none. Slow
// devices run it a few times, or once, and slower ones not again.
static double measure(ingot_session *session, uint8_t *images, int64_t count, double before) {
  enum { MAX_RUNS = 4000 };
  static double times[MAX_RUNS];
  int runs = 0, warm = 0;
  if (before > 5000) return before;
  for (double start = now(); !before && warm < 5 && now() - start < 0.5; warm++) classify(session, images, count);
  for (double start = now(); runs < MAX_RUNS && (!runs || now() - start < (runs < 5 ? 2 : 0.5)); runs++) {
    double begin = now();
    classify(session, images, count);
    times[runs] = (now() - begin) * 1e3;
  }
  qsort(times, (size_t)runs, sizeof *times, compare);
  return times[runs / 2];
}

static int best_of(const float *probabilities) {
  int best = 0;
  for (int i = 1; i < CLASSES; i++)
    if (probabilities[i] > probabilities[best]) best = i;
  return best;
}

// ---- drawing -----------------------------------------------------------------------------------------------------------------

// Colours where a terminal takes them, shades of blocks elsewhere.
static bool colours(void) { return isatty(1) && !getenv("NO_COLOR"); }
static const char *paint(const char *code) { return colours() ? code : ""; }
static const char *const BOLD = "\033[1m", *const DIM = "\033[2m", *const GREEN = "\033[32m", *const RED = "\033[31m",
                         *const PLAIN = "\033[0m";

// A pixel of the image at twice its size, between its four neighbours.
static int sample(const uint8_t *image, int row, int column) {
  double y = (row + 0.5) / 2 - 0.5, x = (column + 0.5) / 2 - 0.5;
  double sum = 0;
  for (int dy = 0; dy < 2; dy++)
    for (int dx = 0; dx < 2; dx++) {
      int top = (int)(y + SIDE) - SIDE + dy, left = (int)(x + SIDE) - SIDE + dx;
      double wy = 1 - (top > y ? top - y : y - top), wx = 1 - (left > x ? left - x : x - left);
      if (top >= 0 && top < SIDE && left >= 0 && left < SIDE) sum += wy * wx * image[top * SIDE + left];
    }
  return (int)sum;
}

// One line of an image: two rows of pixels, the upper one as the foreground of a half block.
static void draw_line(const uint8_t *image, int line) {
  static const char *const shades[] = {" ", "░", "▒", "▓", "█"};
  for (int column = 0; column < 2 * SIDE; column++) {
    int upper = sample(image, 2 * line, column), lower = sample(image, 2 * line + 1, column);
    if (colours())
      printf("\033[38;2;%d;%d;%dm\033[48;2;%d;%d;%dm▀", upper, upper, upper * 4 / 5 + 24, lower, lower, lower * 4 / 5 + 24);
    else printf("%s", shades[(upper + lower) / 2 * 5 / 256]);
  }
  printf("%s", paint(PLAIN));
}

static void draw_digits(const uint8_t *images, const uint8_t *labels, const float *probabilities, const int *chosen,
                        int count) {
  for (int line = 0; line < SIDE; line++) {
    for (int i = 0; i < count; i++) {
      printf("  ");
      draw_line(images + chosen[i] * PIXELS, line);
    }
    printf("\n");
  }
  for (int i = 0; i < count; i++) {
    const float *p = probabilities + chosen[i] * CLASSES;
    int answer = best_of(p), label = labels[chosen[i]];
    char text[32];
    if (answer == label) snprintf(text, sizeof text, "%d  %.0f%%", answer, p[answer] * 100.0);
    else snprintf(text, sizeof text, "%d? it is %d", answer, label);
    printf("  %s%-16s%s", paint(answer == label ? GREEN : RED), text, paint(PLAIN));
  }
  printf("\n\n");
}

// One of each digit, the wrong answers first.
static int choose(const uint8_t *labels, const float *probabilities, int count, int *chosen, int limit) {
  int found = 0;
  for (int i = 0; i < count && found < limit / 5; i++)
    if (best_of(probabilities + i * CLASSES) != labels[i]) chosen[found++] = i;
  for (int digit = 0; found < limit; digit = (digit + 1) % CLASSES) {
    int start = rand() % count;
    for (int k = 0; k < count; k++) {
      int i = (start + k) % count;
      if (labels[i] != digit || best_of(probabilities + i * CLASSES) != digit) continue;
      chosen[found++] = i;
      break;
    }
  }
  return found;
}

static void print_line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print_line(const char *name, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("  %s%-9s%s ", paint(BOLD), name, paint(PLAIN));
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
}

static double file_kib(const char *path) {
  struct stat info;
  return stat(path, &info) ? 0 : (double)info.st_size / 1024;
}

// ---- the tour ----------------------------------------------------------------------------------------------------------------

static ingot_engine *build(const char *model_path, const ingot_config *given, const char *disabled, double *seconds) {
  ingot_config config = *given;
  ingot_model *model;
  ingot_engine *engine;
  double start = now();
  config.disabled_passes = disabled;
  check(ingot_model_open(model_path, &config, &model), "opening the model");
  check(ingot_engine_build(model, &config, &engine), "building");
  *seconds = now() - start;
  ingot_model_free(model);
  return engine;
}

static void print_passes(const ingot_engine *engine) {
  int count = ingot_engine_pass_count(engine), shown = 0;
  const ingot_pass *first = ingot_engine_pass(engine, 0), *last = ingot_engine_pass(engine, count - 1);
  char text[1024] = "";
  size_t used = 0;
  for (int i = 0; i < count; i++) {
    const ingot_pass *pass = ingot_engine_pass(engine, i);
    if (ingot_pass_changes(pass) && used < sizeof text - 64)
      used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %d", shown++ ? ", " : "", ingot_pass_name(pass),
                               ingot_pass_changes(pass));
  }
  print_line("passes", "%d nodes become %d  %s(%s)%s", ingot_pass_nodes_before(first), ingot_pass_nodes_after(last), paint(DIM),
             text, paint(PLAIN));
}

int main(int argument_count, char **arguments) {
  if (argument_count < 2) {
    fprintf(stderr, "usage: digits FOLDER [cpu|cuda]\n");
    return 2;
  }
  const char *folder = arguments[1], *device = argument_count > 2 ? arguments[2] : "";
  if (*device && strcmp(device, "cpu") && strcmp(device, "cuda")) {
    fprintf(stderr, "digits: the device is cpu or cuda, not '%s'\n", device);
    return 2;
  }
  char model_path[4096], engine_path[] = "/tmp/digits-XXXXXX";
  snprintf(model_path, sizeof model_path, "%s/digits.onnx", folder);
  int file = mkstemp(engine_path);
  if (file >= 0) close(file);
  ingot_config config;
  ingot_config_init(&config);
  config.device = !strcmp(device, "cpu") ? INGOT_DEVICE_CPU : !strcmp(device, "cuda") ? INGOT_DEVICE_CUDA : INGOT_DEVICE_AUTO;

  printf("\n  %sIngot %s%s  handwritten digits\n\n", paint(BOLD), ingot_version(), paint(PLAIN));
  double build_seconds, bare_seconds;
  ingot_engine *built = build(model_path, &config, NULL, &build_seconds),
               *bare = build(model_path, &config, "all", &bare_seconds), *engine;
  check(ingot_engine_save(built, engine_path), "saving");
  double start = now();
  check(ingot_engine_load(engine_path, &config, &engine), "loading");
  double load_seconds = now() - start;
  ingot_session *session, *bare_session;
  check(ingot_session_create(engine, &config, &session), "opening a session");
  check(ingot_session_create(bare, &config, &bare_session), "opening a session");
  print_line("model", "digits.onnx, %.1f KiB", file_kib(model_path));
  print_passes(built);
  print_line("engine", "%.1f KiB, built in %.1f ms, loaded in %.1f ms", file_kib(engine_path), build_seconds * 1e3,
             load_seconds * 1e3);
  print_line("device", "%s", ingot_session_device(session));
  printf("\n");

  size_t image_bytes, label_count;
  uint8_t *images = read_array(folder, "test_images.npy", &image_bytes),
          *labels = read_array(folder, "test_labels.npy", &label_count);
  int count = (int)label_count, right = 0, chosen[10];
  if (image_bytes != label_count * PIXELS) return 1;
  float *probabilities = malloc(label_count * CLASSES * sizeof *probabilities);
  if (!probabilities) return 1;
  start = now();
  memcpy(probabilities, classify(session, images, count), label_count * CLASSES * sizeof *probabilities);
  double first = (now() - start) * 1e3;
  double weights = (double)ingot_session_memory(session, INGOT_MEMORY_WEIGHTS),
         arena = (double)ingot_session_memory(session, INGOT_MEMORY_ARENA),
         unpacked = (double)ingot_session_memory(session, INGOT_MEMORY_UNPACKED);
  for (int i = 0; i < count; i++) right += best_of(probabilities + i * CLASSES) == labels[i];
  int drawn = choose(labels, probabilities, count, chosen, 10);
  for (int i = 0; i < drawn; i += 5) draw_digits(images, labels, probabilities, chosen + i, drawn - i < 5 ? drawn - i : 5);

  start = now();
  const float *plain = classify(bare_session, images, count);
  double bare_first = (now() - start) * 1e3;
  float worst = 0;
  for (int i = 0; i < count * CLASSES; i++) worst = plain[i] - probabilities[i] > worst ? plain[i] - probabilities[i] : worst;
  double one = measure(session, images, 1, 0), all = measure(session, images, count, first);
  double bare_one = measure(bare_session, images, 1, 0), bare_all = measure(bare_session, images, count, bare_first);
  print_line("accuracy", "%d of %d, none of them seen in training (%.1f%%)", right, count, 100.0 * right / count);
  print_line("latency", "%.3f ms for one image, %.3f ms for all %d (%.0f images a second)", one, all, count, count / all * 1e3);
  print_line("", "%.3f ms and %.3f ms without the passes; answers differ by at most %.0e", bare_one, bare_all, (double)worst);
  print_line("memory", "weights %.1f KiB; temporaries of all %d images %.2f MiB, %.2f MiB without reuse", weights / 1024, count,
             arena / (1 << 20), unpacked / (1 << 20));
  printf("\n");

  ingot_session_free(session);
  ingot_session_free(bare_session);
  ingot_engine_free(engine);
  ingot_engine_free(built);
  ingot_engine_free(bare);
  unlink(engine_path);
  free(probabilities);
  free(images);
  free(labels);
  return right * 100 >= count * 97 ? 0 : 1;
}
