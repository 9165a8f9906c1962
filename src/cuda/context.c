// Opening a GPU, its memory, copies and timing. Modules and launches are in module.c.
#include "cuda/context.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/budget.h"
#include "base/checked.h"
#include "base/chips.h"
#include "base/recover.h"
#include "base/thread.h"
#include "cuda/cublaslt.h"
#include "cuda/cudnn.h"
#include "cuda/module.h"

// --- Devices.

static Status device_attribute(const CudaDriver *driver, CudaDevice device, int attribute, int *out) {
  DRIVER_TRY(driver, cuDeviceGetAttribute(out, attribute, device));
  return OK;
}

static Status device_info(const CudaDriver *driver, CudaDevice device, DeviceInfo *out) {
  *out = (DeviceInfo){.kind = DEVICE_CUDA};
  int major, minor, l2, clock, memory_clock, bus_bits;
  size_t memory;
  DRIVER_TRY(driver, cuDeviceGetName(out->name, sizeof out->name, device));
  DRIVER_TRY(driver, cuDeviceTotalMem(&memory, device));
  TRY(device_attribute(driver, device, CUDA_DEVICE_CAPABILITY_MAJOR, &major));
  TRY(device_attribute(driver, device, CUDA_DEVICE_CAPABILITY_MINOR, &minor));
  TRY(device_attribute(driver, device, CUDA_DEVICE_MULTIPROCESSORS, &out->multiprocessors));
  TRY(device_attribute(driver, device, CUDA_DEVICE_SHARED_PER_BLOCK_OPTIN, &out->shared_per_block));
  TRY(device_attribute(driver, device, CUDA_DEVICE_SHARED_PER_MULTIPROCESSOR, &out->shared_per_multiprocessor));
  TRY(device_attribute(driver, device, CUDA_DEVICE_L2_BYTES, &l2));
  out->sm = major * 10 + minor;
  out->l2_bytes = l2;
  out->memory_bytes = (int64_t)memory;
  TRY(device_attribute(driver, device, CUDA_DEVICE_CLOCK_KHZ, &clock));
  TRY(device_attribute(driver, device, CUDA_DEVICE_MEMORY_CLOCK_KHZ, &memory_clock));
  TRY(device_attribute(driver, device, CUDA_DEVICE_MEMORY_BUS_BITS, &bus_bits));
  chip_take_rates(out, clock / 1e3, 2.0 * memory_clock * bus_bits / 8 / 1e6);  // two transfers a clock
  return OK;
}

static Status device_count_with(const CudaDriver *driver, Arena *scratch, int *out) {
  if (!driver) TRY(cuda_driver_open(scratch, &driver));
  DRIVER_TRY(driver, cuDeviceGetCount(out));
  return OK;
}

Status cuda_device_count(const CudaDriver *driver, int *out) {
  Arena *scratch = arena_scratch();
  Status status = device_count_with(driver, scratch, out);
  arena_free(scratch);
  return status;
}

static Status device_info_with(const CudaDriver *driver, int ordinal, Arena *scratch, DeviceInfo *out) {
  CudaDevice device;
  if (!driver) TRY(cuda_driver_open(scratch, &driver));
  DRIVER_TRY(driver, cuDeviceGet(&device, ordinal));
  return device_info(driver, device, out);
}

Status cuda_device_info(const CudaDriver *driver, int ordinal, DeviceInfo *out) {
  Arena *scratch = arena_scratch();
  Status status = device_info_with(driver, ordinal, scratch, out);
  arena_free(scratch);
  return status;
}

// --- Errors.

Status cuda_error(CudaContext *context, CudaResult result, const char *call) {
  Status status = cuda_driver_error(context->driver, result, call);
  if (!cuda_result_is_fatal(result)) return status;
  pthread_mutex_lock(&context->mutex);
  bool first = !context->is_lost;
  if (first) snprintf(context->lost, sizeof context->lost, "%s", status_message(status));
  context->is_lost = true;
  pthread_mutex_unlock(&context->mutex);
  if (first) return status;
  status_free(status);
  return cuda_check_alive(context);
}

Status cuda_check_alive(CudaContext *context) {
  pthread_mutex_lock(&context->mutex);
  bool lost = context->is_lost;
  pthread_mutex_unlock(&context->mutex);
  if (lost) FAIL(ERROR_DEVICE, "the GPU context was destroyed by an earlier error: %s", context->lost);
  return OK;
}

