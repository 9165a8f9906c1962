// The driver's interface: one emulated device under one lock. What a real driver would refuse is refused here: launches that no GPU of the
// architecture accepts, shared memory nobody asked for, captured calls that cannot be captured.
//
// Environment: INGOT_EMULATOR_SM the architecture it poses as (90), INGOT_EMULATOR_SEED (1), INGOT_EMULATOR_MULTIPROCESSORS (8: few, so that
// small cases have many waves), INGOT_EMULATOR_CHECKS what is judged: all, device (memory only, which takes half the time) or off.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fault.h"
#include "stream.h"

// The names under which the driver exports them.
#define cuDeviceGetUuid cuDeviceGetUuid_v2
#define cuDeviceTotalMem cuDeviceTotalMem_v2
#define cuDevicePrimaryCtxRelease cuDevicePrimaryCtxRelease_v2
#define cuCtxPushCurrent cuCtxPushCurrent_v2
#define cuCtxPopCurrent cuCtxPopCurrent_v2
#define cuMemGetInfo cuMemGetInfo_v2
#define cuMemAlloc cuMemAlloc_v2
#define cuMemFree cuMemFree_v2
#define cuMemHostRegister cuMemHostRegister_v2
#define cuMemcpyHtoDAsync cuMemcpyHtoDAsync_v2
#define cuMemcpyDtoHAsync cuMemcpyDtoHAsync_v2
#define cuMemcpyDtoDAsync cuMemcpyDtoDAsync_v2
#define cuStreamDestroy cuStreamDestroy_v2
#define cuEventDestroy cuEventDestroy_v2
#define cuModuleGetGlobal cuModuleGetGlobal_v2
#define cuStreamBeginCapture cuStreamBeginCapture_v2
#define cuGraphExecUpdate cuGraphExecUpdate_v2

Emulator emulator;
pthread_mutex_t emulator_mutex = PTHREAD_MUTEX_INITIALIZER;
enum {
  INVALID_VALUE = 1,
  NOT_INITIALIZED = 3,
  INVALID_CONTEXT = 201,
  NOT_FOUND = 500,
  NOT_SUPPORTED = 801,
  CAPTURE_UNMATCHED = 903
};

static struct Context { int retained; } context;
static _Thread_local int context_depth;

// Takes the lock for the rest of the function.
static void unlock(pthread_mutex_t **mutex) { pthread_mutex_unlock(*mutex); }
#define LOCKED()                                                               \
  __attribute__((cleanup(unlock))) pthread_mutex_t *locked_ = &emulator_mutex; \
  pthread_mutex_lock(locked_)

