// Tensor copies: boxes of every rank and swizzle that hang over the edges, loaded and stored; what the driver refuses to encode.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/instructions/lab.h"

typedef struct Box {
  int type, size;  // of an element, bytes
  uint32_t rank;
  uint64_t dims[5];
  uint32_t box[5], strides[5];  // strides: of elements
  int place[5];
  int swizzle;
  int pad;  // bytes after each line of the tensor
} Box;

enum { F16 = CUDA_TENSOR_F16, F32 = CUDA_TENSOR_F32, U8 = CUDA_TENSOR_U8, U32 = CUDA_TENSOR_U32, F64 = CUDA_TENSOR_F64 };
static const Box boxes[] = {
    {F16, 2, 1, {100}, {64}, {1}, {0}, CUDA_SWIZZLE_NONE, 0},
    {F32, 4, 1, {100}, {64}, {1}, {-8}, CUDA_SWIZZLE_NONE, 0},
    {F32, 4, 1, {100}, {32}, {1}, {88}, CUDA_SWIZZLE_128, 0},
    {F16, 2, 2, {72, 20}, {64, 16}, {1, 1}, {0, 0}, CUDA_SWIZZLE_128, 0},
    {F16, 2, 2, {72, 20}, {64, 16}, {1, 1}, {-8, -3}, CUDA_SWIZZLE_128, 16},
    {F16, 2, 2, {72, 20}, {64, 16}, {1, 1}, {40, 9}, CUDA_SWIZZLE_128, 0},
    {F16, 2, 2, {40, 33}, {32, 24}, {1, 1}, {16, 20}, CUDA_SWIZZLE_64, 0},
    {F16, 2, 2, {40, 33}, {16, 24}, {1, 1}, {32, -10}, CUDA_SWIZZLE_32, 0},
    {F16, 2, 2, {40, 33}, {24, 7}, {1, 1}, {32, -2}, CUDA_SWIZZLE_NONE, 0},
    {U8, 1, 2, {64, 20}, {16, 20}, {1, 1}, {48, 2}, CUDA_SWIZZLE_NONE, 0},
    {F64, 8, 2, {20, 20}, {16, 5}, {1, 1}, {-4, 17}, CUDA_SWIZZLE_128, 0},
    {F16, 2, 2, {64, 64}, {64, 16}, {1, 1}, {200, 0}, CUDA_SWIZZLE_128, 0},
    {F32, 4, 2, {48, 40}, {32, 16}, {1, 2}, {8, 20}, CUDA_SWIZZLE_128, 0},
    {F32, 4, 2, {48, 40}, {32, 15}, {1, 4}, {8, -3}, CUDA_SWIZZLE_128, 0},
    {F16, 2, 3, {16, 9, 7}, {16, 5, 4}, {1, 1, 1}, {-8, 6, 5}, CUDA_SWIZZLE_32, 0},
    {U32, 4, 3, {12, 9, 7}, {16, 8, 3}, {1, 2, 1}, {4, -1, -1}, CUDA_SWIZZLE_64, 0},
    {F16, 2, 4, {64, 5, 4, 3}, {64, 3, 3, 2}, {1, 1, 1, 1}, {0, -1, 2, 2}, CUDA_SWIZZLE_128, 0},
    {F16, 2, 4, {24, 6, 6, 3}, {8, 5, 4, 3}, {1, 2, 3, 1}, {16, 1, -2, -1}, CUDA_SWIZZLE_NONE, 32},
    {F16, 2, 5, {32, 4, 3, 3, 2}, {32, 2, 3, 2, 2}, {1, 1, 1, 1, 1}, {8, -1, 1, 2, -1}, CUDA_SWIZZLE_64, 0},
    {F32, 4, 5, {4, 4, 3, 5, 3}, {4, 3, 2, 5, 2}, {1, 1, 1, 2, 1}, {0, 2, -1, -2, 2}, CUDA_SWIZZLE_NONE, 0},
};

static uint32_t along(const Box *b, uint32_t i) { return i ? (b->box[i] + b->strides[i] - 1) / b->strides[i] : b->box[0]; }

// Strides in bytes of dimensions 1 and up; returns the tensor's bytes.
static size_t tensor_strides(const Box *b, uint64_t *strides) {
  uint64_t size = (b->dims[0] * (uint64_t)b->size + 15) / 16 * 16 + (uint64_t)b->pad;
  for (uint32_t i = 1; i < b->rank; i++) {
    strides[i - 1] = size;
    size *= b->dims[i];
  }
  return size;
}