// Of a context that is gone once: giving back each of a session's buffers fails alike.
static bool is_told(CudaContext *context) {
  pthread_mutex_lock(&context->mutex);
  bool told = context->is_lost && context->loss_told;
  context->loss_told = context->is_lost;
  pthread_mutex_unlock(&context->mutex);
  return told;
}

void cuda_note(CudaContext *context, const char *doing, Status status) {
  if (status && !is_told(context)) log_add(&context->log, LOG_WARNING, "%s: %s", doing, status_message(status));
  status_free(status);
}

// --- Life.

Status cuda_enter(CudaContext *context) {
  CUDA_TRY(context, cuCtxPushCurrent(context->handle));
  return OK;
}

bool cuda_enter_to_release(CudaContext *context) {
  CudaResult result = context->driver->cuCtxPushCurrent(context->handle);
  if (!result) return true;
  cuda_note(context, "giving back what lies on the GPU", cuda_error(context, result, "cuCtxPushCurrent"));
  return context->driver->cuCtxPushCurrent(context->handle) == CUDA_OK;
}

void cuda_leave(CudaContext *context) {
  CudaContextHandle popped;
  context->driver->cuCtxPopCurrent(&popped);
}

static Status pick_device(CudaContext *context, const CudaContextOptions *options) {
  const CudaDriver *driver = context->driver;
  if (options->context) {
    context->handle = options->context;
    TRY(cuda_enter(context));
    CudaResult result = driver->cuCtxGetDevice(&context->device);
    cuda_leave(context);
    return result ? cuda_error(context, result, "cuCtxGetDevice") : OK;
  }
  int count;
  CUDA_TRY(context, cuDeviceGetCount(&count));
  if (options->device < 0 || options->device >= count)
    FAIL(ERROR_UNSUPPORTED, "there is no GPU number %d: the driver sees %d", options->device, count);
  CUDA_TRY(context, cuDeviceGet(&context->device, options->device));
  return OK;
}

static Status describe_device(CudaContext *context) {
  TRY(device_info(context->driver, context->device, &context->info));
  CUDA_TRY(context, cuDriverGetVersion(&context->driver_version));
  CUDA_TRY(context, cuDeviceGetUuid(&context->uuid, context->device));
  if (context->info.sm < 75)
    FAIL(ERROR_UNSUPPORTED, "%s is sm_%d; Ingot needs sm_75 (Turing) or newer", context->info.name, context->info.sm);
  return OK;
}

static Status open_stream(CudaContext *context, const CudaContextOptions *options) {
  TRY(cuda_enter(context));
  CudaResult result = CUDA_OK;
  if (options->use_stream) context->stream = options->stream;
  else result = context->driver->cuStreamCreateWithPriority(&context->stream, CUDA_STREAM_NON_BLOCKING, 0);
  context->owns_stream = !result && !options->use_stream;
  cuda_leave(context);
  return result ? cuda_error(context, result, "cuStreamCreateWithPriority") : OK;
}

// A library that is missing is no error here: DeviceInfo says so.
Status cuda_open_libraries(CudaContext *context) {
  const CublasLt *cublaslt;
  Cudnn *cudnn;
  TRY(cuda_enter(context));
  Status status = cuda_cublaslt(context, &cublaslt);
  context->info.cublaslt = status == OK;
  if (status) log_add(&context->log, LOG_INFO, "%s", status_message(status));
  status_free(status);
  status = cuda_cudnn(context, &cudnn);
  context->info.cudnn = status == OK;
  if (status) log_add(&context->log, LOG_INFO, "%s", status_message(status));
  status_free(status);
  cuda_leave(context);
  return OK;
}

static Status context_fill(CudaContext *context, const CudaContextOptions *options) {
  if (!context->driver) TRY(cuda_driver_open(context->arena, &context->driver));
  TRY(pick_device(context, options));
  TRY(describe_device(context));
  if (!context->handle) {
    CUDA_TRY(context, cuDevicePrimaryCtxRetain(&context->handle, context->device));
    context->retained = true;
  }
  TRY(open_stream(context, options));
  if (options->libraries) TRY(cuda_open_libraries(context));
  return OK;
}

Status cuda_context_open(const CudaContextOptions *options, CudaContext **out) {
  Arena *arena = arena_scratch();
  CudaContext *context = arena_new_of(arena, CudaContext);
  context->arena = arena;
  context->driver = options->driver;
  context->log = options->log;
  context->allocator = options->allocator;
  pthread_mutex_init(&context->mutex, NULL);
  pthread_mutex_init(&context->staging_mutex, NULL);
  arena_keep(arena);
  Status status = RECOVER_GUARD(context_fill(context, options));
  if (status) {
    cuda_context_close(context);
    return status;
  }
  *out = context;
  return OK;
}