uint32_t emulator_random(uint32_t below) {
  uint64_t z = (emulator.random += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return below ? (uint32_t)((z ^ z >> 31) % below) : 0;
}

// --- The device.

EMULATED_API CudaResult cuInit(unsigned flags) {
  MAY_FAIL();
  LOCKED();
  const char *sm = getenv("INGOT_EMULATOR_SM"), *seed = getenv("INGOT_EMULATOR_SEED"),
             *checks = getenv("INGOT_EMULATOR_CHECKS");
  emulator.sm = sm && *sm ? atoi(sm) : 90;
  emulator.seed = emulator.random = seed && *seed ? strtoull(seed, NULL, 10) : 1;
  emulator.checks = !checks                     ? CHECKS_ALL
                    : !strcmp(checks, "off")    ? CHECKS_OFF
                    : !strcmp(checks, "device") ? CHECKS_DEVICE
                                                : CHECKS_ALL;
  const char *multiprocessors = getenv("INGOT_EMULATOR_MULTIPROCESSORS");
  emulator.multiprocessors = multiprocessors && *multiprocessors ? atoi(multiprocessors) : 8;
  return memory_open() ? CUDA_OK : CUDA_OUT_OF_MEMORY;
}
EMULATED_API CudaResult cuDriverGetVersion(int *version) {
  MAY_FAIL();
  *version = 13000;
  return CUDA_OK;
}

typedef struct ErrorText {
  CudaResult code;
  const char *name, *text;
} ErrorText;
static const ErrorText errors[] = {
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "the image is none of the emulator's"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "no context is current"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_NOT_READY, "CUDA_ERROR_NOT_READY", "not ready"},
    {FOUND_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {FOUND_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out"},
    {FOUND_INSTRUCTION, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "an illegal instruction was encountered"},
    {FOUND_MISALIGNED, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {FOUND_HAZARD, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "the stream does not capture"},
};
static const ErrorText *error_text(CudaResult result) {
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].code == result) return &errors[i];
  return NULL;
}
EMULATED_API CudaResult cuGetErrorName(CudaResult result, const char **text) {
  const ErrorText *error = error_text(result);
  *text = error ? error->name : NULL;
  return error ? CUDA_OK : INVALID_VALUE;
}
// After a finding, what was found.
EMULATED_API CudaResult cuGetErrorString(CudaResult result, const char **text) {
  const ErrorText *error = error_text(result);
  *text = emulator.failed && result == emulator.finding_code ? emulator.finding : error ? error->text : NULL;
  return *text ? CUDA_OK : INVALID_VALUE;
}

EMULATED_API CudaResult cuDeviceGetCount(int *count) {
  MAY_FAIL();
  *count = 1;
  return CUDA_OK;
}
EMULATED_API CudaResult cuDeviceGet(CudaDevice *device, int ordinal) {
  MAY_FAIL();
  *device = 0;
  return ordinal ? 101 : CUDA_OK;
}
EMULATED_API CudaResult cuDeviceGetName(char *name, int size, CudaDevice device) {
  MAY_FAIL();
  snprintf(name, (size_t)size, "emulated sm_%d", emulator.sm);
  return CUDA_OK;
}
EMULATED_API CudaResult cuDeviceGetUuid(CudaUuid *uuid, CudaDevice device) {
  MAY_FAIL();
  memset(uuid, 0, sizeof *uuid);
  memcpy(uuid, "emulated", 8);
  return CUDA_OK;
}
EMULATED_API CudaResult cuDeviceTotalMem(size_t *bytes, CudaDevice device) {
  MAY_FAIL();
  *bytes = memory_total();
  return CUDA_OK;
}

// Shared memory of a block and of a multiprocessor, in KiB, by architecture.
static int shared_per_block(int sm) { return sm >= 120 ? 99 : sm >= 90 ? 227 : sm == 80 ? 163 : sm >= 86 ? 99 : 64; }
EMULATED_API CudaResult cuDeviceGetAttribute(int *value, int attribute, CudaDevice device) {
  MAY_FAIL();
  switch (attribute) {
    case CUDA_DEVICE_CAPABILITY_MAJOR: *value = emulator.sm / 10; break;
    case CUDA_DEVICE_CAPABILITY_MINOR: *value = emulator.sm % 10; break;
    case CUDA_DEVICE_MULTIPROCESSORS: *value = emulator.multiprocessors; break;
    case CUDA_DEVICE_SHARED_PER_BLOCK_OPTIN: *value = shared_per_block(emulator.sm) << 10; break;
    case CUDA_DEVICE_SHARED_PER_MULTIPROCESSOR: *value = (shared_per_block(emulator.sm) + 1) << 10; break;
    case CUDA_DEVICE_L2_BYTES: *value = 256 << 10; break;
    case CUDA_DEVICE_CLOCK_KHZ: *value = 1000000; break;
    case CUDA_DEVICE_MEMORY_CLOCK_KHZ: *value = 1000000; break;
    case CUDA_DEVICE_MEMORY_BUS_BITS: *value = 1024; break;
    case CUDA_DEVICE_MEMORY_POOLS: *value = 1; break;
    default: *value = 0;
  }
  return CUDA_OK;
}

// --- Contexts: one, of the device.

EMULATED_API CudaResult cuDevicePrimaryCtxRetain(CudaContextHandle *out, CudaDevice device) {
  MAY_FAIL();
  LOCKED();
  context.retained++;
  live_objects++;
  *out = (CudaContextHandle)&context;
  return CUDA_OK;
}
EMULATED_API CudaResult cuDevicePrimaryCtxRelease(CudaDevice device) {
  GIVES_BACK();
  LOCKED();
  if (!context.retained) return INVALID_CONTEXT;
  live_objects--;
  if (--context.retained) return fault;
  streams_forget();
  emulator.failed = false;  // a new context starts afresh
  emulator.finding[0] = 0;
  return fault;
}
EMULATED_API CudaResult cuCtxPushCurrent(CudaContextHandle handle) {
  MAY_FAIL();
  context_depth++;
  return CUDA_OK;
}
EMULATED_API CudaResult cuCtxPopCurrent(CudaContextHandle *out) {
  GIVES_BACK();
  if (!context_depth) return INVALID_CONTEXT;
  context_depth--;
  *out = (CudaContextHandle)&context;
  return fault;
}
EMULATED_API CudaResult cuCtxGetCurrent(CudaContextHandle *out) {
  MAY_FAIL();
  *out = context_depth ? (CudaContextHandle)&context : NULL;
  return CUDA_OK;
}
EMULATED_API CudaResult cuCtxSetCurrent(CudaContextHandle handle) {
  MAY_FAIL();
  context_depth = handle ? 1 : 0;
  return CUDA_OK;
}
EMULATED_API CudaResult cuCtxGetDevice(CudaDevice *device) {
  MAY_FAIL();
  *device = 0;
  return context_depth ? CUDA_OK : INVALID_CONTEXT;
}
EMULATED_API CudaResult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  MAY_FAIL();
  *least = *greatest = 0;
  return CUDA_OK;
}
#define IN_CONTEXT() \
  MAY_FAIL();        \
  LOCKED();          \
  if (!context_depth) return INVALID_CONTEXT

