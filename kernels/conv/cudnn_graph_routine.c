// Calls of cuDNN's graph interface from their parameters: the convolution and what it can fuse (addition, bias, relu) are described as
// operations on tensors, and the library proposes engines, some of which it compiles for this very graph. An engine that cannot take the
// graph says so when its plan is finalized.
#include "base/checked.h"
#include "base/recover.h"
#include "cuda/context.h"
#include "cuda/cudnn_backend.h"
#include "kernels/conv/cudnn_graph.h"

enum { MAX_OPERATIONS = 4, ALIGNMENT = 16 };
enum { ID_X = 1, ID_W, ID_Y, ID_BIAS, ID_RESIDUAL, ID_VIRTUAL };

typedef struct GraphPlan {
  CudnnProblem problem;
  Cudnn *dnn;
  Arena *arena;
  CudnnBackend operations[MAX_OPERATIONS];
  int operation_count;
  int next_virtual;
  CudnnBackend graph, plan;
  size_t workspace_bytes;
} GraphPlan;

// --- The graph.

static Status make_tensor(GraphPlan *plan, int64_t id, CudnnType type, const CudnnTensorShape *shape, bool is_virtual,
                          CudnnBackend *out) {
  const Cudnn *dnn = plan->dnn;
  int rank = plan->problem.rank;
  int64_t alignment = ALIGNMENT;
  TRY(backend_new(dnn, plan->arena, BACKEND_TENSOR, out));
  TRY(backend_set(dnn, *out, TENSOR_TYPE, BACKEND_TYPE_DATA_TYPE, 1, &type));
  TRY(backend_set(dnn, *out, TENSOR_DIMS, BACKEND_TYPE_I64, rank, shape->dims));
  TRY(backend_set(dnn, *out, TENSOR_STRIDES, BACKEND_TYPE_I64, rank, shape->strides));
  TRY(backend_set(dnn, *out, TENSOR_ID, BACKEND_TYPE_I64, 1, &id));
  TRY(backend_set(dnn, *out, TENSOR_ALIGNMENT, BACKEND_TYPE_I64, 1, &alignment));
  if (is_virtual) TRY(backend_set(dnn, *out, TENSOR_VIRTUAL, BACKEND_TYPE_BOOL, 1, &is_virtual));
  return backend_finalize(dnn, *out);
}

// What an operation writes: y if it is the last, else a value that never reaches memory, in the type of the computation.
static Status make_result(GraphPlan *plan, bool last, CudnnBackend *out) {
  const CudnnProblem *p = &plan->problem;
  if (last) return make_tensor(plan, ID_Y, p->type, &p->y, false, out);
  return make_tensor(plan, ID_VIRTUAL + plan->next_virtual++, p->compute, &p->y, true, out);
}

static Status add_convolution(GraphPlan *plan, CudnnBackend y) {
  const CudnnProblem *p = &plan->problem;
  const Cudnn *dnn = plan->dnn;
  CudnnBackend x, w, convolution, operation;
  int mode = CUDNN_CROSS_CORRELATION;
  int64_t axes = p->axes;
  TRY(make_tensor(plan, ID_X, p->type, &p->x, false, &x));
  TRY(make_tensor(plan, ID_W, p->type, &p->w, false, &w));
  TRY(backend_new(dnn, plan->arena, BACKEND_CONVOLUTION, &convolution));
  TRY(backend_set(dnn, convolution, CONVOLUTION_PRECISION, BACKEND_TYPE_DATA_TYPE, 1, &p->compute));
  TRY(backend_set(dnn, convolution, CONVOLUTION_MODE, BACKEND_TYPE_CONVOLUTION_MODE, 1, &mode));
  TRY(backend_set(dnn, convolution, CONVOLUTION_AXES, BACKEND_TYPE_I64, 1, &axes));
  TRY(backend_set(dnn, convolution, CONVOLUTION_DILATIONS, BACKEND_TYPE_I64, axes, p->dilation));
  TRY(backend_set(dnn, convolution, CONVOLUTION_STRIDES, BACKEND_TYPE_I64, axes, p->stride));
  TRY(backend_set(dnn, convolution, CONVOLUTION_PRE_PADS, BACKEND_TYPE_I64, axes, p->pad));
  TRY(backend_set(dnn, convolution, CONVOLUTION_POST_PADS, BACKEND_TYPE_I64, axes, p->pad));
  TRY(backend_finalize(dnn, convolution));

  const double one = 1, zero = 0;
  const float one_f32 = 1, zero_f32 = 0;
  bool wide = p->compute == CUDNN_F64;
  BackendType scalar = wide ? BACKEND_TYPE_F64 : BACKEND_TYPE_F32;
  TRY(backend_new(dnn, plan->arena, BACKEND_CONVOLUTION_FORWARD, &operation));
  TRY(backend_set_descriptor(dnn, operation, FORWARD_X, x));
  TRY(backend_set_descriptor(dnn, operation, FORWARD_W, w));
  TRY(backend_set_descriptor(dnn, operation, FORWARD_Y, y));
  TRY(backend_set_descriptor(dnn, operation, FORWARD_CONVOLUTION, convolution));
  TRY(backend_set(dnn, operation, FORWARD_ALPHA, scalar, 1, wide ? (const void *)&one : &one_f32));
  TRY(backend_set(dnn, operation, FORWARD_BETA, scalar, 1, wide ? (const void *)&zero : &zero_f32));
  TRY(backend_finalize(dnn, operation));
  plan->operations[plan->operation_count++] = operation;
  return OK;
}