static Status encode(Lab *lab, const Box *b, void *memory, CudaTensorMap *map) {
  uint64_t strides[5];
  tensor_strides(b, strides);
  CUDA_TRY(lab->context, cuTensorMapEncodeTiled(map, b->type, b->rank, memory, b->dims, strides, b->box, b->strides, 0,
                                                b->swizzle, CUDA_L2_NONE, 0));
  return OK;
}

static uint32_t swizzle(int mode, uint32_t offset) {
  static const uint32_t masks[] = {0, 1, 3, 7};
  return offset ^ (offset >> 7 & masks[mode]) << 4;
}

// For each element of the box: where in shared memory it lies, from a 1024-byte boundary, and where in the tensor, or -1.
typedef void VisitElement(uint32_t shared, int64_t tensor, void *context);
static uint32_t visit(const Box *b, VisitElement *visitor, void *context) {
  uint64_t strides[5];
  tensor_strides(b, strides);
  uint32_t count = 1;
  for (uint32_t i = 0; i < b->rank; i++) count *= along(b, i);
  for (uint32_t e = 0; e < count && visitor; e++) {
    uint32_t rest = e;
    int64_t tensor = 0;
    bool inside = true;
    for (uint32_t i = 0; i < b->rank; i++) {
      int64_t at = b->place[i] + (int64_t)(rest % along(b, i)) * (i ? b->strides[i] : 1);
      rest /= along(b, i);
      inside &= at >= 0 && at < (int64_t)b->dims[i];
      tensor += at * (int64_t)(i ? strides[i - 1] : (uint64_t)b->size);
    }
    visitor(swizzle(b->swizzle, e * (uint32_t)b->size), inside ? tensor : -1, context);
  }
  return count * (uint32_t)b->size;
}

typedef struct Bytes2 {
  char *shared, *tensor;
  size_t size;
} Bytes2;
static void to_shared(uint32_t shared, int64_t tensor, void *context) {
  const Bytes2 *bytes = context;
  if (tensor >= 0) memcpy(bytes->shared + shared, bytes->tensor + tensor, bytes->size);
}
static void to_tensor(uint32_t shared, int64_t tensor, void *context) {
  const Bytes2 *bytes = context;
  if (tensor >= 0) memcpy(bytes->tensor + tensor, bytes->shared + shared, bytes->size);
}

static void fill(void *memory, size_t bytes) {
  for (size_t i = 0; i + 4 <= bytes; i += 4) ((uint32_t *)memory)[i / 4] = lab_word((uint32_t)i) & 0x3fff3fff;
}

static Status box_error(Status status, const Box *b, int number) {
  return status ? status_context(status, "box %d (rank %u, swizzle %d)", number, b->rank, b->swizzle) : OK;
}

// kernel: "load" or "store", then the rank; or load_far.
static Status move(Lab *lab, const Box *b, const char *kernel, bool far) {
  uint64_t strides[5];
  size_t size = tensor_strides(b, strides);
  uint32_t bytes = visit(b, NULL, NULL);
  bool store = kernel[0] == 's';
  char *tensor = malloc(size), *shared = calloc(1, bytes);
  if (!tensor || !shared) abort();
  fill(tensor, size);
  if (store) fill(shared, bytes);
  CudaTensorMap map, *far_map;
  void *memory, *other;
  Status status = lab_memory(lab, tensor, size, &memory);
  if (!status) status = lab_memory(lab, store ? shared : NULL, bytes, &other);
  if (!status) status = encode(lab, b, memory, &map);
  if (!status && far) status = lab_memory(lab, &map, sizeof map, (void **)&far_map);
  Shape shape = {.grid = 1, .block = 64, .shared = bytes + 1024};
  if (!status)
    status = lab_launch(lab, "tensor.cuh", kernel, shape,
                        LAB_ARGUMENTS(far ? (void *)&far_map : &map, (void *)b->place, &bytes, &other));
  Bytes2 both = {shared, tensor, (size_t)b->size};
  visit(b, store ? to_tensor : to_shared, &both);
  if (!status)
    status =
        store ? lab_expect(lab, memory, (uint32_t *)tensor, size / 4) : lab_expect(lab, other, (uint32_t *)shared, bytes / 4);
  free(tensor);
  free(shared);
  lab_clear(lab);
  return status;
}

