// A convolution site as cuDNN sees it, for the implementations over its two interfaces: at least two spatial axes, tensors in NCHW or NHWC
// order with weights in the same order, symmetric padding. Weights that come in another order are packed once when they are constant.
#pragma once
#include "cuda/cudnn.h"
#include "kernels/common/library_epilogue.h"

enum { CUDNN_MAX_AXES = 3, CUDNN_MAX_RANK = CUDNN_MAX_AXES + 2, CUDNN_WORKSPACE_LIMIT = 128 << 20 };

typedef struct CudnnTensorShape {
  int64_t dims[CUDNN_MAX_RANK], strides[CUDNN_MAX_RANK];
  int64_t alignment;  // bytes that element 0 is surely aligned to
} CudnnTensorShape;

typedef struct CudnnProblem {
  int axes, rank;  // spatial axes: 2 or 3; rank: axes + 2
  CudnnTensorShape x, w, y;
  int64_t stride[CUDNN_MAX_AXES], dilation[CUDNN_MAX_AXES], pad[CUDNN_MAX_AXES], groups;
  bool channels_last;
  bool exact_f32;     // no TF32
  bool pack_weights;  // w is packed
  DType natural;
  CudnnType type, compute;
  bool fused;  // the epilogue is one that cuDNN does; `epilogue` says which
  LibraryEpilogue epilogue;
} CudnnProblem;

// Whether one that was read from a text stays within its arrays.
bool cudnn_problem_is_sound(const CudnnProblem *problem);
bool cudnn_problem(const Site *site, CudnnProblem *out);
// Images of a few channels, which cuDNN widens to many, and filters of one element that skip pixels. Measured on an H200, f16, the better of cuDNN's first guesses against ours:
// 7x7 over 32 images of 3 x 512 x 512 987 us against 454; 1x1 by strides of 2 over 32 images of 64 x 128 x 128 194 us against 21.
bool cudnn_yields(const Site *site);
// An argument of a call: the weights, packed once where the problem wants them in another order.
MUST_CHECK Status cudnn_emit_weights(Emission *emission, Launch *launch, const Site *site, const CudnnProblem *problem);
