// See launches.h.
#include "lower/launches.h"

#include "base/budget.h"

static void lay_out(ReadyLaunch *ready, const Launch *launch, Arena *arena) {
  ready->launch = launch;
  ready->arguments = arena_array(arena, void *, launch->arg_count);
  ready->pointers = arena_array(arena, void *, launch->arg_count);
  for (int i = 0; i < launch->arg_count; i++) {
    LaunchArg *arg = &launch->args[i];
    switch (arg->kind) {
      case ARG_BUFFER: ready->arguments[i] = &ready->pointers[i]; break;
      case ARG_I32: ready->arguments[i] = &arg->i32; break;
      case ARG_I64: ready->arguments[i] = &arg->i64; break;
      case ARG_F32: ready->arguments[i] = &arg->f32; break;
    }
  }
}

LaunchSet *launch_set_new(const Emission *emission, const Site *site, Arena *arena) {
  LaunchSet *set = arena_new_of(arena, LaunchSet);
  set->emission = emission;
  set->launches = arena_array(arena, ReadyLaunch, emission->launch_count);
  for (uint32_t i = 0; i < emission->launch_count; i++) lay_out(&set->launches[i], &emission->launches[i], arena);
  set->inputs = arena_array(arena, void *, site_input_count(site));
  set->outputs = arena_array(arena, void *, site->node->output_count);
  set->packed = arena_array(arena, void *, emission->packed_count);
  return set;
}

int launch_set_sources(const LaunchSet *set, const char *label, int sm, KernelSource *out) {
  int count = 0;
  for (uint32_t i = 0; i < set->emission->launch_count; i++)
    if (set->launches[i].launch->kind == LAUNCH_KERNEL)
      out[count++] = (KernelSource){label, set->launches[i].launch->source, sm, set->launches[i].launch->code};
  return count;
}

// A plan that was made elsewhere may not have foreseen what the routine needs here.
static Status open_host(ReadyLaunch *ready, const Machine *machine, size_t workspace_bytes) {
  const Launch *launch = ready->launch;
  TRY(host_state_take(machine->host, launch->host, launch->site, &ready->host));
  if (ready->host->workspace_bytes > workspace_bytes)
    FAIL(ERROR_UNSUPPORTED, "%s needs %zu bytes of workspace here, and the plan has %zu", launch->host->name,
         ready->host->workspace_bytes, workspace_bytes);
  return OK;
}

static Status load(ReadyLaunch *ready, const Machine *machine, size_t workspace_bytes, const Cubin *cubins, int *taken) {
  const Launch *launch = ready->launch;
  if (launch->kind == LAUNCH_HOST) return open_host(ready, machine, workspace_bytes);
  if (launch->kind == LAUNCH_LIBRARY)
    return library_routine_open(machine->cuda, launch->routine, launch->parameters, &ready->library);
  const Cubin *cubin = &cubins[(*taken)++];
  ModuleImage image = {cubin->key, cubin->data, cubin->size};
  return cuda_function(machine->cuda, &image, launch->entry, launch->shared_bytes, &ready->module, &ready->function);
}

Status launch_set_load(LaunchSet *set, const Machine *machine, const Cubin *cubins, int *taken) {
  *taken = 0;
  for (uint32_t i = 0; i < set->emission->launch_count; i++)
    TRY(load(&set->launches[i], machine, set->emission->workspace_bytes, cubins, taken));
  return OK;
}

void launch_set_unload(LaunchSet *set, const Machine *machine) {
  for (uint32_t i = 0; i < set->emission->launch_count; i++) {
    cuda_module_drop(machine->cuda, set->launches[i].module);
    set->launches[i].module = NULL;
    cuda_shared_drop(machine->cuda, set->launches[i].library);
    set->launches[i].library = NULL;
  }
}

static void *resolve(const LaunchSet *set, const BufferRef *ref) {
  switch (ref->kind) {
    case BUFFER_INPUT: return set->inputs[ref->index];
    case BUFFER_OUTPUT: return set->outputs[ref->index];
    case BUFFER_PACKED: return set->packed[ref->index];
    case BUFFER_WORKSPACE: return set->workspace ? (char *)set->workspace + ref->offset : NULL;
    case BUFFER_REPORT: return set->report;
    case BUFFER_STEP: return (void *)(uintptr_t)set->step;
  }
  return NULL;
}

void launch_set_patch(LaunchSet *set) {
  for (uint32_t i = 0; i < set->emission->launch_count; i++) {
    ReadyLaunch *ready = &set->launches[i];
    for (int a = 0; a < ready->launch->arg_count; a++)
      if (ready->launch->args[a].kind == ARG_BUFFER) ready->pointers[a] = resolve(set, &ready->launch->args[a].buffer);
  }
}

// The arguments are every input, every output, the workspace.
static Status call_host(const ReadyLaunch *ready, const Machine *machine) {
  static _Alignas(64) char none[64];  // a pointer to count from, where no byte is used
  const Launch *launch = ready->launch;
  void *workspace = ready->pointers[launch->arg_count - 1];
  HostCall call = {.inputs = ready->pointers,
                   .outputs = ready->pointers + site_input_count(launch->site->site),
                   .workspace = workspace ? workspace : none,
                   .pool = machine->host->pool};
  TRY(budget_poll());
  return launch->host->run(ready->host->state, &call);
}

// All kernels wait for the one before them first thing (kernels/common/launch.cuh). Those with large tiles are left to begin when all is free: blocks of theirs that begin
// early crowd on the multiprocessors which the kernel before leaves idle (measured on an H200: a vision transformer 14% slower, ResNet-50 6%). Blocks that wait for each
// other come all at once, when there is room for all.
static bool may_begin_early(const Launch *launch) { return !launch->shared_bytes && !launch->cooperative; }

static Status run(const ReadyLaunch *ready, const Machine *machine, CudaStream stream, bool overlap) {
  const Launch *launch = ready->launch;
  if (launch->kind == LAUNCH_HOST) return call_host(ready, machine);
  if (launch->kind == LAUNCH_LIBRARY) return launch->routine->run(cuda_shared_get(ready->library), ready->pointers, stream);
  const CudaLaunchHow how = {.overlap = overlap && may_begin_early(launch), .cooperative = launch->cooperative};
  return cuda_launch(machine->cuda, ready->function, launch->grid, launch->block, launch->cluster, launch->shared_bytes, how,
                     ready->arguments, stream);
}

Status launch_set_run_one(const LaunchSet *set, uint32_t launch, const Machine *machine, CudaStream stream, bool overlap) {
  return run(&set->launches[launch], machine, stream, overlap);
}

Status launch_set_run(const LaunchSet *set, const Machine *machine, CudaStream stream) {
  for (uint32_t i = 0; i < set->emission->launch_count; i++) TRY(launch_set_run_one(set, i, machine, stream, true));
  return OK;
}
