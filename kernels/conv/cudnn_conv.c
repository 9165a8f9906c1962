// How a GPU computes convolutions by cuDNN's classic interface: descriptors, one of four algorithms, and for bias, addition and relu a
// call that fuses them. What the heuristic offers for the plain convolution is sure to run; of the fused call only a trial says
// whether it takes the types and layout, so emitting one runs it once on memory of its own.
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/context.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/cudnn_call.h"

// Of the peak of tensor cores, which large convolutions get by the classic interface.
#define PEAK_SHARE 0.5

static bool supports(const Site *site) {
  CudnnProblem problem;
  REQUIRE(site, site->device->cudnn, "cuDNN is not here");
  return cudnn_problem(site, &problem);
}

// --- Ways: {algorithm, fused}.

static const char *const algo_names[CUDNN_ALGO_FFT] = {"implicit_gemm", "implicit_precomp_gemm", "gemm", "direct"};

// These compute many positions together: one infinity or NaN in the image spoils numbers that do not depend on it.
static bool mixes_positions(int algo) { return algo >= CUDNN_ALGO_FFT; }

static Status ask_heuristic(const ConvState *state, CudnnAlgoResult *results, int *count) {
  CudnnAlgoResult all[CUDNN_ALGO_COUNT];
  int found = 0;
  *count = 0;
  CUDNN_TRY(state->dnn, cudnnGetConvolutionForwardAlgorithm_v7(state->dnn->handle, state->x, state->w, state->convolution,
                                                               state->y, CUDNN_ALGO_COUNT, &found, all));
  for (int i = 0; i < found; i++) {
    bool usable = all[i].status == 0 && all[i].determinism == 1 && all[i].memory <= CUDNN_WORKSPACE_LIMIT;
    if (usable && all[i].algo >= 0 && !mixes_positions(all[i].algo)) results[(*count)++] = all[i];
  }
  return OK;
}

// Without an activation the fused call knows one algorithm only.
static bool can_fuse(const Site *site, const CudnnProblem *p, int algo) {
  if (!site->epilogue || !p->fused) return false;
  return p->epilogue.activation == LIBRARY_RELU || algo == CUDNN_ALGO_PRECOMPUTED_GEMM;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  CudaContext *cuda = machine->cuda;
  if (!cuda) return 0;
  CudnnAlgoResult results[CUDNN_ALGO_COUNT];
  ConvState *state;
  ConvCall call = {0};
  int found = 0, count = 0;
  if (!cudnn_problem(site, &call.problem)) return 0;
  Arena *scratch = arena_scratch();
  Status status = cudnn_conv_describe(&call, cuda, scratch, &state);
  if (!status) status = cudnn_begin(state->dnn, cuda->stream);
  if (!status) {
    status = ask_heuristic(state, results, &found);
    cudnn_end(state->dnn);
  }
  for (int i = 0; i < found; i++) {
    for (int fused = can_fuse(site, &call.problem, results[i].algo); fused >= 0; fused--) {
      if (count == limit) break;
      out[count] = (Way){.config = {results[i].algo, fused}, .cost = cost_of_library(site, PEAK_SHARE, fused)};
      snprintf(out[count++].name, sizeof out->name, "%s%s", algo_names[results[i].algo], fused ? " fused" : "");
    }
  }
  status_free(status);
  arena_free(scratch);
  return count;
}

static double cost(const Site *site) { return cost_of_library(site, PEAK_SHARE, false); }

// --- Emitting.

static size_t shape_bytes(const CudnnProblem *p, const CudnnTensorShape *shape) {
  int64_t last = 1;
  for (int i = 0; i < p->rank; i++) last += (shape->dims[i] - 1) * shape->strides[i];
  return (size_t)last * dtype_size(p->natural);
}

