// Operators that move elements without arithmetic: views where they are ones, concat and pad otherwise. Bounds and sizes
// stay symbolic wherever they can.
#include "onnx/ops/common.h"
#include "onnx/ops/shared.h"

static Status transpose(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int count, perm[MAX_RANK];
  const int64_t *given = node_ints(t->attributes, "perm", &count);
  if (given && count != x->rank)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "perm has %d values for an input of rank %d", count, x->rank);
  for (int i = 0; i < x->rank; i++) {
    if (given) TRY(normalise_axis(t, given[i], x->rank, &perm[i]));
    else perm[i] = x->rank - 1 - i;
  }
  t->outputs[0] = build_transpose(&b, x, perm);
  return translate_end(t, &b);
}

static Status flatten(Translation *t) {
  Builder b = translate_begin(t);
  int rank = t->inputs[0]->rank, axis;
  int64_t given = node_int(t->attributes, "axis", 1);
  if (given == rank) axis = rank;
  else TRY(normalise_axis(t, given, rank, &axis));
  t->outputs[0] = build_flatten(&b, t->inputs[0], axis);
  return translate_end(t, &b);
}

static Status squeeze(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  const int64_t *given;
  int64_t axes[MAX_RANK];
  int count;
  TAKE_INTS(t, "axes", 1, &given, &count);
  if (count > x->rank) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %d axes for an input of rank %d", count, x->rank);
  for (int i = 0; i < count; i++) axes[i] = given[i];
  if (!given) {
    for (int i = 0; i < x->rank; i++) {
      if (x->dims[i] == 1) axes[count++] = i;
      else if (!dim_is_static(x->dims[i])) t->deferred = true;
    }
    if (t->deferred) return OK;
  }
  TRY(normalise_axes(t, axes, count, x->rank));
  t->outputs[0] = count ? build_squeeze(&b, x, axes, count) : x;
  return translate_end(t, &b);
}

Status translate_unsqueeze(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  const int64_t *given;
  int64_t axes[MAX_RANK];
  int count;
  TAKE_INTS(t, "axes", 1, &given, &count);
  if (x->rank + count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output would have rank %d", x->rank + count);
  for (int i = 0; i < count; i++) axes[i] = given[i];
  TRY(normalise_axes(t, axes, count, x->rank + count));
  t->outputs[0] = count ? build_unsqueeze(&b, x, axes, count) : x;
  return translate_end(t, &b);
}

// The result of broadcasting x against a shape; where only the run would tell which of two symbolic dims is 1, the shape's wins.
static Status expand(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  const Dim *shape;
  int count;
  NEED_SIZES(t, 1, &shape, &count, 0);
  int rank = MAX(count, x->rank);
  if (rank > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output would have rank %d", rank);
  Dim dims[MAX_RANK];
  for (int i = 0; i < rank; i++) {
    Dim from = i < rank - x->rank ? 1 : x->dims[i - (rank - x->rank)], to = i < rank - count ? 1 : shape[i - (rank - count)];
    if (to == 1 || from == to) dims[i] = from;
    else if (from == 1 || !dim_is_static(from)) dims[i] = to;
    else if (!dim_is_static(to)) dims[i] = from;
    else TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "dimension %lld does not broadcast to %lld", (long long)from, (long long)to);
  }
  t->outputs[0] = build_expand(&b, x, rank, dims);
  return translate_end(t, &b);
}

// [a, b] times (m, n): [1, a, 1, b] expanded to [m, a, n, b], merged.
static Value *tile(Builder *b, Value *x, const Dim *repeats) {
  if (b->status) return NULL;
  Dim apart[2 * MAX_RANK], wide[2 * MAX_RANK], merged[MAX_RANK];
  int rank = 0;
  for (int i = 0; i < x->rank; i++) {
    if (repeats[i] != 1) {
      apart[rank] = 1;
      wide[rank++] = repeats[i];
    }
    apart[rank] = wide[rank] = x->dims[i];
    rank++;
    merged[i] = dim_mul(b->graph->dims, x->dims[i], repeats[i]);
  }
  if (rank == x->rank) return x;
  if (rank <= MAX_RANK) return build_reshape(b, build_expand(b, build_reshape(b, x, rank, apart), rank, wide), x->rank, merged);
  for (int i = 0; i < x->rank; i++) {  // too many axes at once: one after the other
    Dim single[MAX_RANK];
    for (int k = 0; k < x->rank; k++) single[k] = k == i ? repeats[k] : 1;
    if (x->rank == MAX_RANK) return NULL;
    x = tile(b, x, single);
    if (!x) return NULL;
  }
  return x;
}

static Status tile_op(Translation *t) {
  Builder b = translate_begin(t);
  const Dim *repeats;
  int count;
  NEED_SIZES(t, 1, &repeats, &count, 0);
  if (count != t->inputs[0]->rank) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "repeats has %d values", count);
  t->outputs[0] = tile(&b, t->inputs[0], repeats);
  if (!t->outputs[0] && !b.status) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its input has rank %d", t->inputs[0]->rank);
  return translate_end(t, &b);
}

