// Copies between row-major tensors and strided memory: for constants stored in another stride order, and for the references.
#include <string.h>

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

void tensor_gather_strided(Tensor *to, const void *from, const int64_t *strides) { copy_strided(to, (char *)(uintptr_t)from, strides, true); }

void tensor_scatter_strided(const Tensor *from, void *to, const int64_t *strides) { copy_strided(from, to, strides, false); }

void tensor_reorder(const Tensor *from, const uint8_t *order, void *to) {
  int64_t strides[MAX_RANK], stride = 1;
  for (int i = from->rank - 1; i >= 0; i--) {
    strides[order[i]] = stride;
    stride *= from->dims[order[i]];
  }
  copy_strided(from, to, strides, false);
}
