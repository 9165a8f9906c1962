// Planning for a GPU without one: every operator case is planned for several architectures with every implementation that Ingot writes
// itself, and what they emit is sound: launches fit the chip, buffers exist.
#include <criterion/criterion.h>
#include <string.h>
#include "base/chips.h"
#include "kernels/cases.h"
#include "kernels/device_sources.h"
#include "kernels/ops.h"
#include "lower/specialise.h"
#include "lower/plan.h"
#include "lower/select.h"
#include "passes/passes.h"

static void check(const Site *site, const Selection *selection) {
  const char *name = selection->implementation->name;
  for (uint32_t i = 0; i < selection->emission->launch_count; i++) {
    const Launch *launch = &selection->emission->launches[i];
    if (launch->kind != LAUNCH_KERNEL) continue;
    unsigned threads = launch->block[0] * launch->block[1] * launch->block[2];
    cr_assert(threads >= 1 && threads <= 1024, "%s: a block of %u threads", name, threads);
    cr_assert(launch->grid[0] >= 1 && launch->grid[1] >= 1 && launch->grid[2] >= 1, "%s: an empty grid", name);
    cr_assert(launch->grid[1] <= 65535 && launch->grid[2] <= 65535, "%s: a grid of %u x %u x %u", name, launch->grid[0],
              launch->grid[1], launch->grid[2]);
    cr_assert(launch->shared_bytes <= (unsigned)site->device->shared_per_block, "%s: %u bytes of shared memory", name,
              launch->shared_bytes);
    cr_assert(launch->source && strstr(launch->source, launch->entry), "%s: no entry in the source", name);
    for (int a = 0; a < launch->arg_count; a++) {
      const LaunchArg *arg = &launch->args[a];
      if (arg->kind != ARG_BUFFER) continue;
      int limit = arg->buffer.kind == BUFFER_INPUT    ? site_input_count(site)
                  : arg->buffer.kind == BUFFER_OUTPUT ? site->node->output_count
                  : arg->buffer.kind == BUFFER_PACKED ? (int)selection->emission->packed_count
                                                      : 1;
      cr_assert(arg->buffer.index >= 0 && arg->buffer.index < limit, "%s: a buffer that is not there", name);
      if (arg->buffer.kind == BUFFER_INPUT)
        cr_assert(!site->inputs[arg->buffer.index].absent, "%s: reads an absent input", name);
      if (arg->buffer.kind == BUFFER_WORKSPACE)
        cr_assert(arg->buffer.offset <= selection->emission->workspace_bytes, "%s: outside its workspace", name);
    }
  }
}

// Whoever asks for one way gets the first of all.
static void check_first_ways(const Site *site) {
  Way all[64], one;
  for (int i = 0; implementations[i]; i++) {
    if (implementations[i]->library || !implementation_serves(implementations[i], site) || !implementations[i]->supports(site))
      continue;
    int count = implementation_ways(implementations[i], site, &(Machine){0}, all, 64);
    cr_assert_eq(implementation_ways(implementations[i], site, &(Machine){0}, &one, 1), count ? 1 : 0);
    if (count)
      cr_assert(!strcmp(one.name, all[0].name) && !memcmp(one.config, all[0].config, sizeof one.config), "%s: %s is not %s",
                implementations[i]->name, one.name, all[0].name);
  }
}

// Every way that takes the step's site, and the one that was chosen.
static void check_step(const PlanStep *step, const SelectOptions *options, Arena *arena) {
  Selection all[64];
  check_first_ways(&step->site);
  int count = select_all(&step->site, options, all, 64);
  cr_assert_geq(count, 1);
  for (int i = 0; i < count; i++) {
    Status status = selection_lower(&step->site, options, arena, &all[i]);
    if (!status) check(&step->site, &all[i]);
    status_free(status);
  }
  check(&step->site, &step->selection);
}

static bool runs(void *context, const Node *node) { return select_supports(node, context, false); }

static Compiler *compiler;  // knows kernels' hashes; compiles nothing

static Status plan_case(const OperatorCase *row, int sm, bool optimise, Arena *arena) {
  DeviceInfo device = {.kind = DEVICE_CUDA,
                       .name = "a GPU",
                       .sm = sm,
                       .multiprocessors = 132,
                       .shared_per_block = sm == 75 ? 65536 : 101376,
                       .shared_per_multiprocessor = 102400,
                       .l2_bytes = 50 << 20,
                       .memory_bytes = 1ll << 34};
  chip_take_rates(&device, 0, 0);
  Graph *graph;
  TRY(operator_case_build(row, arena, core_ops, &graph));
  if (optimise) TRY(passes_run(graph, &(PassOptions){.device = DEVICE_CUDA, .sm = sm, .precision = DTYPE_F16}, NULL, 0, NULL));
  StageInput *inputs = arena_array(arena, StageInput, graph->input_count + 1);
  for (int i = 0; i < graph->input_count; i++) {
    inputs[i].dtype = graph->inputs[i]->dtype;
    inputs[i].rank = graph->inputs[i]->rank;
    if (!value_get_dims(graph->inputs[i], inputs[i].dims)) return OK;
  }
  Stage *stage;
  TRY(specialise(graph, inputs, &(SpecialiseHooks){.runs = runs, .context = &device}, arena, &stage));
  SelectOptions select = {.workspace_limit = (size_t)256 << 20};
  Plan *plan;
  TRY(plan_make(stage->ready, &(PlanTarget){.info = &device, .select = &select}, arena, &plan));
  for (uint32_t i = 0; i < plan->step_count; i++) check_step(&plan->steps[i], &select, arena);
  Plan *again;
  return plan_reread(plan, compiler, arena, &again);
}

// Each plan is read back from its text, too.
static void plan_all(int sm, bool optimise) {
  compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    Arena *arena = arena_new();
    Status status = plan_case(row, sm, optimise, arena);
    cr_expect(!status, "%s on sm_%d%s: %s", row->name, sm, optimise ? " in fp16" : "", status_message(status));
    status_free(status);
    arena_free(arena);
  }
  compiler_free(compiler);
}

Test(cuda_plan, every_case_on_hopper) { plan_all(90, false); }
Test(cuda_plan, every_case_on_turing) { plan_all(75, false); }
Test(cuda_plan, every_case_after_the_passes_in_half_precision) { plan_all(90, true); }
