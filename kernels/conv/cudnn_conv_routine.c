// Calls of cuDNN's classic interface from their parameters.
#include "base/checked.h"
#include "cuda/context.h"
#include "kernels/conv/cudnn_call.h"

static void state_free(void *context) {
  ConvState *state = context;
  const Cudnn *dnn = state->dnn;
  if (state->x) dnn->cudnnDestroyTensorDescriptor(state->x);
  if (state->y) dnn->cudnnDestroyTensorDescriptor(state->y);
  if (state->bias) dnn->cudnnDestroyTensorDescriptor(state->bias);
  if (state->w) dnn->cudnnDestroyFilterDescriptor(state->w);
  if (state->convolution) dnn->cudnnDestroyConvolutionDescriptor(state->convolution);
  if (state->activation) dnn->cudnnDestroyActivationDescriptor(state->activation);
}

static void to_ints(const int64_t *from, int count, int *to) {
  for (int i = 0; i < count; i++) to[i] = (int)from[i];
}

static Status make_tensor(const Cudnn *dnn, CudnnType type, int rank, const CudnnTensorShape *shape, CudnnTensor *out) {
  int dims[CUDNN_MAX_RANK], strides[CUDNN_MAX_RANK];
  to_ints(shape->dims, rank, dims);
  to_ints(shape->strides, rank, strides);
  CUDNN_TRY(dnn, cudnnCreateTensorDescriptor(out));
  CUDNN_TRY(dnn, cudnnSetTensorNdDescriptor(*out, type, rank, dims, strides));
  return OK;
}

static Status make_convolution(const Cudnn *dnn, const CudnnProblem *p, CudnnConvolution *out) {
  int pad[CUDNN_MAX_AXES], stride[CUDNN_MAX_AXES], dilation[CUDNN_MAX_AXES];
  to_ints(p->pad, p->axes, pad);
  to_ints(p->stride, p->axes, stride);
  to_ints(p->dilation, p->axes, dilation);
  CUDNN_TRY(dnn, cudnnCreateConvolutionDescriptor(out));
  CUDNN_TRY(dnn, cudnnSetConvolutionNdDescriptor(*out, p->axes, pad, stride, dilation, CUDNN_CROSS_CORRELATION, p->compute));
  CUDNN_TRY(dnn, cudnnSetConvolutionGroupCount(*out, (int)p->groups));
  // Said for every descriptor, so that no default and no environment variable decides about TF32.
  int math = p->exact_f32 ? CUDNN_MATH_FMA : p->natural == DTYPE_F64 ? CUDNN_MATH_DEFAULT : CUDNN_MATH_TENSOR;
  CUDNN_TRY(dnn, cudnnSetConvolutionMathType(*out, math));
  return OK;
}

static Status make_fusion(ConvState *state) {
  const CudnnProblem *p = &state->call.problem;
  const Cudnn *dnn = state->dnn;
  CudnnTensorShape bias = {.dims = {1, p->y.dims[1], 1, 1, 1}};
  for (int i = 0; i < p->rank; i++) bias.strides[i] = i == 0 ? bias.dims[1] : 1;
  bool relu = p->epilogue.activation == LIBRARY_RELU;
  TRY(make_tensor(dnn, p->type, p->rank, &bias, &state->bias));
  CUDNN_TRY(dnn, cudnnCreateActivationDescriptor(&state->activation));
  CUDNN_TRY(dnn, cudnnSetActivationDescriptor(state->activation, relu ? CUDNN_RELU : CUDNN_IDENTITY, CUDNN_PROPAGATE_NAN, 0));
  return OK;
}

Status cudnn_conv_describe(const ConvCall *call, CudaContext *cuda, Arena *arena, ConvState **out) {
  ConvState *state = arena_new_of(arena, ConvState);
  state->call = *call;
  TRY(cuda_cudnn(cuda, &state->dnn));
  arena_on_free(arena, state_free, state);
  const CudnnProblem *p = &call->problem;
  const Cudnn *dnn = state->dnn;
  int dims[CUDNN_MAX_RANK];
  TRY(make_tensor(dnn, p->type, p->rank, &p->x, &state->x));
  TRY(make_tensor(dnn, p->type, p->rank, &p->y, &state->y));
  to_ints(p->w.dims, p->rank, dims);
  CUDNN_TRY(dnn, cudnnCreateFilterDescriptor(&state->w));
  CUDNN_TRY(dnn, cudnnSetFilterNdDescriptor(state->w, p->type, p->channels_last ? CUDNN_NHWC : CUDNN_NCHW, p->rank, dims));
  TRY(make_convolution(dnn, p, &state->convolution));
  if (call->fused) TRY(make_fusion(state));
  *out = state;
  return OK;
}

Status cudnn_conv_run(const ConvState *state, CudaStream stream, const ConvAddresses *at) {
  const ConvCall *call = &state->call;
  const Cudnn *dnn = state->dnn;
  const float one_f32 = 1, zero_f32 = 0;
  const double one_f64 = 1, zero_f64 = 0;
  bool wide = call->problem.compute == CUDNN_F64;
  const void *one = wide ? (const void *)&one_f64 : &one_f32, *zero = wide ? (const void *)&zero_f64 : &zero_f32;
  TRY(cudnn_begin(state->dnn, stream));
  CudnnResult result;
  if (call->fused)
    result = dnn->cudnnConvolutionBiasActivationForward(dnn->handle, one, state->x, at->x, state->w, at->w, state->convolution,
                                                        call->algo, at->workspace, call->workspace_bytes, at->z ? one : zero,
                                                        state->y, at->z ? at->z : at->y, state->bias, at->bias,
                                                        state->activation, state->y, at->y);
  else
    result = dnn->cudnnConvolutionForward(dnn->handle, one, state->x, at->x, state->w, at->w, state->convolution, call->algo,
                                          at->workspace, call->workspace_bytes, zero, state->y, at->y);
  cudnn_end(state->dnn);
  return result ? cudnn_error(dnn, result, "cudnnConvolutionForward") : OK;
}

static int arguments(const void *parameters) {
  const ConvCall *call = parameters;
  if (!cudnn_problem_is_sound(&call->problem)) return -1;
  return 4 + (call->fused ? 1 + (call->problem.epilogue.residual >= 0) : 0);  // x, w, y, workspace
}

static Status open(const void *parameters, CudaContext *cuda, Arena *arena, void **out) {
  ConvState *state;
  TRY(cudnn_conv_describe(parameters, cuda, arena, &state));
  TRY(cudnn_check_version(state->dnn, state->call.version));
  *out = state;
  return OK;
}

static Status run(const void *opened, void *const *arguments, CudaStream stream) {
  const ConvState *state = opened;
  ConvAddresses at = {.x = arguments[0], .w = arguments[1], .y = arguments[2]};
  arguments += 3;
  if (state->call.fused) at.bias = *arguments++;
  if (state->call.fused && state->call.problem.epilogue.residual >= 0) at.z = *arguments++;
  at.workspace = *arguments;
  return cudnn_conv_run(state, stream, &at);
}

const LibraryRoutine cudnn_conv_routine = {"cudnn_conv", sizeof(ConvCall), arguments, open, run};
