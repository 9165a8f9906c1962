// From cubins to running kernels: each cubin is loaded into a context once for all plans that use it, each function looked up once, and
// launched, in clusters or all blocks at once where a kernel asks for it. Entries are malloc'ed: threads add them under a mutex.
#include "cuda/module.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

enum {
  SHARED_WITHOUT_OPT_IN = 32 << 10
};  // of 48 KiB, which static variables of a kernel count against, too: none has more than 16

typedef struct FunctionEntry {
  struct FunctionEntry *next;
  CudaFunction function;
  unsigned shared_bytes;  // dynamic shared memory it may use
  char name[];
} FunctionEntry;

struct LoadedModule {
  LoadedModule *next;
  Hash128 key;
  size_t bytes;
  int users;
  CudaModule module;
  FunctionEntry *functions;
};

// The caller holds the mutex, or is alone.
static void unload(CudaContext *context, LoadedModule *module) {
  LoadedModule **at = &context->modules;
  while (*at != module) at = &(*at)->next;
  *at = module->next;
  for (FunctionEntry *function = module->functions, *next; function; function = next) {
    next = function->next;
    free(function);
  }
  context->driver->cuModuleUnload(module->module);
  context->module_bytes -= module->bytes;
  free(module);
}

void modules_unload(CudaContext *context) {
  while (context->modules) unload(context, context->modules);
}

void cuda_module_drop(CudaContext *context, LoadedModule *module) {
  if (!module) return;
  pthread_mutex_lock(&context->mutex);
  if (!--module->users) unload(context, module);
  pthread_mutex_unlock(&context->mutex);
}

size_t cuda_module_bytes(CudaContext *context) {
  pthread_mutex_lock(&context->mutex);
  size_t bytes = context->module_bytes;
  pthread_mutex_unlock(&context->mutex);
  return bytes;
}

// cuda_error takes the context's mutex, which these hold: they give back the driver's result, and the caller makes the error.
typedef struct Outcome {
  CudaResult result;
  const char *call;
  Status status;  // of failures that are not the driver's
} Outcome;

static Outcome take_module(CudaContext *context, const ModuleImage *image, LoadedModule **out) {
  for (LoadedModule *module = context->modules; module; module = module->next)
    if (module->key.low == image->key.low && module->key.high == image->key.high) {
      module->users++;
      *out = module;
      return (Outcome){0};
    }
  LoadedModule *module = calloc(1, sizeof *module);
  if (!module) return (Outcome){.status = status_out_of_memory()};
  module->key = image->key;
  module->bytes = image->size;
  module->users = 1;
  CudaResult result = context->driver->cuModuleLoadDataEx(&module->module, image->data, 0, NULL, NULL);
  if (result) {
    free(module);
    return (Outcome){result, "cuModuleLoadDataEx", OK};
  }
  module->next = context->modules;
  context->modules = module;
  context->module_bytes += module->bytes;
  *out = module;
  return (Outcome){0};
}

static Outcome find_function(CudaContext *context, LoadedModule *module, const char *name, FunctionEntry **out) {
  for (FunctionEntry *entry = module->functions; entry; entry = entry->next)
    if (strcmp(entry->name, name) == 0) {
      *out = entry;
      return (Outcome){0};
    }
  FunctionEntry *entry = calloc(1, sizeof *entry + strlen(name) + 1);
  if (!entry) return (Outcome){.status = status_out_of_memory()};
  strcpy(entry->name, name);
  entry->shared_bytes = SHARED_WITHOUT_OPT_IN;
  CudaResult result = context->driver->cuModuleGetFunction(&entry->function, module->module, name);
  if (result) {
    free(entry);
    return (Outcome){result, "cuModuleGetFunction", OK};
  }
  entry->next = module->functions;
  module->functions = entry;
  *out = entry;
  return (Outcome){0};
}

static Outcome allow_shared(CudaContext *context, FunctionEntry *entry, unsigned shared_bytes) {
  if (shared_bytes <= entry->shared_bytes) return (Outcome){0};
  CudaResult result =
      context->driver->cuFuncSetAttribute(entry->function, CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES, (int)shared_bytes);
  if (!result) entry->shared_bytes = shared_bytes;
  return (Outcome){result, "cuFuncSetAttribute", OK};
}

static Outcome take_function(CudaContext *context, const ModuleImage *image, const char *entry, unsigned shared_bytes,
                             LoadedModule **module, CudaFunction *out) {
  FunctionEntry *function = NULL;
  Outcome outcome = take_module(context, image, module);
  if (outcome.result || outcome.status) return outcome;
  outcome = find_function(context, *module, entry, &function);
  if (!outcome.result && !outcome.status) outcome = allow_shared(context, function, shared_bytes);
  if (!outcome.result && !outcome.status) *out = function->function;
  else if (!--(*module)->users) unload(context, *module);
  return outcome;
}