static CudaResult outcome(void) { return emulator.failed ? emulator.finding_code : CUDA_OK; }

EMULATED_API CudaResult cuCtxSynchronize(void) {
  IN_CONTEXT();
  streams_finish();
  return outcome();
}

// --- Memory.

EMULATED_API CudaResult cuMemGetInfo(size_t *available, size_t *total) {
  MAY_FAIL();
  *total = memory_total();
  *available = *total - memory_live_bytes();
  return CUDA_OK;
}
EMULATED_API CudaResult cuMemAlloc(CudaAddress *address, size_t size) {
  IN_CONTEXT();
  return size ? memory_alloc(size, address) : INVALID_VALUE;
}
EMULATED_API CudaResult cuMemFree(CudaAddress address) {
  GIVES_BACK();
  LOCKED();
  streams_finish();  // as the driver does
  return memory_free(address) ? INVALID_VALUE : fault ? fault : outcome();
}
typedef struct FreeLater {
  CudaAddress address;
} FreeLater;
static void free_now(void *data) {
  memory_free(((FreeLater *)data)->address);
  free(data);
}
EMULATED_API CudaResult cuMemAllocAsync(CudaAddress *address, size_t size, CudaStream stream) {
  IN_CONTEXT();
  return size ? memory_alloc(size, address) : INVALID_VALUE;
}
EMULATED_API CudaResult cuMemFreeAsync(CudaAddress address, CudaStream stream) {
  GIVES_BACK();
  LOCKED();
  FreeLater *later = malloc(sizeof *later);
  if (!later) return CUDA_OUT_OF_MEMORY;
  later->address = address;
  Operation *op = operation_new(OPERATION_CALL);
  op->call = free_now;
  op->call_data = later;
  stream_enqueue(stream_of(stream), op);
  return fault;
}
EMULATED_API CudaResult cuMemHostAlloc(void **memory, size_t size, unsigned flags) {
  IN_CONTEXT();
  return memory_alloc_host(size, memory);
}
EMULATED_API CudaResult cuMemFreeHost(void *memory) {
  GIVES_BACK();
  LOCKED();
  streams_finish();
  return memory_free_host(memory) ? INVALID_VALUE : fault;
}
EMULATED_API CudaResult cuMemHostRegister(void *memory, size_t size, unsigned flags) {
  IN_CONTEXT();
  return NOT_SUPPORTED;
}
EMULATED_API CudaResult cuMemHostUnregister(void *memory) {
  MAY_FAIL();
  return INVALID_VALUE;
}

