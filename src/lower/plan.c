// Making a plan: one walk over the nodes binds every value to a place (views become strides of their source, what is concatenated lies where it is wanted); then steps get their streams (streams.c) and
// buffers their places (place.c). See plan.h.
#include "lower/plan_inside.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/fused.h"
#include "kernels/gather/gather.h"
#include "kernels/view/view.h"
#include "lower/alike.h"
#include "lower/streams.h"

Binding *planner_binding(Planner *p, const Value *value) {
  if (value->id >= p->binding_capacity) {
    // All that the graph has; copies come behind them.
    uint32_t capacity = MAX(MAX(value->id + 1, p->plan->graph->next_value_id), p->binding_capacity / 2 * 3);
    Binding *grown = arena_array(p->arena, Binding, capacity);
    if (p->binding_capacity) memcpy(grown, p->bindings, p->binding_capacity * sizeof *grown);
    p->bindings = grown;
    p->binding_capacity = capacity;
  }
  return &p->bindings[value->id];
}

void order_strides(int rank, const int64_t *dims, const uint8_t *order, int64_t *strides) {
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; i--) {
    strides[order[i]] = stride;
    stride *= dims[order[i]];
  }
}

// What the value's dims and strides are in every call; NULL where nobody knows, or nothing differs.
static OpenDims *open_dims(Planner *p, const Value *value, const TensorDesc *desc) {
  if (!value->open) return NULL;
  OpenDims *open = arena_new_of(p->arena, OpenDims);
  for (int i = 0; i < desc->rank; i++) {
    open->dims[i] = extent_of(desc->dims[i], value->open[i]);
    if (!open->dims[i].open && value->open[i] != desc->dims[i]) return NULL;
  }
  return open;
}

static void open_strides(Planner *p, int rank, const uint8_t *order, OpenDims *open) {
  Extent stride = extent_static(1);
  for (int i = rank - 1; i >= 0; i--) {
    open->strides[order[i]] = stride;
    stride = extent_mul(p->plan->graph->dims, stride, open->dims[order[i]]);
  }
}

PlanBuffer *planner_add_buffer(Planner *p, PlanBufferKind kind, int index, const Value *value, const int64_t *dims) {
  PlanBuffer *buffer = ARENA_PUSH(p->arena, p->plan->buffers, p->plan->buffer_count, p->plan->buffer_capacity);
  int64_t count = 1;
  for (int i = 0; i < value->rank; i++) count *= dims[i];
  *buffer = (PlanBuffer){.kind = kind,
                         .index = index,
                         .bytes = (size_t)count * dtype_size(value->dtype),
                         .first_step = -1,
                         .last_step = -1,
                         .name = value->name};
  return buffer;
}

// Dense memory that the value has for itself, in the value's stride order; what a caller gave is row-major.
static Status bind_alone(Planner *p, const Value *value, PlanBufferKind kind) {
  Binding *binding = planner_binding(p, value);
  TensorDesc *desc = &binding->desc;
  desc->dtype = value->dtype;
  desc->rank = value->rank;
  if (!value_get_dims(value, desc->dims))
    FAIL(ERROR_INTERNAL, "value '%s' reached the planner without static dims", value->name);
  TRY(value_check_size(value));
  uint8_t row_major[MAX_RANK];
  for (int i = 0; i < MAX_RANK; i++) row_major[i] = (uint8_t)i;
  const uint8_t *order = kind == PLAN_INPUT ? row_major : value->order;
  order_strides(desc->rank, desc->dims, order, desc->strides);
  desc->constant = value->constant;
  OpenDims *open = open_dims(p, value, desc);
  if (open) open_strides(p, desc->rank, order, open);
  desc->open = open;
  binding->bound = true;
  binding->buffer = -1;
  binding->offset = 0;
  return OK;
}

