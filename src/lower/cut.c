// See cut.h.
#include "lower/cut.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/deferred.h"
#include "ir/op.h"
#include "kernels/sequence/sequence.h"
#include "kernels/view/view.h"

enum { MAX_SMALL = 64 };  // elements of an operand that is fetched along with the one asked for

typedef struct Cut {
  const SpecialiseHooks *hooks;
  Arena *arena;
  Stage *stage;
  Graph *work;
  uint8_t *state;     // by value id: how far it is known
  bool *taken;        // by node id: it is in ready, an action, or a list of what these make
  Value **ready_map;  // by value id: its copy in `ready`
  Value **rest_map;   // by value id: its copy in `rest`
  Slot *slots;        // by value id, for values made before `rest`
  uint32_t rest_slot_capacity;
} Cut;
enum { MADE_LATER, MADE_READY, MADE_ACTION };

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

static bool is_deferred(const Cut *cut, const Node *node) { return cut->hooks->is_deferred && cut->hooks->is_deferred(node); }

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

static Slot slot_of(Cut *cut, Value *value) {
  if (!value) return (Slot){.kind = SLOT_CONSTANT};
  if (value->constant) return (Slot){.kind = SLOT_CONSTANT, .constant = value->constant};
  if (value->producer && value->producer->op->is_list) {
    const Node *list = value->producer;
    Slot slot = {.kind = value->kind == VALUE_SEQUENCE ? SLOT_SEQUENCE : SLOT_NOTHING, .dtype = value->dtype};
    slot.items = arena_array(cut->arena, Slot, (size_t)list->input_count + 1);
    for (; slot.count < list->input_count; slot.count++) slot.items[slot.count] = slot_of(cut, list->inputs[slot.count]);
    return slot;
  }
  Slot *slot = &cut->slots[value->id];
  if (slot->kind == SLOT_READY && slot->index < 0) {  // first wish for it: it becomes an output of ready
    slot->index = cut->stage->ready->output_count;
    graph_mark_output(cut->stage->ready, cut->ready_map[value->id]);
  }
  return *slot;
}

static Node *copy_node(Graph *into, const Node *node, Value **map) {
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

static Value *rest_value(Cut *cut, Value *value);

static Value *add_rest_input(Cut *cut, Value *value) {
  Graph *rest = cut->stage->rest;
  Dim dims[MAX_RANK];
  for (int i = 0; i < value->rank; i++) dims[i] = dim_import(rest->dims, cut->work->dims, value->dims[i]);
  Value *input = graph_add_input(rest, value->name, value->dtype, value->rank, dims);
  input->kind = value->kind;
  value_copy_open(input, value);
  uint32_t count = (uint32_t)rest->input_count - 1;
  if (count == cut->rest_slot_capacity) {
    uint32_t capacity = cut->rest_slot_capacity;
    cut->stage->rest_inputs = arena_grow(cut->arena, cut->stage->rest_inputs, sizeof(Slot), count, &cut->rest_slot_capacity);
    cut->stage->fetch = arena_grow(cut->arena, cut->stage->fetch, sizeof(bool), count, &capacity);
  }
  cut->stage->rest_inputs[count] = slot_of(cut, value);
  return input;
}

// Places the value into rest, as an input if it is made before; a list is made again.
static Value *rest_value(Cut *cut, Value *value) {
  if (!value) return NULL;
  Value **mapped = &cut->rest_map[value->id];
  if (*mapped) return *mapped;
  if (value->constant) {
    *mapped = graph_add_constant(cut->stage->rest, value->name, value->constant);
    value_copy_open(*mapped, value);
    return *mapped;
  }
  if (!value->producer || !value->producer->op->is_list) return *mapped = add_rest_input(cut, value);
  for (int i = 0; i < value->producer->input_count; i++) rest_value(cut, value->producer->inputs[i]);
  copy_node(cut->stage->rest, value->producer, cut->rest_map);
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
  if (node->op->is_control || node->op->data_dependent || is_deferred(cut, node)) return false;
  if (!inputs_are_static(node) || !outputs_are_static(node) || !attributes_are_known(node)) return false;
  bool is_view = node->op->view && !is_moved_by_host(node->outputs[0]);
  return is_view || !cut->hooks->runs || cut->hooks->runs(cut->hooks->context, node);
}

static bool node_is_action(const Cut *cut, const Node *node) {
  if (node->op == &op_if || node->op == &op_region || is_deferred(cut, node) || !inputs_are_made(cut, node, MADE_ACTION))
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
  Graph *ready = cut->stage->ready = graph_new(cut->arena, cut->work->ops, cut->work->name);
  for (int i = 0; i < leaf_count; i++) {
    const Value *value = leaves[i];
    cut->ready_map[value->id] = graph_add_input(ready, value->name, value->dtype, value->rank, value->dims);
    value_copy_open(cut->ready_map[value->id], value);
  }
  FOR_NODES(node, cut->work) {
    if (!cut->taken[node->id] || node->op->is_list) continue;
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) ready_value(cut, node->inputs[i]);
    copy_node(ready, node, cut->ready_map);
  }
}

