// Signal processing: Fourier transforms, windows, mel filter banks.
#include "onnx/ops/common.h"

static Value *dft_of(Builder *b, Value *x, int axis, const Dim *length, bool inverse, bool onesided) {
  Node *node = node_start(b, "dft", 1, &x, 1);
  node_set_int(node, "axis", axis);
  node_set_int(node, "inverse", inverse);
  node_set_int(node, "onesided", onesided);
  if (length) node_set_dims(node, "length", length, 1);
  return node_done(b, node);
}

static Status dft(Translation *t) {
  Builder b = translate_begin(t);
  const Dim *length = NULL;
  const int64_t *given;
  int count, axis;
  if (translate_has(t, 1)) NEED_SIZES(t, 1, &length, &count, 1);
  int64_t wanted = t->opset >= 20 ? -2 : node_int(t->attributes, "axis", 1);
  if (translate_has(t, 2)) {
    NEED_INTS(t, 2, &given, &count);
    wanted = *given;
  }
  TRY(normalise_axis(t, wanted, t->inputs[0]->rank, &axis));
  bool inverse = node_int(t->attributes, "inverse", 0) != 0, onesided = node_int(t->attributes, "onesided", 0) != 0;
  t->outputs[0] = dft_of(&b, t->inputs[0], axis, length, inverse, onesided);
  return translate_end(t, &b);
}

// Frames are gathered along time, weighted by the window and transformed.
static Status stft(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *window = translate_input(t, 2);
  DimTable *table = t->graph->dims;
  const int64_t *step;
  const Dim *given;
  int count;
  NEED_INTS(t, 1, &step, &count);
  if (*step < 1 || x->rank != 3)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "frame_step is %lld, the signal's rank %d", (long long)*step, x->rank);
  Dim length;
  if (translate_has(t, 3)) {
    NEED_SIZES(t, 3, &given, &count, 1);
    length = *given;
  } else if (window) {
    length = window->dims[0];
  } else {
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has neither a window nor a frame_length");
  }
  Dim frames = dim_add(table, dim_div(table, dim_sub(table, x->dims[1], length), *step), 1);
  Program *p = program_new(t->graph->arena, 0);
  int start = op2(p, OP_mul, program_index(p, DTYPE_I64, 0), program_const_i(p, DTYPE_I64, *step));
  program_output(p, op2(p, OP_add, start, program_index(p, DTYPE_I64, 1)));
  Value *indices = build_elementwise_over(&b, p, 0, NULL, 2, (Dim[]){frames, length});
  Value *y = build_gather(&b, x, indices, 1);
  if (window) y = build_mul(&b, y, build_reshape(&b, window, 2, (Dim[]){window->dims[0], 1}));
  t->outputs[0] = dft_of(&b, y, 2, NULL, false, node_int(t->attributes, "onesided", 1) != 0);
  return translate_end(t, &b);
}

// a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), N one less when not periodic.
static Status window(Translation *t) {
  Builder b = translate_begin(t);
  const Dim *size;
  int count;
  NEED_SIZES(t, 0, &size, &count, 1);
  DType dtype;
  TRY(dtype_attribute(t, "output_datatype", DTYPE_F32, &dtype));
  double a0 = 0.5, a1 = 0.5, a2 = 0;
  if (strcmp(t->op_type, "HammingWindow") == 0) {
    a0 = 25.0 / 46;
    a1 = 1 - a0;
  } else if (strcmp(t->op_type, "BlackmanWindow") == 0) {
    a0 = 0.42;
    a2 = 0.08;
  }
  Program *p = program_new(t->graph->arena, 0);
  int period = program_extent(p, DTYPE_F64, 0);
  if (!node_int(t->attributes, "periodic", 1)) period = op2(p, OP_sub, period, constant_like(p, period, 1));
  int angle = op2(p, OP_div, op2(p, OP_mul, program_index(p, DTYPE_F64, 0), constant_like(p, period, 2 * M_PI)), period);
  int first = op2(p, OP_mul, op1(p, OP_cos, angle), constant_like(p, period, a1));
  int result = op2(p, OP_sub, constant_like(p, period, a0), first);
  if (a2 != 0) {
    int twice = op1(p, OP_cos, op2(p, OP_mul, angle, constant_like(p, period, 2)));
    result = op2(p, OP_add, result, op2(p, OP_mul, twice, constant_like(p, period, a2)));
  }
  program_output(p, program_cast(p, dtype, result));
  t->outputs[0] = build_elementwise_over(&b, p, 0, NULL, 1, size);
  return translate_end(t, &b);
}

static double mel_of(double hertz) { return 2595 * log10(1 + hertz / 700); }

// Triangles between neighbouring edges that are equally far apart on the mel scale. All operands are constants in practice.
static Status mel_weight_matrix(Translation *t) {
  Builder b = translate_begin(t);
  const Tensor *in[5];
  for (int i = 0; i < 5; i++) {
    NEED_CONSTANT(t, i, &in[i]);
    if (tensor_count(in[i]) != 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d is no scalar", i);
  }
  int64_t bins = tensor_get_i(in[0], 0), length = tensor_get_i(in[1], 0), rate = tensor_get_i(in[2], 0);
  if (bins < 1 || length < 1 || rate < 1 || bins > 1 << 20 || length > INT32_MAX)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its sizes are not positive, or too large");
  double low = mel_of(tensor_get_f(in[3], 0)), step = (mel_of(tensor_get_f(in[4], 0)) - low) / (double)(bins + 2);
  DType dtype;
  TRY(dtype_attribute(t, "output_datatype", DTYPE_F32, &dtype));
  int64_t rows = length / 2 + 1, *edges = arena_array(t->graph->arena, int64_t, (size_t)bins + 2);
  for (int64_t i = 0; i < bins + 2; i++) {
    double hertz = 700 * (pow(10, ((double)i * step + low) / 2595) - 1);
    edges[i] = (int64_t)floor((double)(length + 1) * hertz / (double)rate);
    if (edges[i] < 0 || edges[i] >= rows) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "an edge lies outside the spectrum");
  }
  Tensor *tensor = arena_new_of(t->graph->arena, Tensor);
  TRY(tensor_new(t->graph->arena, dtype, 2, (int64_t[]){rows, bins}, tensor));
  for (int64_t i = 0; i < bins; i++) {
    int64_t from = edges[i], centre = edges[i + 1], to = edges[i + 2];
    if (centre == from) tensor_set_f(tensor, centre * bins + i, 1);
    else
      for (int64_t k = from; k <= centre; k++) tensor_set_f(tensor, k * bins + i, (double)(k - from) / (double)(centre - from));
    for (int64_t k = centre; k < to; k++) tensor_set_f(tensor, k * bins + i, (double)(to - k) / (double)(to - centre));
  }
  t->outputs[0] = build_constant(&b, tensor);
  return translate_end(t, &b);
}

const OnnxOp onnx_signal_ops[] = {
    {"", "DFT", 17, 0, 1, 3, 1, 1, dft},
    {"", "STFT", 17, 0, 2, 4, 1, 1, stft},
    {"", "HannWindow", 17, 0, 1, 1, 1, 1, window},
    {"", "HammingWindow", 17, 0, 1, 1, 1, 1, window},
    {"", "BlackmanWindow", 17, 0, 1, 1, 1, 1, window},
    {"", "MelWeightMatrix", 17, 0, 5, 5, 1, 1, mel_weight_matrix},
    {0},
};
