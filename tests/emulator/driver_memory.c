// The driver's interface to memory, streams and events: copies that are late where a driver's may be.
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/driver_table.h"

// --- Memory.

EMULATED_API CudaResult cuMemGetInfo(size_t *available, size_t *total) {
  MAY_FAIL();
  *total = memory_total();
  *available = *total - memory_live_bytes();
  return CUDA_OK;
}
EMULATED_API CudaResult cuMemAlloc(CudaAddress *address, size_t size) {
  IN_CONTEXT();
  return size ? memory_alloc(size, context->device, address) : INVALID_VALUE;
}
EMULATED_API CudaResult cuMemFree(CudaAddress address) {
  GIVES_BACK();
  LOCKED();
  streams_finish();  // as the driver does
  return memory_free(address) ? INVALID_VALUE : fault ? fault : outcome();
}
static void free_now(void *data) { memory_free((CudaAddress)(uintptr_t)data); }
EMULATED_API CudaResult cuMemAllocAsync(CudaAddress *address, size_t size, CudaStream stream) {
  IN_CONTEXT();
  return size ? memory_alloc(size, context->device, address) : INVALID_VALUE;
}
EMULATED_API CudaResult cuMemFreeAsync(CudaAddress address, CudaStream stream) {
  GIVES_BACK();
  LOCKED();
  Operation *op = operation_new(OPERATION_CALL);
  op->call = free_now;
  op->call_data = (void *)(uintptr_t)address;
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
  const Allocation *memory = memory_find(address);
  int device = memory ? memory->device : 0;
  if (!memory && !memory_is_pinned((const void *)address)) return INVALID_VALUE;
  if (attribute == POINTER_CONTEXT) *(CudaContextHandle *)value = (CudaContextHandle)&contexts[device];
  else if (attribute == POINTER_MEMORY_TYPE) *(unsigned *)value = memory ? MEMORY_DEVICE : MEMORY_HOST;
  else if (attribute == POINTER_DEVICE_ORDINAL) *(int *)value = device;
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
  ON_STREAM(stream);
  if (!memory_is_device(to)) return INVALID_VALUE;
  return copy(from, (void *)to, size, stream);
}
EMULATED_API CudaResult cuMemcpyDtoHAsync(void *to, CudaAddress from, size_t size, CudaStream stream) {
  ON_STREAM(stream);
  if (!memory_is_device(from)) return INVALID_VALUE;
  return copy((const void *)from, to, size, stream);
}
EMULATED_API CudaResult cuMemcpyDtoDAsync(CudaAddress to, CudaAddress from, size_t size, CudaStream stream) {
  ON_STREAM(stream);
  if (!memory_is_device(from) || !memory_is_device(to)) return INVALID_VALUE;
  return copy((const void *)from, (void *)to, size, stream);
}
EMULATED_API CudaResult cuMemcpyAsync(CudaAddress to, CudaAddress from, size_t size, CudaStream stream) {
  ON_STREAM(stream);
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
  ON_STREAM(stream);
  return fill(address, value, 1, count, stream);
}
EMULATED_API CudaResult cuMemsetD32Async(CudaAddress address, unsigned value, size_t count, CudaStream stream) {
  ON_STREAM(stream);
  return fill(address, value, 4, count * 4, stream);
}

// --- Streams and events.

EMULATED_API CudaResult cuStreamCreateWithPriority(CudaStream *out, unsigned flags, int priority) {
  IN_CONTEXT();
  Stream *stream = stream_new(context->device);
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
  ON_STREAM(stream);
  Stream *s = stream_of(stream);
  if (s->capturing) return CUDA_STREAM_CAPTURE_UNSUPPORTED;
  if (!operation_finish(s->last)) finding_host(FOUND_TIMEOUT, "a stream waits for an event that never comes");
  return outcome();
}
EMULATED_API CudaResult cuStreamQuery(CudaStream stream) {
  ON_STREAM(stream);
  if (emulator.failed) return outcome();
  Stream *s = stream_of(stream);
  if (s->capturing) return CUDA_STREAM_CAPTURE_UNSUPPORTED;
  return operation_done_by_now(s->last) ? outcome() : CUDA_NOT_READY;
}
EMULATED_API CudaResult cuStreamWaitEvent(CudaStream stream, CudaEvent event, unsigned flags) {
  ON_STREAM(stream);
  stream_wait(stream_of(stream), (Event *)event);
  return outcome();
}
EMULATED_API CudaResult cuStreamGetCtx(CudaStream stream, CudaContextHandle *out) {
  MAY_FAIL();
  *out = (CudaContextHandle)(stream ? &contexts[stream_of(stream)->device] : context_current());
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
  ON_STREAM(stream);
  event_record((Event *)event, stream_of(stream));
  return outcome();
}
EMULATED_API CudaResult cuEventQuery(CudaEvent event) {
  IN_CONTEXT();
  if (emulator.failed) return outcome();
  return operation_done_by_now(((const Event *)event)->last) ? outcome() : CUDA_NOT_READY;
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
  ON_STREAM(stream);
  Operation *op = operation_new(OPERATION_CALL);
  op->call = function;
  op->call_data = data;
  stream_enqueue(stream_of(stream), op);
  return outcome();
}
