// The CPU executor: steps run in order, each by the first CPU tactic that supports its site, else by the reference.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/cpu_level.h"
#include "base/memory.h"
#include "base/recover.h"
#include "kernels/common/onednn_library.h"
#include "kernels/cpu_tactic.h"
#include "kernels/reference.h"
#include "kernels/packings.h"
#include "runtime/device.h"

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

typedef struct CpuChoice {
  const CpuTactic *tactic;  // NULL: the reference
  void *state;
  CpuCall call;
  void **inputs, **outputs;
} CpuChoice;

struct Executable {
  Plan *plan;
  Arena *arena;
  void **constants;  // by buffer
};

static Status cpu_allocate(Device *device, size_t bytes, void **out) { return memory_take(bytes, out); }
static void cpu_release(Device *device, void *memory, size_t bytes) { memory_free(memory); }
static Status cpu_copy(Device *device, void *to, const void *from, size_t bytes) {
  if (bytes) memmove(to, from, bytes);
  return OK;
}
static Status cpu_synchronize(Device *device) { return OK; }
static bool cpu_runs(Device *device, const Node *node) { return node->op->reference != NULL; }

// ---- choosing ----------------------------------------------------------------------------------------------------------------

typedef struct Chooser {
  Packings packings;
  CpuDevice *cpu;
  Arena *arena;
  IntMap *hashes;  // of the bytes of constants met in this plan, by address and size: Hash128 *
} Chooser;

static bool fits(const CpuDevice *cpu, const Site *site, const CpuTactic *tactic, size_t workspace) {
  if (!cpu->workspace_limit || workspace <= cpu->workspace_limit) return true;
  log_add(cpu->device.log, LOG_WARNING,
          "'%s' (%s) is not computed by %s, which wants %zu bytes of workspace, more than the limit of %zu",
          site->node->outputs[0]->name, site->node->op->name, tactic->name, workspace, cpu->workspace_limit);
  return false;
}

typedef struct HeldWeight {
  CpuDevice *cpu;
  Hash128 key;
  bool taken;
} HeldWeight;

static void drop_weight(void *context) {
  HeldWeight *held = context;
  if (held->taken) weight_store_drop(held->cpu->weights, &held->cpu->device, held->key);
}

static Hash128 content_hash(Chooser *chooser, const Tensor *content) {
  size_t bytes = tensor_bytes(content);
  uint64_t where = hash_mix((uint64_t)(uintptr_t)content->data, bytes);
  Hash128 *hash = int_map_get(chooser->hashes, where);
  if (!hash) {
    hash = arena_new_of(chooser->arena, Hash128);
    *hash = hash128_bytes(content->data, bytes);
    int_map_set(chooser->hashes, where, hash);
  }
  int64_t head[2 + MAX_RANK] = {content->dtype, content->rank};
  memcpy(head + 2, content->dims, (size_t)content->rank * sizeof *head);
  return hash128_combine(*hash, hash128_bytes(head, sizeof head));
}

static Status take_packing(Packings *packings, const Tensor *content, Hash128 form, size_t bytes,
                           Status (*fill)(void *, void *), void *context, Arena *arena, void **out) {
  Chooser *chooser = (Chooser *)packings;
  HeldWeight *held = arena_new_of(arena, HeldWeight);
  *held = (HeldWeight){.cpu = chooser->cpu, .key = hash128_combine(content_hash(chooser, content), form)};
  // Whoever lets go of a weight last gives it back to its allocator: only sessions with the same one share it.
  const Allocator *allocator = budget_allocator();
  if (allocator) held->key = hash128_combine(held->key, hash128_bytes(&allocator, sizeof allocator));
  arena_on_free(arena, drop_weight, held);
  TRY(weight_store_take(chooser->cpu->weights, &chooser->cpu->device, held->key, bytes, fill, context, out));
  held->taken = true;
  return OK;
}

static Status choose(void *context, const Site *site, bool last, void **choice, size_t *workspace) {
  Chooser *chooser = context;
  Site shared = *site;
  shared.packings = &chooser->packings;
  for (int i = 0; cpu_tactics[i] && !chooser->cpu->references_only; i++) {
    const CpuTactic *tactic = cpu_tactics[i];
    if (tactic->op != site->node->op || !tactic->supports(site)) continue;
    CpuChoice *made = arena_new_of(chooser->arena, CpuChoice);
    made->tactic = tactic;
    TRY(tactic->prepare(&shared, chooser->arena, chooser->cpu->pool, &made->state, workspace));
    *choice = made;
    if (fits(chooser->cpu, site, tactic, *workspace)) return OK;
    *choice = NULL;
    *workspace = 0;
  }
  if (last) *choice = arena_new_of(chooser->arena, CpuChoice);
  return OK;
}