// ... in a buffer.
Status planner_bind_new(Planner *p, const Value *value, PlanBufferKind kind, int index) {
  TRY(bind_alone(p, value, kind));
  Binding *binding = planner_binding(p, value);
  PlanBuffer *buffer = planner_add_buffer(p, kind, index, value, binding->desc.dims);
  buffer->constant = value->constant;
  for (int i = 0; i < MAX_RANK; i++) buffer->order[i] = kind == PLAN_INPUT ? (uint8_t)i : value->order[i];
  binding->buffer = (int)p->plan->buffer_count - 1;
  if (kind == PLAN_CONSTANT) p->plan->constant_bytes += buffer->bytes;
  return OK;
}

static Status bind_constant(Planner *p, const Value *value) {
  if (value->constant && !planner_binding(p, value)->bound) return planner_bind_new(p, value, PLAN_CONSTANT, -1);
  return OK;
}

// A reshaped row-major constant is still a known constant.
static const Tensor *reshaped(Planner *p, const TensorDesc *source, const TensorDesc *to) {
  if (!source->constant || !desc_is_row_major(source)) return NULL;
  Tensor *same = arena_copy(p->arena, source->constant, sizeof *same);
  same->rank = to->rank;
  memcpy(same->dims, to->dims, sizeof same->dims);
  return same;
}

static OpenDims *view_dims(Planner *p, const Value *value, const TensorDesc *desc) {
  OpenDims *open = open_dims(p, value, desc);
  if (open || value->open) return open;
  open = arena_new_of(p->arena, OpenDims);
  for (int i = 0; i < desc->rank; i++) open->dims[i] = extent_static(desc->dims[i]);
  return open;
}

static bool regroup(Planner *p, const TensorDesc *from, const TensorDesc *to, const OpenDims *open, Extent *strides) {
  Extent dims[MAX_RANK], old_strides[MAX_RANK], new_dims[MAX_RANK];
  for (int i = 0; i < from->rank; i++) dims[i] = desc_extent(from, i), old_strides[i] = desc_stride(from, i);
  for (int i = 0; i < to->rank; i++) new_dims[i] = open ? open->dims[i] : extent_static(to->dims[i]);
  return strides_reshape(p->plan->graph->dims, from->rank, dims, old_strides, to->rank, new_dims, strides);
}

// The output of a view node as strides over the place of its input; false where that takes a copy.
static bool view_of(Planner *p, const Node *node, const Binding source, Binding *out) {
  Binding result = source;
  const TensorDesc *from = &source.desc;
  TensorDesc *to = &result.desc;
  ViewMap map = {0};
  node->op->view(node, &map);
  to->rank = node->outputs[0]->rank;
  to->constant = NULL;
  value_get_dims(node->outputs[0], to->dims);
  OpenDims *open = node->outputs[0]->open || from->open ? view_dims(p, node->outputs[0], to) : NULL;
  Extent strides[MAX_RANK];
  if (map.regroups) {
    if (!regroup(p, from, to, open, strides)) return false;
    to->constant = reshaped(p, from, to);
  }
  for (int i = 0; i < to->rank && !map.regroups; i++) {
    const ViewAxis *axis = &map.axes[i];
    Extent stride = axis->source < 0 ? extent_static(0) : desc_stride(from, axis->source);
    strides[i] = extent_mul(p->plan->graph->dims, stride, extent_static(axis->step));
    result.offset += to->dims[i] ? stride.now * axis->start : 0;
  }
  for (int i = 0; i < to->rank; i++) to->strides[i] = strides[i].now;
  if (open) memcpy(open->strides, strides, (size_t)to->rank * sizeof *strides);
  to->open = open;
  *out = result;
  return true;
}

static bool bind_view(Planner *p, const Node *node) {
  Binding result;
  if (!view_of(p, node, *planner_binding(p, node->inputs[0]), &result)) return false;
  *planner_binding(p, node->outputs[0]) = result;
  return true;
}

