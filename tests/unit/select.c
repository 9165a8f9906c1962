// One selection for both devices: order of the table, limits of workspace and what is said of them, measurements, what is forced.
#include "lower/select.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/common/onednn_library.h"
#include "kernels/device_sources.h"
#include "kernels/ops.h"
#include "lower/plan.h"
#include "lower/version.h"

typedef struct Messages {
  int warnings;
  char last[512];
} Messages;

static void take_message(void *context, LogSeverity severity, const char *message) {
  Messages *messages = context;
  if (severity > LOG_WARNING) return;
  messages->warnings++;
  snprintf(messages->last, sizeof messages->last, "%s", message);
}

#define CONV "graph g(%x: f32[2, 16, 20, 20], %w: f32[24, 16, 3, 3]) -> (%y) { %y: ?[?] = conv(%x, %w) }"
#define MATMUL "graph g(%a: f32[64, 96], %b: f32[96, 80]) -> (%y) { %y: ?[?] = matmul(%a, %b) }"

static const DeviceInfo cpu = {.kind = DEVICE_CPU, .multiprocessors = 1};
static DeviceInfo gpu = {.kind = DEVICE_CUDA, .sm = 90, .name = "a chip", .multiprocessors = 132, .shared_per_block = 101376};

// The plan of a graph of one node has one step.
static Selection select_for(Arena *arena, const char *text, const DeviceInfo *device, SelectOptions *options) {
  Graph *graph;
  Plan *plan;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s", status_message(status));
  FOR_NODES(node, graph) cr_assert_null(node_infer(node));
  chip_take_rates(&gpu, 0, 0);
  if (device == &cpu) options->machine.host = host_states_new(arena, NULL, NULL);
  status = plan_make(graph, &(PlanTarget){.info = device, .select = options}, arena, &plan);
  cr_assert_null(status, "%s", status_message(status));
  cr_assert_eq(plan->step_count, 1);
  return plan->steps[0].selection;
}

static const Implementation *named(const char *name) {
  for (int i = 0; implementations[i]; i++)
    if (!strcmp(implementations[i]->name, name)) return implementations[i];
  return NULL;
}

Test(select, the_reference_is_the_last_for_the_cpu) {
  const Implementation *last = NULL;
  for (int i = 0; implementations[i]; i++)
    if (implementations[i]->backend == BACKEND_CPU) last = implementations[i];
  cr_assert_str_eq(last->name, "reference");
  cr_assert(last->general && !last->op);
}

Test(select, the_cpu_takes_the_first_of_the_table_and_lowers_it_to_one_call) {
  Arena *arena = arena_new();
  SelectOptions options = {0};
  Selection selection = select_for(arena, CONV, &cpu, &options);
  cr_assert_str_eq(selection.implementation->name, onednn_library() ? "onednn_conv" : "gemm_conv");
  cr_assert_eq(selection.emission->launch_count, 1);
  const Launch *launch = selection.emission->launches;
  cr_assert_eq(launch->kind, LAUNCH_HOST);
  cr_assert_eq(launch->arg_count, 4);
  const HostState *state, *again;
  cr_assert_null(host_state_take(options.machine.host, launch->host, launch->site, &state));
  cr_assert_null(host_state_take(options.machine.host, launch->host, launch->site, &again));
  cr_assert_eq(state, again, "a state is made once for a launch");
  cr_assert_eq(state->workspace_bytes, selection.emission->workspace_bytes);
  arena_free(arena);
}

Test(select, too_much_workspace_is_said_and_the_next_takes_the_site) {
  Arena *arena = arena_new();
  Messages messages = {0};
  Log log = {take_message, &messages, LOG_VERBOSE};
  SelectOptions options = {.workspace_limit = 1, .log = &log};
  Selection selection = select_for(arena, CONV, &cpu, &options);
  cr_assert_str_eq(selection.implementation->name, "reference");
  cr_assert_geq(messages.warnings, onednn_library() ? 2 : 1);
  cr_assert(strstr(messages.last, "'y' (conv) is not computed by gemm_conv, which wants"), "%s", messages.last);
  cr_assert(strstr(messages.last, "more than the limit of 1"), "%s", messages.last);
  // On a GPU other ways of the same implementation want none: nothing is to be said.
  messages.warnings = 0;
  selection = select_for(arena, MATMUL, &gpu, &options);
  cr_assert_eq(selection.emission->workspace_bytes, 0);
  cr_assert_eq(messages.warnings, 0, "%s", messages.last);
  arena_free(arena);
}