// Results of what gives back are ignored on the way out: after a fatal error every call fails, and there is nothing left to do about it.
// That work which nobody waited for has failed is worth a word.
static void release_resources(CudaContext *context) {
  const CudaDriver *driver = context->driver;
  if (context->owns_stream) cuda_note(context, "closing the GPU", cuda_synchronize(context, context->stream));
  cublaslt_close(context->cublaslt);
  cudnn_close(context->cudnn);
  modules_unload(context);
  for (int i = 0; i < CUDA_STAGING_BUFFERS; i++) {
    if (context->staging[i]) driver->cuMemFreeHost(context->staging[i]);
    if (context->staging_events[i]) driver->cuEventDestroy(context->staging_events[i]);
  }
  if (context->order) driver->cuEventDestroy(context->order);
  for (int i = 0; i < CUDA_STREAMS_BESIDE; i++)
    if (context->beside[i]) driver->cuStreamDestroy(context->beside[i]);
  cuda_free(context, context->flush, context->flush_bytes);
  if (context->owns_stream) driver->cuStreamDestroy(context->stream);
}

void cuda_context_close(CudaContext *context) {
  if (!context) return;
  if (context->handle) {
    bool entered = cuda_enter_to_release(context);
    release_resources(context);
    if (entered) cuda_leave(context);
  }
  if (context->retained) context->driver->cuDevicePrimaryCtxRelease(context->device);
  pthread_mutex_destroy(&context->mutex);
  pthread_mutex_destroy(&context->staging_mutex);
  arena_free(context->arena);
}

// --- Memory.

enum { CUDA_ALIGNMENT = 256 };

// Without the mutex: another thread may be loading a module meanwhile.
void cuda_count_allocated(CudaContext *context, size_t more, size_t less) {
  size_t now = atomic_fetch_add(&context->allocated, more - less) + more - less, peak = context->allocated_peak;
  while (peak < now && !atomic_compare_exchange_weak(&context->allocated_peak, &peak, now)) {}
}

Status cuda_refused(CudaContext *context, size_t size) {
  size_t available = 0, total = 0;
  if (context->driver->cuMemGetInfo(&available, &total))
    FAIL(ERROR_OUT_OF_MEMORY, "%.1f MB of GPU memory were asked for and refused", (double)size / 1e6);
  FAIL(ERROR_OUT_OF_MEMORY, "%.1f MB of GPU memory were asked for; %.1f of %.1f MB are free", (double)size / 1e6,
       (double)available / 1e6, (double)total / 1e6);
}

static Status alloc_from_driver(CudaContext *context, size_t size, void **out) {
  CudaAddress address = 0;
  CudaResult result = context->driver->cuMemAlloc(&address, size);
  if (result == CUDA_OUT_OF_MEMORY) return cuda_refused(context, size);
  if (result) return cuda_error(context, result, "cuMemAlloc");
  *out = (void *)(uintptr_t)address;
  return OK;
}

static Status alloc_from_caller(CudaContext *context, size_t size, void **out) {
  const Allocator *allocator = context->allocator;
  void *memory = allocator_allocate(allocator, size, CUDA_ALIGNMENT);
  if (!memory) FAIL(ERROR_OUT_OF_MEMORY, "%.1f MB of GPU memory were refused by the caller's allocator", (double)size / 1e6);
  if (cuda_address(memory) % CUDA_ALIGNMENT) {
    allocator_release(allocator, memory, size);
    FAIL(ERROR_INVALID_ARGUMENT, "the caller's device allocator gave an address that is not a multiple of %d", CUDA_ALIGNMENT);
  }
  *out = memory;
  return OK;
}

Status cuda_alloc(CudaContext *context, size_t size, void **out) {
  *out = NULL;
  if (size == 0) return OK;
  TRY(context->allocator ? alloc_from_caller(context, size, out) : alloc_from_driver(context, size, out));
  cuda_count_allocated(context, size, 0);
  return OK;
}

void cuda_free(CudaContext *context, void *memory, size_t size) {
  if (!memory) return;
  cuda_count_allocated(context, 0, size);
  if (context->allocator || budget_is_watched()) cuda_settle(context);  // the driver waits by itself, but tells nobody
  if (context->allocator) allocator_release(context->allocator, memory, size);
  else context->driver->cuMemFree(cuda_address(memory));
}

Status cuda_alloc_host(CudaContext *context, size_t size, void **out) {
  *out = NULL;
  CUDA_TRY(context, cuMemHostAlloc(out, size ? size : 1, CUDA_HOST_PORTABLE));
  return OK;
}

