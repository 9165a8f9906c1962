// What quantized operators share.
#pragma once
#include "base/half.h"
#include "onnx/ops/common.h"
#include "onnx/ops/conv.h"

// A cast that says how narrow floats treat what is out of range.
int program_cast_narrow(Program *p, DType dtype, int a, bool saturate, E8m0Rounding rounding);
// Makes a scale or zero point broadcast against x: a scalar, one value along `axis`, or one for each block of block_size.
Value *quantize_parameter(Builder *b, const Value *x, Value *parameter, int axis, int64_t block_size);
// x (an integer tensor) widened to i32, minus its zero point (NULL: 0).
Value *quantize_centre(Builder *b, Value *x, Value *zero);
// x to u8 by its own range, over the whole tensor: the tensor, its scale and its zero point.
void build_dynamic_quantize(Builder *b, Value *x, Value *out[3]);
// Appends saturate(round(a) + zero) of type dtype; zero < 0: none.
int program_requantize(Program *p, DType dtype, int a, int zero);