Test(select, only_general_implementations_where_asked_for) {
  Arena *arena = arena_new();
  SelectOptions options = {.general_only = true};
  cr_assert_str_eq(select_for(arena, CONV, &cpu, &options).implementation->name, "reference");
  cr_assert_str_eq(select_for(arena, MATMUL, &cpu, &options).implementation->name, "reference");
  cr_assert_str_eq(select_for(arena, MATMUL, &gpu, &options).implementation->name, "simt_matmul");
  arena_free(arena);
}

Test(select, what_is_forced_takes_its_operator_only) {
  Arena *arena = arena_new();
  bool taken = false;
  SelectOptions options = {.forced = named("gemm_conv"), .forced_taken = &taken};
  cr_assert_str_neq(select_for(arena, MATMUL, &cpu, &options).implementation->name, "gemm_conv");
  cr_assert_not(taken);
  cr_assert_str_eq(select_for(arena, CONV, &cpu, &options).implementation->name, "gemm_conv");
  cr_assert(taken);
  options = (SelectOptions){.forced = named("simt_matmul"), .forced_way = 1};
  Selection second = select_for(arena, MATMUL, &gpu, &options);
  options.forced_way = 0;
  cr_assert_str_neq(select_for(arena, MATMUL, &gpu, &options).way.name, second.way.name);
  arena_free(arena);
}

Test(select, measurements_come_first_where_their_way_is_there) {
  Arena *arena = arena_new();
  SelectOptions options = {.forced = named("simt_matmul"), .forced_way = 2};
  Selection third = select_for(arena, MATMUL, &gpu, &options);
  options = (SelectOptions){0};
  Selection unmeasured = select_for(arena, MATMUL, &gpu, &options);
  cr_assert_str_neq(unmeasured.way.name, third.way.name);
  Graph *graph;
  Plan *plan;
  cr_assert_null(graph_parse(arena, core_ops, MATMUL, strlen(MATMUL), NULL, 0, &graph));
  FOR_NODES(node, graph) cr_assert_null(node_infer(node));
  cr_assert_null(plan_make(graph, &(PlanTarget){.info = &gpu, .select = &options}, arena, &plan));
  const char *key = site_key(&plan->steps[0].site, arena);
  Compiler *compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  const char *fits, *version;
  TuningDatabase *database = tuning_new(arena);
  cr_assert_null(
      way_version(&plan->steps[0].site, third.implementation, third.emission, &(Machine){0}, compiler, arena, &fits));
  cr_assert_null(
      way_version(&plan->steps[0].site, third.implementation, unmeasured.emission, &(Machine){0}, compiler, arena, &version));
  cr_assert_str_neq(fits, version);
  options.tuning = database;
  options.compiler = compiler;
  tuning_add(database, &(TuningEntry){gpu.name, key, "simt_matmul", "a way of another version", fits, 1});
  cr_assert_str_eq(select_for(arena, MATMUL, &gpu, &options).way.name, unmeasured.way.name);
  const TuningEntry *stale = tuning_add(database, &(TuningEntry){gpu.name, key, "simt_matmul", third.way.name, version, 0.25});
  cr_assert_str_eq(select_for(arena, MATMUL, &gpu, &options).way.name, unmeasured.way.name);
  cr_assert(stale->stale);
  const TuningEntry *taken = tuning_add(database, &(TuningEntry){gpu.name, key, "simt_matmul", third.way.name, fits, 0.5});
  cr_assert_str_eq(select_for(arena, MATMUL, &gpu, &options).way.name, third.way.name);
  cr_assert(!taken->stale);
  compiler_free(compiler);
  arena_free(arena);
}
