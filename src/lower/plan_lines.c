// Where planning writes results into lines, and leaves concatenations out whose operands lie there; see lines.h.
#include <string.h>

#include "kernels/gather/gather.h"
#include "kernels/view/view.h"
#include "lower/plan_inside.h"

static Line *line_of(const Planner *p, const Value *value, int64_t *at) {
  Line *line = lines_of(p->lines, value, at);
  return line ? line : lines_joined(p->lines, value, at);
}

// Where the value lies in its line, whose memory is made with the first of them; false where it has none.
static bool place_in_line(Planner *p, const Value *value, TensorDesc *desc, PlanPlace *place) {
  int64_t at, dims[MAX_RANK], strides[MAX_RANK];
  Line *line = line_of(p, value, &at);
  if (!line) return false;
  line_layout(line, dims, strides);
  if (line->buffer < 0) {
    planner_add_buffer(p, PLAN_ARENA, -1, line->like, dims);
    line->buffer = (int)p->plan->buffer_count - 1;
    memcpy(p->plan->buffers[line->buffer].order, line->like->order, MAX_RANK);
  }
  *desc = (TensorDesc){.dtype = value->dtype, .rank = value->rank};
  value_get_dims(value, desc->dims);
  memcpy(desc->strides, strides, sizeof strides);
  desc->offset = (at - line->low) * strides[line->axis];
  *place = (PlanPlace){line->buffer, desc->offset};
  return true;
}

static void bind_in_line(Planner *p, const Value *value) {
  Binding binding = {.bound = true};
  PlanPlace place;
  place_in_line(p, value, &binding.desc, &place);
  binding.buffer = place.buffer;
  binding.offset = place.offset;
  *planner_binding(p, value) = binding;
}

// The step with its waiting results in their lines, by the same implementation; false where that cannot be.
static Status try_lines(Planner *p, const Node *node, PlanStep *step, bool *done) {
  const Selection *alone = &step->selection;
  Selection selection = {0};
  Site site = step->site;
  TensorDesc *outputs = arena_copy(p->arena, site.outputs, (size_t)node->output_count * sizeof *outputs);
  PlanPlace place;
  *done = false;
  if (!alone->implementation->writes_anywhere) return OK;
  for (int i = 0; i < node->output_count; i++)
    if (step->outputs[i].buffer < 0) place_in_line(p, node->outputs[i], &outputs[i], &place);
  site.outputs = outputs;
  TRY(select_implementation(&site, p->target->select, alone->implementation->general, p->arena, &selection));
  *done = selection.implementation == alone->implementation;
  if (!*done) return OK;
  step->site = site;
  step->selection = selection;
  return OK;
}

// Results that have no memory yet are written into their lines, or get memory of their own where the way that computes them cannot.
Status planner_settle(Planner *p, const Node *node, PlanStep *step) {
  bool waits = false, done = false;
  for (int i = 0; i < node->output_count; i++) waits |= step->outputs[i].buffer < 0;
  if (!waits) return OK;
  TRY(try_lines(p, node, step, &done));
  for (int i = 0; i < node->output_count; i++) {
    const Value *value = node->outputs[i];
    if (planner_binding(p, value)->buffer >= 0) continue;
    if (done) bind_in_line(p, value);
    else TRY(planner_bind_new(p, value, PLAN_ARENA, -1));
    step->outputs[i] = (PlanPlace){planner_binding(p, value)->buffer, planner_binding(p, value)->offset};
  }
  return OK;
}

static bool lies_so(Planner *p, const Value *value, const TensorDesc *desc, int buffer, int64_t offset) {
  const Binding *binding = planner_binding(p, value);
  return binding->bound && binding->buffer == buffer && binding->offset == offset &&
         !memcmp(binding->desc.strides, desc->strides, (size_t)desc->rank * sizeof *desc->strides);
}

// Whether its place in a line is only its own: not that of a concatenation which became a step of its own, whose operands may lie there.
static bool may_be_copied(const Planner *p, const Value *value) {
  int64_t at;
  while (value->producer && value->producer->op == &op_slice) value = value->producer->inputs[0];
  return !lines_joined(p->lines, value, &at);
}

// Afterwards the concatenation reads the copy.
static Status copy_into_line(Planner *p, Node *concat, int index, Line *line, int64_t at) {
  Value *source = concat->inputs[index];
  Node *copy = planner_add_copy(p->plan->graph, concat, source);
  TRY(node_infer(copy));
  memcpy(copy->outputs[0]->order, line->like->order, sizeof line->like->order);
  lines_add(p->lines, copy->outputs[0], line, at);
  TRY(planner_plan_node(p, copy));
  node_set_input(concat, index, copy->outputs[0]);
  planner_note_copy(p, (PlanCopy){copy, concat, index, source});
  return OK;
}

// A concatenation whose operands lie where it is, but for one at most, which is copied there. *done: it is there, and takes no step.
Status planner_plan_in_line(Planner *p, Node *node, bool *done) {
  TensorDesc desc;
  PlanPlace place;
  int missing = -1, count = 0;
  int64_t at, missing_at = 0;
  Line *line = node->op == &op_concat ? lines_joined(p->lines, node->outputs[0], &at) : NULL;
  *done = false;
  if (!line || !place_in_line(p, node->outputs[0], &desc, &place)) return OK;
  for (int i = 0; i < node->input_count; i++) {
    int64_t width = node->inputs[i]->dims[line->axis];
    if (width && !lies_so(p, node->inputs[i], &desc, place.buffer, place.offset)) missing = i, missing_at = at, count++;
    place.offset += width * desc.strides[line->axis];
    at += width;
  }
  if (count > 1 || (count && !may_be_copied(p, node->inputs[missing]))) return OK;
  if (count) TRY(copy_into_line(p, node, missing, line, missing_at));
  if (count && planner_binding(p, node->inputs[missing])->buffer != line->buffer) return OK;
  bind_in_line(p, node->outputs[0]);
  *done = true;
  return OK;
}