// Opset 1: `tiles` repeats along one `axis`.
static Status tile_old(Translation *t) {
  Builder b = translate_begin(t);
  const Dim *tiles, *where;
  int count;
  NEED_SIZES(t, 1, &tiles, &count, 1);
  NEED_SIZES(t, 2, &where, &count, 1);
  int axis;
  Dim repeats[MAX_RANK];
  TRY(normalise_axis(t, where[0], t->inputs[0]->rank, &axis));
  for (int i = 0; i < t->inputs[0]->rank; i++) repeats[i] = i == axis ? tiles[0] : 1;
  t->outputs[0] = tile(&b, t->inputs[0], repeats);
  return translate_end(t, &b);
}

// A slice bound: negative counts from the end, anything beyond is cut to [low, high].
static Dim slice_bound(DimTable *table, Dim bound, Dim size, Dim low, Dim high) {
  int64_t value;
  if (dim_get_constant(table, bound, &value) && value >= INT32_MAX) return high;
  if (dim_get_constant(table, bound, &value) && value <= -INT32_MAX) return low;
  Dim is_negative = dim_least(table, dim_most(table, dim_sub(table, 0, bound), 0), 1);
  bound = dim_add(table, bound, dim_mul(table, is_negative, size));
  return dim_least(table, dim_most(table, bound, low), high);
}

static void slice_axis(DimTable *table, Dim size, Dim start, Dim end, int64_t step, Dim *first, Dim *count) {
  Dim minus_one = dim_constant(table, -1), last = dim_sub(table, size, 1), distance;
  if (step > 0) {
    *first = slice_bound(table, start, size, 0, size);
    distance = dim_sub(table, slice_bound(table, end, size, 0, size), *first);
  } else {
    // Unlike Python's, a start before the first element is the first element: the specification cuts it to [0, size - 1].
    *first = slice_bound(table, start, size, 0, last);
    distance = dim_sub(table, *first, slice_bound(table, end, size, minus_one, last));
    step = -step;
  }
  distance = dim_most(table, distance, 0);
  *count = step == 1 ? distance : dim_ceil_div(table, distance, step);
  if (*count == 0) *first = 0;
}

static Status slice_with(Translation *t, const Dim *starts, const Dim *ends, const int64_t *axes, const int64_t *steps,
                         int count) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  Dim first[MAX_RANK] = {0}, dims[MAX_RANK];
  int64_t stride[MAX_RANK];
  for (int i = 0; i < x->rank; i++) {
    stride[i] = 1;
    dims[i] = x->dims[i];
  }
  for (int i = 0; i < count; i++) {
    int axis;
    TRY(normalise_axis(t, axes ? axes[i] : i, x->rank, &axis));
    stride[axis] = steps ? steps[i] : 1;
    if (stride[axis] == 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "a step is 0");
    // A step beyond any size only ever takes the first element.
    stride[axis] = MAX(MIN(stride[axis], INT32_MAX), -INT32_MAX);
    slice_axis(t->graph->dims, x->dims[axis], starts[i], ends[i], stride[axis], &first[axis], &dims[axis]);
  }
  t->outputs[0] = build_slice(&b, x, first, stride, dims);
  return translate_end(t, &b);
}

static Status slice(Translation *t) {
  const Dim *starts, *ends;
  const int64_t *axes = NULL, *steps = NULL;
  int count, end_count, axis_count, step_count;
  NEED_DIMS(t, 1, &starts, &count);
  NEED_DIMS(t, 2, &ends, &end_count);
  axis_count = step_count = count;
  if (translate_has(t, 3)) NEED_INTS(t, 3, &axes, &axis_count);
  if (translate_has(t, 4)) NEED_INTS(t, 4, &steps, &step_count);
  if (end_count != count || axis_count != count || step_count != count)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "starts, ends, axes and steps differ in length");
  return slice_with(t, starts, ends, axes, steps, count);
}