// Appends, before `node`, a copy of input `index` in that value's own stride order, and rebinds the input to it.
static Status insert_copy(Planner *p, Node *node, int index, bool row_major);

static Status fill_site(Planner *p, Node *node, PlanStep *step) {
  int *numbers;
  step->site =
      (Site){.device = p->target->info, .tf32 = p->target->tf32, .dims = p->plan->graph->dims, .best = p->target->select->best};
  fused_site(node, p->arena, &step->site, &numbers);
  int count = site_input_count(&step->site);
  TensorDesc *inputs = arena_array(p->arena, TensorDesc, count);
  TensorDesc *outputs = arena_array(p->arena, TensorDesc, node->output_count);
  step->inputs = arena_array(p->arena, PlanPlace, count);
  step->outputs = arena_array(p->arena, PlanPlace, node->output_count);
  for (int i = 0; i < count; i++) {
    step->inputs[i].buffer = -1;
    if (numbers[i] < 0) {
      inputs[i].absent = true;
      continue;
    }
    const Value *value = node->inputs[numbers[i]];
    Binding *binding = planner_binding(p, value);
    if (!binding->bound) FAIL(ERROR_INTERNAL, "value '%s' is used before it is made", value->name);
    inputs[i] = binding->desc;
    inputs[i].offset = binding->offset;
    step->inputs[i] = (PlanPlace){binding->buffer, binding->offset};
  }
  for (int i = 0; i < node->output_count; i++) {
    Binding *binding = planner_binding(p, node->outputs[i]);
    outputs[i] = binding->desc;
    outputs[i].offset = binding->offset;
    step->outputs[i] = (PlanPlace){binding->buffer, binding->offset};
  }
  step->node = node;
  step->site.inputs = inputs;
  step->site.outputs = outputs;
  step->workspace_buffer = -1;
  return OK;
}

static bool is_empty(const Value *value) {
  int64_t dims[MAX_RANK];
  if (!value_get_dims(value, dims)) return false;
  for (int k = 0; k < value->rank; k++)
    if (!dims[k]) return true;
  return false;
}

// A step without an effect: it makes nothing, and its indices cannot be wrong.
static bool does_nothing(const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (!is_empty(node->outputs[i])) return false;
  int indices = node->op->index_operand;
  return !indices || is_empty(node->inputs[indices]);
}

static int64_t element_count(const TensorDesc *desc) {
  int64_t count = 1;
  for (int i = 0; i < desc->rank; i++) count *= desc->dims[i];
  return count;
}

// Whether `output`, seen through the views that make it of `value`, is all of it and lies row-major where `value` is dense in its own order.
static bool seen_row_major(Planner *p, const Value *value, const Value *output) {
  enum { MOST_VIEWS = 16 };
  const Node *views[MOST_VIEWS];
  int count = 0;
  for (const Value *v = output; v != value; v = v->producer->inputs[0]) {
    const Node *node = v->producer;
    if (!node || count == MOST_VIEWS || !node->op->view) return false;
    views[count++] = node;
  }
  Binding place = {.desc = {.dtype = value->dtype, .rank = value->rank}};
  if (!value_get_dims(value, place.desc.dims)) return false;
  order_strides(value->rank, place.desc.dims, value->order, place.desc.strides);
  int64_t all = element_count(&place.desc);
  while (count--)
    if (!view_of(p, views[count], place, &place)) return false;
  return place.offset == 0 && element_count(&place.desc) == all && desc_is_row_major(&place.desc);
}

// The graph output number whose buffer `value` can be written to directly, or -1.
static int direct_output(Planner *p, const Value *value) {
  const Graph *graph = p->plan->graph;
  for (int i = 0; i < graph->output_count; i++)
    if (seen_row_major(p, value, graph->outputs[i])) return i;
  return -1;
}

// What copies of such a value are made of: programs have no strings and no complex numbers.
static const OpDef *copies_of(const Value *value) {
  bool scalar = value->dtype != DTYPE_STRING && dtype_kind(value->dtype) != KIND_COMPLEX;
  return scalar ? &op_elementwise : &op_bitcast;
}