enum { POINTER_CONTEXT = 1, POINTER_MEMORY_TYPE = 2, POINTER_DEVICE_ORDINAL = 9, MEMORY_HOST = 1, MEMORY_DEVICE = 2 };
EMULATED_API CudaResult cuPointerGetAttribute(void *value, int attribute, CudaAddress address) {
  MAY_FAIL();
  LOCKED();
  bool device = memory_find(address) != NULL;
  if (!device && !memory_is_pinned((const void *)address)) return INVALID_VALUE;
  if (attribute == POINTER_CONTEXT) *(CudaContextHandle *)value = (CudaContextHandle)&context;
  else if (attribute == POINTER_MEMORY_TYPE) *(unsigned *)value = device ? MEMORY_DEVICE : MEMORY_HOST;
  else if (attribute == POINTER_DEVICE_ORDINAL) *(int *)value = 0;
  else return INVALID_VALUE;
  return CUDA_OK;
}

// From pageable memory a copy takes what is there now; to pageable memory it is done when the call returns; pinned memory is read and
// written when the copy's turn comes.
static CudaResult copy(const void *from, void *to, size_t size, CudaStream handle) {
  Stream *stream = stream_of(handle);
  bool pageable_from = !memory_is_device((uintptr_t)from) && !memory_is_pinned(from);
  bool pageable_to = !memory_is_device((uintptr_t)to) && !memory_is_pinned(to);
  if (pageable_to && stream->capturing) return CUDA_STREAM_CAPTURE_UNSUPPORTED;
  Operation *op = operation_new(OPERATION_COPY);
  op->from = from, op->to = to, op->size = size;
  if (pageable_from) {
    op->staged = malloc(size ? size : 1);
    if (!op->staged) abort();
    memcpy(op->staged, from, size);
  }
  stream_enqueue(stream, op);
  if (pageable_to) operation_finish(stream->last);
  return outcome();
}
EMULATED_API CudaResult cuMemcpyHtoDAsync(CudaAddress to, const void *from, size_t size, CudaStream stream) {
  IN_CONTEXT();
  if (!memory_is_device(to)) return INVALID_VALUE;
  return copy(from, (void *)to, size, stream);
}
EMULATED_API CudaResult cuMemcpyDtoHAsync(void *to, CudaAddress from, size_t size, CudaStream stream) {
  IN_CONTEXT();
  if (!memory_is_device(from)) return INVALID_VALUE;
  return copy((const void *)from, to, size, stream);
}
EMULATED_API CudaResult cuMemcpyDtoDAsync(CudaAddress to, CudaAddress from, size_t size, CudaStream stream) {
  IN_CONTEXT();
  if (!memory_is_device(from) || !memory_is_device(to)) return INVALID_VALUE;
  return copy((const void *)from, (void *)to, size, stream);
}
EMULATED_API CudaResult cuMemcpyAsync(CudaAddress to, CudaAddress from, size_t size, CudaStream stream) {
  IN_CONTEXT();
  return copy((const void *)from, (void *)to, size, stream);
}
static CudaResult fill(CudaAddress address, unsigned value, int width, size_t size, CudaStream stream) {
  if (!memory_is_device(address) || address % (unsigned)width) return INVALID_VALUE;
  Operation *op = operation_new(OPERATION_FILL);
  op->to = (char *)address, op->size = size, op->value = value, op->width = width;
  stream_enqueue(stream_of(stream), op);
  return outcome();
}
EMULATED_API CudaResult cuMemsetD8Async(CudaAddress address, unsigned char value, size_t count, CudaStream stream) {
  IN_CONTEXT();
  return fill(address, value, 1, count, stream);
}
EMULATED_API CudaResult cuMemsetD32Async(CudaAddress address, unsigned value, size_t count, CudaStream stream) {
  IN_CONTEXT();
  return fill(address, value, 4, count * 4, stream);
}

