// The driver's interface to modules, launches and graphs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/driver_table.h"

// --- Modules and launches.

EMULATED_API CudaResult cuModuleLoadDataEx(CudaModule *module, const void *image, unsigned count, int *options, void **values) {
  IN_CONTEXT();
  CudaResult result = module_load(image, context->device, (Module **)module);
  if (!result) live_objects++;
  return result;
}
EMULATED_API CudaResult cuModuleUnload(CudaModule module) {
  GIVES_BACK();
  LOCKED();
  // The driver's documents do not say that it waits. Where calls fail on purpose, what would have waited may have been one of them.
  if (!emulator_failed_call() && module_is_queued((Module *)module))
    finding_host(FOUND_HAZARD, "a module is unloaded while a kernel of it waits to run");
  streams_finish();
  live_objects--;
  launches_forget((Module *)module);
  module_free((Module *)module);
  return fault;
}
EMULATED_API CudaResult cuModuleGetFunction(CudaFunction *function, CudaModule module, const char *name) {
  IN_CONTEXT();
  return module_function((Module *)module, name, (Function **)function);
}
EMULATED_API CudaResult cuModuleGetGlobal(CudaAddress *address, size_t *size, CudaModule module, const char *name) {
  MAY_FAIL();
  return NOT_FOUND;  // kernels of this project have no variables of their own
}
EMULATED_API CudaResult cuFuncGetAttribute(int *value, int attribute, CudaFunction handle) {
  IN_CONTEXT();
  const Function *function = (const Function *)handle;
  switch (attribute) {
    case CUDA_FUNCTION_MAX_THREADS:
      *value = function->kernels[0]->max_threads ? (int)function->kernels[0]->max_threads : BLOCK_THREADS;
      break;
    case CUDA_FUNCTION_STATIC_SHARED_BYTES: *value = (int)function->module->copies[0]->statics_bytes; break;
    case CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES: *value = function->dynamic_limit; break;
    case CUDA_FUNCTION_REGISTERS: *value = 32; break;
    default: *value = 0;
  }
  return CUDA_OK;
}
EMULATED_API CudaResult cuFuncSetAttribute(CudaFunction handle, int attribute, int value) {
  IN_CONTEXT();
  Function *function = (Function *)handle;
  if (attribute != CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES) return CUDA_OK;
  if (value < 0 || value > shared_per_block(emulator.sm) << 10) return INVALID_VALUE;
  function->dynamic_limit = value;
  function->opted_in = true;
  return CUDA_OK;
}

static CudaResult launch_check(const Launch *launch) {
  const Function *function = launch->function;
  uint64_t threads = (uint64_t)launch->block[0] * launch->block[1] * launch->block[2];
  unsigned limit = function->kernels[0]->max_threads ? function->kernels[0]->max_threads : BLOCK_THREADS;
  bool grid = launch->grid[0] && launch->grid[1] && launch->grid[2] && launch->grid[0] <= INT32_MAX &&
              launch->grid[1] <= 65535 && launch->grid[2] <= 65535;
  if (!grid || !threads || threads > limit || launch->block[2] > 64) return INVALID_VALUE;
  unsigned statics = function->module->copies[0]->statics_bytes, all = launch->shared_bytes + statics;
  if (launch->shared_bytes > (unsigned)function->dynamic_limit) return INVALID_VALUE;
  if (!function->opted_in && all > WITHOUT_OPT_IN && module_has_one_kernel(function->module)) return INVALID_VALUE;
  if (all > (unsigned)shared_per_block(emulator.sm) << 10) return INVALID_VALUE;
  if (!launch->cluster[0]) return CUDA_OK;
  uint64_t blocks = (uint64_t)launch->cluster[0] * launch->cluster[1] * launch->cluster[2];
  if (emulator.sm < 90 || !blocks || blocks > 8) return 912;  // cluster misconfiguration
  for (int i = 0; i < 3; i++)
    if (launch->grid[i] % launch->cluster[i]) return 912;
  return CUDA_OK;
}

// All blocks are there at once, one on a multiprocessor; of more than CLUSTER_BLOCKS, or of too many threads, the emulator has no memory.
static CudaResult cooperative_check(const Launch *launch) {
  enum { COOPERATIVE_LAUNCH_TOO_LARGE = 720, COOPERATIVE_THREADS = 8192 };
  uint64_t blocks = 1;
  if (launch->cluster[0] || launch->overlaps) return NOT_SUPPORTED;
  for (int i = 0; i < 3; i++) {
    blocks *= launch->grid[i];
    if (blocks > (uint64_t)emulator.multiprocessors) return COOPERATIVE_LAUNCH_TOO_LARGE;
  }
  if (blocks > CLUSTER_BLOCKS) return NOT_SUPPORTED;
  blocks *= (uint64_t)launch->block[0] * launch->block[1] * launch->block[2];
  return blocks > COOPERATIVE_THREADS ? NOT_SUPPORTED : CUDA_OK;
}

