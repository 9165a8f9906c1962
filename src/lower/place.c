// Where a plan's temporaries lie: in one block, in which bytes are shared by those that are never in use at the same time (pack.c).
#include "base/checked.h"
#include "lower/clocks.h"

// ---- when buffers are in use -------------------------------------------------------------------------------------------------

static void touch(Plan *plan, int buffer, int step) {
  if (buffer < 0) return;
  PlanBuffer *b = &plan->buffers[buffer];
  if (b->first_step < 0) b->first_step = step;
  b->last_step = step;
}

void plan_find_lifetimes(Plan *plan) {
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    touch(plan, step->workspace_buffer, (int)s);
    for (int i = 0; i < site_input_count(&step->site); i++) touch(plan, step->inputs[i].buffer, (int)s);
    for (int i = 0; i < step->node->output_count; i++) touch(plan, step->outputs[i].buffer, (int)s);
  }
}

static bool runs_beside(const Plan *plan) {
  bool beside = false;
  for (uint32_t s = 0; s < plan->step_count; s++) beside |= plan->steps[s].stream != 0;
  return beside;
}

// Of a plan whose steps run side by side: when each buffer is in use, by the order that streams and waits give.
typedef struct Spans {
  PlanClocks clocks;
  uint32_t *steps[PLAN_STREAMS];  // of each stream, and behind the last the number of all
  BufferSpan *spans;              // by buffer
} Spans;

static void use(Spans *spans, int buffer, uint32_t step) {
  if (buffer >= 0) span_add(&spans->spans[buffer], &spans->clocks, step);
}

static Status find_spans(const Plan *plan, Arena *arena, Spans *out) {
  TRY(clocks_find(plan, arena, &out->clocks));
  for (int i = 0; i < PLAN_STREAMS; i++) {
    out->steps[i] = arena_array(arena, uint32_t, plan->step_count + 1);
    out->steps[i][out->clocks.ends[i].done[i]] = plan->step_count;
  }
  out->spans = arena_array(arena, BufferSpan, plan->buffer_count);
  for (uint32_t b = 0; b < plan->buffer_count; b++) out->spans[b] = span_empty();
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    out->steps[step->stream][out->clocks.places[s]] = s;
    use(out, step->workspace_buffer, s);
    for (int i = 0; i < site_input_count(&step->site); i++) use(out, step->inputs[i].buffer, s);
    for (int i = 0; i < step->node->output_count; i++) use(out, step->outputs[i].buffer, s);
  }
  return OK;
}

// The first step that may not be over when somebody begins to use the buffer: what is used before that step alone is no neighbour of it.
static int first_beside(const Spans *spans, int buffer) {
  uint32_t first = UINT32_MAX;
  for (int i = 0; i < PLAN_STREAMS; i++) first = MIN(first, spans->steps[i][spans->spans[buffer].behind.done[i]]);
  return (int)first;
}

// ---- where they lie ----------------------------------------------------------------------------------------------------------

static void add_workspaces(Plan *plan, Arena *arena) {
  for (uint32_t s = 0; s < plan->step_count; s++) {
    PlanStep *step = &plan->steps[s];
    if (!step->selection.emission->workspace_bytes) continue;
    PlanBuffer *buffer = ARENA_PUSH(arena, plan->buffers, plan->buffer_count, plan->buffer_capacity);
    *buffer = (PlanBuffer){.kind = PLAN_ARENA,
                           .index = -1,
                           .bytes = step->selection.emission->workspace_bytes,
                           .first_step = -1,
                           .last_step = -1,
                           .name = "workspace"};
    step->workspace_buffer = (int)plan->buffer_count - 1;
  }
}

Status plan_place(Plan *plan, Arena *arena) {
  Spans spans;
  add_workspaces(plan, arena);
  plan_find_lifetimes(plan);
  bool beside = runs_beside(plan);
  if (beside) TRY(find_spans(plan, arena, &spans));
  PackItem *items = arena_array(arena, PackItem, plan->buffer_count);
  int *owner = arena_array(arena, int, plan->buffer_count);
  int count = 0;
  for (uint32_t b = 0; b < plan->buffer_count; b++) {
    PlanBuffer *buffer = &plan->buffers[b];
    if (buffer->kind != PLAN_ARENA || buffer->first_step < 0) continue;
    items[count] = (PackItem){.bytes = buffer->bytes, .first = buffer->first_step, .last = buffer->last_step};
    if (beside) items[count].first = first_beside(&spans, (int)b), items[count].span = &spans.spans[b];
    owner[count++] = (int)b;
    if (!checked_add(plan->temporary_bytes, align_up(buffer->bytes, PLAN_ALIGNMENT), &plan->temporary_bytes))
      FAIL(ERROR_OUT_OF_MEMORY, "all values together take more than the address space");
  }
  plan->arena_bytes = pack_intervals(items, count, PLAN_ALIGNMENT, arena);
  for (int i = 0; i < count; i++) plan->buffers[owner[i]].offset = items[i].offset;
  return OK;
}