// A constant's bytes in the stride order its buffer asks for; row-major ones are used where they lie.
static Status fill_constant(void *context, void *out) {
  const PlanBuffer *buffer = context;
  tensor_reorder(buffer->constant, buffer->order, out);
  return OK;
}

static Status place_constant(Chooser *chooser, PlanBuffer *buffer, void **out) {
  const Tensor *tensor = buffer->constant;
  bool row_major = true;
  for (int i = 0; i < tensor->rank; i++) row_major = row_major && buffer->order[i] == i;
  if (row_major && (uintptr_t)tensor->data % dtype_size(tensor->dtype) == 0) {
    *out = tensor->data;
    return OK;
  }
  Hash128 form = hash128_bytes(buffer->order, (size_t)tensor->rank * sizeof *buffer->order);
  return take_packing(&chooser->packings, tensor, form, buffer->bytes, fill_constant, buffer, chooser->arena, out);
}

static Status cpu_compile(Device *device, Graph *graph, Arena *arena, Executable **out) {
  CpuDevice *cpu = (CpuDevice *)device;
  Executable *executable = arena_new_of(arena, Executable);
  executable->arena = arena;
  Chooser chooser = {{take_packing}, cpu, arena, int_map_new(arena)};
  PlanTarget target = {.info = &device->info, .context = &chooser, .select = choose};
  TRY(plan_make(graph, &target, arena, &executable->plan));
  Plan *plan = executable->plan;
  executable->constants = arena_array(arena, void *, plan->buffer_count);
  for (uint32_t i = 0; i < plan->buffer_count; i++)
    if (plan->buffers[i].kind == PLAN_CONSTANT) TRY(place_constant(&chooser, &plan->buffers[i], &executable->constants[i]));
  for (uint32_t i = 0; i < plan->step_count; i++) {
    CpuChoice *choice = plan->steps[i].choice;
    choice->inputs = arena_array(arena, void *, plan->steps[i].node->input_count);
    choice->outputs = arena_array(arena, void *, plan->steps[i].node->output_count);
    choice->call = (CpuCall){.inputs = choice->inputs, .outputs = choice->outputs, .pool = cpu->pool};
  }
  *out = executable;
  return OK;
}

// ---- running -----------------------------------------------------------------------------------------------------------------

static Tensor view_tensor(const TensorDesc *desc, void *data) {
  Tensor tensor = {.dtype = desc->dtype, .rank = desc->rank, .data = data};
  memcpy(tensor.dims, desc->dims, sizeof tensor.dims);
  return tensor;
}

// What a plan holds room for is what inference said.
static Status check_planned(const TensorDesc *planned, const Tensor *made, int output) {
  bool same = made->dtype == planned->dtype && made->rank == planned->rank;
  for (int i = 0; same && i < made->rank; i++) same = made->dims[i] == planned->dims[i];
  if (!same) FAIL(ERROR_INTERNAL, "output %d is of another type than was planned", output);
  return OK;
}

// The reference wants row-major tensors: inputs in another order are copied, and the output is put back in its order.
static Status run_reference(const PlanStep *step, const CpuChoice *choice) {
  Arena *scratch = arena_scratch();
  const Node *node = step->node;
  Status status = OK;
  Tensor *tensors = arena_array(scratch, Tensor, node->input_count);
  const Tensor **inputs = arena_array(scratch, const Tensor *, node->input_count);
  Tensor *outputs = arena_array(scratch, Tensor, node->output_count);
  for (int i = 0; i < node->input_count; i++) {
    const TensorDesc *desc = &step->site.inputs[i];
    if (desc->absent) continue;
    tensors[i] = view_tensor(desc, choice->inputs[i]);
    inputs[i] = &tensors[i];
    if (desc_is_row_major(desc)) continue;
    TRY_GOTO(tensor_new(scratch, desc->dtype, desc->rank, desc->dims, &tensors[i]));
    tensor_gather_strided(&tensors[i], choice->inputs[i], desc->strides);
  }
  for (int i = 0; i < node->output_count; i++) {
    const TensorDesc *desc = &step->site.outputs[i];
    if (desc_is_row_major(desc)) outputs[i] = view_tensor(desc, choice->outputs[i]);
  }
  TRY_GOTO(reference_run(node, scratch, inputs, outputs));
  for (int i = 0; i < node->output_count; i++) {
    const TensorDesc *desc = &step->site.outputs[i];
    TRY_GOTO(check_planned(desc, &outputs[i], i));
    if (!desc_is_row_major(desc)) tensor_scatter_strided(&outputs[i], choice->outputs[i], desc->strides);
    else if (outputs[i].data != choice->outputs[i]) memcpy(choice->outputs[i], outputs[i].data, tensor_bytes(&outputs[i]));
  }
done:
  arena_free(scratch);
  return status;
}