void cuda_free_host(CudaContext *context, void *memory) {
  if (memory) context->driver->cuMemFreeHost(memory);
}

Status cuda_copy_in(CudaContext *context, void *to, const void *from, size_t size, CudaStream stream) {
  if (size) CUDA_TRY(context, cuMemcpyHtoDAsync(cuda_address(to), from, size, stream));
  return OK;
}

Status cuda_copy_out(CudaContext *context, void *to, const void *from, size_t size, CudaStream stream) {
  if (size) CUDA_TRY(context, cuMemcpyDtoHAsync(to, cuda_address(from), size, stream));
  return OK;
}

Status cuda_copy(CudaContext *context, void *to, const void *from, size_t size, CudaStream stream) {
  if (size) CUDA_TRY(context, cuMemcpyDtoDAsync(cuda_address(to), cuda_address(from), size, stream));
  return OK;
}

Status cuda_fill(CudaContext *context, void *to, unsigned char value, size_t size, CudaStream stream) {
  if (size) CUDA_TRY(context, cuMemsetD8Async(cuda_address(to), value, size, stream));
  return OK;
}

// --- Timing.

enum { TIMING_BATCH = 10, TIMING_LIMIT = 1000 };

static int compare_floats(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

// The flush is enqueued before the first event, so the launches that follow are waiting by the time it ends and the
// measurement holds no launch latency.
static Status time_once(CudaContext *context, const CudaTiming *timing, Status (*run)(void *state, CudaStream stream),
                        void *state, const CudaEvent events[2], float *milliseconds) {
  int runs = timing->flush_l2 ? 1 : timing->batch ? timing->batch : TIMING_BATCH;
  if (timing->flush_l2) TRY(cuda_fill(context, context->flush, 0, context->flush_bytes, context->stream));
  CUDA_TRY(context, cuEventRecord(events[0], context->stream));
  for (int i = 0; i < runs; i++) TRY(run(state, context->stream));
  CUDA_TRY(context, cuEventRecord(events[1], context->stream));
  TRY(cuda_wait_event(context, events[1]));
  CUDA_TRY(context, cuEventElapsedTime(milliseconds, events[0], events[1]));
  *milliseconds /= (float)runs;
  return OK;
}

Status cuda_time(CudaContext *context, const CudaTiming *timing, Status (*run)(void *state, CudaStream stream), void *state,
                 double *seconds) {
  Status status = OK;
  CudaEvent events[2] = {0};
  float times[TIMING_LIMIT];
  int repeats = MAX(1, MIN(timing->repeats, TIMING_LIMIT)), count = 0;
  if (timing->flush_l2 && !context->flush) {
    size_t size = MAX((size_t)(2 * context->info.l2_bytes), (size_t)64 << 20);
    TRY(cuda_alloc(context, size, &context->flush));
    context->flush_bytes = size;
  }
  for (int i = 0; i < 2; i++) CUDA_TRY_GOTO(context, cuEventCreate(&events[i], 0));
  for (int i = 0; i < timing->warmups; i++) TRY_GOTO(run(state, context->stream));
  TRY_GOTO(cuda_synchronize(context, context->stream));
  double start = time_now();
  int least = MAX(1, timing->least);
  while (count < repeats && (count < least || timing->budget <= 0 || time_now() - start < timing->budget)) {
    TRY_GOTO(time_once(context, timing, run, state, events, &times[count++]));
    if (count == 1 && timing->hopeless > 0 && times[0] / 1e3 > timing->hopeless) break;
  }
  qsort(times, (size_t)count, sizeof *times, compare_floats);
  *seconds = times[count / 2] / 1e3;
done:
  for (int i = 0; i < 2; i++)
    if (events[i]) context->driver->cuEventDestroy(events[i]);
  return status;
}

// --- Libraries.

Status cuda_cublaslt(CudaContext *context, const CublasLt **out) {
  Status status = OK;
  pthread_mutex_lock(&context->mutex);
  if (!context->cublaslt) status = RECOVER_GUARD(cublaslt_open(&context->cublaslt));
  *out = context->cublaslt;
  pthread_mutex_unlock(&context->mutex);
  return status;
}

Status cuda_cudnn(CudaContext *context, Cudnn **out) {
  Status status = OK;
  pthread_mutex_lock(&context->mutex);
  if (!context->cudnn) status = RECOVER_GUARD(cudnn_open(&context->cudnn));
  *out = context->cudnn;
  pthread_mutex_unlock(&context->mutex);
  return status;
}
