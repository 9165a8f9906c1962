// Pooling over windows, its inverse, and pooling over regions of interest.
#include "onnx/ops/conv.h"
#include "onnx/ops/shared.h"

static Status read_kernel(Translation *t, WindowSpec *window) {
  int count;
  const int64_t *kernel = node_ints(t->attributes, "kernel_shape", &count);
  window->axes = t->inputs[0]->rank - 2;
  if (!kernel || window->axes < 1 || count != window->axes)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "kernel_shape has %d values for an input of rank %d", count, t->inputs[0]->rank);
  for (int i = 0; i < count; i++) window->kernel[i] = kernel[i];
  return window_spec_read(t, t->inputs[0], window);
}

Status translate_pool(Translation *t) {
  Builder b = translate_begin(t);
  WindowSpec window;
  TRY(read_kernel(t, &window));
  if (t->deferred) return OK;
  bool max = strstr(t->op_type, "MaxPool") != NULL, average = strcmp(t->op_type, "AveragePool") == 0;
  bool indices = max && translate_wants(t, 1);
  Node *node = node_start(&b, "pool", 1, t->inputs, indices ? 2 : 1);
  node_set_string(node, "kind", max ? "max" : average ? "average" : "lp");
  node_set_ints(node, "kernel", window.kernel, window.axes);
  window_spec_set(node, &window);
  node_set_int(node, "ceil_mode", node_int(t->attributes, "ceil_mode", 0));
  if (average) node_set_int(node, "count_include_pad", node_int(t->attributes, "count_include_pad", 0));
  if (max) node_set_int(node, "storage_order", node_int(t->attributes, "storage_order", 0));
  if (!max && !average)
    node_set_int(node, "p", t->opset < 2 ? (int64_t)node_float(t->attributes, "p", 2) : node_int(t->attributes, "p", 2));
  Value *y = node_done(&b, node);
  t->outputs[0] = y;
  if (indices && y) t->outputs[1] = build_output(y, 1);
  return translate_end(t, &b);
}

// Indices are positions in the whole unpooled tensor. A larger output_shape leaves zeros behind it.
static Status max_unpool(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DimTable *table = t->graph->dims;
  WindowSpec window;
  TRY(read_kernel(t, &window));
  if (t->deferred) return OK;
  Dim dims[MAX_RANK], pads[2 * MAX_RANK] = {0};
  dims[0] = x->dims[0];
  dims[1] = x->dims[1];
  for (int i = 0; i < window.axes; i++) {
    Dim size = dim_mul(table, dim_sub(table, x->dims[i + 2], 1), window.strides[i]);
    int64_t rest = window.kernel[i] - window.pads[i] - window.pads[i + window.axes];
    dims[i + 2] = dim_add(table, size, dim_constant(table, rest));
  }
  Dim count = dims_product(table, dims, x->rank), given = value_count_dim(t->graph, x);
  Value *zeros = build_fill(&b, x->dtype, 0, 1, &count);
  Value *inputs[] = {zeros, build_reshape(&b, t->inputs[1], 1, &given), build_reshape(&b, x, 1, &given)};
  Node *node = node_start(&b, "scatter_elements", 3, inputs, 1);
  node_set_int(node, "axis", 0);
  node_set_string(node, "reduction", "none");
  Value *y = build_reshape(&b, node_done(&b, node), x->rank, dims);
  if (translate_has(t, 2)) {
    const Dim *shape;
    int shape_count;
    NEED_SIZES(t, 2, &shape, &shape_count, 0);
    if (shape_count != x->rank) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "output_shape has %d values", shape_count);
    for (int i = 0; i < x->rank; i++) pads[i + x->rank] = dim_most(table, dim_sub(table, shape[i], dims[i]), 0);
    node = node_start(&b, "pad", 1, &y, 1);
    node_set_dims(node, "pads", pads, 2 * x->rank);
    node_set_string(node, "mode", "constant");
    y = node_done(&b, node);
  }
  t->outputs[0] = y;
  return translate_end(t, &b);
}

