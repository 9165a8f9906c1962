// Matrix products and determinants.
#include "onnx/ops/common.h"

static Status matmul(Translation *t) {
  Builder b = translate_begin(t);
  t->outputs[0] = build_product(&b, t->inputs[0], t->inputs[1]);
  return translate_end(t, &b);
}

// alpha * A' * B' + beta * C: a bare product where it can be, so that fusion sees the bias.
static Status gemm(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *y = t->inputs[1], *c = translate_input(t, 2);
  if (x->rank != 2 || y->rank != 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its operands have ranks %d and %d, expected 2", x->rank, y->rank);
  double alpha = node_float(t->attributes, "alpha", 1), beta = node_float(t->attributes, "beta", 1);
  if (node_int(t->attributes, "transA", 0)) x = build_swap(&b, x, 0, 1);
  if (node_int(t->attributes, "transB", 0)) y = build_swap(&b, y, 0, 1);
  Value *product = build_matmul(&b, x, y);
  if (alpha != 1) product = build_scale(&b, product, alpha);
  if (c && beta != 1) c = build_scale(&b, c, beta);
  t->outputs[0] = c && beta != 0 ? build_add(&b, product, c) : product;
  return translate_end(t, &b);
}

static Status det(Translation *t) {
  Builder b = translate_begin(t);
  t->outputs[0] = node_done(&b, node_start(&b, "det", 1, t->inputs, 1));
  return translate_end(t, &b);
}

const OnnxOp onnx_linear_ops[] = {
    {"", "MatMul", 1, 0, 2, 2, 1, 1, matmul},
    {"", "Gemm", 1, 0, 2, 3, 1, 1, gemm},
    {"", "Det", 11, 0, 1, 1, 1, 1, det},
    {0},
};
