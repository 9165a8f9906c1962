// The CUDA driver as one table of function pointers. libcuda is opened at run time and none of its headers is included: what
// Ingot needs of the driver's interface is declared here. Everything that reaches a GPU goes through this table, so a
// test can put a fake behind it that counts, fails at the n-th call or checks stream order, and an emulator can stand in for a GPU.
#pragma once
#include <stdbool.h>
#include "base/arena.h"

typedef int CudaResult;  // CUresult; 0 is success
typedef int CudaDevice;
typedef uint64_t CudaAddress;  // CUdeviceptr
typedef struct CUctx_st *CudaContextHandle;
typedef struct CUstream_st *CudaStream;
typedef struct CUevent_st *CudaEvent;
typedef struct CUmod_st *CudaModule;
typedef struct CUfunc_st *CudaFunction;
typedef struct CUgraph_st *CudaGraph;
typedef struct CUgraphExec_st *CudaGraphExec;
typedef struct CUgraphNode_st *CudaGraphNode;

typedef struct CudaUuid {
  unsigned char bytes[16];
} CudaUuid;

enum {
  CUDA_OK = 0,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NOT_READY = 600,
  CUDA_STREAM_CAPTURE_UNSUPPORTED = 900,
  CUDA_STREAM_CAPTURE_INVALIDATED = 901,
};

typedef enum CudaDeviceAttribute {
  CUDA_DEVICE_CLOCK_KHZ = 13,
  CUDA_DEVICE_MULTIPROCESSORS = 16,
  CUDA_DEVICE_MEMORY_CLOCK_KHZ = 36,
  CUDA_DEVICE_MEMORY_BUS_BITS = 37,
  CUDA_DEVICE_L2_BYTES = 38,
  CUDA_DEVICE_CAPABILITY_MAJOR = 75,
  CUDA_DEVICE_CAPABILITY_MINOR = 76,
  CUDA_DEVICE_SHARED_PER_MULTIPROCESSOR = 81,
  CUDA_DEVICE_SHARED_PER_BLOCK_OPTIN = 97,
  CUDA_DEVICE_VIRTUAL_MEMORY = 102,
  CUDA_DEVICE_MEMORY_POOLS = 115,
} CudaDeviceAttribute;

typedef enum CudaFunctionAttribute {
  CUDA_FUNCTION_MAX_THREADS = 0,
  CUDA_FUNCTION_STATIC_SHARED_BYTES = 1,
  CUDA_FUNCTION_LOCAL_BYTES = 3,
  CUDA_FUNCTION_REGISTERS = 4,
  CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES = 8,
  CUDA_FUNCTION_SHARED_CARVEOUT = 9,
  CUDA_FUNCTION_NON_PORTABLE_CLUSTER = 14,
} CudaFunctionAttribute;

enum { CUDA_POINTER_MEMORY_TYPE = 2, CUDA_MEMORY_HOST = 1 };  // of cuPointerGetAttribute
enum { CUDA_STREAM_NON_BLOCKING = 1, CUDA_EVENT_DISABLE_TIMING = 2, CUDA_HOST_PORTABLE = 1, CUDA_HOST_DEVICE_MAP = 2 };
typedef enum CudaCaptureMode { CUDA_CAPTURE_GLOBAL, CUDA_CAPTURE_THREAD_LOCAL, CUDA_CAPTURE_RELAXED } CudaCaptureMode;

enum { CUDA_LAUNCH_COOPERATIVE = 2, CUDA_LAUNCH_CLUSTER = 4, CUDA_LAUNCH_PROGRAMMATIC_SERIALIZATION = 6 };
typedef struct CudaLaunchAttribute {
  int id;
  char padding[4];
  union {
    unsigned cluster[3];
    int flag;
    char bytes[64];
  };
} CudaLaunchAttribute;
_Static_assert(sizeof(CudaLaunchAttribute) == 72, "as CUlaunchAttribute");
typedef struct CudaLaunchConfig {
  unsigned grid[3], block[3];
  unsigned shared_bytes;
  CudaStream stream;
  CudaLaunchAttribute *attributes;
  unsigned attribute_count;
} CudaLaunchConfig;
_Static_assert(sizeof(CudaLaunchConfig) == 56, "as CUlaunchConfig");

