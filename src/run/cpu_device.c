// The CPU executor: plans are made and their routines opened at once; steps run in order, on the threads of the pool.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/chips.h"
#include "base/cpu_level.h"
#include "base/memory.h"
#include "base/recover.h"
#include "kernels/common/onednn_library.h"
#include "kernels/control/region.h"
#include "kernels/fused.h"
#include "kernels/packings.h"
#include "run/device.h"
#include "run/steps.h"

typedef struct CpuDevice {
  Device device;
  size_t workspace_limit;  // 0: none
  ThreadPool *pool;
  char *block;  // the session's arena; grows to the largest plan
  size_t block_bytes;
  void (*parallel)(void *context, int count, void (*task)(void *argument, int index), void *argument);  // the caller's threads
  void *parallel_context;
  WeightStore *weights, *own_weights;
  bool references_only;
} CpuDevice;

// The caller's threads as our loops want them: one call in each.
typedef struct ForkTask {
  void (*body)(void *argument);
  void *argument;
} ForkTask;
static void run_fork_task(void *context, int index) { ((ForkTask *)context)->body(((ForkTask *)context)->argument); }
static void fork_at_caller(void *context, void (*body)(void *argument), void *argument, int threads) {
  CpuDevice *cpu = context;
  ForkTask task = {body, argument};
  HostVisit visit;
  host_enter(&visit);
  cpu->parallel(cpu->parallel_context, threads, run_fork_task, &task);
  host_leave(&visit);
}

struct Executable {
  Plan *plan;
  Arena *arena;
  Steps steps;
};

static Status cpu_allocate(Device *device, size_t bytes, void **out) { return memory_take(bytes, out); }
static void cpu_release(Device *device, void *memory, size_t bytes) { memory_free(memory); }
static Status cpu_copy(Device *device, void *to, const void *from, size_t bytes) {
  if (bytes) memmove(to, from, bytes);
  return OK;
}
static Status cpu_synchronize(Device *device) { return OK; }
static Status cpu_time(Device *device, int count, Status (*run)(void *state), void *state, double *seconds) {
  double start = time_now();
  for (int i = 0; i < count; i++) TRY(run(state));
  *seconds = (time_now() - start) / count;
  return OK;
}
// A region is better taken apart, its nodes having faster ways than references; but for an anchor with its epilogue, whose implementations take both.
static bool cpu_runs(Device *device, const Node *node) {
  return node->op->reference && (node->op != &op_region || fused_anchor(node) != node);
}

// ---- compiling ---------------------------------------------------------------------------------------------------------------

// Keeps packed constants for all plans and sessions of the engine.
typedef struct Keeper {
  Packings packings;
  CpuDevice *cpu;
  Arena *arena;
  IntMap *hashes;  // of the bytes of constants met in this plan, by address and size: Hash128 *
} Keeper;

typedef struct HeldWeight {
  CpuDevice *cpu;
  Hash128 key;
  bool taken;
} HeldWeight;

static void drop_weight(void *context) {
  HeldWeight *held = context;
  if (held->taken) weight_store_drop(held->cpu->weights, &held->cpu->device, held->key);
}

static Hash128 content_hash(Keeper *keeper, const Tensor *content) {
  size_t bytes = tensor_bytes(content);
  uint64_t where = hash_mix((uint64_t)(uintptr_t)content->data, bytes);
  Hash128 *hash = int_map_get(keeper->hashes, where);
  if (!hash) {
    hash = arena_new_of(keeper->arena, Hash128);
    *hash = hash128_bytes(content->data, bytes);
    int_map_set(keeper->hashes, where, hash);
  }
  int64_t head[2 + MAX_RANK] = {content->dtype, content->rank};
  memcpy(head + 2, content->dims, (size_t)content->rank * sizeof *head);
  return hash128_combine(*hash, hash128_bytes(head, sizeof head));
}

