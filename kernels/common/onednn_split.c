// See onednn_split.h. Convolutions are cut into images, then into the axis that is outermost in memory: rows of images whose channels
// are innermost, channels of others. Products are cut into batches, else into rows, else into columns.
#include "kernels/common/onednn_split.h"
#include <string.h>
#include "base/checked.h"

// In multiplications: what one thread does in some 5 us is not shared; what takes it 100 us is cut finer than into one slice for each thread, so
// that a thread whose core is taken away leaves some of its share to the others.
enum { SHARED_ABOVE = 1 << 18, FINER_ABOVE = 1 << 23, FINER = 2 };

static int64_t count_of(const OnednnTensor *tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor->rank; i++) count *= tensor->dims[i];
  return count;
}

static int64_t work_of(const OnednnOperation *operation) {
  int64_t outputs = count_of(&operation->y);
  switch (operation->kind) {
    case ONEDNN_MATMUL: return outputs * operation->x.dims[operation->x.rank - 1];
    case ONEDNN_CONV: return outputs * (count_of(&operation->weights) / MAX(operation->y.dims[1], 1));
    default: return count_of(&operation->x) * (count_of(&operation->weights) / MAX(operation->x.dims[1], 1));
  }
}

static int64_t kernel_rows(const OnednnOperation *operation) {
  const OnednnTensor *w = &operation->weights;
  return w->dims[w->rank - (operation->x.rank - 2)];
}

// ---- One slice --------------------------------------------------------------------------------------------------------------

static void cut(OnednnTensor *tensor, int64_t *offset, int axis, int64_t begin, int64_t count) {
  *offset += begin * tensor->strides[axis];
  tensor->dims[axis] = count;
}

// The rows of x that rows [begin, begin + count) of y see; what lies outside is padding.
static void cut_window(OnednnOperation *operation, int64_t *offset, int64_t begin, int64_t count) {
  OnednnTensor *x = &operation->x;
  OnednnWindow *w = &operation->window;
  int64_t first = begin * w->strides[0] - w->pad_begin[0];
  int64_t last = (begin + count - 1) * w->strides[0] - w->pad_begin[0] + (kernel_rows(operation) - 1) * (w->dilations[0] + 1);
  int64_t from = MIN(MAX(first, 0), x->dims[2] - 1), to = MAX(MIN(last, x->dims[2] - 1), from);
  w->pad_begin[0] = from - first;
  w->pad_end[0] = last - to;
  cut(x, offset, 2, from, to + 1 - from);
}

static void cut_weights(OnednnSlice *slice, int axis, int64_t begin, int64_t count) {
  cut(&slice->operation.weights, &slice->offsets[ONEDNN_WEIGHTS], axis, begin, count);
}

static void cut_x(OnednnSlice *slice, int axis, int64_t begin, int64_t count) {
  OnednnOperation *operation = &slice->operation;
  OnednnTensor *x = &operation->x;
  int rank = operation->y.rank;
  if (operation->kind == ONEDNN_MATMUL) {
    if (axis < rank - 1 && x->dims[axis] != 1) cut(x, &slice->offsets[ONEDNN_X], axis, begin, count);
    if (axis != rank - 2 && operation->weights.dims[axis] != 1) cut_weights(slice, axis, begin, count);
  } else if (axis == 0) {
    cut(x, &slice->offsets[ONEDNN_X], 0, begin, count);
  } else if (axis == 2) {
    cut_window(operation, &slice->offsets[ONEDNN_X], begin, count);
  } else {
    cut_weights(slice, 0, begin, count);
  }
}

// Those of the links, then those of the tail.
static OnednnTensor *operand_at(OnednnSlice *slice, int i) {
  return i < slice->link_count ? &slice->links[i].operand : &slice->operands[i - slice->link_count];
}