static Status add_pointwise(GraphPlan *plan, int mode, CudnnBackend x, CudnnBackend b, CudnnBackend y) {
  const Cudnn *dnn = plan->dnn;
  CudnnBackend pointwise, operation;
  TRY(backend_new(dnn, plan->arena, BACKEND_POINTWISE, &pointwise));
  TRY(backend_set(dnn, pointwise, POINTWISE_MODE, BACKEND_TYPE_POINTWISE_MODE, 1, &mode));
  TRY(backend_set(dnn, pointwise, POINTWISE_PRECISION, BACKEND_TYPE_DATA_TYPE, 1, &plan->problem.compute));
  TRY(backend_finalize(dnn, pointwise));
  TRY(backend_new(dnn, plan->arena, BACKEND_POINTWISE_OPERATION, &operation));
  TRY(backend_set_descriptor(dnn, operation, OPERATION_POINTWISE, pointwise));
  TRY(backend_set_descriptor(dnn, operation, OPERATION_X, x));
  if (b) TRY(backend_set_descriptor(dnn, operation, OPERATION_B, b));
  TRY(backend_set_descriptor(dnn, operation, OPERATION_Y, y));
  TRY(backend_finalize(dnn, operation));
  plan->operations[plan->operation_count++] = operation;
  return OK;
}

// Convolution, then the residual, then the bias, then relu: the order in which the library's fused engines know them.
static Status make_operations(GraphPlan *plan) {
  const CudnnProblem *p = &plan->problem;
  bool relu = p->epilogue.activation == LIBRARY_RELU, bias = p->epilogue.bias >= 0, residual = p->epilogue.residual >= 0;
  int left = relu + bias + residual;
  CudnnBackend value, next, operand;
  TRY(make_result(plan, left == 0, &value));
  TRY(add_convolution(plan, value));
  if (residual) {
    TRY(make_tensor(plan, ID_RESIDUAL, p->type, &p->y, false, &operand));
    TRY(make_result(plan, --left == 0, &next));
    TRY(add_pointwise(plan, BACKEND_POINTWISE_ADD, value, operand, next));
    value = next;
  }
  if (bias) {
    CudnnTensorShape shape = {.dims = {1, p->y.dims[1], 1, 1, 1}, .strides = {p->y.dims[1], 1, 1, 1, 1}};
    if (!p->channels_last)
      for (int i = 2; i < p->rank; i++) shape.strides[i] = 1;
    TRY(make_tensor(plan, ID_BIAS, p->type, &shape, false, &operand));
    TRY(make_result(plan, --left == 0, &next));
    TRY(add_pointwise(plan, BACKEND_POINTWISE_ADD, value, operand, next));
    value = next;
  }
  if (relu) {
    TRY(make_result(plan, true, &next));
    TRY(add_pointwise(plan, BACKEND_POINTWISE_RELU, value, NULL, next));
  }
  return OK;
}

static Status make_graph(const CudnnProblem *problem, CudaContext *cuda, Arena *arena, GraphPlan **out) {
  GraphPlan *plan = arena_new_of(arena, GraphPlan);
  plan->arena = arena;
  plan->problem = *problem;
  TRY(cuda_cudnn(cuda, &plan->dnn));
  TRY(make_operations(plan));
  const Cudnn *dnn = plan->dnn;
  TRY(backend_new(dnn, arena, BACKEND_GRAPH, &plan->graph));
  TRY(backend_set(dnn, plan->graph, GRAPH_OPERATIONS, BACKEND_TYPE_DESCRIPTOR, plan->operation_count, plan->operations));
  TRY(backend_set(dnn, plan->graph, GRAPH_HANDLE, BACKEND_TYPE_HANDLE, 1, &dnn->handle));
  TRY(backend_finalize(dnn, plan->graph));
  *out = plan;
  return OK;
}

// --- Engines.

