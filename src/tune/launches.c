// See launches.h.
#include "tune/launches.h"

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
      case ARG_BYTES: ready->arguments[i] = (void *)(uintptr_t)arg->bytes.data; break;
    }
  }
}

LaunchSet *launch_set_new(const Emission *emission, const Node *node, Arena *arena) {
  LaunchSet *set = arena_new_of(arena, LaunchSet);
  set->emission = emission;
  set->launches = arena_array(arena, ReadyLaunch, emission->launch_count);
  for (uint32_t i = 0; i < emission->launch_count; i++) lay_out(&set->launches[i], &emission->launches[i], arena);
  set->inputs = arena_array(arena, void *, node->input_count);
  set->outputs = arena_array(arena, void *, node->output_count);
  set->packed = arena_array(arena, void *, emission->packed_count);
  return set;
}

int launch_set_sources(const LaunchSet *set, const char *label, int sm, KernelSource *out) {
  int count = 0;
  for (uint32_t i = 0; i < set->emission->launch_count; i++)
    if (set->launches[i].launch->kind == LAUNCH_KERNEL)
      out[count++] = (KernelSource){label, set->launches[i].launch->source, sm};
  return count;
}

Status launch_set_load(LaunchSet *set, CudaContext *context, const Cubin *cubins, int *taken) {
  *taken = 0;
  for (uint32_t i = 0; i < set->emission->launch_count; i++) {
    const Launch *launch = set->launches[i].launch;
    if (launch->kind == LAUNCH_LIBRARY) {
      TRY(library_routine_open(context, launch->routine, launch->parameters, &set->launches[i].library));
      continue;
    }
    const Cubin *cubin = &cubins[(*taken)++];
    ModuleImage image = {cubin->key, cubin->data, cubin->size};
    TRY(cuda_function(context, &image, launch->entry, launch->shared_bytes, &set->launches[i].module,
                      &set->launches[i].function));
  }
  return OK;
}

void launch_set_unload(LaunchSet *set, CudaContext *context) {
  for (uint32_t i = 0; i < set->emission->launch_count; i++) {
    cuda_module_drop(context, set->launches[i].module);
    set->launches[i].module = NULL;
    cuda_shared_drop(context, set->launches[i].library);
    set->launches[i].library = NULL;
  }
}

static void *resolve(const LaunchSet *set, const BufferRef *ref) {
  switch (ref->kind) {
    case BUFFER_INPUT: return set->inputs[ref->index];
    case BUFFER_OUTPUT: return set->outputs[ref->index];
    case BUFFER_PACKED: return set->packed[ref->index];
    case BUFFER_WORKSPACE: return (char *)set->workspace + ref->offset;
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

Status launch_set_run(const LaunchSet *set, CudaContext *context, CudaStream stream) {
  for (uint32_t i = 0; i < set->emission->launch_count; i++) {
    const ReadyLaunch *ready = &set->launches[i];
    const Launch *launch = ready->launch;
    if (launch->kind == LAUNCH_KERNEL)
      TRY(cuda_launch(context, ready->function, launch->grid, launch->block, launch->cluster, launch->shared_bytes,
                      ready->arguments, stream));
    else TRY(launch->routine->run(cuda_shared_get(ready->library), ready->pointers, stream));
  }
  return OK;
}
