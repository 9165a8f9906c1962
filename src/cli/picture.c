// Reading pictures through stb. Resizing is stb_image_resize's: a box or Mitchell filter where it shrinks, Catmull-Rom where it
// grows; other tools' bilinear differs in the last digits.
#include "cli/picture.h"

#include <stdlib.h>
#include <string.h>

#define STB_IMAGE_IMPLEMENTATION
#define STBI_FAILURE_USERMSG
// stb reads tables that a JPEG never defined: they are zeros, not what memory held before.
#define STBI_MALLOC(size) calloc(1, size)
#define STBI_REALLOC(memory, size) realloc(memory, size)
#define STBI_FREE(memory) free(memory)
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STB_IMAGE_RESIZE_IMPLEMENTATION
// Where a JPEG's data ends early, stb counts more bits than are left and shifts a zero by more than its width: still zero on every machine,
// but an error to clang's sanitizer.
#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("shift-exponent"))), apply_to = function)
#endif
#include <stb_image.h>
#ifdef __clang__
#pragma clang attribute pop
#endif
#include <stb_image_resize.h>

#include "base/checked.h"
#include "base/file.h"
#include "cli/picture_check.h"

enum { MAX_PICTURE_BYTES = 1 << 30, MAX_PIXEL_BYTES = 1 << 28, MAX_SIDE = 1 << 15 };

bool picture_parse_numbers(const char *text, double out[3]) {
  int count = 0;
  for (const char *at = text; count < 3;) {
    char *end;
    double value = strtod(at, &end);
    if (end == at) return false;
    if (*end == '/') {
      at = end + 1;
      double divisor = strtod(at, &end);
      if (end == at || divisor == 0) return false;
      value /= divisor;
    }
    out[count++] = value;
    if (!*end) break;
    if (*end != ',') return false;
    at = end + 1;
  }
  if (count == 1) out[1] = out[2] = out[0];
  return count != 2;
}

bool picture_is_one(const char *path) {
  static const char *const extensions[] = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm"};
  for (size_t i = 0; i < COUNT_OF(extensions); i++)
    if (!strcasecmp(path_extension(path), extensions[i])) return true;
  return false;
}

// How a tensor holds a picture: which axis is what.
typedef struct PictureLayout {
  int rank, channel_axis, height_axis, width_axis;
  int64_t channels, height, width;
} PictureLayout;

static bool is_channels(int64_t dim) { return dim == 1 || dim == 3 || dim == 4; }

static Status find_layout(const Wanted *wanted, PictureLayout *out) {
  int rank = wanted->rank, first = rank - 3;
  if (rank != 3 && rank != 4)
    FAIL(ERROR_INVALID_ARGUMENT, "a picture needs an input of 3 or 4 axes, and '%s' has %d", wanted->name, rank);
  if (rank == 4 && wanted->dims[0] > 1)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' takes %lld pictures at once", wanted->name, (long long)wanted->dims[0]);
  if (is_channels(wanted->dims[first]))
    *out = (PictureLayout){rank, first, first + 1, first + 2, .channels = wanted->dims[first]};
  else if (is_channels(wanted->dims[rank - 1]))
    *out = (PictureLayout){rank, rank - 1, first, first + 1, .channels = wanted->dims[rank - 1]};
  else FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has no axis of 1, 3 or 4 channels, first or last", wanted->name);
  out->height = wanted->dims[out->height_axis];
  out->width = wanted->dims[out->width_axis];
  if (out->height > MAX_SIDE || out->width > MAX_SIDE || !out->height || !out->width)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is %lld x %lld, no size for a picture", wanted->name, (long long)out->width,
         (long long)out->height);
  return OK;
}

