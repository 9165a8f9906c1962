// Tensor copies of pixels, as a convolution reads them: each box is the channels of successive positions of the window, moved by the filter's offset.
#include <stdlib.h>
#include <string.h>
#include "tests/instructions/lab.h"

typedef struct Window {
  uint32_t rank;
  uint64_t dims[5];  // channels, columns, rows, ..., images; f16
  int lower[3], upper[3];
  uint32_t channels, pixels, strides[5];
  int place[5];
  uint16_t offset[3];
  int swizzle;
} Window;

static const Window windows[] = {
    {3, {32, 20, 3}, {-1}, {-1}, 32, 50, {1, 1, 1}, {0, -1, 0}, {2}, CUDA_SWIZZLE_64},
    {4, {64, 7, 6, 2}, {-1, -1}, {-1, -1}, 64, 60, {1, 1, 1, 1}, {0, -1, -1, 0}, {0, 0}, CUDA_SWIZZLE_128},
    {4, {64, 7, 6, 2}, {-1, -1}, {-1, -1}, 64, 60, {1, 1, 1, 1}, {0, 3, 2, 0}, {2, 1}, CUDA_SWIZZLE_128},
    {4, {48, 8, 9, 3}, {-1, -1}, {-1, -1}, 16, 70, {1, 2, 2, 1}, {32, -1, 1, 1}, {1, 2}, CUDA_SWIZZLE_32},
    {4, {40, 8, 8, 2}, {0, 0}, {0, 0}, 16, 64, {1, 1, 1, 1}, {32, 0, 4, 1}, {0, 0}, CUDA_SWIZZLE_NONE},
    {5, {16, 5, 4, 3, 2}, {-1, -1, 0}, {-1, -1, -1}, 16, 64, {1, 1, 1, 1, 1}, {0, 2, 0, 1, 0}, {1, 2, 1}, CUDA_SWIZZLE_32},
};

static void expect(const Window *w, const uint16_t *tensor, uint16_t *box) {
  static const uint32_t masks[] = {0, 1, 3, 7};
  int64_t pixel[5];
  for (uint32_t k = 0; k < w->rank; k++) pixel[k] = w->place[k];
  for (uint32_t p = 0; p < w->pixels; p++) {
    for (uint32_t c = 0; c < w->channels; c++) {
      int64_t at = 0;
      bool inside = true;
      for (uint32_t k = w->rank; k-- > 0;) {
        int64_t x = pixel[k] + (k == 0 ? c : k < w->rank - 1 ? w->offset[k - 1] : 0);
        inside &= x >= 0 && x < (int64_t)w->dims[k];
        at = at * (int64_t)w->dims[k] + x;
      }
      uint32_t byte = (p * w->channels + c) * 2;
      box[(byte ^ (byte >> 7 & masks[w->swizzle]) << 4) / 2] = inside ? tensor[at] : 0;
    }
    uint32_t k = 1;
    for (; k < w->rank - 1; k++) {
      pixel[k] += w->strides[k];
      if (pixel[k] < (int64_t)w->dims[k] + w->upper[k - 1]) break;
      pixel[k] = w->lower[k - 1];
    }
    if (k == w->rank - 1) pixel[k]++;
  }
}

static Status run_window(Lab *lab, const Window *w) {
  size_t size = 2;
  uint64_t strides[4];
  for (uint32_t i = 0; i < w->rank; i++) {
    if (i) strides[i - 1] = size;
    size *= w->dims[i];
  }
  uint32_t bytes = w->channels * w->pixels * 2;
  uint16_t *tensor = malloc(size), *box = malloc(bytes);
  if (!tensor || !box) abort();
  for (size_t i = 0; i < size / 2; i++) tensor[i] = (uint16_t)(lab_word((uint32_t)i) & 0x3fff);
  expect(w, tensor, box);
  CudaTensorMap map;
  void *memory, *out;
  Status status = lab_memory(lab, tensor, size, &memory);
  if (!status) status = lab_memory(lab, NULL, bytes, &out);
  if (!status) {
    CudaResult result = lab->context->driver->cuTensorMapEncodeIm2col(&map, CUDA_TENSOR_F16, w->rank, memory, w->dims, strides,
                                                                      w->lower, w->upper, w->channels, w->pixels, w->strides, 0,
                                                                      w->swizzle, CUDA_L2_NONE, 0);
    if (result) status = cuda_error(lab->context, result, "cuTensorMapEncodeIm2col");
  }
  static const char *const kernels[] = {"im2col_3", "im2col_4", "im2col_5"};
  Shape shape = {.grid = 1, .block = 64, .shared = bytes + 1024};
  if (!status)
    status = lab_launch(lab, "tensor.cuh", kernels[w->rank - 3], shape,
                        LAB_ARGUMENTS(&map, (void *)w->place, (void *)w->offset, &bytes, &out));
  if (!status) status = lab_expect(lab, out, (uint32_t *)box, bytes / 4);
  free(tensor);
  free(box);
  lab_clear(lab);
  return status;
}

static Status im2col(Lab *lab, const Trial *trial) {
  for (size_t i = 0; i < COUNT_OF(windows); i++) {
    if ((int)windows[i].rank != trial->number) continue;
    Status status = run_window(lab, &windows[i]);
    if (status) return status_context(status, "window %d", (int)i);
  }
  return OK;
}

// Maps that no driver makes.
static Status refused(Lab *lab, const Trial *trial) {
  const struct {
    const char *what;
    uint32_t rank;
    int lower, upper;
    uint32_t channels, pixels;
  } rows[] = {{"rank 2", 2, 0, 0, 64, 64},
              {"a corner at 128", 4, 128, 0, 64, 64},
              {"a corner at -129", 4, 0, -129, 64, 64},
              {"257 channels", 4, 0, 0, 257, 64},
              {"no pixels", 4, 0, 0, 64, 0},
              {"1,025 pixels", 4, 0, 0, 64, 1025},
              {"channels wider than the swizzle", 4, 0, 0, 128, 64}};
  void *memory;
  TRY(lab_memory(lab, NULL, 64 * 8 * 8 * 2, &memory));
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    CudaTensorMap map;
    const uint64_t dims[] = {64, 8, 8, 1}, strides[] = {128, 1024, 8192};
    const uint32_t steps[] = {1, 1, 1, 1};
    const int lower[] = {rows[i].lower, 0}, upper[] = {rows[i].upper, 0};
    CudaResult result = lab->context->driver->cuTensorMapEncodeIm2col(&map, CUDA_TENSOR_F16, rows[i].rank, memory, dims,
                                                                      strides, lower, upper, rows[i].channels, rows[i].pixels,
                                                                      steps, 0, CUDA_SWIZZLE_128, CUDA_L2_NONE, 0);
    if (result != 1) FAIL(ERROR_INTERNAL, "a map with %s gives %d, not CUDA_ERROR_INVALID_VALUE", rows[i].what, result);
  }
  return OK;
}

static const Trial trials[] = {
    {"im2col/3d", "tensor.cuh", 90, im2col, 3},
    {"im2col/4d", "tensor.cuh", 90, im2col, 4},
    {"im2col/5d", "tensor.cuh", 90, im2col, 5},
    {"im2col/maps refused", "tensor.cuh", 90, refused, 0},
};
const TrialTable im2col_trials = {trials, COUNT_OF(trials)};