// --- Streams and events.

EMULATED_API CudaResult cuStreamCreateWithPriority(CudaStream *out, unsigned flags, int priority) {
  IN_CONTEXT();
  Stream *stream = stream_new();
  if (!stream) return CUDA_OUT_OF_MEMORY;
  live_objects++;
  *out = (CudaStream)stream;
  return CUDA_OK;
}
EMULATED_API CudaResult cuStreamDestroy(CudaStream stream) {
  GIVES_BACK();
  LOCKED();
  if (!stream) return INVALID_VALUE;
  live_objects--;
  stream_free(stream_of(stream));
  return fault;
}
EMULATED_API CudaResult cuStreamSynchronize(CudaStream stream) {
  IN_CONTEXT();
  Stream *s = stream_of(stream);
  if (s->capturing) return CUDA_STREAM_CAPTURE_UNSUPPORTED;
  if (!operation_finish(s->last)) finding_host(FOUND_TIMEOUT, "a stream waits for an event that never comes");
  return outcome();
}
EMULATED_API CudaResult cuStreamQuery(CudaStream stream) {
  IN_CONTEXT();
  if (emulator.failed) return outcome();
  return stream_idle(stream_of(stream)) ? CUDA_OK : CUDA_NOT_READY;
}
EMULATED_API CudaResult cuStreamWaitEvent(CudaStream stream, CudaEvent event, unsigned flags) {
  IN_CONTEXT();
  stream_wait(stream_of(stream), (Event *)event);
  return outcome();
}
EMULATED_API CudaResult cuStreamGetCtx(CudaStream stream, CudaContextHandle *out) {
  MAY_FAIL();
  *out = (CudaContextHandle)&context;
  return CUDA_OK;
}
EMULATED_API CudaResult cuEventCreate(CudaEvent *out, unsigned flags) {
  IN_CONTEXT();
  Event *event = calloc(1, sizeof *event);
  if (!event) return CUDA_OUT_OF_MEMORY;
  live_objects++;
  *out = (CudaEvent)event;
  return CUDA_OK;
}
EMULATED_API CudaResult cuEventDestroy(CudaEvent event) {
  GIVES_BACK();
  LOCKED();
  live_objects--;
  event_free((Event *)event);
  return fault;
}
EMULATED_API CudaResult cuEventRecord(CudaEvent event, CudaStream stream) {
  IN_CONTEXT();
  event_record((Event *)event, stream_of(stream));
  return outcome();
}
EMULATED_API CudaResult cuEventQuery(CudaEvent event) {
  IN_CONTEXT();
  const Event *e = (const Event *)event;
  return !e->last || e->last->done ? outcome() : CUDA_NOT_READY;
}
EMULATED_API CudaResult cuEventSynchronize(CudaEvent event) {
  IN_CONTEXT();
  if (!operation_finish(((Event *)event)->last)) finding_host(FOUND_TIMEOUT, "an event waits for work that never comes");
  return outcome();
}
// A tick counts as a nanosecond: the same program measures the same times on every machine.
EMULATED_API CudaResult cuEventElapsedTime(float *milliseconds, CudaEvent start, CudaEvent end) {
  IN_CONTEXT();
  const Event *a = (const Event *)start, *b = (const Event *)end;
  if (!a->last || !b->last) return INVALID_VALUE;
  if (!a->last->done || !b->last->done) return CUDA_NOT_READY;
  *milliseconds = (float)(b->last->ticks - a->last->ticks + 1) / 1e6f;
  return CUDA_OK;
}
EMULATED_API CudaResult cuLaunchHostFunc(CudaStream stream, void (*function)(void *data), void *data) {
  IN_CONTEXT();
  Operation *op = operation_new(OPERATION_CALL);
  op->call = function;
  op->call_data = data;
  stream_enqueue(stream_of(stream), op);
  return outcome();
}