static void cut_slice(OnednnSlice *slice, int axis, int64_t begin, int64_t count) {
  OnednnOperation *operation = &slice->operation;
  int64_t whole = operation->y.dims[axis];
  bool products = operation->kind == ONEDNN_MATMUL;
  if (count == whole) return;
  cut_x(slice, axis, begin, count);
  cut(&operation->y, &slice->offsets[ONEDNN_Y], axis, begin, count);
  // A convolution's bias is a vector along the channels; that of a product has the rank of y.
  int bias_axis = products ? axis : axis == 1 ? 0 : -1;
  if (operation->bias.rank && bias_axis >= 0 && operation->bias.dims[bias_axis] == whole && whole != 1)
    cut(&operation->bias, &slice->offsets[ONEDNN_BIAS], bias_axis, begin, count);
  for (int i = 0; i < slice->link_count + slice->operand_count; i++) {
    OnednnTensor *operand = operand_at(slice, i);
    int role = i < slice->link_count ? ONEDNN_LINK + i : ONEDNN_OPERAND + i - slice->link_count;
    if (operand->rank && operand->dims[axis] == whole && whole != 1) cut(operand, &slice->offsets[role], axis, begin, count);
  }
}

// An image alone: nothing is a batch's stride away, and oneDNN compares strides.
static void tidy_image(OnednnTensor *tensor) {
  if (tensor->rank == 0 || tensor->dims[0] != 1) return;
  int64_t extent = 1;
  for (int i = 1; i < tensor->rank; i++) extent = MAX(extent, tensor->dims[i] * tensor->strides[i]);
  tensor->strides[0] = extent;
}

static void tidy_slice(OnednnSlice *slice) {
  if (slice->operation.kind == ONEDNN_MATMUL) return;
  tidy_image(&slice->operation.x);
  tidy_image(&slice->operation.y);
  for (int i = 0; i < slice->link_count; i++) tidy_image(&slice->links[i].operand);
}

// ---- Which axis -------------------------------------------------------------------------------------------------------------

static bool is_outer(const OnednnTensor *tensor, int axis) {
  for (int i = 1; i < tensor->rank; i++)
    if (i != axis && tensor->dims[i] > 1 && tensor->strides[i] >= tensor->strides[axis]) return false;
  return true;
}

// No row of the result lies in the padding altogether.
static bool rows_see_input(const OnednnOperation *operation) {
  const OnednnWindow *w = &operation->window;
  int64_t reach = (kernel_rows(operation) - 1) * (w->dilations[0] + 1);
  int64_t last = (operation->y.dims[2] - 1) * w->strides[0] - w->pad_begin[0];
  return w->pad_begin[0] <= reach && last < operation->x.dims[2];
}

// The axis that images are cut along; 0: none.
static int image_axis(const OnednnOperation *operation) {
  const OnednnTensor *x = &operation->x, *y = &operation->y;
  bool grouped = operation->weights.rank > y->rank;
  if (operation->kind == ONEDNN_CONV_TRANSPOSE) return 0;
  if (rows_see_input(operation) && is_outer(x, 2) && is_outer(y, 2) && y->dims[2] > 1) return 2;
  if (is_outer(y, 1) && y->dims[1] > 1 && !grouped) return 1;
  return 0;
}

// Columns are cut at vectors' ends.
enum { COLUMN_STEP = 64 };
static int product_axis(const OnednnOperation *operation, int wanted, int64_t *step) {
  const OnednnTensor *y = &operation->y;
  int rows = y->rank - 2, columns = y->rank - 1, batch = 0;
  *step = 1;
  for (int i = 0; i < rows; i++)
    if (y->dims[i] > y->dims[batch]) batch = i;
  if (rows > 0 && y->dims[batch] >= wanted) return batch;
  int64_t cut_columns = y->dims[columns] / COLUMN_STEP;
  if (y->dims[rows] >= 8 * wanted || y->dims[rows] >= cut_columns) return rows;
  *step = COLUMN_STEP;
  return columns;
}