static Status slice_old(Translation *t) {
  int count, end_count, axis_count;
  const int64_t *starts = node_ints(t->attributes, "starts", &count), *ends = node_ints(t->attributes, "ends", &end_count);
  const int64_t *axes = node_ints(t->attributes, "axes", &axis_count);
  if (end_count != count || count > MAX_RANK || (axes && axis_count != count))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "starts, ends and axes differ in length");
  Dim from[MAX_RANK], to[MAX_RANK];
  for (int i = 0; i < count; i++) {
    from[i] = dim_constant(t->graph->dims, starts[i]);
    to[i] = dim_constant(t->graph->dims, ends[i]);
  }
  return slice_with(t, from, to, axes, NULL, count);
}

// The sizes must make up the axis. Where its own size is open, a reshape says what it has to be, and is refused when it is not.
static Status split_whole(const Translation *t, Builder *b, int axis, const Dim *sizes, Value **x) {
  DimTable *table = t->graph->dims;
  Dim together = 0, dims[MAX_RANK];
  int64_t wanted, whole;
  for (int i = 0; i < t->output_count; i++) together = dim_add(table, together, sizes[i]);
  if (together == (*x)->dims[axis]) return OK;
  if (dim_get_constant(table, together, &wanted) && dim_get_constant(table, (*x)->dims[axis], &whole))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its sizes make %lld together, its axis has %lld", (long long)wanted,
                   (long long)whole);
  memcpy(dims, (*x)->dims, sizeof dims);
  dims[axis] = together;
  *x = build_reshape(b, *x, (*x)->rank, dims);
  return OK;
}

// Sizes come from the attribute (an input since 13), or are equal with a smaller last one.
static Status split(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DimTable *table = t->graph->dims;
  int axis, count = 0;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), x->rank, &axis));
  const Dim *sizes = NULL;
  if (translate_has(t, 1)) {
    NEED_SIZES(t, 1, &sizes, &count, 0);
  } else {
    sizes = node_ints(t->attributes, "split", &count);
    for (int i = 0; i < count; i++)
      if (sizes[i] < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "size %d is %lld", i, (long long)sizes[i]);
  }
  int64_t pieces = node_int(t->attributes, "num_outputs", t->output_count);
  if (pieces != t->output_count)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "num_outputs is %lld, but it has %d outputs", (long long)pieces, t->output_count);
  if (sizes && count != t->output_count)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %d sizes and %d outputs", count, t->output_count);
  Dim at = 0, chunk = dim_ceil_div(table, x->dims[axis], t->output_count);
  if (sizes) TRY(split_whole(t, &b, axis, sizes, &x));
  for (int i = 0; i < t->output_count; i++) {
    Dim size = sizes ? sizes[i] : dim_least(table, chunk, dim_most(table, dim_sub(table, x->dims[axis], at), 0));
    t->outputs[i] = build_slice_axis(&b, x, axis, at, size);
    at = dim_add(table, at, size);
  }
  return translate_end(t, &b);
}

static Status concat(Translation *t) {
  Builder b = translate_begin(t);
  int axis;
  TRY(check_present(t));
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 1), t->inputs[0]->rank, &axis));
  t->outputs[0] = t->input_count == 1 ? t->inputs[0] : build_concat(&b, t->input_count, t->inputs, axis);
  return translate_end(t, &b);
}

// Positive amounts of one axis are padding, negative ones cut elements. Where an end cuts more than there is, what the other one adds is fewer; what is less than
// nothing then stays a negative pad, which is refused when the sizes are known.
typedef struct AxisPads {
  Dim start, kept, before, after;
} AxisPads;

static AxisPads pad_axis_by(DimTable *table, Dim size, Dim before, Dim after) {
  Dim cut_before = dim_most(table, dim_sub(table, 0, before), 0), cut_after = dim_most(table, dim_sub(table, 0, after), 0);
  Dim left = dim_sub(table, dim_sub(table, size, cut_before), cut_after);
  Dim added_before = dim_add(table, dim_most(table, before, 0), dim_least(table, left, 0));
  return (AxisPads){dim_least(table, cut_before, size), dim_most(table, left, 0), dim_most(table, added_before, 0),
                    dim_add(table, dim_most(table, after, 0), dim_least(table, added_before, 0))};
}