// Devices do not reach each other's memory.
static void check_places(const Operation *op, int device) {
  const Function *function = op->launch.function;
  const Kernel *kernel = function->kernels[0];
  for (unsigned i = 0; i < kernel->parameter_count; i++) {
    uintptr_t address;
    if (kernel->parameter_sizes[i] != sizeof address) continue;
    memcpy(&address, op->launch.arguments[i], sizeof address);
    const Allocation *memory = memory_is_device(address) ? memory_find(address) : NULL;
    if (!memory || memory->device == device) continue;
    char text[256];
    snprintf(text, sizeof text, "kernel %s, launched on device %d, is given memory of device %d", function->name, device,
             memory->device);
    finding_host(FOUND_ADDRESS, "%s", text);
  }
}

static CudaResult launch(const Context *context, const CudaLaunchConfig *config, CudaFunction handle, void **arguments) {
  Function *function = (Function *)handle;
  if (function->module->device != context->device) return INVALID_HANDLE;
  Operation *op = operation_new(OPERATION_LAUNCH);
  op->launch.function = function;
  memcpy(op->launch.grid, config->grid, sizeof config->grid);
  memcpy(op->launch.block, config->block, sizeof config->block);
  op->launch.shared_bytes = config->shared_bytes;
  CudaResult result = CUDA_OK;
  for (unsigned i = 0; i < config->attribute_count; i++) {
    if (config->attributes[i].id == CUDA_LAUNCH_CLUSTER)
      memcpy(op->launch.cluster, config->attributes[i].cluster, sizeof op->launch.cluster);
    else if (config->attributes[i].id == CUDA_LAUNCH_PROGRAMMATIC_SERIALIZATION)
      op->launch.overlaps = config->attributes[i].flag != 0;
    else if (config->attributes[i].id == CUDA_LAUNCH_COOPERATIVE) op->launch.cooperative = config->attributes[i].flag != 0;
  }
  if (op->launch.overlaps && emulator.sm < 90) result = NOT_SUPPORTED;
  if (op->launch.cooperative && !result) result = cooperative_check(&op->launch);
  if (!result) result = launch_check(&op->launch);
  const unsigned *together = op->launch.cooperative ? op->launch.grid : op->launch.cluster;
  unsigned blocks = together[0] ? together[0] * together[1] * together[2] : 1;
  for (unsigned rank = 0; rank < blocks && !result; rank++) {
    ModuleCopy *copy;
    result = module_copy(function->module, rank, &copy);
    if (result || function->kernels[rank]) continue;
    result = module_kernel(copy, function->name, &function->kernels[rank]);
  }
  if (result) {
    free(op);
    return result;
  }
  launch_arguments(op, arguments);
  check_places(op, context->device);
  stream_enqueue(stream_of(config->stream), op);
  return outcome();
}
EMULATED_API CudaResult cuLaunchKernel(CudaFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                       CudaStream stream, void **arguments, void **extra) {
  ON_STREAM(stream);
  CudaLaunchConfig config = {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, stream, NULL, 0};
  return launch(context, &config, function, arguments);
}
EMULATED_API CudaResult cuLaunchKernelEx(const CudaLaunchConfig *config, CudaFunction function, void **arguments,
                                         void **extra) {
  ON_STREAM(config->stream);
  return launch(context, config, function, arguments);
}
EMULATED_API CudaResult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CudaFunction function, int size,
                                                                    size_t shared) {
  MAY_FAIL();
  *blocks = size > 0 ? 2048 / size : 0;
  return CUDA_OK;
}
EMULATED_API CudaResult cuOccupancyMaxActiveClusters(int *clusters, CudaFunction function, const CudaLaunchConfig *config) {
  MAY_FAIL();
  *clusters = 1;
  return CUDA_OK;
}

// --- Graphs.