static Status every_box(Lab *lab, const Trial *trial, const char *verb) {
  for (size_t i = 0; i < COUNT_OF(boxes); i++) {
    char kernel[16];
    if ((int)boxes[i].rank != trial->number) continue;
    snprintf(kernel, sizeof kernel, "%s_%u", verb, boxes[i].rank);
    Box box = boxes[i];
    for (uint32_t k = 0; k < box.rank && verb[0] == 's'; k++)
      box.place[k] = MAX(box.place[k], 0);  // no store begins before a tensor
    TRY(box_error(move(lab, &box, kernel, false), &box, (int)i));
  }
  return OK;
}
static Status loads(Lab *lab, const Trial *trial) { return every_box(lab, trial, "load"); }
static Status stores(Lab *lab, const Trial *trial) { return every_box(lab, trial, "store"); }
static Status far_map(Lab *lab, const Trial *trial) { return move(lab, &boxes[4], "load_far", true); }

// Maps that no driver makes.
static Status refused(Lab *lab, const Trial *trial) {
  static const Box good = {F16, 2, 2, {64, 64}, {64, 16}, {1, 1}, {0, 0}, CUDA_SWIZZLE_128, 0};
  void *memory;
  CudaTensorMap map;
  TRY(lab_memory(lab, NULL, 64 * 64 * 2 + 64, &memory));
  TRY(encode(lab, &good, memory, &map));
  const CudaDriver *driver = lab->context->driver;
  const uint32_t ones[6] = {1, 1, 1, 1, 1, 1};
  const struct {
    const char *what;
    uint32_t rank;
    int type, shift, swizzle;
    uint64_t dims[2], stride;
    uint32_t box[2], step;
  } rows[] = {
      {"rank 0", 0, F16, 0, 3, {64, 64}, 128, {64, 16}, 1},
      {"rank 6", 6, F16, 0, 3, {64, 64}, 128, {64, 16}, 1},
      {"an address that is no multiple of 16", 2, F16, 8, 3, {64, 64}, 128, {64, 16}, 1},
      {"a stride that is no multiple of 16", 2, F16, 0, 3, {64, 60}, 136, {64, 16}, 1},
      {"a dimension of 0", 2, F16, 0, 3, {0, 64}, 128, {64, 16}, 1},
      {"a box of 0", 2, F16, 0, 3, {64, 64}, 128, {64, 0}, 1},
      {"a box of 257", 2, F16, 0, 3, {64, 64}, 128, {64, 257}, 1},
      {"lines longer than the swizzle", 2, F16, 0, 2, {64, 64}, 128, {64, 16}, 1},
      {"lines that are no multiple of 16 bytes", 2, F16, 0, 0, {64, 64}, 128, {12, 16}, 1},
      {"an element stride of 0", 2, F16, 0, 3, {64, 64}, 128, {64, 16}, 0},
      {"an element stride of 9", 2, F16, 0, 3, {64, 64}, 128, {64, 16}, 9},
      {"an unknown type", 2, 99, 0, 3, {64, 64}, 128, {64, 16}, 1},
      {"an unknown swizzle", 2, F16, 0, 99, {64, 64}, 128, {64, 16}, 1},
  };
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    uint64_t dims[6] = {rows[i].dims[0], rows[i].dims[1], 1, 1, 1, 1}, strides[5] = {rows[i].stride, 8192, 8192, 8192, 8192};
    uint32_t box[6] = {rows[i].box[0], rows[i].box[1], 1, 1, 1, 1}, steps[6];
    memcpy(steps, ones, sizeof steps);
    steps[1] = rows[i].step;
    CudaResult result = driver->cuTensorMapEncodeTiled(&map, rows[i].type, rows[i].rank, (char *)memory + rows[i].shift, dims,
                                                       strides, box, steps, 0, rows[i].swizzle, CUDA_L2_NONE, 0);
    if (result != 1) FAIL(ERROR_INTERNAL, "a map with %s gives %d, not CUDA_ERROR_INVALID_VALUE", rows[i].what, result);
  }
  return OK;
}

static const Trial trials[] = {
    {"tensor/load 1d", "tensor.cuh", 90, loads, 1},         {"tensor/load 2d", "tensor.cuh", 90, loads, 2},
    {"tensor/load 3d", "tensor.cuh", 90, loads, 3},         {"tensor/load 4d", "tensor.cuh", 90, loads, 4},
    {"tensor/load 5d", "tensor.cuh", 90, loads, 5},         {"tensor/store 1d", "tensor.cuh", 90, stores, 1},
    {"tensor/store 2d", "tensor.cuh", 90, stores, 2},       {"tensor/store 3d", "tensor.cuh", 90, stores, 3},
    {"tensor/store 4d", "tensor.cuh", 90, stores, 4},       {"tensor/store 5d", "tensor.cuh", 90, stores, 5},
    {"tensor/map in memory", "tensor.cuh", 90, far_map, 0}, {"tensor/maps refused", "tensor.cuh", 90, refused, 0},
};
const TrialTable tensor_trials = {trials, COUNT_OF(trials)};
