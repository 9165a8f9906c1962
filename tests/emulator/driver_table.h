// What the files of the driver's interface share (driver.c, driver_memory.c, driver_launch.c): its codes, its lock, and what each function begins with.
#pragma once
#include <pthread.h>
#include "tests/emulator/fault.h"
#include "tests/emulator/stream.h"

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
#define cuStreamGetCaptureInfo cuStreamGetCaptureInfo_v3
#define cuGraphExecKernelNodeSetParams cuGraphExecKernelNodeSetParams_v2

enum {
  INVALID_VALUE = 1,
  NOT_INITIALIZED = 3,
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  NOT_SUPPORTED = 801,
  CAPTURE_UNMATCHED = 903,
  CAPTURE_UNJOINED = 904
};

// The only one of its device.
typedef struct Context {
  int device, retained;
} Context;
enum { DEVICE_LIMIT = 4 };
extern Context contexts[DEVICE_LIMIT];
Context *context_current(void);  // on this thread; NULL: none

static inline void unlock(pthread_mutex_t **mutex) { pthread_mutex_unlock(*mutex); }
// Takes the lock for the rest of the function.
#define LOCKED()                                                               \
  __attribute__((cleanup(unlock))) pthread_mutex_t *locked_ = &emulator_mutex; \
  pthread_mutex_lock(locked_)

#define IN_CONTEXT()                    \
  MAY_FAIL();                           \
  LOCKED();                             \
  Context *context = context_current(); \
  if (!context) return INVALID_CONTEXT

// At the beginning of what works on a stream: it is of the current context, and so is all that works on it. The default one is any's. A
// driver crashes on one that was destroyed.
#define ON_STREAM(stream)                                                    \
  IN_CONTEXT();                                                              \
  if ((stream) && !stream_is_there(stream_of(stream))) {                     \
    finding_host(FOUND_ADDRESS, "a stream that was destroyed is worked on"); \
    return outcome();                                                        \
  }                                                                          \
  if ((stream) && stream_of(stream)->device != context->device) return INVALID_HANDLE

// What a call that waits or enqueues gives: after a finding, its code.
CudaResult outcome(void);
// Dynamic and static shared memory that a block may have, in KiB.
int shared_per_block(int sm);