static Status take_packing(Packings *packings, const Tensor *content, Hash128 form, size_t bytes,
                           Status (*fill)(void *, void *), void *context, Arena *arena, void **out) {
  Keeper *keeper = (Keeper *)packings;
  HeldWeight *held = arena_new_of(arena, HeldWeight);
  *held = (HeldWeight){.cpu = keeper->cpu, .key = hash128_combine(content_hash(keeper, content), form)};
  // Whoever lets go of a weight last gives it back to its allocator: only sessions with the same one share it.
  const Allocator *allocator = budget_allocator();
  if (allocator) held->key = hash128_combine(held->key, hash128_bytes(&allocator, sizeof allocator));
  arena_on_free(arena, drop_weight, held);
  WeightRequest request = {.key = held->key, .bytes = bytes, .fill = fill, .context = context};
  TRY(weight_store_take(keeper->cpu->weights, &keeper->cpu->device, &request, 1));
  held->taken = true;
  *out = request.memory;
  return OK;
}

// A constant's bytes in the stride order its buffer asks for; row-major ones are used where they lie.
static Status fill_constant(void *context, void *out) {
  const PlanBuffer *buffer = context;
  tensor_reorder(buffer->constant, buffer->order, out);
  return OK;
}

static Status place_constant(Keeper *keeper, PlanBuffer *buffer, void **out) {
  const Tensor *tensor = buffer->constant;
  bool row_major = true;
  for (int i = 0; i < tensor->rank; i++) row_major = row_major && buffer->order[i] == i;
  if (row_major && (uintptr_t)tensor->data % dtype_size(tensor->dtype) == 0) {
    *out = tensor->data;
    return OK;
  }
  Hash128 form = hash128_bytes(buffer->order, (size_t)tensor->rank * sizeof *buffer->order);
  return take_packing(&keeper->packings, tensor, form, buffer->bytes, fill_constant, buffer, keeper->arena, out);
}

static Status load_step(const Steps *steps, uint32_t step) {
  int taken;
  return launch_set_load(steps->sets[step], &steps->machine, NULL, &taken);
}

// Opens what is not open in the keeper's states yet.
static Status load_plan(Plan *plan, Keeper *keeper, HostStates *states, Executable **out) {
  Executable *executable = arena_new_of(keeper->arena, Executable);
  *executable = (Executable){.plan = plan, .arena = keeper->arena};
  Steps *steps = &executable->steps;
  steps_lay_out(steps, plan, (Machine){.host = states}, keeper->arena);
  for (uint32_t i = 0; i < plan->buffer_count; i++)
    if (plan->buffers[i].kind == PLAN_CONSTANT) TRY(place_constant(keeper, &plan->buffers[i], &steps->constants[i]));
  for (uint32_t i = 0; i < plan->step_count; i++) TRY(load_step(steps, i));
  states->packings = NULL;  // every routine is open
  *out = executable;
  return OK;
}

static SelectOptions select_options(const CpuDevice *cpu, HostStates *states) {
  return (SelectOptions){.machine = {.host = states},
                         .workspace_limit = cpu->workspace_limit,
                         .log = cpu->device.log,
                         .general_only = cpu->references_only};
}

static Status cpu_ask(Device *device, Arena *arena, Status (*see)(void *context, const SelectOptions *options), void *context) {
  CpuDevice *cpu = (CpuDevice *)device;
  SelectOptions select = select_options(cpu, host_states_new(arena, cpu->pool, NULL));
  return see(context, &select);
}

static Status cpu_compile(Device *device, Graph *graph, Arena *arena, Executable **out) {
  CpuDevice *cpu = (CpuDevice *)device;
  Keeper keeper = {{take_packing}, cpu, arena, int_map_new(arena)};
  HostStates *states = host_states_new(arena, cpu->pool, &keeper.packings);
  SelectOptions select = select_options(cpu, states);
  Plan *plan;
  TRY(plan_make(graph, &(PlanTarget){.info = &device->info, .select = &select}, arena, &plan));
  if (device->check_plans) TRY(plan_reread(plan, NULL, arena, &plan));
  return load_plan(plan, &keeper, states, out);
}

static Status cpu_load(Device *device, Plan *plan, Arena *arena, Executable **out) {
  CpuDevice *cpu = (CpuDevice *)device;
  Keeper keeper = {{take_packing}, cpu, arena, int_map_new(arena)};
  TRY(steps_check_workspace(plan, cpu->workspace_limit));
  return load_plan(plan, &keeper, host_states_new(arena, cpu->pool, &keeper.packings), out);
}

// ---- running -----------------------------------------------------------------------------------------------------------------

