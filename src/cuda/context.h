// One GPU as Ingot uses it: the driver, a context (the caller's or the device's primary one), a stream, the modules loaded into it,
// the libraries opened for it, and memory. Sessions on the same GPU share one.
//
// Current context. Functions below that reach the driver expect the context to be current on the calling thread, except
// cuda_context_open and cuda_context_close: put cuda_enter and cuda_leave around a public entry point, so that the caller's own
// current context is found as it was.
// Threads. Opening, closing and timing: one thread. Everything else may be called from several.
// Device addresses are void * that must not be read on the host.
#pragma once
#include <pthread.h>
#include "base/allocator.h"
#include "base/device.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "cuda/driver.h"

typedef struct CudaContext CudaContext;
typedef struct LoadedModule LoadedModule;  // cuda/module.c
typedef struct CublasLt CublasLt;          // cuda/cublaslt.h
typedef struct Cudnn Cudnn;                // cuda/cudnn.h
typedef struct CudaShared CudaShared;      // cuda/shared.h

typedef struct CudaContextOptions {
  const CudaDriver *driver;   // NULL: libcuda
  int device;                 // ordinal; ignored with a context of the caller's
  CudaContextHandle context;  // the caller's, kept alive by the caller; NULL: the device's primary context is retained
  CudaStream stream;          // the caller's, if use_stream (NULL is then the default stream); else one is made
  bool use_stream;
  bool libraries;  // open cuBLASLt and cuDNN now and say in DeviceInfo whether they are there (a tenth of a second);
                   // else that says no, and they open when first asked for
  Log log;
  const Allocator *allocator;  // where device memory comes from; NULL: the driver
} CudaContextOptions;

enum { CUDA_STREAMS_BESIDE = 3 };
enum { CUDA_STAGING_BYTES = 8 << 20, CUDA_STAGING_BUFFERS = 2, CUDA_STAGING_PARTS = 64 };

struct CudaContext {
  const CudaDriver *driver;
  Arena *arena;
  Log log;
  CudaDevice device;
  CudaContextHandle handle;
  CudaStream stream;  // what synchronous functions work on
  const Allocator *allocator;
  DeviceInfo info;
  CudaUuid uuid;
  int driver_version;  // 13000 for 13.0

  // Private to src/cuda.
  bool retained, owns_stream;
  pthread_mutex_t mutex;  // guards what follows; taken for loads and library handles, never while waiting for the GPU
  bool is_lost, loss_told;
  char lost[512];  // the first error that destroyed the context
  LoadedModule *modules;
  size_t module_bytes;  // of their images
  CublasLt *cublaslt;
  Cudnn *cudnn;
  CudaShared *shared;  // all dropped by those who took them before the context closes
  CudaEvent order;     // of cuda_order; one context serves one thread at a time
  CudaStream beside[CUDA_STREAMS_BESIDE];
  void *flush;  // for timing: what pushes everything else out of the L2 cache
  size_t flush_bytes;
  _Atomic size_t allocated, allocated_peak;
  pthread_mutex_t staging_mutex;  // guards what follows
  bool staging_in_use;            // by a transfer that ended half way
  void *staging[CUDA_STAGING_BUFFERS];
  CudaEvent staging_events[CUDA_STAGING_BUFFERS];
};

// --- Devices. driver NULL: libcuda, opened for the call.
MUST_CHECK Status cuda_device_count(const CudaDriver *driver, int *out);
MUST_CHECK Status cuda_device_info(const CudaDriver *driver, int ordinal, DeviceInfo *out);  // cublaslt and cudnn stay false

// --- Life. ERROR_UNSUPPORTED: no driver, no such device, or a GPU older than sm_75.
MUST_CHECK Status cuda_context_open(const CudaContextOptions *options, CudaContext **out);
// Waits for the stream, unloads modules, frees staging. The caller has freed its own memory and graphs, and dropped what it shares. NULL is
// fine.
void cuda_context_close(CudaContext *context);
MUST_CHECK Status cuda_enter(CudaContext *context);
// Before things are given back, which has to happen even where the context cannot be made current: that is tried twice. false: do
// without, and do not leave; the driver knows most things by their handles, and the rest goes with its context.
bool cuda_enter_to_release(CudaContext *context);
void cuda_leave(CudaContext *context);

