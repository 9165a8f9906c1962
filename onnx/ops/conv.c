// Convolutions. The core ones have no bias: it becomes an addition behind, which fusion takes into the epilogue.
#include "onnx/ops/conv.h"

static Status read_list(const Translation *t, const char *name, int count, int64_t otherwise, int64_t *out) {
  int given;
  const int64_t *values = node_ints(t->attributes, name, &given);
  if (values && given != count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s has %d values, expected %d", name, given, count);
  for (int i = 0; i < count; i++) {
    out[i] = values ? values[i] : otherwise;
    if (out[i] < -INT32_MAX || out[i] > INT32_MAX)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s has the value %lld, beyond %d", name, (long long)out[i], INT32_MAX);
  }
  return OK;
}

Status window_spec_read(Translation *t, const Value *x, WindowSpec *window) {
  int axes = window->axes;
  TRY(read_list(t, "strides", axes, 1, window->strides));
  TRY(read_list(t, "dilations", axes, 1, window->dilations));
  for (int i = 0; i < axes; i++)
    if (window->strides[i] < 1 || window->dilations[i] < 1 || window->kernel[i] < 1 || window->kernel[i] > INT32_MAX)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "kernel, strides and dilations must be at least 1, and no larger than %d",
                     INT32_MAX);
  const char *auto_pad = node_string(t->attributes, "auto_pad", "NOTSET");
  if (strcmp(auto_pad, "NOTSET") == 0 || *auto_pad == 0) return read_list(t, "pads", 2 * axes, 0, window->pads);
  memset(window->pads, 0, sizeof window->pads);
  if (strcmp(auto_pad, "VALID") == 0) return OK;
  bool upper = strcmp(auto_pad, "SAME_UPPER") == 0;
  if (!upper && strcmp(auto_pad, "SAME_LOWER") != 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "auto_pad is '%s'", auto_pad);
  for (int i = 0; i < axes; i++) {
    int64_t reach = (window->kernel[i] - 1) * window->dilations[i] + 1, stride = window->strides[i], total = reach - 1;
    Dim size = x->dims[i + 2];
    if (stride > 1) {
      if (!dim_is_static(size)) {
        t->deferred = true;
        return OK;
      }
      total = MAX((ceil_div(size, stride) - 1) * stride + reach - size, 0);
    }
    window->pads[i] = upper ? total / 2 : total - total / 2;
    window->pads[i + axes] = total - window->pads[i];
  }
  return OK;
}

void window_spec_set(Node *node, const WindowSpec *window) {
  node_set_ints(node, "strides", window->strides, window->axes);
  node_set_ints(node, "pads", window->pads, 2 * window->axes);
  node_set_ints(node, "dilations", window->dilations, window->axes);
}

static Status window_of_weight(Translation *t, const Value *x, const Value *w, WindowSpec *window) {
  if (x->rank < 2 || w->rank != x->rank)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d and its weight rank %d", x->rank, w->rank);
  window->axes = x->rank - 2;
  for (int i = 0; i < window->axes; i++) {
    if (!dim_is_static(w->dims[i + 2])) {
      t->deferred = true;
      return OK;
    }
    window->kernel[i] = w->dims[i + 2];
  }
  int count;
  const int64_t *given = node_ints(t->attributes, "kernel_shape", &count);
  for (int i = 0; given && i < MAX(count, window->axes); i++)
    if (count != window->axes || given[i] != window->kernel[i])
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "kernel_shape is not that of its weight");
  return window_spec_read(t, x, window);
}

Status translate_conv(Translation *t, Builder *b, Value *x, Value *w, Value **y) {
  if (b->status) return translate_end(t, b);
  WindowSpec window;
  TRY(window_of_weight(t, x, w, &window));
  if (t->deferred) return OK;
  Node *node = node_start(b, "conv", 2, (Value *[]){x, w}, 1);
  window_spec_set(node, &window);
  node_set_int(node, "group", node_int(t->attributes, "group", 1));
  *y = node_done(b, node);
  return OK;
}

static Value *add_bias(Builder *b, Value *y, Value *bias) {
  return bias && y ? build_add(b, y, align_to_axis(b, bias, 1, y->rank)) : y;
}

static Status conv(Translation *t) {
  Builder b = translate_begin(t);
  Value *y = NULL;
  TRY(translate_conv(t, &b, t->inputs[0], t->inputs[1], &y));
  if (t->deferred) return OK;
  if (y) TRY(check_channels(t, 2, 2, y->dims[1]));
  t->outputs[0] = add_bias(&b, y, translate_input(t, 2));
  return translate_end(t, &b);
}

// output_shape and auto_pad state the size wanted; what is too much is cut off as padding, what is missing is output_padding.
static Status transposed_pads(Translation *t, const Value *x, WindowSpec *window, int64_t *extra) {
  int count;
  const int64_t *shape = node_ints(t->attributes, "output_shape", &count);
  const char *auto_pad = node_string(t->attributes, "auto_pad", "NOTSET");
  bool same = strncmp(auto_pad, "SAME", 4) == 0, upper = strcmp(auto_pad, "SAME_UPPER") == 0;
  if (!shape && !same) return OK;
  if (shape && count == window->axes + 2) {
    shape += 2;
    count -= 2;
  }
  if (shape && count != window->axes) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "output_shape has %d values", count);
  for (int i = 0; i < window->axes; i++) {
    Dim size = x->dims[i + 2];
    if (!dim_is_static(size)) {
      t->deferred = true;
      return OK;
    }
    if (size > INT32_MAX || (shape && (shape[i] < 0 || shape[i] > INT32_MAX)))
      TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "spatial axis %d is longer than %d", i, INT32_MAX);
    int64_t wanted = shape ? shape[i] : size * window->strides[i];
    int64_t reach = (window->kernel[i] - 1) * window->dilations[i] + 1;
    int64_t total = window->strides[i] * (size - 1) + extra[i] + reach - wanted;
    if (total < 0) {
      extra[i] -= total;
      total = 0;
    }
    window->pads[i] = upper ? total / 2 : total - total / 2;
    window->pads[i + window->axes] = total - window->pads[i];
  }
  return OK;
}