// Not engines whose arithmetic is not what the model asked for, or whose results vary, or that compute many positions together: one infinity or
// NaN in the image spoils numbers that do not depend on it.
static bool note_is_acceptable(const CudnnProblem *p, int note) {
  switch (note) {
    case BACKEND_NOTE_TENSOR_CORE: return !p->exact_f32;
    case BACKEND_NOTE_DOWN_CONVERTS: return !p->exact_f32 && p->natural != DTYPE_F64;
    case BACKEND_NOTE_REDUCED_PRECISION:
    case BACKEND_NOTE_NONDETERMINISTIC:
    case BACKEND_NOTE_FFT:
    case BACKEND_NOTE_WINOGRAD:
    case BACKEND_NOTE_WINOGRAD_4x4:
    case BACKEND_NOTE_WINOGRAD_6x6:
    case BACKEND_NOTE_WINOGRAD_13x13: return false;
    default: return true;
  }
}

static Status engine_is_acceptable(const GraphPlan *plan, CudnnEngine *engine, bool *out) {
  const Cudnn *dnn = plan->dnn;
  CudnnBackend descriptor;
  int notes[BACKEND_NOTE_COUNT] = {0};
  int64_t count = 0;
  TRY(backend_new(dnn, plan->arena, BACKEND_ENGINE, &descriptor));
  TRY(backend_get(dnn, engine->config, ENGINE_CONFIG_ENGINE, BACKEND_TYPE_DESCRIPTOR, 1, &count, &descriptor));
  TRY(backend_get(dnn, descriptor, ENGINE_INDEX, BACKEND_TYPE_I64, 1, &count, &engine->index));
  TRY(backend_get(dnn, descriptor, ENGINE_NOTES, BACKEND_TYPE_NOTE, BACKEND_NOTE_COUNT, &count, notes));
  *out = true;
  for (int64_t i = 0; i < MIN(count, BACKEND_NOTE_COUNT); i++) *out = *out && note_is_acceptable(&plan->problem, notes[i]);
  return OK;
}

static Status ask_heuristic(const GraphPlan *plan, BackendHeuristic mode, CudnnEngine *engines, int *count) {
  const Cudnn *dnn = plan->dnn;
  CudnnBackend heuristic, configs[CUDNN_MAX_ENGINES];
  int64_t found = 0;
  TRY(backend_new(dnn, plan->arena, BACKEND_HEURISTIC, &heuristic));
  TRY(backend_set_descriptor(dnn, heuristic, HEURISTIC_GRAPH, plan->graph));
  TRY(backend_set(dnn, heuristic, HEURISTIC_MODE, BACKEND_TYPE_HEURISTIC_MODE, 1, &mode));
  TRY(backend_finalize(dnn, heuristic));
  for (int i = 0; i < CUDNN_MAX_ENGINES; i++) TRY(backend_new(dnn, plan->arena, BACKEND_ENGINE_CONFIG, &configs[i]));
  TRY(backend_get(dnn, heuristic, HEURISTIC_RESULTS, BACKEND_TYPE_DESCRIPTOR, CUDNN_MAX_ENGINES, &found, configs));
  for (int64_t i = 0; i < MIN(found, CUDNN_MAX_ENGINES) && *count < CUDNN_MAX_ENGINES; i++) {
    CudnnEngine engine = {.config = configs[i]};
    bool acceptable;
    TRY(engine_is_acceptable(plan, &engine, &acceptable));
    if (acceptable) engines[(*count)++] = engine;
  }
  return OK;
}

// The heuristic's proposals, then those that take graphs no other does. The handle must be taken.
static Status list_engines(const GraphPlan *plan, CudnnEngine *engines, int *count) {
  *count = 0;
  Status status = ask_heuristic(plan, BACKEND_HEURISTIC_A, engines, count);
  if (status && status_code(status) != ERROR_UNSUPPORTED) return status;
  status_free(status);
  return ask_heuristic(plan, BACKEND_HEURISTIC_FALLBACK, engines, count);
}

static Status make_and_list(const CudnnProblem *problem, CudaContext *cuda, Arena *arena, GraphPlan **plan,
                            CudnnEngine *engines, int *count) {
  TRY(make_graph(problem, cuda, arena, plan));
  return list_engines(*plan, engines, count);
}

static Status graph_and_engines(const CudnnProblem *problem, CudaContext *cuda, Arena *arena, GraphPlan **plan,
                                CudnnEngine *engines, int *count) {
  Cudnn *dnn;
  *count = 0;
  TRY(cuda_cudnn(cuda, &dnn));
  TRY(cudnn_begin(dnn, cuda->stream));
  Status status = RECOVER_GUARD(make_and_list(problem, cuda, arena, plan, engines, count));
  cudnn_end(dnn);
  if (*count == 0) return status;
  status_free(status);  // a list cut short by an error is still a list
  return OK;
}

