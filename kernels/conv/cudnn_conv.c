// The tactic for convolutions by cuDNN's classic interface: descriptors, one of four algorithms, and for bias, addition and relu a
// call that fuses them. What the heuristic offers for the plain convolution is sure to run; of the fused call only a trial says
// whether it takes the types and layout, so emitting one runs it once on memory of its own.
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/context.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/cudnn_problem.h"

typedef struct ConvPlan {
  CudnnProblem problem;
  Cudnn *dnn;
  CudnnTensor x, y, bias;
  CudnnFilter w;
  CudnnConvolution convolution;
  CudnnActivation activation;
  int algo;
  bool fused;                       // through cudnnConvolutionBiasActivationForward
  int packed_weights, packed_bias;  // numbers of packed constants, or -1; packed_bias: zeros where the epilogue has no bias
  size_t workspace_bytes;
  LibraryResult target;
} ConvPlan;

static bool supports(const Site *site) {
  CudnnProblem problem;
  return site->device->cudnn && cudnn_problem(site, &problem);
}

// --- Descriptors.

static void plan_free(void *context) {
  ConvPlan *plan = context;
  const Cudnn *dnn = plan->dnn;
  if (plan->x) dnn->cudnnDestroyTensorDescriptor(plan->x);
  if (plan->y) dnn->cudnnDestroyTensorDescriptor(plan->y);
  if (plan->bias) dnn->cudnnDestroyTensorDescriptor(plan->bias);
  if (plan->w) dnn->cudnnDestroyFilterDescriptor(plan->w);
  if (plan->convolution) dnn->cudnnDestroyConvolutionDescriptor(plan->convolution);
  if (plan->activation) dnn->cudnnDestroyActivationDescriptor(plan->activation);
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

static Status make_plan(const Site *site, CudaContext *cuda, Arena *arena, ConvPlan **out) {
  ConvPlan *plan = arena_new_of(arena, ConvPlan);
  if (!cudnn_problem(site, &plan->problem)) FAIL(ERROR_UNSUPPORTED, "cuDNN does not take this convolution");
  TRY(cuda_cudnn(cuda, &plan->dnn));
  arena_on_free(arena, plan_free, plan);
  const CudnnProblem *p = &plan->problem;
  const Cudnn *dnn = plan->dnn;
  int dims[CUDNN_MAX_RANK];
  plan->packed_weights = plan->packed_bias = -1;
  TRY(make_tensor(dnn, p->type, p->rank, &p->x, &plan->x));
  TRY(make_tensor(dnn, p->type, p->rank, &p->y, &plan->y));
  to_ints(p->w.dims, p->rank, dims);
  CUDNN_TRY(dnn, cudnnCreateFilterDescriptor(&plan->w));
  CUDNN_TRY(dnn, cudnnSetFilterNdDescriptor(plan->w, p->type, p->channels_last ? CUDNN_NHWC : CUDNN_NCHW, p->rank, dims));
  TRY(make_convolution(dnn, p, &plan->convolution));
  *out = plan;
  return OK;
}

static Status make_fusion(ConvPlan *plan) {
  const CudnnProblem *p = &plan->problem;
  const Cudnn *dnn = plan->dnn;
  CudnnTensorShape bias = {.dims = {1, p->y.dims[1], 1, 1, 1}};
  for (int i = 0; i < p->rank; i++) bias.strides[i] = i == 0 ? bias.dims[1] : 1;
  bool relu = p->epilogue.activation == LIBRARY_RELU;
  TRY(make_tensor(dnn, p->type, p->rank, &bias, &plan->bias));
  CUDNN_TRY(dnn, cudnnCreateActivationDescriptor(&plan->activation));
  CUDNN_TRY(dnn, cudnnSetActivationDescriptor(plan->activation, relu ? CUDNN_RELU : CUDNN_IDENTITY, CUDNN_PROPAGATE_NAN, 0));
  return OK;
}

// --- Candidates: {algorithm, fused}.

static const char *const algo_names[CUDNN_ALGO_FFT] = {"implicit_gemm", "implicit_precomp_gemm", "gemm", "direct"};

// These compute many positions together: one infinity or NaN in the image spoils numbers that do not depend on it.
static bool mixes_positions(int algo) { return algo >= CUDNN_ALGO_FFT; }

static Status ask_heuristic(const ConvPlan *plan, CudnnAlgoResult *results, int *count) {
  CudnnAlgoResult all[CUDNN_ALGO_COUNT];
  int found = 0;
  *count = 0;
  CUDNN_TRY(plan->dnn, cudnnGetConvolutionForwardAlgorithm_v7(plan->dnn->handle, plan->x, plan->w, plan->convolution, plan->y,
                                                              CUDNN_ALGO_COUNT, &found, all));
  for (int i = 0; i < found; i++) {
    bool usable = all[i].status == 0 && all[i].determinism == 1 && all[i].memory <= CUDNN_WORKSPACE_LIMIT;
    if (usable && all[i].algo >= 0 && !mixes_positions(all[i].algo)) results[(*count)++] = all[i];
  }
  return OK;
}

// Without an activation the fused call knows one algorithm only.
static bool can_fuse(const Site *site, const CudnnProblem *p, int algo) {
  if (!site->node->epilogue || !p->fused) return false;
  return p->epilogue.activation == LIBRARY_RELU || algo == CUDNN_ALGO_PRECOMPUTED_GEMM;
}

static int candidates(const Site *site, CudaContext *cuda, Candidate *out, int limit) {
  if (!cuda) return 0;
  Arena *scratch = arena_scratch();
  CudnnAlgoResult results[CUDNN_ALGO_COUNT];
  ConvPlan *plan;
  int found = 0, count = 0;
  Status status = make_plan(site, cuda, scratch, &plan);
  if (!status) status = cudnn_begin(plan->dnn, cuda->stream);
  if (!status) {
    status = ask_heuristic(plan, results, &found);
    cudnn_end(plan->dnn);
  }
  for (int i = 0; i < found; i++) {
    for (int fused = can_fuse(site, &plan->problem, results[i].algo); fused >= 0; fused--) {
      if (count == limit) break;
      out[count] = (Candidate){.config = {results[i].algo, fused}};
      snprintf(out[count++].name, sizeof out->name, "%s%s", algo_names[results[i].algo], fused ? " fused" : "");
    }
  }
  status_free(status);
  arena_free(scratch);
  return count;
}

// --- Running.

static Status run_with(const ConvPlan *plan, CudaStream stream, const void *x, const void *w, const void *bias, const void *z,
                       void *workspace, void *y) {
  const Cudnn *dnn = plan->dnn;
  const float one_f32 = 1, zero_f32 = 0;
  const double one_f64 = 1, zero_f64 = 0;
  bool wide = plan->problem.compute == CUDNN_F64;
  const void *one = wide ? (const void *)&one_f64 : &one_f32, *zero = wide ? (const void *)&zero_f64 : &zero_f32;
  TRY(cudnn_begin(plan->dnn, stream));
  CudnnResult result;
  if (plan->fused)
    result = dnn->cudnnConvolutionBiasActivationForward(dnn->handle, one, plan->x, x, plan->w, w, plan->convolution, plan->algo,
                                                        workspace, plan->workspace_bytes, z ? one : zero, plan->y, z ? z : y,
                                                        plan->bias, bias, plan->activation, plan->y, y);
  else
    result = dnn->cudnnConvolutionForward(dnn->handle, one, plan->x, x, plan->w, w, plan->convolution, plan->algo, workspace,
                                          plan->workspace_bytes, zero, plan->y, y);
  cudnn_end(plan->dnn);
  return result ? cudnn_error(dnn, result, "cudnnConvolutionForward") : OK;
}

static Status run(void *state, const CallContext *context) {
  const ConvPlan *plan = state;
  const LibraryEpilogue *epilogue = &plan->problem.epilogue;
  const void *bias = NULL, *z = NULL;
  if (plan->fused) {
    bias = epilogue->bias >= 0 ? context->inputs[epilogue->bias] : context->packed[plan->packed_bias];
    z = epilogue->residual >= 0 ? context->inputs[epilogue->residual] : NULL;
  }
  void *y = plan->target.kind == BUFFER_OUTPUT ? context->outputs[0] : (char *)context->workspace + plan->target.offset;
  return run_with(plan, context->stream, context->inputs[0], cudnn_weights(context, plan->packed_weights), bias, z,
                  context->workspace, y);
}

static size_t shape_bytes(const CudnnProblem *p, const CudnnTensorShape *shape) {
  int64_t last = 1;
  for (int i = 0; i < p->rank; i++) last += (shape->dims[i] - 1) * shape->strides[i];
  return (size_t)last * dtype_size(p->natural);
}

static Status try_once(const ConvPlan *plan, CudaContext *cuda) {
  const CudnnProblem *p = &plan->problem;
  size_t sizes[] = {shape_bytes(p, &p->x), shape_bytes(p, &p->w), (size_t)p->y.dims[1] * dtype_size(p->natural),
                    shape_bytes(p, &p->y), shape_bytes(p, &p->y), plan->workspace_bytes};
  void *memory[COUNT_OF(sizes)] = {0};
  Status status = OK;
  for (size_t i = 0; i < COUNT_OF(sizes); i++) TRY_GOTO(cuda_alloc(cuda, sizes[i], &memory[i]));
  TRY_GOTO(run_with(plan, cuda->stream, memory[0], memory[1], memory[2], p->epilogue.residual >= 0 ? memory[3] : NULL,
                    memory[5], memory[4]));
  TRY_GOTO(cuda_synchronize(cuda, cuda->stream));
done:
  for (size_t i = 0; i < COUNT_OF(sizes); i++) cuda_free(cuda, memory[i], sizes[i]);
  return status;
}

static Status fill_zeros(void *context, void *out) {
  memset(out, 0, *(const size_t *)context);
  return OK;
}

static Status emit_fused(ConvPlan *plan, CudaContext *cuda, Emission *out) {
  TRY(make_fusion(plan));
  plan->fused = true;
  if (plan->problem.epilogue.bias < 0) {
    size_t *bytes = arena_new_of(out->arena, size_t);
    *bytes = (size_t)plan->problem.y.dims[1] * dtype_size(plan->problem.natural);
    plan->packed_bias = emit_packed(out, *bytes, (Hash128){*bytes, 0x7a65726f73}, fill_zeros, bytes);
  }
  return status_context(try_once(plan, cuda), "a fused convolution");
}

static Status emit(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out) {
  if (!cuda) FAIL(ERROR_UNSUPPORTED, "cuDNN needs the GPU that the plan is for");
  ConvPlan *plan;
  TRY(make_plan(site, cuda, out->arena, &plan));
  plan->algo = candidate->config[0];
  CUDNN_TRY(plan->dnn, cudnnGetConvolutionForwardWorkspaceSize(plan->dnn->handle, plan->x, plan->w, plan->convolution, plan->y,
                                                               plan->algo, &plan->workspace_bytes));
  TRY(cudnn_pack_weights(out, site, &plan->problem, &plan->packed_weights));
  if (candidate->config[1]) TRY(emit_fused(plan, cuda, out));
  plan->target = library_result(site, plan->problem.natural, plan->workspace_bytes);
  emit_call(out, run, plan, plan->fused ? "cudnn fused" : "cudnn");
  out->workspace_bytes = MAX(out->workspace_bytes, MAX(plan->workspace_bytes, plan->target.offset + plan->target.bytes));
  return plan->fused || !site->node->epilogue ? OK : library_emit_epilogue(out, site, &plan->target);
}

const Tactic cudnn_conv_tactic = {"cudnn", &op_conv, false, supports, candidates, emit, true};