static Status check_pad(const Translation *t, int axis, Dim amount) {
  int64_t known;
  if (dim_get_constant(t->graph->dims, amount, &known) && (known < -INT32_MAX || known > INT64_MAX / 4))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "a pad of axis %d is %lld", axis, (long long)known);
  return OK;
}

static Status check_cut(const Translation *t, int axis, const AxisPads *pads, bool repeats) {
  int64_t after;
  bool too_much = dim_get_constant(t->graph->dims, pads->after, &after) && after < 0;
  if (too_much || (repeats && pads->kept == 0 && t->inputs[0]->dims[axis] != 0))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it cuts more from axis %d than its elements", axis);
  return OK;
}

// pads: begins then ends, over all axes. Negative ones cut.
static Status pad_with(Translation *t, const Dim *pads, Value *value) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DimTable *table = t->graph->dims;
  Dim added[2 * MAX_RANK], starts[MAX_RANK], kept[MAX_RANK], dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  const char *mode = node_string(t->attributes, "mode", "constant");
  bool adds = false;
  for (int i = 0; i < x->rank; i++) {
    TRY(check_pad(t, i, pads[i]));
    TRY(check_pad(t, i, pads[i + x->rank]));
    AxisPads axis = pad_axis_by(table, x->dims[i], pads[i], pads[i + x->rank]);
    bool cuts = pads[i] < 0 || pads[i + x->rank] < 0;
    if (cuts) TRY(check_cut(t, i, &axis, strcmp(mode, "constant") != 0));
    steps[i] = 1;
    starts[i] = axis.start;
    kept[i] = axis.kept;
    added[i] = axis.before;
    added[i + x->rank] = axis.after;
    dims[i] = dim_add(table, dim_add(table, x->dims[i], pads[i]), pads[i + x->rank]);
    adds = adds || axis.before != 0 || axis.after != 0;
  }
  x = build_slice(&b, x, starts, steps, kept);
  if (adds && !b.status) {
    if (value && value->rank > 0) value = build_reshape(&b, value, 0, NULL);
    Node *node = node_start(&b, "pad", value ? 2 : 1, (Value *[]){x, value}, 1);
    node_set_dims(node, "pads", added, 2 * x->rank);
    node_set_string(node, "mode", mode);
    x = node_done(&b, node);
  }
  t->outputs[0] = x ? build_reshape(&b, x, x->rank, dims) : NULL;  // where signs are open, this is how the sizes are known
  return translate_end(t, &b);
}

Status translate_pad(Translation *t) {
  const Dim *given;
  const int64_t *axes = NULL;
  int count, rank = t->inputs[0]->rank, axis_count = rank;
  NEED_DIMS(t, 1, &given, &count);
  if (translate_has(t, 3)) NEED_INTS(t, 3, &axes, &axis_count);
  if (count != 2 * axis_count || axis_count > rank) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "pads has %d values", count);
  Dim pads[2 * MAX_RANK] = {0};
  for (int i = 0; i < axis_count; i++) {
    int axis;
    TRY(normalise_axis(t, axes ? axes[i] : i, rank, &axis));
    pads[axis] = given[i];
    pads[axis + rank] = given[i + axis_count];
  }
  return pad_with(t, pads, translate_input(t, 2));
}

static Status pad_old(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int count;
  const int64_t *given = node_ints(t->attributes, t->opset < 2 ? "paddings" : "pads", &count);
  if (count != 2 * x->rank) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "pads has %d values", count);
  Dim pads[2 * MAX_RANK];
  for (int i = 0; i < count; i++) pads[i] = dim_constant(t->graph->dims, given[i]);
  Value *value = build_scalar(&b, x->dtype, node_float(t->attributes, "value", 0));
  TRY(translate_end(t, &b));
  return pad_with(t, pads, value);
}