typedef struct CudaTensorMap {
  _Alignas(128) uint64_t opaque[16];
} CudaTensorMap;
typedef enum CudaTensorMapType {
  CUDA_TENSOR_U8,
  CUDA_TENSOR_U16,
  CUDA_TENSOR_U32,
  CUDA_TENSOR_I32,
  CUDA_TENSOR_U64,
  CUDA_TENSOR_I64,
  CUDA_TENSOR_F16,
  CUDA_TENSOR_F32,
  CUDA_TENSOR_F64,
  CUDA_TENSOR_BF16,
} CudaTensorMapType;
typedef enum CudaTensorMapSwizzle {
  CUDA_SWIZZLE_NONE,
  CUDA_SWIZZLE_32,
  CUDA_SWIZZLE_64,
  CUDA_SWIZZLE_128
} CudaTensorMapSwizzle;
typedef enum CudaTensorMapPromotion { CUDA_L2_NONE, CUDA_L2_64, CUDA_L2_128, CUDA_L2_256 } CudaTensorMapPromotion;

typedef struct CudaKernelNodeParameters {
  CudaFunction function;
  unsigned grid[3], block[3];
  unsigned shared_bytes;
  void **arguments, **extra;
  void *kernel;
  CudaContextHandle context;  // NULL: the current one
} CudaKernelNodeParameters;
_Static_assert(sizeof(CudaKernelNodeParameters) == 72, "as CUDA_KERNEL_NODE_PARAMS_v2");

typedef struct CudaMemoryPlace {
  int type, device;  // 1: a device's
} CudaMemoryPlace;
typedef struct CudaMemoryProperties {
  int type, handle_types;  // 1: stays where it is
  CudaMemoryPlace place;
  void *windows_security;
  unsigned char flags[8];
} CudaMemoryProperties;
_Static_assert(sizeof(CudaMemoryProperties) == 32, "as CUmemAllocationProp");
typedef struct CudaMemoryAccess {
  CudaMemoryPlace place;
  int flags;  // 3: reading and writing
} CudaMemoryAccess;
_Static_assert(sizeof(CudaMemoryAccess) == 12, "as CUmemAccessDesc");
typedef uint64_t CudaMemoryHandle;

typedef struct CudaGraphUpdateResult {
  int result;
  CudaGraphNode error_node, error_from_node;
} CudaGraphUpdateResult;

