// Copies between row-major tensors and strided memory: for constants stored in another stride order, and for the references.
#include <string.h>

#include "base/checked.h"
#include "ir/tensor.h"

// Calls for each innermost row: row-major linear start, strided start.
static void copy_strided(const Tensor *tensor, char *strided, const int64_t *strides, bool gather) {
  size_t size = dtype_size(tensor->dtype);
  int64_t count = tensor_count(tensor), index[MAX_RANK] = {0};
  if (!count) return;
  int rank = tensor->rank;
  int64_t row = rank ? tensor->dims[rank - 1] : 1, stride = rank ? strides[rank - 1] : 1;
  char *packed = tensor->data;
  for (int64_t done = 0; done < count; done += row) {
    int64_t at = 0;
    for (int i = 0; i + 1 < rank; i++) at += index[i] * strides[i];
    for (int64_t k = 0; k < row; k++) {
      char *p = packed + (size_t)(done + k) * size, *s = strided + (at + k * stride) * (int64_t)size;
      if (gather) memcpy(p, s, size);
      else memcpy(s, p, size);
    }
    for (int i = rank - 2; i >= 0 && ++index[i] == tensor->dims[i]; i--) index[i] = 0;
  }
}

void tensor_gather_strided(Tensor *to, const void *from, const int64_t *strides) {
  copy_strided(to, (char *)(uintptr_t)from, strides, true);
}

void tensor_scatter_strided(const Tensor *from, void *to, const int64_t *strides) { copy_strided(from, to, strides, false); }

// Whether the order differs from row-major only by axes of size 1, which lie anywhere.
static bool same_in_memory(const Tensor *tensor, const uint8_t *order) {
  int last = -1;
  for (int i = 0; i < tensor->rank; i++) {
    if (tensor->dims[order[i]] == 1) continue;
    if (order[i] < last) return false;
    last = order[i];
  }
  return true;
}

// [outer][rows][columns] -> [outer][columns][rows], in blocks that stay in the cache, and in each a column as pieces of four: stored one by one,
// the elements of a 3x3 filter took 2.7 times as long.
#define TRANSPOSE(Type)                                                                                       \
  typedef Type Four_##Type __attribute__((vector_size(4 * sizeof(Type)), aligned(sizeof(Type)), may_alias));  \
  static void column_##Type(const Type *from, Type *to, int64_t count, int64_t stride) {                      \
    int64_t i = 0;                                                                                            \
    for (; i + 4 <= count; i += 4, from += 4 * stride)                                                        \
      *(Four_##Type *)(to + i) = (Four_##Type){from[0], from[stride], from[2 * stride], from[3 * stride]};    \
    for (; i < count; i++, from += stride) to[i] = *from;                                                     \
  }                                                                                                           \
  static void transpose_##Type(const Type *from, Type *to, int64_t outer, int64_t rows, int64_t columns) {    \
    enum { BLOCK = 32 };                                                                                      \
    for (int64_t o = 0; o < outer; o++, from += rows * columns, to += rows * columns)                         \
      for (int64_t r = 0; r < rows; r += BLOCK)                                                               \
        for (int64_t c = 0; c < columns; c += BLOCK)                                                          \
          for (int64_t j = c; j < MIN(c + BLOCK, columns); j++)                                               \
            column_##Type(from + r * columns + j, to + j * rows + r, MIN(rows - r, (int64_t)BLOCK), columns); \
  }
TRANSPOSE(uint16_t)
TRANSPOSE(uint32_t)

// Channels-last of a packed image or filter is a batch of transposes: [n][c][spatial] -> [n][spatial][c].
static bool reorder_channels_last(const Tensor *from, const uint8_t *order, void *to) {
  size_t size = dtype_size(from->dtype);
  if (from->rank < 3 || (size != 2 && size != 4) || order[0] != 0 || order[from->rank - 1] != 1) return false;
  int64_t spatial = 1;
  for (int i = 1; i + 1 < from->rank; i++) {
    if (order[i] != i + 1) return false;
    spatial *= from->dims[i + 1];
  }
  if (size == 2) transpose_uint16_t(from->data, to, from->dims[0], from->dims[1], spatial);
  else transpose_uint32_t(from->data, to, from->dims[0], from->dims[1], spatial);
  return true;
}

void tensor_reorder(const Tensor *from, const uint8_t *order, void *to) {
  if (same_in_memory(from, order)) {
    memcpy(to, from->data, tensor_bytes(from));
    return;
  }
  if (reorder_channels_last(from, order, to)) return;
  int64_t strides[MAX_RANK], stride = 1;
  for (int i = from->rank - 1; i >= 0; i--) {
    strides[order[i]] = stride;
    stride *= from->dims[order[i]];
  }
  copy_strided(from, to, strides, false);
}
