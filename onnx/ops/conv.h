// The windows of convolutions and pooling: kernel sizes, strides, dilations and the padding that auto_pad asks for.
#pragma once
#include "onnx/ops/common.h"

typedef struct WindowSpec {
  int axes;  // spatial axes
  int64_t kernel[MAX_RANK], strides[MAX_RANK], dilations[MAX_RANK];
  int64_t pads[2 * MAX_RANK];  // begins, then ends
} WindowSpec;

// Reads strides, dilations, pads and auto_pad; kernel and axes are set already. Defers where auto_pad needs a size not known yet.
MUST_CHECK Status window_spec_read(Translation *t, const Value *x, WindowSpec *window);
void window_spec_set(Node *node, const WindowSpec *window);  // strides, pads, dilations
// The convolution of x with w by the ONNX attributes of t, without bias.
MUST_CHECK Status translate_conv(Translation *t, Builder *b, Value *x, Value *w, Value **y);
