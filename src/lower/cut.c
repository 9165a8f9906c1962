// See cut.h.
#include "lower/cut_inside.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "ir/op.h"
#include "kernels/sequence/sequence.h"
#include "kernels/view/view.h"

static bool input_is_static(const Value *value) {
  if (value->kind != VALUE_TENSOR) return value->producer && value->producer->op->is_list;
  return value_is_static(value) && value->dtype != DTYPE_COUNT;
}

bool inputs_are_static(const Node *node) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !input_is_static(node->inputs[i])) return false;
  return true;
}

static bool outputs_are_static(const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (!value_is_static(node->outputs[i]) || node->outputs[i]->dtype == DTYPE_COUNT) return false;
  return true;
}

// Whether every input is known by then.
static bool inputs_are_made(const Cut *cut, const Node *node, int state) {
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (!value || value->constant) continue;
    if (cut->state[value->id] == MADE_LATER || (state == MADE_READY && cut->state[value->id] != MADE_READY)) return false;
  }
  return true;
}

// ---- where values come from --------------------------------------------------------------------------------------------------

Slot cut_slot(Cut *cut, Value *value) {
  if (!value) return (Slot){.kind = SLOT_CONSTANT};
  if (value->constant) return (Slot){.kind = SLOT_CONSTANT, .constant = value->constant};
  if (value->producer && value->producer->op->is_list) {
    const Node *list = value->producer;
    Slot slot = {.kind = value->kind == VALUE_SEQUENCE ? SLOT_SEQUENCE : SLOT_NOTHING, .dtype = value->dtype};
    slot.items = arena_array(cut->arena, Slot, (size_t)list->input_count + 1);
    for (; slot.count < list->input_count; slot.count++) slot.items[slot.count] = cut_slot(cut, list->inputs[slot.count]);
    return slot;
  }
  Slot *slot = &cut->slots[value->id];
  if (slot->kind == SLOT_READY && slot->index < 0) {  // first wish for it: it becomes an output of ready
    slot->index = cut->stage->ready->output_count;
    graph_mark_output(cut->stage->ready, cut->ready_map[value->id]);
  }
  return *slot;
}

Node *cut_copy_node(Graph *into, const Node *node, Value **map) {
  Node *copy = node_copy(into, node, map);
  for (int i = 0; i < node->output_count; i++) {
    map[node->outputs[i]->id] = copy->outputs[i];
    memcpy(copy->outputs[i]->order, node->outputs[i]->order, sizeof node->outputs[i]->order);
  }
  return copy;
}

static Value *ready_value(Cut *cut, Value *value) {
  Value **mapped = &cut->ready_map[value->id];
  if (!*mapped && value->constant) {
    *mapped = graph_add_constant(cut->stage->ready, value->name, value->constant);
    value_copy_open(*mapped, value);
    memcpy((*mapped)->order, value->order, sizeof value->order);
  }
  return *mapped;
}

// ---- what runs when ----------------------------------------------------------------------------------------------------------

bool attributes_are_known(const Node *node) {
  for (int i = 0; i < node->attribute_count; i++)
    for (int k = 0; node->attributes[i].kind == ATTR_DIMS && k < node->attributes[i].count; k++) {
      int64_t unused;
      if (!dim_get_constant(node->graph->dims, node->attributes[i].dims[k], &unused)) return false;
    }
  if (node->op != &op_region) return true;
  FOR_NODES(inner, region_body(node))
  if (!attributes_are_known(inner)) return false;
  return true;
}

// Devices copy with programs, which have no strings and no complex numbers: whatever moves those, the host does.
static bool is_moved_by_host(const Value *value) {
  return value->dtype == DTYPE_STRING || dtype_kind(value->dtype) == KIND_COMPLEX;
}

static bool node_is_ready(const Cut *cut, const Node *node) {
  if (!inputs_are_made(cut, node, MADE_READY)) return false;
  if (node->op->is_list) return true;
  if (node->op->is_control || node->op->data_dependent || cut_is_deferred(cut, node)) return false;
  if (!inputs_are_static(node) || !outputs_are_static(node) || !attributes_are_known(node)) return false;
  bool is_view = node->op->view && !is_moved_by_host(node->outputs[0]);
  return is_view || !cut->hooks->runs || cut->hooks->runs(cut->hooks->context, node);
}

static bool node_is_action(const Cut *cut, const Node *node) {
  if (node->op == &op_if || node->op == &op_region || cut_is_deferred(cut, node) || !inputs_are_made(cut, node, MADE_ACTION))
    return false;
  if (node->op->is_list) return true;
  if (node->op->view && !is_moved_by_host(node->outputs[0])) return false;  // costs nothing in the next stage
  if (!attributes_are_known(node)) return false;
  return inputs_are_static(node) || node->op->is_control || node->op->data_dependent;
}

static void take(Cut *cut, const Node *node, int state, Slot slot) {
  cut->taken[node->id] = true;
  for (int i = 0; i < node->output_count; i++) {
    slot.output = i;
    cut->state[node->outputs[i]->id] = (uint8_t)state;
    cut->slots[node->outputs[i]->id] = slot;
  }
}

static bool find_ready(Cut *cut) {
  bool all = true;
  FOR_NODES(node, cut->work) {
    if (node_is_ready(cut, node)) take(cut, node, MADE_READY, (Slot){.kind = SLOT_READY, .index = -1});
    else all = false;
  }
  return all;
}