// CALL(name, exported name, first driver version (12000 is 12.0; 0: always there), parameters). A driver that has no function newer
// than 11.4 leaves that field NULL; every other field is set.
// clang-format off
#define CUDA_DRIVER_TABLE(CALL)                                                                                              \
  CALL(cuInit, "cuInit", 0, (unsigned flags))                                                                                \
  CALL(cuDriverGetVersion, "cuDriverGetVersion", 0, (int *version))                                                          \
  CALL(cuGetErrorName, "cuGetErrorName", 0, (CudaResult result, const char **text))                                          \
  CALL(cuGetErrorString, "cuGetErrorString", 0, (CudaResult result, const char **text))                                      \
  CALL(cuDeviceGetCount, "cuDeviceGetCount", 0, (int *count))                                                                \
  CALL(cuDeviceGet, "cuDeviceGet", 0, (CudaDevice *device, int ordinal))                                                     \
  CALL(cuDeviceGetName, "cuDeviceGetName", 0, (char *name, int size, CudaDevice device))                                     \
  CALL(cuDeviceGetUuid, "cuDeviceGetUuid_v2", 0, (CudaUuid *uuid, CudaDevice device))                                        \
  CALL(cuDeviceTotalMem, "cuDeviceTotalMem_v2", 0, (size_t *bytes, CudaDevice device))                                       \
  CALL(cuDeviceGetAttribute, "cuDeviceGetAttribute", 0, (int *value, int attribute, CudaDevice device))                      \
  CALL(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", 0, (CudaContextHandle *context, CudaDevice device))             \
  CALL(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", 0, (CudaDevice device))                                    \
  CALL(cuCtxPushCurrent, "cuCtxPushCurrent_v2", 0, (CudaContextHandle context))                                              \
  CALL(cuCtxPopCurrent, "cuCtxPopCurrent_v2", 0, (CudaContextHandle *context))                                               \
  CALL(cuCtxGetCurrent, "cuCtxGetCurrent", 0, (CudaContextHandle *context))                                                  \
  CALL(cuCtxSetCurrent, "cuCtxSetCurrent", 0, (CudaContextHandle context))                                                   \
  CALL(cuCtxGetDevice, "cuCtxGetDevice", 0, (CudaDevice *device))                                                            \
  CALL(cuCtxSynchronize, "cuCtxSynchronize", 0, (void))                                                                      \
  CALL(cuCtxGetStreamPriorityRange, "cuCtxGetStreamPriorityRange", 0, (int *least, int *greatest))                           \
  CALL(cuMemGetInfo, "cuMemGetInfo_v2", 0, (size_t *free, size_t *total))                                                    \
  CALL(cuMemAlloc, "cuMemAlloc_v2", 0, (CudaAddress *address, size_t size))                                                  \
  CALL(cuMemFree, "cuMemFree_v2", 0, (CudaAddress address))                                                                  \
  CALL(cuMemAllocAsync, "cuMemAllocAsync", 0, (CudaAddress *address, size_t size, CudaStream stream))                        \
  CALL(cuMemFreeAsync, "cuMemFreeAsync", 0, (CudaAddress address, CudaStream stream))                                        \
  CALL(cuMemGetAllocationGranularity, "cuMemGetAllocationGranularity", 0,                                                    \
       (size_t *bytes, const CudaMemoryProperties *properties, int option))                                                  \
  CALL(cuMemAddressReserve, "cuMemAddressReserve", 0,                                                                        \
       (CudaAddress *address, size_t size, size_t alignment, CudaAddress wanted, uint64_t flags))                            \
  CALL(cuMemAddressFree, "cuMemAddressFree", 0, (CudaAddress address, size_t size))                                          \
  CALL(cuMemCreate, "cuMemCreate", 0,                                                                                        \
       (CudaMemoryHandle *handle, size_t size, const CudaMemoryProperties *properties, uint64_t flags))                      \
  CALL(cuMemRelease, "cuMemRelease", 0, (CudaMemoryHandle handle))                                                           \
  CALL(cuMemMap, "cuMemMap", 0, (CudaAddress address, size_t size, size_t offset, CudaMemoryHandle handle, uint64_t flags))  \
  CALL(cuMemUnmap, "cuMemUnmap", 0, (CudaAddress address, size_t size))                                                      \
  CALL(cuMemSetAccess, "cuMemSetAccess", 0,                                                                                  \
       (CudaAddress address, size_t size, const CudaMemoryAccess *access, size_t count))                                     \
  CALL(cuMemHostAlloc, "cuMemHostAlloc", 0, (void **memory, size_t size, unsigned flags))                                    \
  CALL(cuMemFreeHost, "cuMemFreeHost", 0, (void *memory))                                                                    \
  CALL(cuMemHostRegister, "cuMemHostRegister_v2", 0, (void *memory, size_t size, unsigned flags))                            \
  CALL(cuMemHostUnregister, "cuMemHostUnregister", 0, (void *memory))                                                        \
  CALL(cuPointerGetAttribute, "cuPointerGetAttribute", 0, (void *value, int attribute, CudaAddress address))                 \
  CALL(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", 0, (CudaAddress to, const void *from, size_t size, CudaStream stream))     \
  CALL(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", 0, (void *to, CudaAddress from, size_t size, CudaStream stream))           \
  CALL(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", 0, (CudaAddress to, CudaAddress from, size_t size, CudaStream stream))     \
  CALL(cuMemcpyAsync, "cuMemcpyAsync", 0, (CudaAddress to, CudaAddress from, size_t size, CudaStream stream))                \
  CALL(cuMemsetD8Async, "cuMemsetD8Async", 0, (CudaAddress address, unsigned char value, size_t count, CudaStream stream))   \
  CALL(cuMemsetD32Async, "cuMemsetD32Async", 0, (CudaAddress address, unsigned value, size_t count, CudaStream stream))      \
  CALL(cuStreamCreateWithPriority, "cuStreamCreateWithPriority", 0, (CudaStream *stream, unsigned flags, int priority))      \
  CALL(cuStreamDestroy, "cuStreamDestroy_v2", 0, (CudaStream stream))                                                        \
  CALL(cuStreamSynchronize, "cuStreamSynchronize", 0, (CudaStream stream))                                                   \
  CALL(cuStreamQuery, "cuStreamQuery", 0, (CudaStream stream))                                                               \
  CALL(cuStreamWaitEvent, "cuStreamWaitEvent", 0, (CudaStream stream, CudaEvent event, unsigned flags))                      \
  CALL(cuStreamGetCtx, "cuStreamGetCtx", 0, (CudaStream stream, CudaContextHandle *context))                                 \
  CALL(cuEventCreate, "cuEventCreate", 0, (CudaEvent *event, unsigned flags))                                                \
  CALL(cuEventDestroy, "cuEventDestroy_v2", 0, (CudaEvent event))                                                            \
  CALL(cuEventRecord, "cuEventRecord", 0, (CudaEvent event, CudaStream stream))                                              \
  CALL(cuEventQuery, "cuEventQuery", 0, (CudaEvent event))                                                                   \
  CALL(cuEventSynchronize, "cuEventSynchronize", 0, (CudaEvent event))                                                       \
  CALL(cuEventElapsedTime, "cuEventElapsedTime", 0, (float *milliseconds, CudaEvent start, CudaEvent end))                   \
  CALL(cuModuleLoadDataEx, "cuModuleLoadDataEx", 0,                                                                          \
       (CudaModule *module, const void *image, unsigned option_count, int *options, void **values))                          \
  CALL(cuModuleUnload, "cuModuleUnload", 0, (CudaModule module))                                                             \
  CALL(cuModuleGetFunction, "cuModuleGetFunction", 0, (CudaFunction *function, CudaModule module, const char *name))         \
  CALL(cuModuleGetGlobal, "cuModuleGetGlobal_v2", 0,                                                                         \
       (CudaAddress *address, size_t *size, CudaModule module, const char *name))                                            \
  CALL(cuFuncGetAttribute, "cuFuncGetAttribute", 0, (int *value, int attribute, CudaFunction function))                      \
  CALL(cuFuncSetAttribute, "cuFuncSetAttribute", 0, (CudaFunction function, int attribute, int value))                       \
  CALL(cuLaunchKernel, "cuLaunchKernel", 0,                                                                                  \
       (CudaFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,        \
        unsigned block_z, unsigned shared_bytes, CudaStream stream, void **arguments, void **extra))                         \
  CALL(cuLaunchKernelEx, "cuLaunchKernelEx", 11080,                                                                          \
       (const CudaLaunchConfig *config, CudaFunction function, void **arguments, void **extra))                              \
  CALL(cuLaunchHostFunc, "cuLaunchHostFunc", 0, (CudaStream stream, void (*function)(void *data), void *data))               \
  CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, "cuOccupancyMaxActiveBlocksPerMultiprocessor", 0,                        \
       (int *blocks, CudaFunction function, int block_size, size_t shared_bytes))                                            \
  CALL(cuOccupancyMaxActiveClusters, "cuOccupancyMaxActiveClusters", 11080,                                                  \
       (int *clusters, CudaFunction function, const CudaLaunchConfig *config))                                               \
  CALL(cuStreamBeginCapture, "cuStreamBeginCapture_v2", 0, (CudaStream stream, int mode))                                    \
  CALL(cuStreamEndCapture, "cuStreamEndCapture", 0, (CudaStream stream, CudaGraph *graph))                                   \
  CALL(cuStreamIsCapturing, "cuStreamIsCapturing", 0, (CudaStream stream, int *status))                                      \
  CALL(cuStreamGetCaptureInfo, "cuStreamGetCaptureInfo_v3", 12030,                                                           \
       (CudaStream stream, int *status, uint64_t *id, CudaGraph *graph, const CudaGraphNode **last, const void **edges,      \
        size_t *count))                                                                                                      \
  CALL(cuThreadExchangeStreamCaptureMode, "cuThreadExchangeStreamCaptureMode", 0, (int *mode))                               \
  CALL(cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags", 0,                                                        \
       (CudaGraphExec *exec, CudaGraph graph, unsigned long long flags))                                                     \
  CALL(cuGraphUpload, "cuGraphUpload", 0, (CudaGraphExec exec, CudaStream stream))                                           \
  CALL(cuGraphLaunch, "cuGraphLaunch", 0, (CudaGraphExec exec, CudaStream stream))                                           \
  CALL(cuGraphGetNodes, "cuGraphGetNodes", 0, (CudaGraph graph, CudaGraphNode *nodes, size_t *count))                        \
  CALL(cuGraphExecUpdate, "cuGraphExecUpdate_v2", 12000,                                                                     \
       (CudaGraphExec exec, CudaGraph graph, CudaGraphUpdateResult *result))                                                 \
  CALL(cuGraphExecKernelNodeSetParams, "cuGraphExecKernelNodeSetParams_v2", 12000,                                           \
       (CudaGraphExec exec, CudaGraphNode node, const CudaKernelNodeParameters *parameters))                                 \
  CALL(cuGraphDestroy, "cuGraphDestroy", 0, (CudaGraph graph))                                                               \
  CALL(cuGraphExecDestroy, "cuGraphExecDestroy", 0, (CudaGraphExec exec))                                                    \
  CALL(cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled", 12000,                                                              \
       (CudaTensorMap *map, int type, uint32_t rank, void *address, const uint64_t *dims, const uint64_t *strides,           \
        const uint32_t *box, const uint32_t *element_strides, int interleave, int swizzle, int promotion, int fill))         \
  CALL(cuTensorMapEncodeIm2col, "cuTensorMapEncodeIm2col", 12000,                                                            \
       (CudaTensorMap *map, int type, uint32_t rank, void *address, const uint64_t *dims, const uint64_t *strides,           \
        const int *lower_corner, const int *upper_corner, uint32_t channels, uint32_t pixels,                                \
        const uint32_t *element_strides, int interleave, int swizzle, int promotion, int fill))
// clang-format on

typedef struct CudaDriver {
#define CUDA_DRIVER_FIELD(name, exported, version, parameters) CudaResult(*name) parameters;
  CUDA_DRIVER_TABLE(CUDA_DRIVER_FIELD)
#undef CUDA_DRIVER_FIELD
} CudaDriver;

// Opens libcuda.so.1 ($INGOT_LIBCUDA where set) and calls cuInit. ERROR_UNSUPPORTED: there is no driver, it is too old, or it sees
// no GPU; the message says which. The table lives as long as the arena; the library stays open for the process.
MUST_CHECK Status cuda_driver_open(Arena *arena, const CudaDriver **out);

// A table whose functions come from elsewhere. symbols ends with a NULL name; names are the exported ones ("cuMemAlloc_v2").
typedef struct CudaSymbol {
  const char *name;
  void *function;
} CudaSymbol;
MUST_CHECK Status cuda_driver_from_table(Arena *arena, const CudaSymbol *symbols, const CudaDriver **out);

// "cuMemAlloc: out of memory (CUDA_ERROR_OUT_OF_MEMORY)". call may go on with its arguments; they are cut off.
MUST_CHECK Status cuda_driver_error(const CudaDriver *driver, CudaResult result, const char *call);
// Errors after which the context is lost: every later call on it would fail too.
bool cuda_result_is_fatal(CudaResult result);

// Calls driver->call and forwards an error: DRIVER_TRY(driver, cuStreamSynchronize(stream));
#define DRIVER_TRY(driver, call)                                                   \
  do {                                                                             \
    CudaResult driver_result_ = (driver)->call;                                    \
    if (driver_result_) return cuda_driver_error((driver), driver_result_, #call); \
  } while (0)
