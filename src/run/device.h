// A device as the runner sees it: memory, copies, and the compilation and running of static graphs. Two stand behind it: the CPU
// (cpu_device.c) and CUDA (cuda_device.c). One device object belongs to one session and is used by one thread at a time.
#pragma once
#include "base/allocator.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/opening.h"
#include "base/thread.h"
#include "cuda/compiler.h"
#include "lower/plan.h"

typedef struct Executable Executable;
typedef struct Device Device;
typedef struct WeightRequest WeightRequest;

// What one executable is made of, for reports.
typedef struct StepReport {
  const char *name, *op, *tactic, *origins;  // origins: ONNX nodes it came from, "conv1 (Conv), relu1 (Relu)"
  double milliseconds;                       // measured; negative if not
  double predicted;                          // milliseconds
  int stream;                                // that it runs on in a recorded graph
} StepReport;

struct Device {
  DeviceInfo info;
  uintptr_t place;  // the same for devices that share memory: of the host 0, of a GPU its context
  const Log *log;
  bool tf32, check_plans;
  Opening opening;                                               // all that was opened for it so far
  const Compiler *compiler;                                      // of kernels; NULL on the CPU
  Status (*allocate)(Device *device, size_t bytes, void **out);  // zero bytes give a valid pointer
  void (*release)(Device *device, void *memory, size_t bytes);   // as many as were allocated
  Status (*upload)(Device *device, void *to, const void *from, size_t bytes);
  Status (*download)(Device *device, void *to, const void *from, size_t bytes);  // returns when the bytes are there
  Status (*copy)(Device *device, void *to, const void *from, size_t bytes);
  Status (*synchronize)(Device *device);
  // How long one of so many calls of `run` takes, one enqueued behind another: on a GPU between two events, since what the host waits may be longer than it had to be.
  Status (*time)(Device *device, int count, Status (*run)(void *state), void *state, double *seconds);
  // Its stream goes behind what the caller's holds now, or the other way round; NULL on the CPU.
  Status (*order)(Device *device, void *stream, bool behind);
  // Fills the memory that the requests were given; NULL where the host can write to it itself.
  Status (*make)(Device *device, WeightRequest *const *requests, int count);
  // Whether some implementation computes the static node itself; otherwise its reference runs on the host.
  bool (*runs)(Device *device, const Node *node);
  // The graph's and the plan's memory is the arena's; it outlives the executable's last run.
  Status (*compile)(Device *device, Graph *graph, Arena *arena, Executable **out);
  // Of a plan made earlier for such a device, in the same arena. ERROR_UNSUPPORTED: it does not run here.
  Status (*load)(Device *device, Plan *plan, Arena *arena, Executable **out);
  // Enqueues one run: pointers to row-major buffers, one for each graph input and output.
  Status (*run)(Device *device, Executable *executable, void *const *inputs, void *const *outputs);
  // Runs once more with a timer around each step. Fills up to `limit` reports; returns how many there are in *count.
  Status (*profile)(Device *device, Executable *executable, void *const *inputs, void *const *outputs, StepReport *out,
                    int limit, int *count);
  const Plan *(*plan)(const Executable *executable);
  // Calls `see` with what implementations are asked under when the device plans: on a GPU its context is current and its libraries are open. States that are opened are the arena's.
  Status (*ask)(Device *device, Arena *arena, Status (*see)(void *context, const SelectOptions *options), void *context);
  size_t (*shared_bytes)(Device *device);                   // of what executables hold together: kernels; NULL: nothing
  void (*discard)(Device *device, Executable *executable);  // lets go of device memory and graphs; the arena goes later
  Status (*preload)(Device *device, Hash128 hash,
                    Bytes cubin);  // a kernel compiled earlier, whose bytes outlive the device; NULL on the CPU
  void (*free)(Device *device);
};

// Constants are shared by the sessions of one engine: the same tensor in the same stride order is stored once.
typedef struct WeightStore WeightStore;

typedef struct DeviceOptions {
  DeviceKind kind;
  int index;    // CUDA ordinal
  int threads;  // on a GPU those that compile kernels; 0: one a core
  void (*parallel)(void *context, int count, void (*task)(void *argument, int index), void *argument);  // NULL: own threads
  void *parallel_context;
  bool tf32, no_graph;
  int streams;                  // that a GPU's plans and their graphs may use; 0: PLAN_STREAMS
  bool check_plans;             // every plan is printed and read back before it runs
  bool references_only;         // CPU: every operator by its reference
  size_t workspace_limit;       // bytes one step may use beside its tensors; 0: the device's default
  const char *cache_directory;  // compiled kernels; NULL: the default
  void *cuda_context, *cuda_stream;
  const Allocator *device_allocator;    // NULL: the driver
  WeightStore *weights;                 // NULL: the session's own
  const struct TuningDatabase *tuning;  // NULL: the first way of the preferred implementation
  const Log *log;
} DeviceOptions;

MUST_CHECK Status cpu_device_new(const DeviceOptions *options, Device **out);
MUST_CHECK Status cuda_device_new(const DeviceOptions *options, Device **out);

// The kernels that a CUDA device has used since it was told to record, for an engine to keep. Copied into the arena.
typedef struct DeviceKernel {
  Hash128 hash;
  Bytes cubin;
} DeviceKernel;
MUST_CHECK Status cuda_device_kernels(Device *device, Arena *arena, DeviceKernel **out, int *count);

// The weights of one engine on its devices, found by content, form and place. A plan holds what it uses; the last one to let go frees it.
MUST_CHECK Status weight_store_new(WeightStore **out);
void weight_store_free(WeightStore *store);
// What a plan wants of it. fill makes the bytes on the host when nobody has them on the device yet, on any thread; it does not come back here.
struct WeightRequest {
  Hash128 key;
  size_t bytes;
  Status (*fill)(void *context, void *out);
  void *context;
  void *memory;  // given: where they are
};
// All of them, or none.
MUST_CHECK Status weight_store_take(WeightStore *store, Device *device, WeightRequest *requests, int count);
void weight_store_drop(WeightStore *store, Device *device, Hash128 key);
