// Building an emission: launches, their arguments, packed constants. All of it lives in the emission's arena.
#include <string.h>
#include "base/checked.h"
#include "base/format.h"
#include "kernels/implementation.h"

Launch *emit_kernel(Emission *emission, const char *source, const char *entry, const unsigned grid[3],
                    const unsigned block[3]) {
  Launch *launch = ARENA_PUSH(emission->arena, emission->launches, emission->launch_count, emission->launch_capacity);
  *launch = (Launch){.kind = LAUNCH_KERNEL, .source = source, .entry = entry, .label = entry};
  memcpy(launch->grid, grid, sizeof launch->grid);
  memcpy(launch->block, block, sizeof launch->block);
  return launch;
}

Launch *emit_library(Emission *emission, const LibraryRoutine *routine, const void *parameters, const char *label) {
  Launch *launch = ARENA_PUSH(emission->arena, emission->launches, emission->launch_count, emission->launch_capacity);
  *launch = (Launch){.kind = LAUNCH_LIBRARY,
                     .routine = routine,
                     .parameters = arena_copy(emission->arena, parameters, routine->parameter_bytes),
                     .label = label};
  return launch;
}

// Room doubles from 4: a launch records no capacity, but its count says when the room is used up.
static LaunchArg *add_argument(Emission *emission, Launch *launch, ArgKind kind) {
  int count = launch->arg_count;
  if (count == 0 || (count >= 4 && (count & (count - 1)) == 0)) {
    LaunchArg *args = arena_array(emission->arena, LaunchArg, (size_t)MAX(4, 2 * count));
    if (count) memcpy(args, launch->args, (size_t)count * sizeof *args);
    launch->args = args;
  }
  LaunchArg *argument = &launch->args[launch->arg_count++];
  *argument = (LaunchArg){.kind = kind};
  return argument;
}

void emit_buffer(Emission *emission, Launch *launch, BufferKind kind, int index) {
  add_argument(emission, launch, ARG_BUFFER)->buffer = (BufferRef){kind, index, 0};
}
void emit_workspace(Emission *emission, Launch *launch, size_t offset) {
  add_argument(emission, launch, ARG_BUFFER)->buffer = (BufferRef){BUFFER_WORKSPACE, 0, offset};
}
void emit_report(Emission *emission, Launch *launch) {
  emit_buffer(emission, launch, BUFFER_REPORT, 0);
  emit_buffer(emission, launch, BUFFER_STEP, 0);
}
void emit_i32(Emission *emission, Launch *launch, int32_t value) { add_argument(emission, launch, ARG_I32)->i32 = value; }
void emit_i64(Emission *emission, Launch *launch, int64_t value) { add_argument(emission, launch, ARG_I64)->i64 = value; }
void emit_f32(Emission *emission, Launch *launch, float value) { add_argument(emission, launch, ARG_F32)->f32 = value; }

void emit_arguments(Emission *emission, Launch *launch, const KernelArguments *arguments) {
  for (uint32_t i = 0; i < arguments->count; i++) {
    int64_t value = kernel_argument_value(&arguments->list[i]);
    if (arguments->list[i].form == ARGUMENT_INT) emit_i32(emission, launch, (int32_t)value);
    else emit_i64(emission, launch, value);
  }
}

Status emit_packed(Emission *emission, Recipe *recipe, Value *constant, int *index) {
  TRY(recipe_finish(recipe, constant));
  *ARENA_PUSH(emission->arena, emission->packed, emission->packed_count, emission->packed_capacity) = recipe;
  *index = (int)emission->packed_count - 1;
  return OK;
}

int one_way(const Site *site, const Machine *machine, Way *out, int limit) {
  *out = (Way){0};
  return 1;
}

void emit_host(Emission *emission, const HostRoutine *routine, const Site *site, const Way *way) {
  Launch *launch = ARENA_PUSH(emission->arena, emission->launches, emission->launch_count, emission->launch_capacity);
  HostParameters parameters = {arena_copy(emission->arena, site, sizeof *site), arena_copy(emission->arena, way, sizeof *way)};
  *launch = (Launch){.kind = LAUNCH_HOST,
                     .host = routine,
                     .site = arena_copy(emission->arena, &parameters, sizeof parameters),
                     .label = routine->name};
  for (int i = 0; i < site_input_count(site); i++) emit_buffer(emission, launch, BUFFER_INPUT, i);
  for (int i = 0; i < site->node->output_count; i++) emit_buffer(emission, launch, BUFFER_OUTPUT, i);
  emit_workspace(emission, launch, 0);
}

// The routine is opened, since only then its need of workspace is known; the state is kept in machine->host.
static Status lower_to_host(const HostRoutine *routine, const Site *site, const Way *way, const Machine *machine,
                            Emission *out) {
  const HostState *state;
  emit_host(out, routine, site, way);
  TRY(host_state_take(machine->host, routine, out->launches[out->launch_count - 1].site, &state));
  out->workspace_bytes = MAX(out->workspace_bytes, state->workspace_bytes);
  return OK;
}

static double cost_of(const Implementation *implementation, const Site *site) {
  if (implementation->cost) return implementation->cost(site);
  return implementation->share ? cost_of_products(site, implementation->share) : cost_of_site(site, 1);
}

static bool is_listed(const Way *ways, int count, const Way *way) {
  for (int i = 0; i < count; i++)
    if (!memcmp(ways[i].config, way->config, sizeof way->config)) return true;
  return false;
}

static int count_named(const Way *ways, int count, const Way *way) {
  int named = 0;
  for (int i = 0; i < count; i++) named += !strcmp(ways[i].name, way->name);
  return named;
}

// A library may list a way twice, and two that differ in what their names do not say.
static int tell_apart(Way *ways, int listed) {
  int count = 0;
  for (int i = 0; i < listed; i++)
    if (!is_listed(ways, count, &ways[i])) ways[count++] = ways[i];
  for (int i = count - 1; i > 0; i--) {  // those before have their own names still
    char name[sizeof ways->name];
    int named = count_named(ways, i, &ways[i]);
    memcpy(name, ways[i].name, sizeof name);
    if (named) format_into(ways[i].name, sizeof ways->name, "%s (%d)", name, named + 1);
  }
  return count;
}

int implementation_ways(const Implementation *implementation, const Site *site, const Machine *machine, Way *out, int limit) {
  int count = implementation->ways(site, machine, out, limit);
  if (implementation->library) count = tell_apart(out, count);
  double cost = 0;  // the same for all that have none of their own
  for (int i = 0; i < count; i++) {
    if (out[i].cost > 0) continue;
    if (!cost) cost = cost_of(implementation, site);
    out[i].cost = cost;
  }
  return count;
}

// A library that is not here lists no ways.
double implementation_cost(const Implementation *implementation, const Site *site, const Way *way) {
  Way ways[WAYS_ASKED];
  int count = implementation_ways(implementation, site, &(Machine){0}, ways, WAYS_ASKED);
  for (int i = 0; i < count; i++)
    if (!memcmp(ways[i].config, way->config, sizeof way->config)) return ways[i].cost;
  return cost_of(implementation, site);
}

Status implementation_lower(const Implementation *implementation, const Site *site, const Way *way, const Machine *machine,
                            Emission *out) {
  return implementation->host ? lower_to_host(implementation->host, site, way, machine, out)
                              : implementation->lower(site, way, machine, out);
}
