// See steps.h.
#include "run/steps.h"
#include <string.h>
#include "ir/origins.h"

Status steps_check_workspace(const Plan *plan, size_t limit) {
  for (uint32_t s = 0; limit && s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    size_t bytes = step->selection.emission->workspace_bytes;
    if (bytes > limit)
      FAIL(ERROR_UNSUPPORTED, "'%s' (%s) takes %zu bytes of workspace, more than the limit of %zu",
           step->node->outputs[0]->name, step->node->op->name, bytes, limit);
  }
  return OK;
}

bool place_is_callers(const Plan *plan, const PlanPlace *place) {
  return place->buffer >= 0 &&
         (plan->buffers[place->buffer].kind == PLAN_INPUT || plan->buffers[place->buffer].kind == PLAN_OUTPUT);
}

static bool reaches_caller(const Plan *plan, const PlanStep *step) {
  for (int i = 0; i < site_input_count(&step->site); i++)
    if (place_is_callers(plan, &step->inputs[i])) return true;
  for (int i = 0; i < step->node->output_count; i++)
    if (place_is_callers(plan, &step->outputs[i])) return true;
  return false;
}

void steps_lay_out(Steps *steps, const Plan *plan, Machine machine, Arena *arena) {
  *steps = (Steps){.plan = plan, .machine = machine};
  steps->constants = arena_array(arena, void *, plan->buffer_count);
  steps->sets = arena_array(arena, LaunchSet *, plan->step_count);
  steps->room = arena_array(arena, void *, 1 + plan->graph->input_count + plan->graph->output_count);
  steps->callers = arena_array(arena, uint32_t, plan->step_count);
  for (uint32_t s = 0; s < plan->step_count; s++) {
    steps->sets[s] = launch_set_new(plan->steps[s].selection.emission, &plan->steps[s].site, arena);
    if (reaches_caller(plan, &plan->steps[s])) steps->callers[steps->caller_count++] = s;
  }
}

typedef struct Memory {
  const Steps *steps;
  char *block;
  void *const *inputs, *const *outputs;
} Memory;

static void *address_of(const Memory *memory, const PlanPlace *place, DType dtype) {
  if (place->buffer < 0) return NULL;
  const PlanBuffer *b = &memory->steps->plan->buffers[place->buffer];
  char *base = b->kind == PLAN_INPUT      ? memory->inputs[b->index]
               : b->kind == PLAN_OUTPUT   ? memory->outputs[b->index]
               : b->kind == PLAN_CONSTANT ? memory->steps->constants[place->buffer]
               : memory->block            ? memory->block + b->offset
                                          : NULL;
  return base ? base + place->offset * (int64_t)dtype_size(dtype) : NULL;  // a tensor without elements may have no memory
}

static bool is_bound(const Steps *steps, void *block, void *const *inputs, void *const *outputs) {
  const Graph *graph = steps->plan->graph;
  size_t input_bytes = (size_t)graph->input_count * sizeof *inputs,
         output_bytes = (size_t)graph->output_count * sizeof *outputs;
  void **bound = steps->bound;
  return bound && bound[0] == block && (!input_bytes || !memcmp(bound + 1, inputs, input_bytes)) &&
         (!output_bytes || !memcmp(bound + 1 + graph->input_count, outputs, output_bytes));
}

static void note_bound(Steps *steps, void *block, void *const *inputs, void *const *outputs) {
  const Graph *graph = steps->plan->graph;
  steps->bound = steps->room;
  steps->bound[0] = block;
  for (int i = 0; i < graph->input_count; i++) steps->bound[1 + i] = inputs[i];
  for (int i = 0; i < graph->output_count; i++) steps->bound[1 + graph->input_count + i] = outputs[i];
}

static void bind_step(const Memory *memory, uint32_t number) {
  const PlanStep *step = &memory->steps->plan->steps[number];
  LaunchSet *set = memory->steps->sets[number];
  for (int i = 0; i < site_input_count(&step->site); i++)
    set->inputs[i] = address_of(memory, &step->inputs[i], step->site.inputs[i].dtype);
  for (int i = 0; i < step->node->output_count; i++)
    set->outputs[i] = address_of(memory, &step->outputs[i], step->site.outputs[i].dtype);
  set->workspace = address_of(memory, &(PlanPlace){.buffer = step->workspace_buffer}, DTYPE_U8);
  launch_set_patch(set);
}

void steps_bind(Steps *steps, void *block, void *const *inputs, void *const *outputs) {
  const Memory memory = {steps, block, inputs, outputs};
  if (is_bound(steps, block, inputs, outputs)) return;
  bool moved = !steps->bound || steps->bound[0] != block;
  note_bound(steps, block, inputs, outputs);
  for (uint32_t s = 0; moved && s < steps->plan->step_count; s++) bind_step(&memory, s);
  for (uint32_t c = 0; !moved && c < steps->caller_count; c++) bind_step(&memory, steps->callers[c]);
}

Status step_context(Status status, const Node *node) {
  return status_context(status, "running '%s' (%s)", node->outputs[0]->name, node->op->name);
}

Status steps_run_launch(const Steps *steps, uint32_t step, uint32_t launch, CudaStream stream, bool overlap) {
  return step_context(launch_set_run_one(steps->sets[step], launch, &steps->machine, stream, overlap),
                      steps->plan->steps[step].node);
}

Status steps_run_one(const Steps *steps, uint32_t step, CudaStream stream) {
  return step_context(launch_set_run(steps->sets[step], &steps->machine, stream), steps->plan->steps[step].node);
}

Status steps_run(const Steps *steps, CudaStream stream) {
  for (uint32_t s = 0; s < steps->plan->step_count; s++) TRY(steps_run_one(steps, s, stream));
  return OK;
}

StepReport step_report(const PlanStep *step, double milliseconds, Arena *arena) {
  return (StepReport){.name = step->node->outputs[0]->name,
                      .op = step->site.node->op->name,
                      .tactic = selection_text(&step->selection, arena),
                      .origins = node_origins_text(step->node, arena),
                      .milliseconds = milliseconds,
                      .predicted = selection_cost(&step->selection, &step->site) / 1e3,
                      .stream = step->stream};
}