static void take_action(Cut *cut, Node *node) {
  Stage *stage = cut->stage;
  take(cut, node, MADE_ACTION, (Slot){.kind = SLOT_ACTION, .index = (int)stage->action_count});
  if (node->op->is_list) return;
  Action *action = ARENA_PUSH(cut->arena, stage->actions, stage->action_count, stage->action_capacity);
  action->node = node;
  action->inputs = arena_array(cut->arena, Slot, node->input_count);
  for (int i = 0; i < node->input_count; i++) action->inputs[i] = slot_of(cut, node->inputs[i]);
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
      stage->results[i] = slot_of(cut, value);
      continue;
    }
    stage->results[i] = (Slot){.kind = SLOT_READY, .index = stage->ready->output_count};
    graph_mark_output(stage->ready, ready_value(cut, value));
  }
}

// ---- what must be known before the rest is specialised -----------------------------------------------------------------------

// The operand whose content a translation asked for, and with it small integers, which it is likely to ask for next.
static bool is_wanted(const Node *node, int index) {
  const Value *value = node->inputs[index];
  int64_t dims[MAX_RANK], count = 1;
  if (node->op == &op_if) return index == 0;
  int64_t wanted = node_int(node, DEFERRED_WANTS, -1);
  if (wanted < 0 || index == wanted) return index == wanted;
  bool small = value->kind == VALUE_TENSOR && (dtype_is_integer(value->dtype) || value->dtype == DTYPE_BOOL) &&
               value->rank <= 1 && value_get_dims(value, dims);
  for (int i = 0; small && i < value->rank; i++) count *= dims[i];
  return small && count <= MAX_SMALL;
}

// What its first `if`s and deferred operators wait for.
static void mark_fetches(Cut *cut) {
  Stage *stage = cut->stage;
  IntMap *numbers = int_map_new(cut->arena);  // input value -> its number + 1
  for (int k = 0; k < stage->rest->input_count; k++)
    int_map_set(numbers, stage->rest->inputs[k]->id, (void *)(uintptr_t)(k + 1));
  FOR_NODES(node, stage->rest) {
    if (node->op != &op_if && !is_deferred(cut, node)) continue;
    for (int i = 0; i < node->input_count; i++) {
      if (!node->inputs[i] || !is_wanted(node, i)) continue;
      uintptr_t number = (uintptr_t)int_map_get(numbers, node->inputs[i]->id);
      if (number) stage->fetch[number - 1] = true;
    }
  }
}

static Status check_progress(const Stage *stage) {
  bool any_fetch = false;
  for (int i = 0; i < stage->rest->input_count; i++) any_fetch |= stage->fetch[i];
  if (any_fetch || stage->action_count || !stage->rest->node_count) return OK;
  const Node *stuck = stage->rest->first;
  FAIL(ERROR_UNSUPPORTED, "node '%s' (%s) cannot be given a static shape", stuck->output_count ? stuck->outputs[0]->name : "",
       stuck->op->name);
}

static Status make_rest(Cut *cut) {
  Stage *stage = cut->stage;
  Graph *work = cut->work;
  stage->rest = graph_new(cut->arena, work->ops, work->name);
  FOR_NODES(node, work) {
    if (cut->taken[node->id]) continue;
    for (int i = 0; i < node->input_count; i++) rest_value(cut, node->inputs[i]);
    copy_node(stage->rest, node, cut->rest_map);
  }
  // Sizes that rest speaks of come in with a value that has them, even where nobody reads it.
  const StringMap *symbols = graph_attribute_symbols(stage->rest, cut->arena);
  FOR_NODES(node, work)
  for (int i = 0; i < node->output_count; i++)
    if (cut->state[node->outputs[i]->id] != MADE_LATER && value_shows_symbol(node->outputs[i], symbols))
      rest_value(cut, node->outputs[i]);
  for (int i = 0; i < work->output_count; i++) graph_mark_output(stage->rest, rest_value(cut, work->outputs[i]));
  mark_fetches(cut);
  return check_progress(stage);
}

Status cut_graph(Graph *work, Value *const *leaves, int leaf_count, const SpecialiseHooks *hooks, Arena *arena, Stage **out) {
  Cut cut = {.hooks = hooks, .arena = arena, .work = work, .stage = arena_new_of(arena, Stage)};
  Stage *stage = *out = cut.stage;
  cut.state = arena_array(arena, uint8_t, work->next_value_id);
  cut.taken = arena_array(arena, bool, work->next_node_id);
  cut.ready_map = arena_array(arena, Value *, work->next_value_id);
  cut.rest_map = arena_array(arena, Value *, work->next_value_id);
  cut.slots = arena_array(arena, Slot, work->next_value_id);
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
  return make_rest(&cut);
}