Status cudnn_graph_engines(const CudnnProblem *problem, CudaContext *cuda, CudnnEngine *engines, int *count) {
  Arena *scratch = arena_scratch();
  GraphPlan *plan;
  Status status = graph_and_engines(problem, cuda, scratch, &plan, engines, count);
  for (int i = 0; i < *count; i++) engines[i].config = NULL;  // gone with the arena
  arena_free(scratch);
  return status;
}

// --- The routine.

// The engine at its place or the first of its number; the list's first where the library does not propose it.
static int choose(const GraphCall *call, const CudnnEngine *engines, int count) {
  for (int offset = 0; offset < count; offset++) {
    int i = (call->place + offset) % count;
    if (engines[i].index == call->engine) return i;
  }
  return 0;
}

static Status make_execution_plan(GraphPlan *plan, const CudnnEngine *engine) {
  const Cudnn *dnn = plan->dnn;
  int64_t bytes = 0, count;
  TRY(backend_new(dnn, plan->arena, BACKEND_PLAN, &plan->plan));
  TRY(backend_set(dnn, plan->plan, PLAN_HANDLE, BACKEND_TYPE_HANDLE, 1, &dnn->handle));
  TRY(backend_set_descriptor(dnn, plan->plan, PLAN_ENGINE_CONFIG, engine->config));
  TRY(backend_finalize(dnn, plan->plan));
  TRY(backend_get(dnn, plan->plan, PLAN_WORKSPACE, BACKEND_TYPE_I64, 1, &count, &bytes));
  if (bytes < 0 || bytes > CUDNN_WORKSPACE_LIMIT)
    FAIL(ERROR_UNSUPPORTED, "cuDNN's engine %lld wants %lld bytes of workspace", (long long)engine->index, (long long)bytes);
  plan->workspace_bytes = (size_t)bytes;
  return OK;
}

static int arguments(const void *parameters) {
  const CudnnProblem *p = &((const GraphCall *)parameters)->problem;
  if (!cudnn_problem_is_sound(p)) return -1;
  return 4 + (p->epilogue.bias >= 0) + (p->epilogue.residual >= 0);  // x, w, y, workspace
}

static Status open(const void *parameters, CudaContext *cuda, Arena *arena, void **out) {
  const GraphCall *call = parameters;
  CudnnEngine engines[CUDNN_MAX_ENGINES];
  GraphPlan *plan;
  int count;
  TRY(graph_and_engines(&call->problem, cuda, arena, &plan, engines, &count));
  TRY(cudnn_check_version(plan->dnn, call->version));
  if (count == 0) FAIL(ERROR_UNSUPPORTED, "cuDNN has no engine for this convolution");
  TRY(cudnn_begin(plan->dnn, cuda->stream));
  Status status = RECOVER_GUARD(make_execution_plan(plan, &engines[choose(call, engines, count)]));
  cudnn_end(plan->dnn);
  *out = plan;
  return status;
}

size_t cudnn_graph_workspace(const void *state) { return ((const GraphPlan *)state)->workspace_bytes; }

static Status execute(const GraphPlan *plan, CudnnBackend pack, int64_t count, const int64_t *ids, void *const *pointers,
                      void *workspace, CudaStream stream) {
  const Cudnn *dnn = plan->dnn;
  TRY(backend_set(dnn, pack, PACK_IDS, BACKEND_TYPE_I64, count, ids));
  TRY(backend_set(dnn, pack, PACK_POINTERS, BACKEND_TYPE_POINTER, count, pointers));
  TRY(backend_set(dnn, pack, PACK_WORKSPACE, BACKEND_TYPE_POINTER, 1, &workspace));
  TRY(backend_finalize(dnn, pack));
  TRY(cudnn_begin(plan->dnn, stream));
  CudnnResult result = dnn->cudnnBackendExecute(dnn->handle, plan->plan, pack);
  cudnn_end(plan->dnn);
  return result ? cudnn_error(dnn, result, "cudnnBackendExecute") : OK;
}

static Status run(const void *state, void *const *arguments, CudaStream stream) {
  const GraphPlan *plan = state;
  const LibraryEpilogue *epilogue = &plan->problem.epilogue;
  int64_t ids[5] = {ID_X, ID_W, ID_Y}, count = 3;
  if (epilogue->bias >= 0) ids[count++] = ID_BIAS;
  if (epilogue->residual >= 0) ids[count++] = ID_RESIDUAL;
  // Made for each call: two sessions may run one plan at once.
  CudnnBackend pack;
  CUDNN_TRY(plan->dnn, cudnnBackendCreateDescriptor(BACKEND_VARIANT_PACK, &pack));
  Status status = execute(plan, pack, count, ids, arguments, arguments[count], stream);
  plan->dnn->cudnnBackendDestroyDescriptor(pack);
  return status;
}

const LibraryRoutine cudnn_graph_routine = {"cudnn_graph", sizeof(GraphCall), arguments, open, run};