// Where the results of a step will be, as far as that is known before it is.
static Status bind_results(Planner *p, const Node *node) {
  for (int i = 0; i < node->output_count; i++) {
    const Value *value = node->outputs[i];
    int64_t at;
    int direct = direct_output(p, value);
    if (direct < 0 && lines_of(p->lines, value, &at)) TRY(bind_alone(p, value, PLAN_ARENA));
    else TRY(planner_bind_new(p, value, direct >= 0 ? PLAN_OUTPUT : PLAN_ARENA, direct));
  }
  return OK;
}

Status planner_plan_node(Planner *p, Node *node) {
  Plan *plan = p->plan;
  bool in_line;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i]) TRY(bind_constant(p, node->inputs[i]));
  TRY(planner_plan_in_line(p, node, &in_line));
  if (in_line) return OK;
  if (node->op->view && node->inputs[0]) {
    if (bind_view(p, node)) return OK;
    TRY(insert_copy(p, node, 0, true));
    if (bind_view(p, node)) return OK;
    FAIL(ERROR_INTERNAL, "a view of value '%s' could not be resolved", node->inputs[0]->name);
  }
  TRY(bind_results(p, node));
  if (does_nothing(node)) return OK;
  PlanStep step = {0};
  TRY(fill_site(p, node, &step));
  // What copies are made of must take any strides itself.
  bool copy = node->op == copies_of(node->outputs[0]);
  TRY(select_implementation(&step.site, p->target->select, copy, p->arena, &step.selection));
  // Nothing reads these strides: make every strided input dense, first in its own order, then row-major.
  for (int attempt = 0; attempt < 2 && !step.selection.implementation && !copy; attempt++) {
    bool row_major = attempt == 1;
    bool changed = false;
    for (int i = 0; i < node->input_count; i++) {
      if (!node->inputs[i]) continue;
      const Binding *binding = planner_binding(p, node->inputs[i]);
      bool fine = row_major ? desc_is_row_major(&binding->desc)
                            : desc_has_order(&binding->desc, node->inputs[i]->order) || desc_is_row_major(&binding->desc);
      if (fine) continue;
      TRY(insert_copy(p, node, i, row_major));
      changed = true;
    }
    if (!changed && !row_major) continue;
    TRY(fill_site(p, node, &step));
    TRY(select_implementation(&step.site, p->target->select, row_major, p->arena, &step.selection));
  }
  if (!step.selection.implementation)
    FAIL(ERROR_UNSUPPORTED, "nothing computes '%s' (%s) on %s", node->outputs[0]->name, node->op->name, p->target->info->name);
  TRY(planner_settle(p, node, &step));
  *ARENA_PUSH(p->arena, plan->steps, plan->step_count, plan->step_capacity) = step;
  return OK;
}

static Program *identity_program(Arena *arena, DType dtype) {
  Program *program = program_new(arena, 1);
  program_output(program, program_input(program, 0, dtype));
  return program;
}

// A node that copies its input, not yet inferred.
Node *planner_add_copy(Graph *graph, Node *at, Value *source) {
  Node *copy = graph_add(graph, at, copies_of(source), 1, &source, 1);
  if (copy->op->has_program) node_set_program(copy, "program", identity_program(graph->arena, source->dtype));
  else node_set_int(copy, "dtype", source->dtype);
  return copy;
}

static Status plan_copy(Planner *p, Node *at, Value *source, Value **out, bool row_major) {
  Graph *graph = p->plan->graph;
  Node *copy = planner_add_copy(graph, at, source);
  TRY(node_infer(copy));
  value_copy_open(copy->outputs[0], source);
  if (!row_major) memcpy(copy->outputs[0]->order, source->order, sizeof source->order);
  TRY(planner_plan_node(p, copy));
  *out = copy->outputs[0];
  return OK;
}

