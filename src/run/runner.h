// The runner carries a graph through on a device, whatever it contains: it specialises it for the shapes of the call, has each
// stage compiled once and remembered, runs loops from the host, and fetches what decides the rest. See lower/specialise.h.
#pragma once
#include "lower/specialise.h"
#include "run/device.h"

// Memory that several tensors may share, on the device, on the host, or on both. Copies are made when first asked for.
typedef struct Storage {
  int references;
  Device *device;
  size_t bytes, room;  // room: of device memory that is owned
  void *device_memory, *host_memory;
  bool owns_device, owns_host;
  struct Storage *whole;  // whose memory this is a part of; NULL: none
  int staged;             // so many of the references are the runner's, which has later results written there
} Storage;

// A value of a run: a tensor, a sequence of tensors, or an optional without an element (kind VALUE_OPTIONAL). One with an element is
// that element. All zeros: an operand that is absent.
typedef struct RunList RunList;
typedef struct RunTensor {
  ValueKind kind;
  DType dtype;
  int rank;
  int64_t dims[MAX_RANK];
  Storage *storage;  // of a tensor; without memory of either kind: only its shape is known
  RunList *list;     // of a sequence
} RunTensor;
struct RunList {
  int references, count;
  RunTensor items[];
};

MUST_CHECK Status run_tensor_borrow_host(Device *device, const Tensor *tensor, RunTensor *out);
MUST_CHECK Status run_tensor_borrow_device(Device *device, DType dtype, int rank, const int64_t *dims, void *memory,
                                           RunTensor *out);
// Device memory for such a tensor, `room` bytes at least as it needs, which its storage owns.
MUST_CHECK Status run_tensor_allocate(Device *device, const RunTensor *type, size_t room, RunTensor *out);
// In host memory of its own.
MUST_CHECK Status run_tensor_new_on_host(Device *device, DType dtype, int rank, const int64_t *dims, RunTensor *out);
// What the host had of it is out of date.
void storage_forget_host(Storage *storage);
// The first elements of `whole` as another tensor; it stays as long as the part does.
MUST_CHECK Status run_tensor_part(const RunTensor *whole, int rank, const int64_t *dims, RunTensor *out);
// What is there on the device goes back, where the storage owns it.
void storage_release_device(Storage *storage);
// Row-major bytes on the host / on the device; they live as long as the tensor's storage.
MUST_CHECK Status run_tensor_host(const RunTensor *tensor, void **out);
MUST_CHECK Status run_tensor_device(const RunTensor *tensor, void **out);
size_t run_tensor_bytes(const RunTensor *tensor);
// One more reference to what `from` holds / one fewer.
void run_tensor_share(RunTensor *to, const RunTensor *from);
void run_tensor_drop(RunTensor *tensor);
void run_tensors_drop(RunTensor *tensors, int count);  // NULL is fine
// A sequence whose items, absent as yet, are to be filled; each brings a reference.
MUST_CHECK Status run_sequence_new(DType dtype, int count, RunTensor *out);

typedef struct RunnerHooks {
  Status (*translate)(Node *node, Value **results, bool *done);  // onnx/ops/translate.h
  bool (*is_deferred)(const Node *node);
  Status (*optimise)(Graph *graph, void *context);  // NULL: specialised graphs are run as they are
  void *optimise_context;
  // A plan that is at hand for calls of the whole graph: *executable, made in the arena, and the plan, where it takes these inputs on this
  // device. NULL where none does, and where the hook is NULL.
  Status (*held)(void *context, const StageInput *inputs, Device *device, Arena *arena, Plan **plan, Executable **executable);
  void *held_context;
} RunnerHooks;

typedef struct Runner Runner;
typedef struct StageCache StageCache;
#define RUNNER_CACHE_LIMIT ((size_t)256 << 20)
// Keeps pointers to the graph and the device. cache_limit: bytes of the plans it remembers; 0: RUNNER_CACHE_LIMIT.
MUST_CHECK Status runner_new(const Graph *graph, Device *device, const RunnerHooks *hooks, size_t cache_limit, Runner **out);
void runner_free(Runner *runner);

typedef struct RunnerStats {
  size_t arena_bytes, temporary_bytes, constant_bytes;  // of the largest stage
  int stages;                                           // in the last run
  bool data_dependent;
  const char *host_operator;  // one that a GPU run left to the host's reference; "" if none
} RunnerStats;

// inputs[i] without storage is left out, where the graph has a default for it. outputs[i]: on entry, storage NULL, or the shape that is
// expected and the device memory where it is wanted (where one is not what comes, none is written to); on return, the results, each one
// reference owned by the caller. The bytes of strings live until the run after the next.
MUST_CHECK Status runner_run(Runner *runner, const RunTensor *inputs, RunTensor *outputs);
// Specialises, plans and compiles for these shapes without running. Inputs may have no memory: what their contents would decide is left to
// the run.
MUST_CHECK Status runner_prepare(Runner *runner, const RunTensor *inputs);
// The same, for who wants to see: *executable is the first stage's, and its graph says these sizes and has its plan's nodes. Both live until the next call.
MUST_CHECK Status runner_plan(Runner *runner, const RunTensor *inputs, Executable **executable, Stage **stage);
// One profiled run of the first stage's plan.
MUST_CHECK Status runner_profile(Runner *runner, const RunTensor *inputs, StepReport *out, int limit, int *count);
enum { MOST_TIMED_BATCHES = 25 };
// Median seconds of one run by the device's clock, over so many batches (MOST_TIMED_BATCHES at most) of runs enqueued back to back with inputs and outputs in place; over fewer where they take twice the budget.
MUST_CHECK Status runner_time(Runner *runner, const RunTensor *inputs, double budget, int batches, double *seconds);
RunnerStats runner_stats(const Runner *runner);
// After a run that a limit of memory ended: lets go of what is remembered from other runs, and says that it is worth to begin again. False where nothing is, or it was
// something else that ended it.
bool runner_make_room(Runner *runner);
// No later run writes there.
void runner_let_go(Runner *runner, Storage *storage);