// A 1x1 convolution sees no rows: all positions of an image are one axis, which is cut more evenly.
static void merge_positions(OnednnSlice *slice) {
  OnednnOperation *operation = &slice->operation;
  OnednnTensor *tensors[2 + ONEDNN_LINKS + ONEDNN_OPERANDS] = {&operation->x, &operation->y};
  const OnednnTensor *w = &operation->weights, *y = &operation->y;
  const OnednnWindow *window = &operation->window;
  int count = 2;
  if (operation->kind != ONEDNN_CONV || y->rank != 4) return;
  for (int i = 0; i < 2; i++)
    if (w->dims[w->rank - 2 + i] != 1 || window->strides[i] != 1 || window->pad_begin[i] || window->pad_end[i]) return;
  for (int i = 0; i < slice->link_count + slice->operand_count; i++) {
    OnednnTensor *operand = operand_at(slice, i);
    if (!operand->rank || operand->dims[2] * operand->dims[3] == 1) continue;
    if (operand->dims[2] != y->dims[2] || operand->dims[3] != y->dims[3]) return;
    tensors[count++] = operand;
  }
  for (int i = 0; i < count; i++)
    if (tensors[i]->strides[2] != tensors[i]->strides[3] * tensors[i]->dims[3]) return;
  for (int i = 0; i < count; i++) {
    tensors[i]->dims[2] *= tensors[i]->dims[3];
    tensors[i]->strides[2] = tensors[i]->strides[3];
    tensors[i]->dims[3] = 1;
  }
}

// ---- All slices -------------------------------------------------------------------------------------------------------------

typedef struct Cut {
  int axis;  // -1: none
  int64_t step;
  int64_t count;  // slices along it
} Cut;

static Cut cut_into(const OnednnTensor *y, int axis, int64_t step, int64_t wanted) {
  int64_t steps = ceil_div(y->dims[axis], step), each = ceil_div(steps, MAX(MIN(wanted, steps), 1));
  return (Cut){axis, each * step, ceil_div(steps, each)};
}

static int64_t part_of(const Cut *cut, const OnednnTensor *y, int64_t index, int64_t *begin) {
  *begin = index * cut->step;
  return MIN(cut->step, y->dims[cut->axis] - *begin);
}

// How many slices: enough for the threads, where there is work for them, and for the cache.
static int64_t wanted_slices(const OnednnOperation *operation, int threads, bool cached) {
  enum { CACHED_BYTES = 1 << 18 };  // half of what second-level caches have at least, besides the weights
  int64_t work = work_of(operation), wanted = work < SHARED_ABOVE ? 1 : work < FINER_ABOVE ? threads : FINER * threads;
  if (threads <= 1) wanted = 1;
  if (threads == 0) return 1;
  return cached ? MAX(wanted, count_of(&operation->y) * (int64_t)sizeof(float) / CACHED_BYTES) : wanted;
}

int onednn_split(const OnednnSlice *all, int threads, bool cached, Arena *arena, OnednnSlice **out) {
  OnednnSlice whole = *all;
  OnednnOperation *operation = &whole.operation;
  int64_t wanted = wanted_slices(operation, threads, cached);
  Cut outer = {.axis = -1, .count = 1}, inner = outer;
  const OnednnTensor *y = &operation->y;
  if (wanted > 1 && operation->kind == ONEDNN_MATMUL) {
    int64_t step;
    int axis = product_axis(operation, (int)wanted, &step);
    outer = cut_into(y, axis, step, wanted);
  } else if (wanted > 1) {
    outer = cut_into(y, 0, 1, wanted);
    if (outer.count < wanted && (outer.count == y->dims[0])) {
      merge_positions(&whole);
      int axis = image_axis(operation);
      if (axis) inner = cut_into(y, axis, axis == 1 ? MIN(16, y->dims[1]) : 1, ceil_div(wanted, outer.count));
    }
  }
  int64_t count = outer.count * inner.count, begin, length;
  *out = arena_array(arena, OnednnSlice, (size_t)count);
  for (int64_t i = 0; i < count; i++) {
    OnednnSlice *slice = &(*out)[i];
    *slice = whole;
    if (outer.axis >= 0) length = part_of(&outer, y, i / inner.count, &begin), cut_slice(slice, outer.axis, begin, length);
    if (inner.axis >= 0) length = part_of(&inner, y, i % inner.count, &begin), cut_slice(slice, inner.axis, begin, length);
    tidy_slice(slice);
  }
  return (int)count;
}
