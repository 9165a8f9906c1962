// When does somebody speak? Sound goes through the detector in frames of 32 ms; its state goes from frame to frame, so what it
// says of one depends on all before.
//
//   voice MODEL SOUND [cpu|cuda]
//
// MODEL: silero_vad. SOUND: a .wav file (16 bits, mono, 16 kHz), or a folder of test_data_set_K/input_0.pb, each a tensor of one
// frame as the ONNX test suites keep them.
#include <ingot/ingot.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 16000, FRAME = 512, CONTEXT = 64, INPUT = CONTEXT + FRAME, STATE = 2 * 128, MAX_FRAMES = 1 << 16 };

static const char *const BARS[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
static const double SPEECH = 0.5;

static void check(ingot_error *error, const char *doing) {
  if (!error) return;
  fprintf(stderr, "voice: %s: %s\n", doing, ingot_error_message(error));
  ingot_error_free(error);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  long length = ftell(file);
  rewind(file);
  uint8_t *bytes = length > 0 ? malloc((size_t)length) : NULL;
  *size = bytes ? fread(bytes, 1, (size_t)length, file) : 0;
  fclose(file);
  return bytes;
}

// ---- sound -------------------------------------------------------------------------------------------------------------------

// Frames with the end of the one before in front, as the model wants them.
typedef struct Sound {
  float (*frames)[INPUT];
  int count;
} Sound;

static uint64_t read_varint(const uint8_t *bytes, size_t size, size_t *at) {
  uint64_t value = 0;
  for (int shift = 0; *at < size && shift < 64; shift += 7) {
    uint8_t byte = bytes[(*at)++];
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) break;
  }
  return value;
}

// The raw data (field 9) of a TensorProto with one frame in it.
static int read_frame(const char *path, float *frame) {
  size_t size, at = 0;
  uint8_t *bytes = read_file(path, &size);
  int found = 0;
  while (bytes && at < size && !found) {
    uint64_t key = read_varint(bytes, size, &at), value = read_varint(bytes, size, &at);
    if ((key & 7) != 2) continue;
    if (value > size - at) break;
    if (key >> 3 == 9 && value == INPUT * sizeof(float)) {
      memcpy(frame, bytes + at, value);
      found = 1;
    }
    at += value;
  }
  free(bytes);
  return found;
}

static Sound read_folder(const char *folder) {
  Sound sound = {.frames = malloc(sizeof *sound.frames)};
  char path[4096];
  while (sound.frames && sound.count < MAX_FRAMES) {
    snprintf(path, sizeof path, "%s/test_data_set_%d/input_0.pb", folder, sound.count);
    if (!read_frame(path, sound.frames[sound.count])) break;
    sound.frames = realloc(sound.frames, (size_t)(++sound.count + 1) * sizeof *sound.frames);
  }
  return sound;
}

static uint32_t little_endian(const uint8_t *at, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint32_t)at[i] << 8 * i;
  return value;
}

static Sound read_wav(const char *path) {
  Sound sound = {0};
  size_t size;
  uint8_t *bytes = read_file(path, &size);
  int right = 0;
  for (size_t at = 12; bytes && size > 12 && !memcmp(bytes, "RIFF", 4) && at + 8 <= size;) {
    size_t length = little_endian(bytes + at + 4, 4);
    if (length > size - at - 8) length = size - at - 8;
    const uint8_t *body = bytes + at + 8;
    if (!memcmp(bytes + at, "fmt ", 4) && length >= 16)
      right = little_endian(body + 2, 2) == 1 && little_endian(body + 4, 4) == RATE && little_endian(body + 14, 2) == 16;
    if (!memcmp(bytes + at, "data", 4) && right) {
      int count = (int)(length / 2 / FRAME);
      sound.frames = calloc((size_t)count + 1, sizeof *sound.frames);
      for (int i = 0; sound.frames && i < count * FRAME; i++) {
        float value = (float)(int16_t)little_endian(body + 2 * i, 2) / 32768;
        int frame = i / FRAME, place = i % FRAME;
        sound.frames[frame][CONTEXT + place] = value;
        if (place >= FRAME - CONTEXT && frame + 1 < count) sound.frames[frame + 1][place - FRAME + CONTEXT] = value;
      }
      sound.count = sound.frames ? count : 0;
      break;
    }
    at += 8 + length + (length & 1);
  }
  free(bytes);
  return sound;
}

// ---- drawing -----------------------------------------------------------------------------------------------------------------

static const char *paint(const char *code) { return isatty(1) && !getenv("NO_COLOR") ? code : ""; }

// 0 to 8, of a loudness from -60 to 0 decibels.
static int level(const float *samples, int count) {
  float peak = 1e-6f;
  for (int i = 0; i < count; i++) peak = fmaxf(peak, fabsf(samples[i]));
  int bars = (int)((20 * log10f(peak) + 60) / 60 * 8 + 0.5f);
  return bars < 0 ? 0 : bars > 8 ? 8 : bars;
}

