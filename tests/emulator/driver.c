// The driver's interface: emulated devices under one lock, alike in everything. What a real driver would refuse is refused here: launches that no GPU of the
// architecture accepts, shared memory nobody asked for, captured calls that cannot be captured.
//
// Environment: INGOT_EMULATOR_SM the architecture it poses as (90), INGOT_EMULATOR_SEED (1), INGOT_EMULATOR_MULTIPROCESSORS (8: few, so that
// small cases have many waves), INGOT_EMULATOR_DEVICES (1, at most 4), INGOT_EMULATOR_CHECKS what is judged: all, device (memory only, which takes half the time) or off.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/driver_table.h"

Emulator emulator;
pthread_mutex_t emulator_mutex = PTHREAD_MUTEX_INITIALIZER;
Context contexts[DEVICE_LIMIT];
enum { CONTEXT_DEPTH = 64 };
static _Thread_local Context *current[CONTEXT_DEPTH];
static _Thread_local int depth;
static int device_count = 1;

Context *context_current(void) { return depth ? current[depth - 1] : NULL; }

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
  const char *devices = getenv("INGOT_EMULATOR_DEVICES");
  if (devices && atoi(devices) > 0 && atoi(devices) <= DEVICE_LIMIT) device_count = atoi(devices);
  for (int i = 0; i < DEVICE_LIMIT; i++) contexts[i].device = i;
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
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
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
    {CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "another stream's work was captured and is not waited for"},
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
  *count = device_count;
  return CUDA_OK;
}
EMULATED_API CudaResult cuDeviceGet(CudaDevice *device, int ordinal) {
  MAY_FAIL();
  *device = ordinal;
  return ordinal < 0 || ordinal >= device_count ? 101 : CUDA_OK;
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
  ((char *)uuid)[8] = (char)device;
  return CUDA_OK;
}
EMULATED_API CudaResult cuDeviceTotalMem(size_t *bytes, CudaDevice device) {
  MAY_FAIL();
  *bytes = memory_total();
  return CUDA_OK;
}

// Shared memory of a block and of a multiprocessor, in KiB, by architecture.
int shared_per_block(int sm) { return sm >= 120 ? 99 : sm >= 90 ? 227 : sm == 80 ? 163 : sm >= 86 ? 99 : 64; }
EMULATED_API CudaResult cuDeviceGetAttribute(int *value, int attribute, CudaDevice device) {
  MAY_FAIL();
  switch (attribute) {
    case CUDA_DEVICE_CAPABILITY_MAJOR: *value = emulator.sm / 10; break;
    case CUDA_DEVICE_CAPABILITY_MINOR: *value = emulator.sm % 10; break;
    case CUDA_DEVICE_MULTIPROCESSORS: *value = emulator.multiprocessors; break;
    case CUDA_DEVICE_SHARED_PER_BLOCK_OPTIN: *value = shared_per_block(emulator.sm) << 10; break;
    case CUDA_DEVICE_SHARED_PER_MULTIPROCESSOR: *value = (shared_per_block(emulator.sm) + 1) << 10; break;
    case CUDA_DEVICE_L2_BYTES: *value = 256 << 10; break;
    case CUDA_DEVICE_VIRTUAL_MEMORY: *value = 1; break;
    case CUDA_DEVICE_MEMORY_POOLS: *value = 1; break;
    default: *value = 0;  // clocks too: ways are ranked as on the chip that it poses as
  }
  return CUDA_OK;
}

// --- Contexts: one of each device.

EMULATED_API CudaResult cuDevicePrimaryCtxRetain(CudaContextHandle *out, CudaDevice device) {
  MAY_FAIL();
  LOCKED();
  contexts[device].retained++;
  live_objects++;
  *out = (CudaContextHandle)&contexts[device];
  return CUDA_OK;
}
EMULATED_API CudaResult cuDevicePrimaryCtxRelease(CudaDevice device) {
  GIVES_BACK();
  LOCKED();
  if (!contexts[device].retained) return INVALID_CONTEXT;
  live_objects--;
  contexts[device].retained--;
  for (int i = 0; i < DEVICE_LIMIT; i++)
    if (contexts[i].retained) return fault;
  streams_forget();
  emulator.failed = false;  // a new context starts afresh
  emulator.finding[0] = 0;
  return fault;
}
EMULATED_API CudaResult cuCtxPushCurrent(CudaContextHandle handle) {
  MAY_FAIL();
  if (!handle || depth == CONTEXT_DEPTH) return INVALID_VALUE;
  current[depth++] = (Context *)handle;
  return CUDA_OK;
}
EMULATED_API CudaResult cuCtxPopCurrent(CudaContextHandle *out) {
  GIVES_BACK();
  if (!depth) return INVALID_CONTEXT;
  *out = (CudaContextHandle)current[--depth];
  return fault;
}
EMULATED_API CudaResult cuCtxGetCurrent(CudaContextHandle *out) {
  MAY_FAIL();
  *out = (CudaContextHandle)context_current();
  return CUDA_OK;
}
EMULATED_API CudaResult cuCtxSetCurrent(CudaContextHandle handle) {
  MAY_FAIL();
  if (depth) depth--;
  if (handle) current[depth++] = (Context *)handle;
  return CUDA_OK;
}
EMULATED_API CudaResult cuCtxGetDevice(CudaDevice *device) {
  MAY_FAIL();
  const Context *context = context_current();
  if (!context) return INVALID_CONTEXT;
  *device = context->device;
  return CUDA_OK;
}
EMULATED_API CudaResult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  MAY_FAIL();
  *least = *greatest = 0;
  return CUDA_OK;
}
CudaResult outcome(void) { return emulator.failed ? emulator.finding_code : CUDA_OK; }

EMULATED_API CudaResult cuCtxSynchronize(void) {
  IN_CONTEXT();
  streams_finish();
  return outcome();
}