static Status roi_align(Translation *t) {
  Builder b = translate_begin(t);
  const char *otherwise = t->opset >= 16 ? "half_pixel" : "output_half_pixel";
  Node *node = node_start(&b, "roi_align", 3, t->inputs, 1);
  node_set_string(node, "mode", node_string(t->attributes, "mode", "avg"));
  node_set_string(node, "coordinates", node_string(t->attributes, "coordinate_transformation_mode", otherwise));
  node_set_int(node, "height", node_int(t->attributes, "output_height", 1));
  node_set_int(node, "width", node_int(t->attributes, "output_width", 1));
  node_set_int(node, "sampling", node_int(t->attributes, "sampling_ratio", 0));
  node_set_float(node, "scale", node_float(t->attributes, "spatial_scale", 1));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

// One side of a bin of MaxRoiPool: bins share the region between `from` and `to` evenly, rounded outwards and cut to the image.
// Appends whether coordinate `axis` of the domain lies in the bin numbered by coordinate `bin_axis`.
static int in_bin(Program *p, int from, int to, double scale, int bin_axis, int64_t bins, int axis) {
  int half = constant_like(p, from, 0.5), one = constant_like(p, from, 1), factor = constant_like(p, from, scale);
  int start = op1(p, OP_floor, op2(p, OP_add, op2(p, OP_mul, from, factor), half));
  int end = op1(p, OP_floor, op2(p, OP_add, op2(p, OP_mul, to, factor), half));
  int length = op2(p, OP_max, op2(p, OP_add, op2(p, OP_sub, end, start), one), one);
  int size = op2(p, OP_div, length, constant_like(p, from, (double)bins)), bin = program_index(p, DTYPE_F32, bin_axis);
  int low = op2(p, OP_add, start, op1(p, OP_floor, op2(p, OP_mul, bin, size)));
  int high = op2(p, OP_add, start, op1(p, OP_ceil, op2(p, OP_mul, op2(p, OP_add, bin, one), size)));
  int at = program_index(p, DTYPE_F32, axis);
  return op2(p, OP_and, op2(p, OP_ge, at, low), op2(p, OP_lt, at, high));
}

// The largest value of each bin, as a reduction over the whole image with the rest masked out: an operator of old models, not worth
// a kernel. Regions are [image, x1, y1, x2, y2]; an empty bin gives 0.
static Status max_roi_pool(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *regions = t->inputs[1], *corners[5], *inputs[5];
  int count;
  const int64_t *shape = node_ints(t->attributes, "pooled_shape", &count);
  if (x->rank != 4 || regions->rank != 2 || count != 2 || shape[0] < 1 || shape[1] < 1)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "expected an input of rank 4, regions of rank 2 and a pooled_shape of two sizes");
  Dim n = regions->dims[0], scalar[] = {n, 1, 1, 1, 1, 1};
  for (int i = 0; i < 5; i++) corners[i] = build_slice_axis(&b, regions, 1, i, 1);
  Value *images = build_gather(&b, x, build_reshape(&b, build_cast(&b, corners[0], DTYPE_I64), 1, &n), 0);
  inputs[0] = build_unsqueeze(&b, images, (int64_t[]){2, 3}, 2);
  for (int i = 1; i < 5; i++) inputs[i] = build_reshape(&b, corners[i], 6, scalar);
  Dim domain[] = {n, x->dims[1], shape[0], shape[1], x->dims[2], x->dims[3]};
  if (!b.status) inputs[0] = build_expand(&b, inputs[0], 6, domain);
  if (b.status) return translate_end(t, &b);
  double scale = node_float(t->attributes, "spatial_scale", 1);
  Program *p = program_new(t->graph->arena, 5);
  int corner[5];
  for (int i = 1; i < 5; i++) corner[i] = program_input(p, i, DTYPE_F32);
  int inside = op2(p, OP_and, in_bin(p, corner[2], corner[4], scale, 2, shape[0], 4),
                   in_bin(p, corner[1], corner[3], scale, 3, shape[1], 5));
  int least = program_const(p, x->dtype, -HUGE_VAL);
  int most = program_reduce(p, OP_reduce_max, op3(p, OP_select, inside, program_input(p, 0, x->dtype), least), x->dtype);
  program_output(p, op3(p, OP_select, op2(p, OP_eq, most, least), constant_like(p, most, 0), most));
  int64_t axes[] = {4, 5};
  t->outputs[0] = build_squeeze(&b, build_rowwise(&b, p, 5, inputs, axes, 2), axes, 2);
  return translate_end(t, &b);
}

const OnnxOp onnx_pool_ops[] = {
    {"", "MaxPool", 1, 0, 1, 1, 1, 2, translate_pool},
    {"", "AveragePool", 1, 0, 1, 1, 1, 1, translate_pool},
    {"", "LpPool", 1, 0, 1, 1, 1, 1, translate_pool},
    {"", "MaxUnpool", 9, 0, 2, 3, 1, 1, max_unpool},
    {"", "MaxRoiPool", 1, 0, 2, 2, 1, 1, max_roi_pool},
    {"", "RoiAlign", 10, 0, 3, 3, 1, 1, roi_align},
    {0},
};
