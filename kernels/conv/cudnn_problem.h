// A convolution site as cuDNN sees it, for the tactics over its two interfaces: at least two spatial axes, tensors in NCHW or NHWC
// order with weights in the same order, symmetric padding. Weights that come in another order are packed once when they are constant.
#pragma once
#include "cuda/cudnn.h"
#include "kernels/common/library_epilogue.h"

enum { CUDNN_MAX_AXES = 3, CUDNN_MAX_RANK = CUDNN_MAX_AXES + 2, CUDNN_WORKSPACE_LIMIT = 128 << 20 };

typedef struct CudnnTensorShape {
  int64_t dims[CUDNN_MAX_RANK], strides[CUDNN_MAX_RANK];
  int alignment;  // bytes that element 0 is surely aligned to
} CudnnTensorShape;

typedef struct CudnnProblem {
  int axes, rank;  // spatial axes: 2 or 3; rank: axes + 2
  CudnnTensorShape x, w, y;
  int64_t stride[CUDNN_MAX_AXES], dilation[CUDNN_MAX_AXES], pad[CUDNN_MAX_AXES], groups;
  bool channels_last;
  bool exact_f32;     // no TF32
  bool pack_weights;  // w is a PackedConstant
  DType natural;
  CudnnType type, compute;
  bool fused;  // the epilogue is one that cuDNN does; `epilogue` says which
  LibraryEpilogue epilogue;
} CudnnProblem;

bool cudnn_problem(const Site *site, CudnnProblem *out);
// Adds the weights in the order the problem wants; *index is the number for CallContext.packed.
MUST_CHECK Status cudnn_pack_weights(Emission *emission, const Site *site, const CudnnProblem *problem, int *index);
// The address of the weights in a call; packed: what cudnn_pack_weights gave, or -1.
static inline const void *cudnn_weights(const CallContext *context, int packed) {
  return packed >= 0 ? context->packed[packed] : context->inputs[1];
}
