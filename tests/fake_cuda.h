// A CUDA driver without a GPU, for tests: device memory is host memory, copies and fills happen at once, kernels do nothing
// but are counted. It counts live objects, so that a test sees what leaks, and can make its n-th call fail.
// Include it in one file of a test program: it defines its state and functions.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cuda/driver.h"

typedef struct FakeCuda {
  int calls;    // that may fail, so far
  int fail_at;  // the call of this number fails (the first is 1); 0: none
  CudaResult fail_with;
  int live;  // contexts retained, memory blocks, streams, events, modules, graphs
  int launches, loads;
  size_t memory;  // bytes asked for by cuMemAlloc in all
} FakeCuda;
static FakeCuda fake_cuda;

static inline void fake_cuda_reset(int fail_at, CudaResult fail_with) {
  fake_cuda = (FakeCuda){.fail_at = fail_at, .fail_with = fail_with};
}

#define FAKE_MAY_FAIL()                                                     \
  do {                                                                      \
    if (++fake_cuda.calls == fake_cuda.fail_at) return fake_cuda.fail_with; \
  } while (0)

static void *fake_make(void) {
  fake_cuda.live++;
  return malloc(1);
}
static CudaResult fake_destroy(void *object) {
  fake_cuda.live--;
  free(object);
  return CUDA_OK;
}

