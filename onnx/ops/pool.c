// Pooling over windows, its inverse, and pooling over regions of interest.
#include "onnx/ops/conv.h"

static Status read_kernel(Translation *t, WindowSpec *window) {
  int count;
  const int64_t *kernel = node_ints(t->attributes, "kernel_shape", &count);
  window->axes = t->inputs[0]->rank - 2;
  if (!kernel || window->axes < 1 || count != window->axes)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "kernel_shape has %d values for an input of rank %d", count, t->inputs[0]->rank);
  for (int i = 0; i < count; i++) window->kernel[i] = kernel[i];
  return window_spec_read(t, t->inputs[0], window);
}

static Status pool(Translation *t) {
  Builder b = translate_begin(t);
  WindowSpec window;
  TRY(read_kernel(t, &window));
  if (t->deferred) return OK;
  bool max = strcmp(t->op_type, "MaxPool") == 0, average = strcmp(t->op_type, "AveragePool") == 0;
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

const OnnxOp onnx_pool_ops[] = {
    {"", "MaxPool", 1, 0, 1, 1, 1, 2, pool},        {"", "AveragePool", 1, 0, 1, 1, 1, 1, pool},
    {"", "LpPool", 1, 0, 1, 1, 1, 1, pool},         {"", "MaxUnpool", 9, 0, 2, 3, 1, 1, max_unpool},
    {"", "RoiAlign", 10, 0, 3, 3, 1, 1, roi_align}, {0},
};