EMULATED_API CudaResult cuStreamBeginCapture(CudaStream stream, int mode) {
  ON_STREAM(stream);
  Stream *s = stream_of(stream);
  if (s->capturing) return INVALID_VALUE;
  s->capturing = calloc(1, sizeof *s->capturing);
  if (!s->capturing) return CUDA_OUT_OF_MEMORY;
  s->capturing->lanes = 1;
  s->capture_lane = 0;
  s->capture_origin = true;
  return CUDA_OK;
}
EMULATED_API CudaResult cuStreamEndCapture(CudaStream stream, CudaGraph *out) {
  LOCKED();
  CudaResult fault = fault_check(__func__);
  Stream *s = stream_of(stream);
  Graph *graph = s->capturing;
  if (!graph || !s->capture_origin) return CAPTURE_UNMATCHED;
  if (!fault && !context_current()) fault = INVALID_CONTEXT;
  if (!fault && !capture_is_joined(s)) fault = CAPTURE_UNJOINED;
  capture_end(graph);
  if (fault) {  // the capture is over all the same
    graph_free(graph);
    *out = NULL;
    return fault;
  }
  live_objects++;
  graph_captured(graph);
  *out = (CudaGraph)graph;
  return CUDA_OK;
}
EMULATED_API CudaResult cuStreamIsCapturing(CudaStream stream, int *status) {
  MAY_FAIL();
  LOCKED();
  *status = stream_of(stream)->capturing != NULL;
  return CUDA_OK;
}
EMULATED_API CudaResult cuStreamGetCaptureInfo(CudaStream stream, int *status, uint64_t *id, CudaGraph *graph,
                                               const CudaGraphNode **last, const void **edges, size_t *count) {
  ON_STREAM(stream);
  Stream *s = stream_of(stream);
  *status = s->capturing != NULL;
  if (!s->capturing) return CUDA_OK;
  if (graph) *graph = (CudaGraph)s->capturing;
  if (last) *last = (const CudaGraphNode *)&s->capture_last;
  if (edges) *edges = NULL;
  if (count) *count = s->capture_last != NULL;
  return CUDA_OK;
}
EMULATED_API CudaResult cuThreadExchangeStreamCaptureMode(int *mode) {
  MAY_FAIL();
  return CUDA_OK;
}
EMULATED_API CudaResult cuGraphInstantiateWithFlags(CudaGraphExec *exec, CudaGraph graph, unsigned long long flags) {
  IN_CONTEXT();
  Graph *copy = graph_copy((const Graph *)graph);
  if (!copy) return CUDA_OUT_OF_MEMORY;
  live_objects++;
  *exec = (CudaGraphExec)copy;
  return CUDA_OK;
}
EMULATED_API CudaResult cuGraphUpload(CudaGraphExec exec, CudaStream stream) {
  IN_CONTEXT();
  return CUDA_OK;
}
EMULATED_API CudaResult cuGraphLaunch(CudaGraphExec exec, CudaStream stream) {
  ON_STREAM(stream);
  CudaResult result = graph_launch((Graph *)exec, stream_of(stream));
  return result ? result : outcome();
}
EMULATED_API CudaResult cuGraphGetNodes(CudaGraph graph, CudaGraphNode *nodes, size_t *count) {
  MAY_FAIL();
  *count = (size_t)((const Graph *)graph)->count;
  return CUDA_OK;
}
EMULATED_API CudaResult cuGraphExecUpdate(CudaGraphExec exec, CudaGraph graph, CudaGraphUpdateResult *result) {
  IN_CONTEXT();
  return NOT_SUPPORTED;  // as for a graph of another shape: it is instantiated again
}
EMULATED_API CudaResult cuGraphExecKernelNodeSetParams(CudaGraphExec exec, CudaGraphNode node,
                                                       const CudaKernelNodeParameters *parameters) {
  IN_CONTEXT();
  if (!graph_is_there((const Graph *)exec)) {
    finding_host(FOUND_ADDRESS, "a node of a graph that was destroyed is to be changed");
    return outcome();
  }
  Launch launch = {.function = (Function *)parameters->function, .shared_bytes = parameters->shared_bytes};
  memcpy(launch.grid, parameters->grid, sizeof launch.grid);
  memcpy(launch.block, parameters->block, sizeof launch.block);
  CudaResult result = launch_check(&launch);
  return result ? result : graph_change((Graph *)exec, (const Operation *)node, &launch, parameters->arguments);
}
EMULATED_API CudaResult cuGraphDestroy(CudaGraph graph) {
  GIVES_BACK();
  LOCKED();
  live_objects--;
  graph_free((Graph *)graph);
  return fault;
}
EMULATED_API CudaResult cuGraphExecDestroy(CudaGraphExec exec) {
  GIVES_BACK();
  LOCKED();
  live_objects--;
  graph_free((Graph *)exec);
  return fault;
}