void planner_note_copy(Planner *p, PlanCopy copy) {
  *ARENA_PUSH(p->arena, p->plan->copies, p->plan->copy_count, p->plan->copy_capacity) = copy;
}

static Status insert_copy(Planner *p, Node *node, int index, bool row_major) {
  Value *copy;
  Value *source = node->inputs[index];
  TRY(plan_copy(p, node, source, &copy, row_major));
  node_set_input(node, index, copy);
  planner_note_copy(p, (PlanCopy){copy->producer, node, index, source});
  return OK;
}

// Every graph output must lie in its own caller's buffer; values that do not (views, inputs, constants, doubles) are copied there.
static Status plan_outputs(Planner *p) {
  Graph *graph = p->plan->graph;
  for (int i = 0; i < graph->output_count; i++) {
    Value *value = graph->outputs[i];
    TRY(bind_constant(p, value));
    Binding *binding = planner_binding(p, value);
    if (!binding->bound) FAIL(ERROR_INTERNAL, "output '%s' is never made", value->name);
    if (binding->buffer >= 0 && p->plan->buffers[binding->buffer].kind == PLAN_OUTPUT &&
        p->plan->buffers[binding->buffer].index == i && binding->offset == 0 && desc_is_row_major(&binding->desc))
      continue;
    Node *copy = planner_add_copy(graph, NULL, value);
    TRY(node_infer(copy));
    value_copy_open(copy->outputs[0], value);
    planner_note_copy(p, (PlanCopy){.node = copy});
    TRY(planner_bind_new(p, copy->outputs[0], PLAN_OUTPUT, i));
    if (does_nothing(copy)) continue;
    PlanStep step = {0};
    TRY(fill_site(p, copy, &step));
    TRY(select_implementation(&step.site, p->target->select, true, p->arena, &step.selection));
    if (!step.selection.implementation)
      FAIL(ERROR_UNSUPPORTED, "nothing copies output '%s' on %s", value->name, p->target->info->name);
    *ARENA_PUSH(p->arena, p->plan->steps, p->plan->step_count, p->plan->step_capacity) = step;
  }
  return OK;
}

Status plan_make(Graph *graph, const PlanTarget *target, Arena *arena, Plan **out) {
  SelectOptions select = *target->select;
  select.alike = alike_new(arena);
  Planner p = {.arena = arena, .target = &(PlanTarget){target->info, target->tf32, &select, target->streams}};
  Plan *plan = p.plan = arena_new_of(arena, Plan);
  plan->graph = graph;
  plan->before = (GraphNumbers){graph->next_value_id, graph->next_node_id, graph->next_suffix};
  plan->device = target->info;
  plan->tf32 = target->tf32;
  p.lines = lines_find(graph, target->info, arena);
  for (int i = 0; i < graph->input_count; i++) TRY(planner_bind_new(&p, graph->inputs[i], PLAN_INPUT, i));
  FOR_NODES(node, graph)
  TRY(status_context(planner_plan_node(&p, node), "while planning '%s'",
                     node->output_count ? node->outputs[0]->name : node->op->name));
  TRY(plan_outputs(&p));
  streams_assign(plan, target->streams, arena);
  TRY(plan_place(plan, arena));
#ifdef INGOT_DEBUG
  TRY(plan_verify(plan, arena));
#endif
  *out = plan;
  return OK;
}

void plan_take_copies_out(const Plan *plan) {
  for (uint32_t i = plan->copy_count; i--;) {
    const PlanCopy *copy = &plan->copies[i];
    if (copy->reader) node_set_input(copy->reader, copy->index, copy->source);
    node_remove(copy->node);
  }
  // The next plan's copies are called like this one's.
  plan->graph->next_value_id = plan->before.value_id;
  plan->graph->next_node_id = plan->before.node_id;
  plan->graph->next_suffix = plan->before.suffix;
}
