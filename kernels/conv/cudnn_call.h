// Convolutions by cuDNN's classic interface, as parameters of a routine. Its arguments: image, weights, result, then, where they are fused,
// the bias and what is added, then the workspace.
#pragma once
#include "kernels/conv/cudnn_problem.h"

typedef struct ConvCall {
  CudnnProblem problem;
  int algo;
  bool fused;  // through cudnnConvolutionBiasActivationForward
  size_t workspace_bytes, version;
} ConvCall;
extern const LibraryRoutine cudnn_conv_routine;

typedef struct ConvState {
  ConvCall call;
  Cudnn *dnn;
  CudnnTensor x, y, bias;
  CudnnFilter w;
  CudnnConvolution convolution;
  CudnnActivation activation;
} ConvState;
// Descriptors, destroyed with the arena.
MUST_CHECK Status cudnn_conv_describe(const ConvCall *call, CudaContext *cuda, Arena *arena, ConvState **out);

typedef struct ConvAddresses {
  const void *x, *w, *bias, *z;  // z: NULL where nothing is added
  void *y, *workspace;
} ConvAddresses;
MUST_CHECK Status cudnn_conv_run(const ConvState *state, CudaStream stream, const ConvAddresses *at);
