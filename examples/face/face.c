// Faces in a photo: the detector rates 4,420 places of the picture and gives a box for each; what is likely and not covered by
// something likelier is drawn.
//
//   face MODEL PHOTO OUT.png [cpu|cuda]
//
// MODEL: Ultra-Light-Fast-Generic-Face-Detector (version-RFB-320), input f32[1, 3, 240, 320], outputs scores and boxes.
#include <ingot/ingot.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image.h>
#include <stb_image_resize.h>
#include <stb_image_write.h>

static const float LIKELY = 0.7f, OVERLAP = 0.3f;  // least score; most overlap of two boxes that are both kept

typedef struct Photo {
  int width, height;
  unsigned char *pixels;  // red, green, blue
} Photo;

// In fractions of the photo's width and height.
typedef struct Face {
  float score, left, top, right, bottom;
} Face;

static void check(ingot_error *error, const char *doing) {
  if (!error) return;
  fprintf(stderr, "face: %s: %s\n", doing, ingot_error_message(error));
  ingot_error_free(error);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// ---- the detector ------------------------------------------------------------------------------------------------------------

// The photo as the model wants it: its size, channel after channel, values from -1 to 1.
static float *prepare(const Photo *photo, int width, int height) {
  unsigned char *small = malloc((size_t)width * (size_t)height * 3);
  float *planes = malloc((size_t)width * (size_t)height * 3 * sizeof *planes);
  if (!small || !planes) exit(1);
  stbir_resize_uint8(photo->pixels, photo->width, photo->height, 0, small, width, height, 0, 3);
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < width * height; i++) planes[c * width * height + i] = ((float)small[i * 3 + c] - 127) / 128;
  free(small);
  return planes;
}

static int likelier(const void *a, const void *b) {
  float x = ((const Face *)a)->score, y = ((const Face *)b)->score;
  return x < y ? 1 : x > y ? -1 : 0;
}

// Intersection over union.
static float overlap(const Face *a, const Face *b) {
  float width = fminf(a->right, b->right) - fmaxf(a->left, b->left),
        height = fminf(a->bottom, b->bottom) - fmaxf(a->top, b->top);
  if (width <= 0 || height <= 0) return 0;
  float both = width * height;
  return both / ((a->right - a->left) * (a->bottom - a->top) + (b->right - b->left) * (b->bottom - b->top) - both);
}

static int suppress(Face *faces, int count) {
  int kept = 0;
  qsort(faces, (size_t)count, sizeof *faces, likelier);
  for (int i = 0; i < count; i++) {
    int covered = 0;
    for (int k = 0; k < kept && !covered; k++) covered = overlap(&faces[i], &faces[k]) > OVERLAP;
    if (!covered) faces[kept++] = faces[i];
  }
  return kept;
}

// scores: [1, n, 2], of "nothing" and "face". boxes: [1, n, 4], corners.
static int find_faces(const ingot_tensor *scores, const ingot_tensor *boxes, Face *faces, int limit) {
  const float *score = scores->data, *box = boxes->data;
  int count = 0;
  for (int64_t i = 0; i < scores->shape[1] && count < limit; i++)
    if (score[2 * i + 1] > LIKELY)
      faces[count++] = (Face){score[2 * i + 1], box[4 * i], box[4 * i + 1], box[4 * i + 2], box[4 * i + 3]};
  return suppress(faces, count);
}

// ---- drawing -----------------------------------------------------------------------------------------------------------------

static void fill(Photo *photo, int left, int top, int right, int bottom, const unsigned char *colour) {
  for (int y = top < 0 ? 0 : top; y < bottom && y < photo->height; y++)
    for (int x = left < 0 ? 0 : left; x < right && x < photo->width; x++)
      memcpy(photo->pixels + 3 * ((size_t)y * (size_t)photo->width + (size_t)x), colour, 3);
}