static void fill(Tensor *out, const PictureLayout *layout, const PictureOptions *options, const uint8_t *pixels) {
  double scale[3], mean[3];
  for (int c = 0; c < 3; c++) {
    scale[c] = options->normalised ? options->scale[c] : dtype_is_float(out->dtype) ? 1.0 / 255 : 1;
    mean[c] = options->normalised ? options->mean[c] : 0;
  }
  int64_t strides[3] = {0};  // of channel, row, column
  int64_t stride = 1;
  for (int k = layout->rank - 1; k >= 0; k--) {
    if (k == layout->channel_axis) strides[0] = stride;
    if (k == layout->height_axis) strides[1] = stride;
    if (k == layout->width_axis) strides[2] = stride;
    stride *= out->dims[k];
  }
  int channels = (int)layout->channels;
  for (int64_t y = 0; y < layout->height; y++)
    for (int64_t x = 0; x < layout->width; x++)
      for (int c = 0; c < channels; c++) {
        int from = options->bgr && c < 3 && channels >= 3 ? 2 - c : c, rule = c < 3 ? c : 0;
        double value = pixels[(y * layout->width + x) * channels + from];
        tensor_set_f(out, c * strides[0] + y * strides[1] + x * strides[2], (value - mean[rule]) * scale[rule]);
      }
}

// What a picture says it is may be far more than it holds: its size is judged before any memory is taken for it.
static Status check(Bytes bytes, int channels) {
  int width, height, found;
  PictureFormat format;
  TRY(picture_check(bytes, &format));
  if (!stbi_info_from_memory(bytes.data, (int)bytes.size, &width, &height, &found))
    FAIL(ERROR_CORRUPT, "not a picture that can be read (%s)", stbi_failure_reason());
  if (width < 1 || height < 1) FAIL(ERROR_CORRUPT, "a picture of %d x %d has no pixels", width, height);
  if (width > MAX_SIDE || height > MAX_SIDE || (size_t)width * (size_t)height * (size_t)MAX(channels, found) > MAX_PIXEL_BYTES)
    FAIL(ERROR_UNSUPPORTED, "a picture of %d x %d is too large", width, height);
  return picture_check_size(bytes, format, width, height);
}

// stb looks at every place of an old axis from every place of the new one.
static Status resize(const uint8_t *pixels, int width, int height, const PictureLayout *layout, uint8_t **out) {
  enum { MOST_LOOKS = 1 << 28 };
  if (layout->height * height > MOST_LOOKS || layout->width * width > MOST_LOOKS)
    FAIL(ERROR_UNSUPPORTED, "resizing a picture of %d x %d to %lld x %lld takes too long", width, height,
         (long long)layout->width, (long long)layout->height);
  *out = malloc((size_t)layout->height * (size_t)layout->width * (size_t)layout->channels);
  if (!*out ||
      !stbir_resize_uint8(pixels, width, height, 0, *out, (int)layout->width, (int)layout->height, 0, (int)layout->channels))
    return status_out_of_memory();
  return OK;
}

Status picture_decode(Bytes bytes, const Wanted *wanted, const PictureOptions *options, Arena *arena, Tensor *out) {
  PictureLayout layout = {0};
  DType dtype;
  if (bytes.size > MAX_PICTURE_BYTES) FAIL(ERROR_UNSUPPORTED, "a picture of %zu bytes is too large", bytes.size);
  if (!dtype_parse(wanted->dtype_name, &dtype)) FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has no declared type", wanted->name);
  TRY(find_layout(wanted, &layout));
  TRY(check(bytes, (int)layout.channels));
  int width, height, found;
  Status status = OK;
  uint8_t *resized = NULL;
  uint8_t *pixels = stbi_load_from_memory(bytes.data, (int)bytes.size, &width, &height, &found, (int)layout.channels);
  if (!pixels) FAIL(ERROR_CORRUPT, "not a picture that can be read (%s)", stbi_failure_reason());
  if (layout.height < 0) layout.height = height;
  if (layout.width < 0) layout.width = width;
  if (layout.height != height || layout.width != width) TRY_GOTO(resize(pixels, width, height, &layout, &resized));
  int64_t dims[4] = {1, 1, 1, 1};
  dims[layout.channel_axis] = layout.channels;
  dims[layout.height_axis] = layout.height;
  dims[layout.width_axis] = layout.width;
  TRY_GOTO(tensor_new(arena, dtype, layout.rank, dims, out));
  fill(out, &layout, options, resized ? resized : pixels);
done:
  free(resized);
  stbi_image_free(pixels);
  return status;
}
