// How a GPU computes convolutions by cuDNN's graph interface (cudnn_graph_routine.c). On tensor cores these are the library's fastest.
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/context.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/cudnn_graph.h"

static bool supports(const Site *site) {
  CudnnProblem problem;
  REQUIRE(site, site->device->cudnn, "cuDNN is not here");
  return cudnn_problem(site, &problem);
}

// {place in the list, the library's number of the engine}
static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  CudaContext *cuda = machine->cuda;
  CudnnEngine engines[CUDNN_MAX_ENGINES];
  CudnnProblem problem;
  int count;
  if (!cuda || !cudnn_problem(site, &problem)) return 0;
  Status status = cudnn_graph_engines(&problem, cuda, engines, &count);
  count = status ? 0 : MIN(count, limit);
  for (int i = 0; i < count; i++) {
    out[i] = (Way){.config = {i, (int)engines[i].index}};
    snprintf(out[i].name, sizeof out[i].name, "engine %d (%d)", (int)engines[i].index, i);
  }
  status_free(status);
  return count;
}

// What the library made for the graph is kept as long as the emission, which a plan that is loaded shares.
typedef struct Held {
  CudaContext *cuda;
  CudaShared *shared;
} Held;

static void drop(void *context) {
  const Held *held = context;
  cuda_shared_drop(held->cuda, held->shared);
}

static Status hold(const GraphCall *call, CudaContext *cuda, Arena *arena, size_t *workspace_bytes) {
  Held *held = arena_new_of(arena, Held);
  held->cuda = cuda;
  arena_on_free(arena, drop, held);
  TRY(library_routine_open(cuda, &cudnn_graph_routine, call, &held->shared));
  *workspace_bytes = cudnn_graph_workspace(cuda_shared_get(held->shared));
  return OK;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  CudaContext *cuda = machine->cuda;
  if (!cuda) FAIL(ERROR_UNSUPPORTED, "cuDNN needs the GPU that the plan is for");
  GraphCall *call = arena_new_of(out->arena, GraphCall);
  const CudnnProblem *p = &call->problem;
  Cudnn *dnn;
  size_t bytes;
  if (!cudnn_problem(site, &call->problem)) FAIL(ERROR_UNSUPPORTED, "cuDNN does not take this convolution");
  TRY(cuda_cudnn(cuda, &dnn));
  call->place = way->config[0], call->engine = way->config[1], call->version = dnn->version;
  TRY(hold(call, cuda, out->arena, &bytes));
  LibraryResult target = library_result(site, p->natural, bytes);
  Launch *launch = emit_library(out, &cudnn_graph_routine, call, "cudnn graph");
  emit_buffer(out, launch, BUFFER_INPUT, 0);
  TRY(cudnn_emit_weights(out, launch, site, p));
  library_emit_target(out, launch, &target);
  if (p->epilogue.bias >= 0) emit_buffer(out, launch, BUFFER_INPUT, p->epilogue.bias);
  if (p->epilogue.residual >= 0) emit_buffer(out, launch, BUFFER_INPUT, p->epilogue.residual);
  emit_workspace(out, launch, 0);
  out->workspace_bytes = MAX(out->workspace_bytes, MAX(bytes, target.offset + target.bytes));
  return p->fused ? OK : library_emit_epilogue(out, site, &target);
}

const Implementation cuda_cudnn_graph_conv = {
    .name = "cudnn_graph",
    .backend = BACKEND_CUDA,
    .op = &op_conv,
    .library = LIBRARY_CUDNN,
    .yields = cudnn_yields,
    .supports = supports,
    .ways = ways,
    .share = 0.6,  // measured with 3x3 windows and hundreds of channels on an H200
    .lower = lower,
};