static CudaResult fake_cuInit(unsigned flags) { return CUDA_OK; }
static CudaResult fake_cuDriverGetVersion(int *version) {
  FAKE_MAY_FAIL();
  *version = 13000;
  return CUDA_OK;
}
static CudaResult fake_cuGetErrorName(CudaResult result, const char **text) {
  *text = "CUDA_ERROR_FAKE";
  return CUDA_OK;
}
static CudaResult fake_cuGetErrorString(CudaResult result, const char **text) {
  *text = "made to fail";
  return CUDA_OK;
}
static CudaResult fake_cuDeviceGetCount(int *count) {
  FAKE_MAY_FAIL();
  *count = 1;
  return CUDA_OK;
}
static CudaResult fake_cuDeviceGet(CudaDevice *device, int ordinal) {
  FAKE_MAY_FAIL();
  *device = ordinal;
  return CUDA_OK;
}
static CudaResult fake_cuDeviceGetName(char *name, int size, CudaDevice device) {
  FAKE_MAY_FAIL();
  snprintf(name, (size_t)size, "Fake H200");
  return CUDA_OK;
}
static CudaResult fake_cuDeviceGetUuid(CudaUuid *uuid, CudaDevice device) {
  FAKE_MAY_FAIL();
  memset(uuid, 7, sizeof *uuid);
  return CUDA_OK;
}
static CudaResult fake_cuDeviceTotalMem(size_t *bytes, CudaDevice device) {
  FAKE_MAY_FAIL();
  *bytes = (size_t)140 << 30;
  return CUDA_OK;
}
static CudaResult fake_cuDeviceGetAttribute(int *value, int attribute, CudaDevice device) {
  FAKE_MAY_FAIL();
  switch (attribute) {
    case CUDA_DEVICE_CAPABILITY_MAJOR: *value = 9; break;
    case CUDA_DEVICE_MULTIPROCESSORS: *value = 132; break;
    case CUDA_DEVICE_SHARED_PER_BLOCK_OPTIN: *value = 227 << 10; break;
    case CUDA_DEVICE_SHARED_PER_MULTIPROCESSOR: *value = 228 << 10; break;
    case CUDA_DEVICE_L2_BYTES: *value = 1 << 20; break;
    case CUDA_DEVICE_MEMORY_CLOCK_KHZ: *value = 3201000; break;
    case CUDA_DEVICE_MEMORY_BUS_BITS: *value = 6144; break;
    default: *value = 0;
  }
  return CUDA_OK;
}
static CudaResult fake_cuDevicePrimaryCtxRetain(CudaContextHandle *context, CudaDevice device) {
  FAKE_MAY_FAIL();
  fake_cuda.live++;
  *context = (CudaContextHandle)&fake_cuda;
  return CUDA_OK;
}
static CudaResult fake_cuDevicePrimaryCtxRelease(CudaDevice device) {
  fake_cuda.live--;
  return CUDA_OK;
}
static CudaResult fake_cuCtxPushCurrent(CudaContextHandle context) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuCtxPopCurrent(CudaContextHandle *context) { return CUDA_OK; }
static CudaResult fake_cuCtxGetCurrent(CudaContextHandle *context) {
  *context = NULL;
  return CUDA_OK;
}
static CudaResult fake_cuCtxSetCurrent(CudaContextHandle context) { return CUDA_OK; }
static CudaResult fake_cuCtxGetDevice(CudaDevice *device) {
  FAKE_MAY_FAIL();
  *device = 0;
  return CUDA_OK;
}
static CudaResult fake_cuCtxSynchronize(void) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  *least = *greatest = 0;
  return CUDA_OK;
}
static CudaResult fake_cuMemGetInfo(size_t *available, size_t *total) {
  *available = *total = (size_t)140 << 30;
  return CUDA_OK;
}
static CudaResult fake_cuMemAlloc(CudaAddress *address, size_t size) {
  FAKE_MAY_FAIL();
  void *memory = NULL;
  if (posix_memalign(&memory, 256, size)) return CUDA_OUT_OF_MEMORY;
  fake_cuda.live++;
  fake_cuda.memory += size;
  *address = (CudaAddress)(uintptr_t)memory;
  return CUDA_OK;
}
static CudaResult fake_cuMemFree(CudaAddress address) { return fake_destroy((void *)(uintptr_t)address); }
static CudaResult fake_cuMemAllocAsync(CudaAddress *address, size_t size, CudaStream stream) {
  return fake_cuMemAlloc(address, size);
}
static CudaResult fake_cuMemFreeAsync(CudaAddress address, CudaStream stream) { return fake_cuMemFree(address); }
static CudaResult fake_cuMemGetAllocationGranularity(size_t *bytes, const CudaMemoryProperties *properties, int option) {
  return CUDA_NOT_READY;  // the device says that it has none of this
}
static CudaResult fake_cuMemAddressReserve(CudaAddress *address, size_t size, size_t alignment, CudaAddress wanted,
                                           uint64_t flags) {
  return CUDA_NOT_READY;
}
static CudaResult fake_cuMemAddressFree(CudaAddress address, size_t size) { return CUDA_NOT_READY; }
static CudaResult fake_cuMemCreate(CudaMemoryHandle *handle, size_t size, const CudaMemoryProperties *properties,
                                   uint64_t flags) {
  return CUDA_NOT_READY;
}
static CudaResult fake_cuMemRelease(CudaMemoryHandle handle) { return CUDA_NOT_READY; }
static CudaResult fake_cuMemMap(CudaAddress address, size_t size, size_t offset, CudaMemoryHandle handle, uint64_t flags) {
  return CUDA_NOT_READY;
}
static CudaResult fake_cuMemUnmap(CudaAddress address, size_t size) { return CUDA_NOT_READY; }
static CudaResult fake_cuMemSetAccess(CudaAddress address, size_t size, const CudaMemoryAccess *access, size_t count) {
  return CUDA_NOT_READY;
}
static CudaResult fake_cuMemHostAlloc(void **memory, size_t size, unsigned flags) {
  FAKE_MAY_FAIL();
  fake_cuda.live++;
  *memory = malloc(size);
  return CUDA_OK;
}
static CudaResult fake_cuMemFreeHost(void *memory) { return fake_destroy(memory); }
static CudaResult fake_cuMemHostRegister(void *memory, size_t size, unsigned flags) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuMemHostUnregister(void *memory) { return CUDA_OK; }
static CudaResult fake_cuPointerGetAttribute(void *value, int attribute, CudaAddress address) { return 1; }
static CudaResult fake_cuMemcpyAsync(CudaAddress to, CudaAddress from, size_t size, CudaStream stream) {
  FAKE_MAY_FAIL();
  memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, size);
  return CUDA_OK;
}
static CudaResult fake_cuMemcpyHtoDAsync(CudaAddress to, const void *from, size_t size, CudaStream stream) {
  return fake_cuMemcpyAsync(to, (CudaAddress)(uintptr_t)from, size, stream);
}
static CudaResult fake_cuMemcpyDtoHAsync(void *to, CudaAddress from, size_t size, CudaStream stream) {
  return fake_cuMemcpyAsync((CudaAddress)(uintptr_t)to, from, size, stream);
}
static CudaResult fake_cuMemcpyDtoDAsync(CudaAddress to, CudaAddress from, size_t size, CudaStream stream) {
  return fake_cuMemcpyAsync(to, from, size, stream);
}
static CudaResult fake_cuMemsetD8Async(CudaAddress address, unsigned char value, size_t count, CudaStream stream) {
  FAKE_MAY_FAIL();
  memset((void *)(uintptr_t)address, value, count);
  return CUDA_OK;
}
static CudaResult fake_cuMemsetD32Async(CudaAddress address, unsigned value, size_t count, CudaStream stream) {
  FAKE_MAY_FAIL();
  for (size_t i = 0; i < count; i++) ((unsigned *)(uintptr_t)address)[i] = value;
  return CUDA_OK;
}
static CudaResult fake_cuStreamCreateWithPriority(CudaStream *stream, unsigned flags, int priority) {
  FAKE_MAY_FAIL();
  *stream = fake_make();
  return CUDA_OK;
}
static CudaResult fake_cuStreamDestroy(CudaStream stream) { return fake_destroy(stream); }
static CudaResult fake_cuStreamSynchronize(CudaStream stream) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuStreamQuery(CudaStream stream) { return CUDA_OK; }
static CudaResult fake_cuStreamWaitEvent(CudaStream stream, CudaEvent event, unsigned flags) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuStreamGetCtx(CudaStream stream, CudaContextHandle *context) {
  *context = (CudaContextHandle)&fake_cuda;
  return CUDA_OK;
}
static CudaResult fake_cuEventCreate(CudaEvent *event, unsigned flags) {
  FAKE_MAY_FAIL();
  *event = fake_make();
  return CUDA_OK;
}
static CudaResult fake_cuEventDestroy(CudaEvent event) { return fake_destroy(event); }
static CudaResult fake_cuEventRecord(CudaEvent event, CudaStream stream) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuEventQuery(CudaEvent event) { return CUDA_OK; }
static CudaResult fake_cuEventSynchronize(CudaEvent event) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuEventElapsedTime(float *milliseconds, CudaEvent start, CudaEvent end) {
  FAKE_MAY_FAIL();
  *milliseconds = 1;
  return CUDA_OK;
}
static CudaResult fake_cuModuleLoadDataEx(CudaModule *module, const void *image, unsigned count, int *options, void **values) {
  FAKE_MAY_FAIL();
  *module = fake_make();
  fake_cuda.loads++;
  return CUDA_OK;
}
static CudaResult fake_cuModuleUnload(CudaModule module) { return fake_destroy(module); }
static CudaResult fake_cuModuleGetFunction(CudaFunction *function, CudaModule module, const char *name) {
  FAKE_MAY_FAIL();
  *function = (CudaFunction)module;
  return CUDA_OK;
}
static CudaResult fake_cuModuleGetGlobal(CudaAddress *address, size_t *size, CudaModule module, const char *name) {
  return 500;
}
static CudaResult fake_cuFuncGetAttribute(int *value, int attribute, CudaFunction function) {
  FAKE_MAY_FAIL();
  *value = 32;
  return CUDA_OK;
}
static CudaResult fake_cuFuncSetAttribute(CudaFunction function, int attribute, int value) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuLaunchKernel(CudaFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                      CudaStream stream, void **arguments, void **extra) {
  FAKE_MAY_FAIL();
  fake_cuda.launches++;
  return CUDA_OK;
}
static CudaResult fake_cuLaunchKernelEx(const CudaLaunchConfig *config, CudaFunction function, void **arguments, void **extra) {
  FAKE_MAY_FAIL();
  fake_cuda.launches++;
  return CUDA_OK;
}
static CudaResult fake_cuLaunchHostFunc(CudaStream stream, void (*function)(void *data), void *data) {
  FAKE_MAY_FAIL();
  function(data);
  return CUDA_OK;
}
static CudaResult fake_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CudaFunction function, int size,
                                                                   size_t shared) {
  FAKE_MAY_FAIL();
  *blocks = 2;
  return CUDA_OK;
}
static CudaResult fake_cuOccupancyMaxActiveClusters(int *clusters, CudaFunction function, const CudaLaunchConfig *config) {
  *clusters = 1;
  return CUDA_OK;
}
static CudaResult fake_cuStreamBeginCapture(CudaStream stream, int mode) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuStreamEndCapture(CudaStream stream, CudaGraph *graph) {
  FAKE_MAY_FAIL();
  *graph = fake_make();
  return CUDA_OK;
}
static CudaResult fake_cuStreamIsCapturing(CudaStream stream, int *status) {
  *status = 0;
  return CUDA_OK;
}
static CudaResult fake_cuStreamGetCaptureInfo(CudaStream stream, int *status, uint64_t *id, CudaGraph *graph,
                                              const CudaGraphNode **last, const void **edges, size_t *count) {
  *status = 0;
  *count = 0;
  return CUDA_OK;
}
static CudaResult fake_cuThreadExchangeStreamCaptureMode(int *mode) { return CUDA_OK; }
static CudaResult fake_cuGraphInstantiateWithFlags(CudaGraphExec *exec, CudaGraph graph, unsigned long long flags) {
  FAKE_MAY_FAIL();
  *exec = fake_make();
  return CUDA_OK;
}
static CudaResult fake_cuGraphUpload(CudaGraphExec exec, CudaStream stream) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuGraphLaunch(CudaGraphExec exec, CudaStream stream) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuGraphGetNodes(CudaGraph graph, CudaGraphNode *nodes, size_t *count) {
  *count = 0;
  return CUDA_OK;
}
static CudaResult fake_cuGraphExecUpdate(CudaGraphExec exec, CudaGraph graph, CudaGraphUpdateResult *result) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuGraphExecKernelNodeSetParams(CudaGraphExec exec, CudaGraphNode node,
                                                      const CudaKernelNodeParameters *parameters) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}
static CudaResult fake_cuGraphDestroy(CudaGraph graph) { return fake_destroy(graph); }
static CudaResult fake_cuGraphExecDestroy(CudaGraphExec exec) { return fake_destroy(exec); }
static CudaResult fake_cuTensorMapEncodeTiled(CudaTensorMap *map, int type, uint32_t rank, void *address, const uint64_t *dims,
                                              const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,
                                              int interleave, int swizzle, int promotion, int fill) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}

static CudaResult fake_cuTensorMapEncodeIm2col(CudaTensorMap *map, int type, uint32_t rank, void *address, const uint64_t *dims,
                                               const uint64_t *strides, const int *lower_corner, const int *upper_corner,
                                               uint32_t channels, uint32_t pixels, const uint32_t *element_strides,
                                               int interleave, int swizzle, int promotion, int fill) {
  FAKE_MAY_FAIL();
  return CUDA_OK;
}

static const CudaSymbol fake_cuda_symbols[] = {
#define FAKE_SYMBOL(name, exported, version, parameters) {exported, (void *)fake_##name},
    CUDA_DRIVER_TABLE(FAKE_SYMBOL)
#undef FAKE_SYMBOL
        {NULL, NULL},
};