static void make_ready(Cut *cut, Value *const *leaves, int leaf_count) {
  Graph *ready = cut->stage->ready = graph_new_inside(cut->work, cut->work->name);
  for (int i = 0; i < leaf_count; i++) {
    const Value *value = leaves[i];
    cut->ready_map[value->id] = graph_add_input(ready, value->name, value->dtype, value->rank, value->dims);
    value_copy_open(cut->ready_map[value->id], value);
  }
  FOR_NODES(node, cut->work) {
    if (!cut->taken[node->id] || node->op->is_list) continue;
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) ready_value(cut, node->inputs[i]);
    cut_copy_node(ready, node, cut->ready_map);
  }
}

static void take_action(Cut *cut, Node *node) {
  Stage *stage = cut->stage;
  take(cut, node, MADE_ACTION, (Slot){.kind = SLOT_ACTION, .index = (int)stage->action_count});
  if (node->op->is_list) return;
  Action *action = ARENA_PUSH(cut->arena, stage->actions, stage->action_count, stage->action_capacity);
  action->node = node;
  action->inputs = arena_array(cut->arena, Slot, node->input_count);
  for (int i = 0; i < node->input_count; i++) action->inputs[i] = cut_slot(cut, node->inputs[i]);
}

static bool passes_by_the_device(const Value *value) {
  return value->kind != VALUE_TENSOR || (is_moved_by_host(value) && (value->is_input || value->constant));
}

// Whether ready, where nothing waits, would be the graph over again.
static bool is_whole(const Cut *cut, Value *const *leaves, int leaf_count) {
  const Graph *work = cut->work;
  bool whole = leaf_count == work->input_count;
  for (int i = 0; i < leaf_count && whole; i++) whole = leaves[i] == work->inputs[i];
  for (int i = 0; i < work->output_count && whole; i++) whole = !passes_by_the_device(work->outputs[i]);
  for (Node *node = work->first; node && whole; node = node->next) whole = !node->op->is_list;
  return whole;
}

// A stage is given all of its inputs, and asked for its outputs by number.
static void use_whole(Cut *cut) {
  Stage *stage = cut->stage;
  stage->ready = cut->work;
  for (int i = 0; i < cut->work->input_count; i++) cut->work->inputs[i]->initial = NULL;
  for (int i = 0; i < cut->work->output_count; i++) cut->work->outputs[i]->given_as = NULL;
  stage->direct = true;
  stage->results = arena_array(cut->arena, Slot, cut->work->output_count);
  for (int i = 0; i < cut->work->output_count; i++) stage->results[i] = (Slot){.kind = SLOT_READY, .index = i};
}

static void finish(Cut *cut) {
  Stage *stage = cut->stage;
  const Graph *work = cut->work;
  stage->direct = true;
  stage->results = arena_array(cut->arena, Slot, work->output_count);
  for (int i = 0; i < work->output_count; i++) {
    Value *value = work->outputs[i];
    if (passes_by_the_device(value)) {
      stage->direct = false;
      stage->results[i] = cut_slot(cut, value);
      continue;
    }
    stage->results[i] = (Slot){.kind = SLOT_READY, .index = stage->ready->output_count};
    graph_mark_output(stage->ready, ready_value(cut, value));
  }
}

// Constants in rest and what actions are told would be of this call's sizes, and so are graphs that nodes hold.
static bool may_stay_open(const Cut *cut, Value *const *leaves, int leaf_count) {
  const Graph *work = cut->work;
  bool may = leaf_count == work->input_count;
  for (int i = 0; i < leaf_count && may; i++) may = leaves[i] == work->inputs[i];
  for (Node *node = work->first; node && may; node = node->next) may = !node->op->is_list && !open_rest_holds_graphs(node);
  for (uint32_t a = 0; a < cut->stage->action_count && may; a++)
    may = open_rest_takes_action(cut->open, cut->stage->actions[a].node);
  return may;
}

Status cut_graph(Graph *work, Value *const *leaves, int leaf_count, const SpecialiseHooks *hooks, OpenRest *open, Arena *arena,
                 Stage **out) {
  Cut cut = {.hooks = hooks, .arena = arena, .work = work, .stage = arena_new_of(arena, Stage)};
  Stage *stage = *out = cut.stage;
  cut.state = arena_array(arena, uint8_t, work->next_value_id);
  cut.taken = arena_array(arena, bool, work->next_node_id);
  cut.ready_map = arena_array(arena, Value *, work->next_value_id);
  cut.rest_map = arena_array(arena, Value *, work->next_value_id);
  cut.slots = arena_array(arena, Slot, work->next_value_id);
  cut.computed = int_map_new(arena);
  for (int i = 0; i < leaf_count; i++) {
    cut.state[leaves[i]->id] = MADE_READY;
    cut.slots[leaves[i]->id] = (Slot){.kind = SLOT_INPUT, .index = i};
  }
  stage->complete = find_ready(&cut);
  if (stage->complete && is_whole(&cut, leaves, leaf_count)) {
    use_whole(&cut);
    return OK;
  }
  make_ready(&cut, leaves, leaf_count);
  if (stage->complete) {
    finish(&cut);
    return OK;
  }
  // Actions: what the host can do as soon as ready has run.
  FOR_NODES(node, work)
  if (!cut.taken[node->id] && node_is_action(&cut, node)) take_action(&cut, node);
  cut.open = open;
  if (open && !may_stay_open(&cut, leaves, leaf_count)) cut.open = NULL;
  if (cut.open) open_rest_follow(cut.open, cut.ready_map);
  return cut_make_rest(&cut);
}