static Status depth_to_space(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int64_t block = node_int(t->attributes, "blocksize", 0);
  if (x->rank != 4 || block < 1 || block > 1 << 15) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "expected rank 4 and a blocksize");
  DimTable *table = t->graph->dims;
  bool columns_first = strcmp(node_string(t->attributes, "mode", "DCR"), "CRD") == 0;
  Dim depth = dim_div(table, x->dims[1], block * block), h = x->dims[2], w = x->dims[3];
  Dim apart[] = {x->dims[0], columns_first ? depth : block, block, columns_first ? block : depth, h, w};
  const int perm_dcr[] = {0, 3, 4, 1, 5, 2}, perm_crd[] = {0, 1, 4, 2, 5, 3};
  Dim merged[] = {x->dims[0], depth, dim_mul(table, h, block), dim_mul(table, w, block)};
  Value *y = build_transpose(&b, build_reshape(&b, x, 6, apart), columns_first ? perm_crd : perm_dcr);
  t->outputs[0] = build_reshape(&b, y, 4, merged);
  return translate_end(t, &b);
}

static Status space_to_depth(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int64_t block = node_int(t->attributes, "blocksize", 0);
  if (x->rank != 4 || block < 1 || block > 1 << 15) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "expected rank 4 and a blocksize");
  DimTable *table = t->graph->dims;
  Dim h = dim_div(table, x->dims[2], block), w = dim_div(table, x->dims[3], block);
  Dim apart[] = {x->dims[0], x->dims[1], h, block, w, block};
  Dim merged[] = {x->dims[0], dim_mul(table, x->dims[1], block * block), h, w};
  Value *y = build_transpose(&b, build_reshape(&b, x, 6, apart), (int[]){0, 3, 5, 1, 2, 4});
  t->outputs[0] = build_reshape(&b, y, 4, merged);
  return translate_end(t, &b);
}

static Status center_crop_pad(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DimTable *table = t->graph->dims;
  const Dim *shape;
  int count, axis_count;
  NEED_SIZES(t, 1, &shape, &count, 0);
  const int64_t *axes = node_ints(t->attributes, "axes", &axis_count);
  if ((axes ? axis_count : x->rank) != count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "shape has %d values", count);
  Dim pads[2 * MAX_RANK] = {0};
  bool any = false;
  for (int i = 0; i < count; i++) {
    int axis;
    TRY(normalise_axis(t, axes ? axes[i] : i, x->rank, &axis));
    Dim less = dim_most(table, dim_sub(table, x->dims[axis], shape[i]), 0);
    Dim more = dim_most(table, dim_sub(table, shape[i], x->dims[axis]), 0);
    if (less != 0) x = build_slice_axis(&b, x, axis, dim_div(table, less, 2), dim_least(table, shape[i], x->dims[axis]));
    if (!x) return translate_end(t, &b);
    pads[axis] = dim_div(table, more, 2);
    pads[axis + x->rank] = dim_sub(table, more, pads[axis]);
    any |= more != 0;
  }
  t->outputs[0] = x;
  if (any) {
    Node *node = node_start(&b, "pad", 1, &x, 1);
    node_set_dims(node, "pads", pads, 2 * x->rank);
    node_set_string(node, "mode", "constant");
    t->outputs[0] = node_done(&b, node);
  }
  return translate_end(t, &b);
}

const OnnxOp onnx_movement_ops[] = {
    {"", "Transpose", 1, 0, 1, 1, 1, 1, transpose},
    {"", "Flatten", 1, 0, 1, 1, 1, 1, flatten},
    {"", "Squeeze", 1, 0, 1, 2, 1, 1, squeeze},
    {"", "Unsqueeze", 1, 0, 1, 2, 1, 1, translate_unsqueeze},
    {"", "Expand", 8, 0, 2, 2, 1, 1, expand},
    {"", "Tile", 1, 5, 3, 3, 1, 1, tile_old},
    {"", "Tile", 6, 0, 2, 2, 1, 1, tile_op},
    {"", "Slice", 1, 9, 1, 1, 1, 1, slice_old},
    {"", "Slice", 10, 0, 3, 5, 1, 1, slice},
    {"", "Split", 1, 0, 1, 2, 1, -1, split},
    {"", "Concat", 1, 0, 1, -1, 1, 1, concat},
    {"", "Pad", 1, 10, 1, 1, 1, 1, pad_old},
    {"", "Pad", 11, 0, 2, 4, 1, 1, translate_pad},
    {"", "DepthToSpace", 1, 0, 1, 1, 1, 1, depth_to_space},
    {"", "SpaceToDepth", 1, 0, 1, 1, 1, 1, space_to_depth},
    {"", "CenterCropPad", 18, 0, 2, 2, 1, 1, center_crop_pad},
    {0},
};
