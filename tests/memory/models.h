// Models of any size for the memory tests, as ONNX bytes: layers of one kind, weights from a generator, dims open where noted.
#pragma once
#include <stddef.h>

typedef struct ModelBytes {
  char *data;  // free() it; NULL where memory is out
  size_t size, capacity;
  size_t weight_bytes;
} ModelBytes;

// x [batch, width] -> layers of product and Relu -> y [batch, width]
ModelBytes model_perceptron(int width, int layers);
// x [batch, channels, height, width], all but the channels open -> layers of 3x3 convolution and Relu -> y of the same shape
ModelBytes model_convolutions(int channels, int layers);