static char *place_address(CpuDevice *cpu, const Executable *executable, int buffer, int64_t offset, DType dtype,
                           void *const *inputs, void *const *outputs) {
  if (buffer < 0) return NULL;
  const PlanBuffer *b = &executable->plan->buffers[buffer];
  char *base = b->kind == PLAN_INPUT      ? inputs[b->index]
               : b->kind == PLAN_OUTPUT   ? outputs[b->index]
               : b->kind == PLAN_CONSTANT ? executable->constants[buffer]
               : cpu->block               ? cpu->block + b->offset
                                          : NULL;
  return base ? base + offset * (int64_t)dtype_size(dtype) : NULL;  // a tensor without elements may have no memory
}

static Status run_step(CpuDevice *cpu, Executable *executable, PlanStep *step, void *const *inputs, void *const *outputs) {
  CpuChoice *choice = step->choice;
  TRY(budget_poll());
  for (int i = 0; i < step->node->input_count; i++)
    choice->inputs[i] = place_address(cpu, executable, step->inputs[i].buffer, step->inputs[i].offset,
                                      step->site.inputs[i].dtype, inputs, outputs);
  for (int i = 0; i < step->node->output_count; i++)
    choice->outputs[i] = place_address(cpu, executable, step->outputs[i].buffer, step->outputs[i].offset,
                                       step->site.outputs[i].dtype, inputs, outputs);
  static _Alignas(64) char none[64];  // a pointer to count from, where no byte is used
  choice->call.workspace =
      step->workspace_buffer < 0 ? none : place_address(cpu, executable, step->workspace_buffer, 0, DTYPE_U8, inputs, outputs);
  const CpuTactic *tactic = choice->tactic;
  if (!tactic) return run_reference(step, choice);
  return tactic->run(choice->state, &choice->call);
}

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

static Status step_context(Status status, const PlanStep *step) {
  return status_context(status, "running '%s' (%s)", step->node->outputs[0]->name, step->node->op->name);
}

static Status run_steps(CpuDevice *cpu, Executable *executable, void *const *inputs, void *const *outputs) {
  for (uint32_t i = 0; i < executable->plan->step_count; i++) {
    PlanStep *step = &executable->plan->steps[i];
    TRY(step_context(run_step(cpu, executable, step, inputs, outputs), step));
  }
  return OK;
}

static Status cpu_run(Device *device, Executable *executable, void *const *inputs, void *const *outputs) {
  CpuDevice *cpu = (CpuDevice *)device;
  TRY(ensure_block(cpu, executable->plan->arena_bytes));
  return RECOVER_GUARD(run_steps(cpu, executable, inputs, outputs));
}

static Status profile_steps(CpuDevice *cpu, Executable *executable, void *const *inputs, void *const *outputs, StepReport *out,
                            int limit, int *count) {
  *count = (int)executable->plan->step_count;
  for (int i = 0; i < *count; i++) {
    PlanStep *step = &executable->plan->steps[i];
    const CpuChoice *choice = step->choice;
    double start = time_now();
    TRY(step_context(run_step(cpu, executable, step, inputs, outputs), step));
    if (i < limit)
      out[i] = (StepReport){.name = step->node->outputs[0]->name,
                            .op = step->node->op->name,
                            .tactic = choice->tactic ? choice->tactic->name : "reference",
                            .origins = node_origins_text(step->node, executable->arena),
                            .milliseconds = (time_now() - start) * 1e3};
  }
  return OK;
}

static Status cpu_profile(Device *device, Executable *executable, void *const *inputs, void *const *outputs, StepReport *out,
                          int limit, int *count) {
  CpuDevice *cpu = (CpuDevice *)device;
  TRY(ensure_block(cpu, executable->plan->arena_bytes));
  return RECOVER_GUARD(profile_steps(cpu, executable, inputs, outputs, out, limit, count));
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
                         .allocate = cpu_allocate,
                         .release = cpu_release,
                         .upload = cpu_copy,
                         .download = cpu_copy,
                         .copy = cpu_copy,
                         .synchronize = cpu_synchronize,
                         .runs = cpu_runs,
                         .compile = cpu_compile,
                         .run = cpu_run,
                         .profile = cpu_profile,
                         .plan = cpu_plan,
                         .discard = cpu_discard,
                         .free = cpu_free};
  cpu->workspace_limit = options->workspace_limit;
  cpu_name(cpu->device.info.name, sizeof cpu->device.info.name);
  log_add(options->log, LOG_INFO, "on the CPU: %s", onednn_library_text());
  Status status = cpu->weights ? OK : weight_store_new(&cpu->own_weights);
  if (!cpu->weights) cpu->weights = cpu->own_weights;
  if (status) cpu_free(&cpu->device);
  else *out = &cpu->device;
  return status;
}