Status cuda_function(CudaContext *context, const ModuleImage *image, const char *entry, unsigned shared_bytes,
                     LoadedModule **module, CudaFunction *out) {
  LoadedModule *taken = NULL;
  pthread_mutex_lock(&context->mutex);
  Outcome outcome = take_function(context, image, entry, shared_bytes, &taken, out);
  pthread_mutex_unlock(&context->mutex);
  if (outcome.status) return outcome.status;
  if (outcome.result)
    return status_context(cuda_error(context, outcome.result, outcome.call), "kernel %s (%u bytes of shared memory)", entry,
                          shared_bytes);
  *module = taken;
  return OK;
}

Status cuda_function_info(CudaContext *context, CudaFunction function, int block, unsigned shared_bytes,
                          CudaFunctionInfo *out) {
  CUDA_TRY(context, cuFuncGetAttribute(&out->registers, CUDA_FUNCTION_REGISTERS, function));
  CUDA_TRY(context, cuFuncGetAttribute(&out->local_bytes, CUDA_FUNCTION_LOCAL_BYTES, function));
  CUDA_TRY(context, cuFuncGetAttribute(&out->static_shared_bytes, CUDA_FUNCTION_STATIC_SHARED_BYTES, function));
  CUDA_TRY(context, cuFuncGetAttribute(&out->max_threads, CUDA_FUNCTION_MAX_THREADS, function));
  CUDA_TRY(context,
           cuOccupancyMaxActiveBlocksPerMultiprocessor(&out->blocks_per_multiprocessor, function, block, shared_bytes));
  return OK;
}

// Before CUDA 12.3 a launch that overlaps the one before it cannot be captured.
static bool may_overlap(const CudaContext *context) {
  enum { CAPTURES_OVERLAP = 12030 };
  return context->info.sm >= 90 && context->driver_version >= CAPTURES_OVERLAP && context->driver->cuLaunchKernelEx;
}

Status cuda_launch(CudaContext *context, CudaFunction function, const unsigned grid[3], const unsigned block[3],
                   const unsigned cluster[3], unsigned shared_bytes, CudaLaunchHow how, void **arguments, CudaStream stream) {
  bool clustered = cluster && cluster[0], overlaps = how.overlap && may_overlap(context);
  if (!clustered && !overlaps && !how.cooperative) {
    CUDA_TRY(context, cuLaunchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2], shared_bytes, stream,
                                     arguments, NULL));
    return OK;
  }
  if (!context->driver->cuLaunchKernelEx)
    FAIL(ERROR_UNSUPPORTED, "the CUDA driver is too old for %s (11.8 or newer is needed)",
         clustered ? "thread block clusters" : "blocks that are all in place at once");
  CudaLaunchAttribute attributes[3];
  unsigned count = 0;
  if (clustered)
    attributes[count++] = (CudaLaunchAttribute){.id = CUDA_LAUNCH_CLUSTER, .cluster = {cluster[0], cluster[1], cluster[2]}};
  if (how.cooperative) attributes[count++] = (CudaLaunchAttribute){.id = CUDA_LAUNCH_COOPERATIVE, .flag = 1};
  if (overlaps) attributes[count++] = (CudaLaunchAttribute){.id = CUDA_LAUNCH_PROGRAMMATIC_SERIALIZATION, .flag = 1};
  CudaLaunchConfig config = {.grid = {grid[0], grid[1], grid[2]},
                             .block = {block[0], block[1], block[2]},
                             .shared_bytes = shared_bytes,
                             .stream = stream,
                             .attributes = attributes,
                             .attribute_count = count};
  CUDA_TRY(context, cuLaunchKernelEx(&config, function, arguments, NULL));
  return OK;
}

bool cuda_graph_can_change(const CudaContext *context) {
  return context->driver->cuStreamGetCaptureInfo && context->driver->cuGraphExecKernelNodeSetParams;
}

Status cuda_captured_node(CudaContext *context, CudaStream stream, CudaGraphNode *out) {
  int capturing;
  const CudaGraphNode *last;
  const void *edges;
  size_t count;
  CUDA_TRY(context, cuStreamGetCaptureInfo(stream, &capturing, NULL, NULL, &last, &edges, &count));
  if (!capturing || count != 1) FAIL(ERROR_INTERNAL, "%zu nodes were captured last, where one launch was enqueued", count);
  *out = last[0];
  return OK;
}

Status cuda_graph_change(CudaContext *context, CudaGraphExec exec, CudaGraphNode node, CudaFunction function,
                         const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **arguments) {
  CudaKernelNodeParameters parameters = {.function = function,
                                         .grid = {grid[0], grid[1], grid[2]},
                                         .block = {block[0], block[1], block[2]},
                                         .shared_bytes = shared_bytes,
                                         .arguments = arguments};
  CUDA_TRY(context, cuGraphExecKernelNodeSetParams(exec, node, &parameters));
  return OK;
}