// A few frames: one to a line, with the shape of its sound.
static void draw_frames(const Sound *sound, const float *speech) {
  enum { COLUMNS = 32 };
  for (int i = 0; i < sound->count; i++) {
    printf("  %6.3f s  ", (double)i * FRAME / RATE);
    for (int c = 0; c < COLUMNS; c++)
      printf("%s", BARS[level(sound->frames[i] + CONTEXT + c * FRAME / COLUMNS, FRAME / COLUMNS)]);
    int length = (int)(speech[i] * 20 + 0.5f);
    printf("  %s", paint(speech[i] > SPEECH ? "\033[32m" : "\033[2m"));
    for (int c = 0; c < 20; c++) printf("%s", c < length ? "█" : "·");
    printf(" %5.1f%%%s%s\n", (double)speech[i] * 100, speech[i] > SPEECH ? "  speech" : "", paint("\033[0m"));
  }
}

// Many: two seconds to a line, a column for each frame; loudness above, certainty below.
static void draw_timeline(const Sound *sound, const float *speech) {
  enum { COLUMNS = 64 };
  for (int line = 0; line < sound->count; line += COLUMNS) {
    printf("  %6.1f s  ", (double)line * FRAME / RATE);
    for (int i = line; i < line + COLUMNS && i < sound->count; i++)
      printf("%s", BARS[level(sound->frames[i] + CONTEXT, FRAME)]);
    printf("\n            %s", paint("\033[32m"));
    for (int i = line; i < line + COLUMNS && i < sound->count; i++) printf("%s", BARS[(int)(speech[i] * 8 + 0.5f)]);
    printf("%s\n", paint("\033[0m"));
  }
}

static void print_segments(const Sound *sound, const float *speech) {
  int found = 0;
  for (int i = 0; i < sound->count; i++) {
    if (speech[i] <= SPEECH) continue;
    int end = i;
    while (end < sound->count && speech[end] > SPEECH) end++;
    printf("%s%.2f to %.2f s", found++ ? ", " : "  speech from ", (double)i * FRAME / RATE, (double)end * FRAME / RATE);
    i = end;
  }
  printf("%s\n", found ? "" : "  nobody speaks");
}

// ---- the program -------------------------------------------------------------------------------------------------------------

int main(int count, char **arguments) {
  if (count < 3) {
    fprintf(stderr, "usage: voice MODEL SOUND.wav|FOLDER [cpu|cuda]\n");
    return 2;
  }
  struct stat info;
  Sound sound = !stat(arguments[2], &info) && S_ISDIR(info.st_mode) ? read_folder(arguments[2]) : read_wav(arguments[2]);
  float *speech = calloc((size_t)sound.count + 1, sizeof *speech);
  if (!sound.count || !speech) {
    fprintf(stderr, "voice: %s: neither a 16-bit mono .wav of 16 kHz nor a folder of frames\n", arguments[2]);
    return 1;
  }
  if (count > 3 && strcmp(arguments[3], "cpu") && strcmp(arguments[3], "cuda")) {
    fprintf(stderr, "voice: the device is cpu or cuda, not '%s'\n", arguments[3]);
    return 2;
  }
  ingot_config config;
  ingot_config_init(&config);
  if (count > 3) config.device = strcmp(arguments[3], "cpu") ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  check(ingot_model_open(arguments[1], &config, &model), "opening the model");
  check(ingot_engine_build(model, &config, &engine), "building");
  check(ingot_session_create(engine, &config, &session), "opening a session");

  float state[STATE] = {0};
  int64_t rate = RATE, frame_shape[] = {1, INPUT}, state_shape[] = {2, 1, STATE / 2};
  double start = 0;
  for (int i = 0; i < sound.count; i++) {
    ingot_tensor inputs[] = {
        {.data = sound.frames[i], .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = frame_shape},
        {.data = state, .device = {INGOT_CPU, 0}, .ndim = 3, .dtype = {INGOT_FLOAT, 32, 1}, .shape = state_shape},
        {.data = &rate, .device = {INGOT_CPU, 0}, .ndim = 0, .dtype = {INGOT_INT, 64, 1}, .shape = NULL},
    };
    ingot_tensor outputs[2];
    check(ingot_session_run(session, inputs, 3, outputs, 2), "running");
    speech[i] = *(const float *)outputs[0].data;
    memcpy(state, outputs[1].data, sizeof state);
    if (i == 0) start = now();  // the first run prepares
  }
  double each = sound.count > 1 ? (now() - start) / (sound.count - 1) : 0;
  if (sound.count <= 24) draw_frames(&sound, speech);
  else draw_timeline(&sound, speech);
  print_segments(&sound, speech);
  printf("  %.3f ms for a frame of 32 ms on %s\n", each * 1e3, ingot_session_device(session));
  free(sound.frames);
  free(speech);
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
  return 0;
}