static Status ensure_block(CpuDevice *cpu, size_t bytes) {
  if (bytes <= cpu->block_bytes) return OK;
  memory_free(cpu->block);
  cpu->block_bytes = 0;
  void *block;
  cpu->block = NULL;
  TRY(cpu_allocate(&cpu->device, bytes, &block));
  cpu->block = block;
  cpu->block_bytes = bytes;
  return OK;
}

static Status bind(CpuDevice *cpu, Executable *executable, void *const *inputs, void *const *outputs) {
  TRY(ensure_block(cpu, executable->plan->arena_bytes));
  steps_bind(&executable->steps, cpu->block, inputs, outputs);
  return OK;
}

static Status cpu_run(Device *device, Executable *executable, void *const *inputs, void *const *outputs) {
  TRY(bind((CpuDevice *)device, executable, inputs, outputs));
  return RECOVER_GUARD(steps_run(&executable->steps, NULL));
}

static Status profile_steps(Executable *executable, StepReport *out, int limit, int *count) {
  *count = (int)executable->plan->step_count;
  for (int i = 0; i < *count; i++) {
    double start = time_now();
    TRY(steps_run_one(&executable->steps, (uint32_t)i, NULL));
    if (i < limit) out[i] = step_report(&executable->plan->steps[i], (time_now() - start) * 1e3, executable->arena);
  }
  return OK;
}

static Status cpu_profile(Device *device, Executable *executable, void *const *inputs, void *const *outputs, StepReport *out,
                          int limit, int *count) {
  TRY(bind((CpuDevice *)device, executable, inputs, outputs));
  return RECOVER_GUARD(profile_steps(executable, out, limit, count));
}

static const Plan *cpu_plan(const Executable *executable) { return executable->plan; }

static void cpu_discard(Device *device, Executable *executable) {}

static void cpu_free(Device *device) {
  CpuDevice *cpu = (CpuDevice *)device;
  thread_pool_free(cpu->pool);
  memory_free(cpu->block);
  weight_store_free(cpu->own_weights);
  free(cpu);
}

static void cpu_name(char *name, size_t size) {
  snprintf(name, size, "CPU");
  FILE *file = fopen("/proc/cpuinfo", "re");
  char line[256];
  while (file && fgets(line, sizeof line, file)) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) || !colon) continue;
    colon[strcspn(colon, "\n")] = 0;
    snprintf(name, size, "%s", colon + 2);
    break;
  }
  if (file) fclose(file);
}

Status cpu_device_new(const DeviceOptions *options, Device **out) {
  TRY(cpu_level_check());
  CpuDevice *cpu = calloc(1, sizeof *cpu);
  if (!cpu) FAIL(ERROR_OUT_OF_MEMORY, "no memory for a CPU device");
  cpu->references_only = options->references_only;
  cpu->parallel = options->parallel;
  cpu->parallel_context = options->parallel_context;
  cpu->pool = options->parallel ? thread_pool_borrow(options->threads, (ThreadLender){fork_at_caller, cpu})
                                : thread_pool_new(options->threads);
  cpu->weights = options->weights;
  cpu->device = (Device){.info = {.kind = DEVICE_CPU, .multiprocessors = thread_pool_size(cpu->pool)},
                         .log = options->log,
                         .check_plans = options->check_plans,
                         .allocate = cpu_allocate,
                         .release = cpu_release,
                         .upload = cpu_copy,
                         .download = cpu_copy,
                         .copy = cpu_copy,
                         .synchronize = cpu_synchronize,
                         .time = cpu_time,
                         .runs = cpu_runs,
                         .compile = cpu_compile,
                         .load = cpu_load,
                         .run = cpu_run,
                         .profile = cpu_profile,
                         .plan = cpu_plan,
                         .ask = cpu_ask,
                         .discard = cpu_discard,
                         .free = cpu_free};
  cpu->workspace_limit = options->workspace_limit;
  cpu_take_rates(&cpu->device.info);
  cpu_name(cpu->device.info.name, sizeof cpu->device.info.name);
  log_add(options->log, LOG_INFO, "on the CPU: %s", onednn_library_text());
  Status status = cpu->weights ? OK : weight_store_new(&cpu->own_weights);
  if (!cpu->weights) cpu->weights = cpu->own_weights;
  if (status) cpu_free(&cpu->device);
  else *out = &cpu->device;
  return status;
}