static Status try_once(const ConvState *state, CudaContext *cuda) {
  const CudnnProblem *p = &state->call.problem;
  size_t sizes[] = {shape_bytes(p, &p->x), shape_bytes(p, &p->w), (size_t)p->y.dims[1] * dtype_size(p->natural),
                    shape_bytes(p, &p->y), shape_bytes(p, &p->y), state->call.workspace_bytes};
  void *memory[COUNT_OF(sizes)] = {0};
  Status status = OK;
  for (size_t i = 0; i < COUNT_OF(sizes); i++) TRY_GOTO(cuda_alloc(cuda, sizes[i], &memory[i]));
  ConvAddresses at = {memory[0], memory[1], memory[2], p->epilogue.residual >= 0 ? memory[3] : NULL, memory[4], memory[5]};
  TRY_GOTO(cudnn_conv_run(state, cuda->stream, &at));
  TRY_GOTO(cuda_synchronize(cuda, cuda->stream));
done:
  for (size_t i = 0; i < COUNT_OF(sizes); i++) cuda_free(cuda, memory[i], sizes[i]);
  return status;
}

// The fused call always adds a bias.
static Status emit_bias(const CudnnProblem *p, Emission *out, Launch *launch) {
  if (p->epilogue.bias >= 0) {
    emit_buffer(out, launch, BUFFER_INPUT, p->epilogue.bias);
    return OK;
  }
  Recipe *recipe = recipe_new(out->arena);
  int index;
  TRY(emit_packed(out, recipe, build_fill(&recipe->b, p->natural, 0, 1, &p->y.dims[1]), &index));
  emit_buffer(out, launch, BUFFER_PACKED, index);
  return OK;
}

// How much workspace the call needs, and, of a fused one, whether the library does it at all.
static Status ask(ConvCall *call, CudaContext *cuda, Arena *scratch) {
  ConvState *state;
  TRY(cudnn_conv_describe(call, cuda, scratch, &state));
  const Cudnn *dnn = state->dnn;
  CUDNN_TRY(dnn, cudnnGetConvolutionForwardWorkspaceSize(dnn->handle, state->x, state->w, state->convolution, state->y,
                                                         call->algo, &call->workspace_bytes));
  call->version = dnn->version;
  state->call.workspace_bytes = call->workspace_bytes;
  return call->fused ? status_context(try_once(state, cuda), "a fused convolution") : OK;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  CudaContext *cuda = machine->cuda;
  if (!cuda) FAIL(ERROR_UNSUPPORTED, "cuDNN needs the GPU that the plan is for");
  ConvCall *call = arena_new_of(out->arena, ConvCall);
  const CudnnProblem *p = &call->problem;
  if (!cudnn_problem(site, &call->problem)) FAIL(ERROR_UNSUPPORTED, "cuDNN does not take this convolution");
  call->algo = way->config[0], call->fused = way->config[1];
  Arena *scratch = arena_scratch();
  Status status = ask(call, cuda, scratch);
  arena_free(scratch);
  TRY(status);
  LibraryResult target = library_result(site, p->natural, call->workspace_bytes);
  Launch *launch = emit_library(out, &cudnn_conv_routine, call, call->fused ? "cudnn fused" : "cudnn");
  emit_buffer(out, launch, BUFFER_INPUT, 0);
  TRY(cudnn_emit_weights(out, launch, site, p));
  library_emit_target(out, launch, &target);
  if (call->fused) TRY(emit_bias(p, out, launch));
  if (call->fused && p->epilogue.residual >= 0) emit_buffer(out, launch, BUFFER_INPUT, p->epilogue.residual);
  emit_workspace(out, launch, 0);
  out->workspace_bytes = MAX(out->workspace_bytes, MAX(call->workspace_bytes, target.offset + target.bytes));
  return call->fused || !site->epilogue ? OK : library_emit_epilogue(out, site, &target);
}

const Implementation cuda_cudnn_conv = {
    .name = "cudnn",
    .backend = BACKEND_CUDA,
    .op = &op_conv,
    .library = LIBRARY_CUDNN,
    .yields = cudnn_yields,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower,
};