static Status conv_transpose(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  WindowSpec window;
  int64_t extra[MAX_RANK];
  TRY(window_of_weight(t, x, t->inputs[1], &window));
  if (t->deferred) return OK;
  TRY(read_list(t, "output_padding", window.axes, 0, extra));
  TRY(transposed_pads(t, x, &window, extra));
  if (t->deferred) return OK;
  Node *node = node_start(&b, "conv_transpose", 2, t->inputs, 1);
  window_spec_set(node, &window);
  node_set_ints(node, "output_padding", extra, window.axes);
  node_set_int(node, "group", node_int(t->attributes, "group", 1));
  Value *y = node_done(&b, node);
  if (y) TRY(check_channels(t, 2, 2, y->dims[1]));
  t->outputs[0] = add_bias(&b, y, translate_input(t, 2));
  return translate_end(t, &b);
}

static Status deform_conv(Translation *t) {
  Builder b = translate_begin(t);
  WindowSpec window;
  TRY(window_of_weight(t, t->inputs[0], t->inputs[1], &window));
  if (t->deferred) return OK;
  Value *inputs[] = {t->inputs[0], t->inputs[1], t->inputs[2], translate_input(t, 4)};
  Node *node = node_start(&b, "deform_conv", inputs[3] ? 4 : 3, inputs, 1);
  window_spec_set(node, &window);
  node_set_int(node, "group", node_int(t->attributes, "group", 1));
  node_set_int(node, "offset_group", node_int(t->attributes, "offset_group", 1));
  t->outputs[0] = add_bias(&b, node_done(&b, node), translate_input(t, 3));
  return translate_end(t, &b);
}

static Status col2im(Translation *t) {
  Builder b = translate_begin(t);
  const Dim *image;
  const int64_t *block;
  int axes, block_count;
  NEED_SIZES(t, 1, &image, &axes, 1);
  NEED_INTS(t, 2, &block, &block_count);
  if (block_count != axes || axes > MAX_RANK) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "image and block differ in rank");
  WindowSpec window = {.axes = axes};
  TRY(read_list(t, "strides", axes, 1, window.strides));
  TRY(read_list(t, "dilations", axes, 1, window.dilations));
  TRY(read_list(t, "pads", 2 * axes, 0, window.pads));
  Node *node = node_start(&b, "col2im", 1, t->inputs, 1);
  node_set_dims(node, "image", image, axes);
  node_set_ints(node, "block", block, axes);
  window_spec_set(node, &window);
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

// y = conv(concat(state, x)); the state that comes out is the last k - 1 positions.
static Status causal_conv(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *w = t->inputs[1];
  DimTable *table = t->graph->dims;
  if (x->rank != 3 || w->rank != 3 || !dim_is_static(w->dims[2]) || w->dims[2] < 1)
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "expected input and weight of rank 3 and a known kernel size");
  int64_t kernel = w->dims[2];
  Dim state_dims[] = {x->dims[0], x->dims[1], kernel - 1};
  Value *state = translate_has(t, 3) ? t->inputs[3] : build_fill(&b, x->dtype, 0, 3, state_dims);
  Value *longer = kernel > 1 ? build_concat2(&b, state, x, 2) : x;
  if (b.status) return translate_end(t, &b);
  if (!dim_is_static(x->dims[1])) {
    t->deferred = true;
    return OK;
  }
  Node *node = node_start(&b, "conv", 2, (Value *[]){longer, w}, 1);
  WindowSpec window = {.axes = 1, .strides = {1}, .dilations = {1}};
  window_spec_set(node, &window);
  node_set_int(node, "group", x->dims[1]);
  Value *y = add_bias(&b, node_done(&b, node), translate_input(t, 2));
  if (!y) return translate_end(t, &b);
  const char *activation = node_string(t->attributes, "activation", "none");
  if (strcmp(activation, "none") != 0) {
    Program *p = program_new(t->graph->arena, 1);
    int a = program_input(p, 0, y->dtype);
    program_output(p, op2(p, OP_mul, a, op1(p, OP_sigmoid, a)));
    y = build_elementwise(&b, p, 1, &y);
  }
  t->outputs[0] = y;
  if (translate_wants(t, 1))
    t->outputs[1] = build_slice_axis(&b, longer, 2, dim_sub(table, longer->dims[2], kernel - 1), kernel - 1);
  return translate_end(t, &b);
}

const OnnxOp onnx_conv_ops[] = {
    {"", "Conv", 1, 0, 2, 3, 1, 1, conv},
    {"", "ConvTranspose", 1, 0, 2, 3, 1, 1, conv_transpose},
    {"", "DeformConv", 19, 0, 3, 5, 1, 1, deform_conv},
    {"", "Col2Im", 18, 0, 3, 3, 1, 1, col2im},
    {"", "CausalConvWithState", 27, 0, 2, 4, 1, 2, causal_conv},
    {0},
};