// --- Modules and launches.

EMULATED_API CudaResult cuModuleLoadDataEx(CudaModule *module, const void *image, unsigned count, int *options, void **values) {
  IN_CONTEXT();
  CudaResult result = module_load(image, (Module **)module);
  if (!result) live_objects++;
  return result;
}
EMULATED_API CudaResult cuModuleUnload(CudaModule module) {
  GIVES_BACK();
  LOCKED();
  streams_finish();
  live_objects--;
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
  return CUDA_OK;
}

static CudaResult launch_check(const Launch *launch) {
  const Function *function = launch->function;
  uint64_t threads = (uint64_t)launch->block[0] * launch->block[1] * launch->block[2];
  unsigned limit = function->kernels[0]->max_threads ? function->kernels[0]->max_threads : BLOCK_THREADS;
  bool grid = launch->grid[0] && launch->grid[1] && launch->grid[2] && launch->grid[0] <= INT32_MAX &&
              launch->grid[1] <= 65535 && launch->grid[2] <= 65535;
  if (!grid || !threads || threads > limit || launch->block[2] > 64) return INVALID_VALUE;
  if (launch->shared_bytes > (unsigned)function->dynamic_limit) return INVALID_VALUE;
  if (launch->shared_bytes + function->module->copies[0]->statics_bytes > (unsigned)shared_per_block(emulator.sm) << 10)
    return INVALID_VALUE;
  if (!launch->cluster[0]) return CUDA_OK;
  uint64_t blocks = (uint64_t)launch->cluster[0] * launch->cluster[1] * launch->cluster[2];
  if (emulator.sm < 90 || !blocks || blocks > 8) return 912;  // cluster misconfiguration
  for (int i = 0; i < 3; i++)
    if (launch->grid[i] % launch->cluster[i]) return 912;
  return CUDA_OK;
}

static CudaResult launch(const CudaLaunchConfig *config, CudaFunction handle, void **arguments) {
  Function *function = (Function *)handle;
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
    else if (config->attributes[i].id == CUDA_LAUNCH_COOPERATIVE && config->attributes[i].flag) result = NOT_SUPPORTED;
  }
  if (op->launch.overlaps && emulator.sm < 90) result = NOT_SUPPORTED;
  if (!result) result = launch_check(&op->launch);
  unsigned blocks = op->launch.cluster[0] ? op->launch.cluster[0] * op->launch.cluster[1] * op->launch.cluster[2] : 1;
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
  stream_enqueue(stream_of(config->stream), op);
  return outcome();
}
EMULATED_API CudaResult cuLaunchKernel(CudaFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                       CudaStream stream, void **arguments, void **extra) {
  IN_CONTEXT();
  CudaLaunchConfig config = {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, stream, NULL, 0};
  return launch(&config, function, arguments);
}
EMULATED_API CudaResult cuLaunchKernelEx(const CudaLaunchConfig *config, CudaFunction function, void **arguments,
                                         void **extra) {
  IN_CONTEXT();
  return launch(config, function, arguments);
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
  IN_CONTEXT();
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
  capture_end(graph);
  if (fault || !context_depth) {  // the capture is over all the same
    graph_free(graph);
    *out = NULL;
    return fault ? fault : INVALID_CONTEXT;
  }
  live_objects++;
  *out = (CudaGraph)graph;
  return CUDA_OK;
}
EMULATED_API CudaResult cuStreamIsCapturing(CudaStream stream, int *status) {
  MAY_FAIL();
  LOCKED();
  *status = stream_of(stream)->capturing != NULL;
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
  IN_CONTEXT();
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
