// See pieces.h.
#include "lower/pieces.h"

#include <stdlib.h>

#include "base/checked.h"

// Axes of more than one element, the innermost first.
static int sort_axes(const TensorDesc *desc, int *axes) {
  int count = 0;
  for (int i = 0; i < desc->rank; i++) {
    if (desc->dims[i] == 1) continue;
    int at = count++;
    for (; at && desc->strides[axes[at - 1]] > desc->strides[i]; at--) axes[at] = axes[at - 1];
    axes[at] = i;
  }
  return count;
}

bool piece_of(const TensorDesc *desc, int64_t offset, size_t buffer_bytes, Piece *out) {
  int64_t size = (int64_t)dtype_size(desc->dtype), all = (int64_t)buffer_bytes / size, run = 1, row = 0, rows = 1;
  int axes[MAX_RANK], count = sort_axes(desc, axes);
  if (offset < 0 || offset >= all) return false;
  for (int i = 0; i < count; i++) {
    int64_t stride = desc->strides[axes[i]];
    if (!row && stride == run) {
      if (!checked_mul_i64(run, desc->dims[axes[i]], &run)) return false;
      continue;
    }
    if (!row) row = stride;
    int64_t filled;
    if (stride <= 0 || !checked_mul_i64(row, rows, &filled) || stride != filled) return false;
    if (!checked_mul_i64(rows, desc->dims[axes[i]], &rows)) return false;
  }
  if (!row) row = all;
  if (row <= 0 || offset + run > row || rows > all / row) return false;
  *out = (Piece){(size_t)(row * size), (size_t)(offset * size), (size_t)((offset + run) * size)};
  return row * rows == all;
}

Piece piece_read(const TensorDesc *desc, int64_t offset, size_t row) {
  int64_t size = (int64_t)dtype_size(desc->dtype), each = (int64_t)row / size, low = offset, high = offset;
  if (!each || (int64_t)row % size) return (Piece){row, 0, row};
  for (int i = 0; i < desc->rank; i++) {
    int64_t stride = desc->strides[i], reach = (desc->dims[i] - 1) * stride;
    if (stride % each == 0) continue;
    if (reach < 0) low += reach;
    else high += reach;
  }
  int64_t first = low % each, last = first + (high - low);
  if (last >= each) return (Piece){row, 0, row};
  return (Piece){row, (size_t)(first * size), (size_t)((last + 1) * size)};
}