// A thin frame with heavier corners.
static void draw(Photo *photo, const Face *face) {
  static const unsigned char colour[] = {64, 255, 96};
  int left = (int)(face->left * (float)photo->width), right = (int)(face->right * (float)photo->width);
  int top = (int)(face->top * (float)photo->height), bottom = (int)(face->bottom * (float)photo->height);
  int thin = 1 + (right - left) / 96, thick = 2 * thin, length = (right - left) / 4;
  fill(photo, left, top, right, top + thin, colour);
  fill(photo, left, bottom - thin, right, bottom, colour);
  fill(photo, left, top, left + thin, bottom, colour);
  fill(photo, right - thin, top, right, bottom, colour);
  for (int k = 0; k < 4; k++) {
    int x = k & 1 ? right - length : left, y = k & 2 ? bottom - thick : top;
    fill(photo, x, y, x + length, y + thick, colour);
    x = k & 1 ? right - thick : left, y = k & 2 ? bottom - length : top;
    fill(photo, x, y, x + thick, y + length, colour);
  }
}

// ---- the program -------------------------------------------------------------------------------------------------------------

int main(int count, char **arguments) {
  if (count < 4) {
    fprintf(stderr, "usage: face MODEL PHOTO OUT.png [cpu|cuda]\n");
    return 2;
  }
  Photo photo;
  photo.pixels = stbi_load(arguments[2], &photo.width, &photo.height, NULL, 3);
  if (!photo.pixels) {
    fprintf(stderr, "face: %s: %s\n", arguments[2], stbi_failure_reason());
    return 1;
  }
  if (count > 4 && strcmp(arguments[4], "cpu") && strcmp(arguments[4], "cuda")) {
    fprintf(stderr, "face: the device is cpu or cuda, not '%s'\n", arguments[4]);
    return 2;
  }
  ingot_config config;
  ingot_config_init(&config);
  if (count > 4) config.device = strcmp(arguments[4], "cpu") ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  double start = now();
  check(ingot_model_open(arguments[1], &config, &model), "opening the model");
  check(ingot_engine_build(model, &config, &engine), "building");
  check(ingot_session_create(engine, &config, &session), "opening a session");
  double build = now() - start;

  const ingot_binding *wanted = ingot_engine_input(engine, 0);
  const int64_t *dims = ingot_binding_dims(wanted);
  if (ingot_binding_rank(wanted) != 4 || dims[1] != 3 || dims[2] < 1 || dims[3] < 1) {
    fprintf(stderr, "face: %s is no face detector: its input is not a picture of known size\n", arguments[1]);
    return 1;
  }
  float *planes = prepare(&photo, (int)dims[3], (int)dims[2]);
  int64_t shape[] = {dims[0], dims[1], dims[2], dims[3]};
  ingot_tensor input = {
      .data = planes, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = ingot_binding_dtype(wanted), .shape = shape};
  ingot_tensor outputs[2];
  double seconds = INFINITY;
  for (int i = 0; i < 10; i++) {  // the first run prepares, the best is the one nothing disturbed
    start = now();
    check(ingot_session_run(session, &input, 1, outputs, 2), "running");
    seconds = fmin(seconds, now() - start);
  }
  enum { MAX_FACES = 4096 };
  static Face faces[MAX_FACES];
  int found = find_faces(&outputs[0], &outputs[1], faces, MAX_FACES);

  printf("  %d face%s in %s, %d x %d\n", found, found == 1 ? "" : "s", arguments[2], photo.width, photo.height);
  for (int i = 0; i < found; i++) {
    const Face *f = &faces[i];
    if (i < 6)
      printf("    %5.1f%%  at %4d, %4d   %3d x %3d pixels\n", f->score * 100, (int)(f->left * (float)photo.width),
             (int)(f->top * (float)photo.height), (int)((f->right - f->left) * (float)photo.width),
             (int)((f->bottom - f->top) * (float)photo.height));
    draw(&photo, f);
  }
  if (found > 6) printf("    and %d more\n", found - 6);
  printf("  built in %.0f ms, %.2f ms a picture (the best of 10) on %s\n", build * 1e3, seconds * 1e3,
         ingot_session_device(session));
  if (!stbi_write_png(arguments[3], photo.width, photo.height, 3, photo.pixels, 0)) {
    fprintf(stderr, "face: cannot write %s\n", arguments[3]);
    return 1;
  }
  printf("  drawn into %s\n", arguments[3]);
  free(planes);
  stbi_image_free(photo.pixels);
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
  return found ? 0 : 1;
}