// --- Errors. Makes a Status of a driver's result; remembers the first that destroyed the context.
MUST_CHECK Status cuda_error(CudaContext *context, CudaResult result, const char *call);
MUST_CHECK Status cuda_check_alive(CudaContext *context);  // fails with that first error
// Frees an error that nobody can be given, and logs it as a warning; of a context that is destroyed the first alone. OK is fine.
void cuda_note(CudaContext *context, const char *doing, Status status);
// Calls context->driver->call and forwards an error: CUDA_TRY(context, cuEventRecord(event, stream));
#define CUDA_TRY(context, call)                                          \
  do {                                                                   \
    CudaResult cuda_result_ = (context)->driver->call;                   \
    if (cuda_result_) return cuda_error((context), cuda_result_, #call); \
  } while (0)
#define CUDA_TRY_GOTO(context, call)                                        \
  do {                                                                      \
    CudaResult cuda_result_ = (context)->driver->call;                      \
    if (cuda_result_) TRY_GOTO(cuda_error((context), cuda_result_, #call)); \
  } while (0)

// --- Memory (copies through staging: staging.c).
static inline CudaAddress cuda_address(const void *device) { return (CudaAddress)(uintptr_t)device; }
MUST_CHECK Status cuda_alloc(CudaContext *context, size_t size, void **out);       // 256-byte aligned; size 0 gives NULL
void cuda_free(CudaContext *context, void *memory, size_t size);                   // NULL is fine; size as allocated
MUST_CHECK Status cuda_refused(CudaContext *context, size_t size);                 // that much memory: says what is free
void cuda_count_allocated(CudaContext *context, size_t more, size_t less);         // by others than cuda_alloc
MUST_CHECK Status cuda_alloc_host(CudaContext *context, size_t size, void **out);  // pinned
void cuda_free_host(CudaContext *context, void *memory);                           // NULL is fine
// Synchronous copies between the host's memory and the device, of memory that is not pinned through pinned staging; done when they return.
MUST_CHECK Status cuda_upload(CudaContext *context, void *to, const void *from, size_t size);
MUST_CHECK Status cuda_download(CudaContext *context, void *to, const void *from, size_t size);
// Bytes for the device that `make` writes to host memory first: 256-byte aligned, each once, on any thread of the pool (NULL: on this one).
typedef struct CudaMade {
  void *to;
  size_t size;
  Status (*make)(void *context, void *out);
  void *context;
} CudaMade;
// There when it returns. *seconds: what making took of the time. Where it fails what `to` holds is anything.
MUST_CHECK Status cuda_upload_made(CudaContext *context, ThreadPool *pool, const CudaMade *parts, int count, double *seconds);
// Asynchronous ones; host memory must be pinned for them to overlap.
MUST_CHECK Status cuda_copy_in(CudaContext *context, void *to, const void *from, size_t size, CudaStream stream);
MUST_CHECK Status cuda_copy_out(CudaContext *context, void *to, const void *from, size_t size, CudaStream stream);
MUST_CHECK Status cuda_copy(CudaContext *context, void *to, const void *from, size_t size, CudaStream stream);
MUST_CHECK Status cuda_fill(CudaContext *context, void *to, unsigned char value, size_t size, CudaStream stream);

// --- Waiting (wait.c). Where the thread's call is watched or may be ended (budget_is_watched), its watcher is told meanwhile, and a wait can
// end with the budget's error: the GPU then goes on, and what it uses stays until cuda_settle or cuda_synchronize have returned.
MUST_CHECK Status cuda_synchronize(CudaContext *context, CudaStream stream);
MUST_CHECK Status cuda_wait_event(CudaContext *context, CudaEvent event);
// What `second` is given from now on begins when what `first` holds now is done. Nobody waits here.
MUST_CHECK Status cuda_order(CudaContext *context, CudaStream first, CudaStream second);
// The context's streams beside its own, by number below CUDA_STREAMS_BESIDE, made when first asked for: to capture on. Nothing runs there.
MUST_CHECK Status cuda_stream_beside(CudaContext *context, int number, CudaStream *out);
// To the end, whatever the budget says: before something goes that the context's stream may still use. A failure is logged, and it is tried twice.
void cuda_settle(CudaContext *context);

// --- Kernels. A module is loaded once per key, for all who take it; the last to drop it unloads it, and functions are valid until then.
// Dynamic shared memory above 48 KB is enabled here.
typedef struct ModuleImage {
  Hash128 key;
  const void *data;
  size_t size;
} ModuleImage;
// A function of the image's module, which is taken and to be dropped.
MUST_CHECK Status cuda_function(CudaContext *context, const ModuleImage *image, const char *entry, unsigned shared_bytes,
                                LoadedModule **module, CudaFunction *out);
void cuda_module_drop(CudaContext *context, LoadedModule *module);  // once the GPU is done with it (cuda_settle). NULL is fine
size_t cuda_module_bytes(CudaContext *context);                     // of the images that are loaded
typedef struct CudaFunctionInfo {
  int registers, local_bytes, static_shared_bytes, max_threads;
  int blocks_per_multiprocessor;  // for the block and shared memory given
} CudaFunctionInfo;
MUST_CHECK Status cuda_function_info(CudaContext *context, CudaFunction function, int block, unsigned shared_bytes,
                                     CudaFunctionInfo *out);
// overlap: where driver and chip know how, blocks begin while the launch before ends; the kernel waits for what that one writes (kernels/common/launch.cuh).
// cooperative: all blocks are given places at once, or none; where the device has not as many, the launch fails.
typedef struct CudaLaunchHow {
  bool overlap, cooperative;
} CudaLaunchHow;
// arguments: pointers to the values, in order. cluster all 0: none.
MUST_CHECK Status cuda_launch(CudaContext *context, CudaFunction function, const unsigned grid[3], const unsigned block[3],
                              const unsigned cluster[3], unsigned shared_bytes, CudaLaunchHow how, void **arguments,
                              CudaStream stream);

// --- Recorded graphs. Whether the driver knows how to find and to change a kernel in one (from 12.3 on).
bool cuda_graph_can_change(const CudaContext *context);
// The node of what was captured last on the stream.
MUST_CHECK Status cuda_captured_node(CudaContext *context, CudaStream stream, CudaGraphNode *out);
// Other arguments for a kernel that was launched with the same of all else. The graph that the node is of is there; what was enqueued before keeps
// its arguments.
MUST_CHECK Status cuda_graph_change(CudaContext *context, CudaGraphExec exec, CudaGraphNode node, CudaFunction function,
                                    const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **arguments);

// --- Timing.
typedef struct CudaTiming {
  int warmups, repeats;  // repeats: 1 to 1000
  // Before every run, so that inputs come from memory as they do in a model larger than the cache. Without it, each measurement is
  // `batch` runs back to back.
  bool flush_l2;
  int batch;        // 0: ten
  double budget;    // seconds after which no further repeat starts but the least; 0: none
  int least;        // repeats whatever the budget; 0: one
  double hopeless;  // seconds: where the first repeat takes longer, no other starts; 0: none
} CudaTiming;
// Runs `run` on the context's stream between two events and gives the median in seconds.
MUST_CHECK Status cuda_time(CudaContext *context, const CudaTiming *timing, Status (*run)(void *state, CudaStream stream),
                            void *state, double *seconds);

// --- Libraries, opened and made ready for this context when first asked for. ERROR_UNSUPPORTED where they are missing.
// Both at once; context->info then says which are there. A missing one is no error.
MUST_CHECK Status cuda_open_libraries(CudaContext *context);
MUST_CHECK Status cuda_cublaslt(CudaContext *context, const CublasLt **out);
MUST_CHECK Status cuda_cudnn(CudaContext *context, Cudnn **out);
