// See cut.h.
#include "lower/cut.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/deferred.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "ir/op.h"
#include "lower/open_rest.h"
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
  OpenRest *open;     // rest speaks of sizes as the model does; NULL: of those of this call
  Value **ready_map;  // by value id: its copy in `ready`
  Value **rest_map;   // by value id: its copy in `rest`
  IntMap *computed;   // nodes of rest, by id, that compute small integers which are known before
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
  const Dim *said = cut->open && value->open ? value->open : value->dims;
  for (int i = 0; i < value->rank; i++) dims[i] = dim_import(rest->dims, cut->work->dims, said[i]);
  Value *input = graph_add_input(rest, value->name, value->dtype, value->rank, dims);
  input->kind = value->kind;
  if (!cut->open) value_copy_open(input, value);
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
  if (value->constant && cut->open && (*mapped = open_rest_constant(cut->open, cut->stage->rest, value))) return *mapped;
  if (value->constant) {
    *mapped = graph_add_constant(cut->stage->rest, value->name, value->constant);
    if (!cut->open) value_copy_open(*mapped, value);
    return *mapped;
  }
  if (!value->producer || !value->producer->op->is_list) return *mapped = add_rest_input(cut, value);
  for (int i = 0; i < value->producer->input_count; i++) rest_value(cut, value->producer->inputs[i]);
  copy_node(cut->stage->rest, value->producer, cut->rest_map);
  return *mapped;
}

static Node *copy_to_rest(Cut *cut, const Node *node) {
  Node *copy = copy_node(cut->stage->rest, node, cut->rest_map);
  if (cut->open) open_rest_node(copy);
  return copy;
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

static bool is_small(const Value *value) {
  int64_t dims[MAX_RANK], count = 1;
  bool small = value->kind == VALUE_TENSOR && (dtype_is_integer(value->dtype) || value->dtype == DTYPE_BOOL) &&
               value->rank >= 0 && value->rank <= 1 && value_get_dims(value, dims);
  for (int i = 0; small && i < value->rank; i++) count *= dims[i];
  return small && count <= MAX_SMALL;
}

// The operand whose content a translation asked for, and with it small integers, which it is likely to ask for next.
static bool is_wanted(const Node *node, int index) {
  if (node->op == &op_if) return index == 0;
  int64_t wanted = node_int(node, DEFERRED_WANTS, -1);
  return wanted < 0 || index == wanted ? index == wanted : is_small(node->inputs[index]);
}

// Whether what it makes follows from small integers alone, in a way that contents are followed through (kernels/contents.h).
static bool is_computed(const Cut *cut, const Node *node) {
  bool followed = node && node->output_count == 1 && is_small(node->outputs[0]) && cut->taken[node->id] &&
                  (node->op->view || node->op == &op_gather || node->op == &op_concat || node->op == &op_elementwise);
  for (int i = 0; followed && i < node->input_count; i++)
    followed = node->inputs[i] && (node->inputs[i]->constant || is_small(node->inputs[i]));
  return followed;
}

// Of what is wanted rest reads where it comes from, and computes it again: so it knows how sizes follow from each other.
static void compute_in_rest(Cut *cut, Value *value) {
  if (!value || value->constant || cut->rest_map[value->id] || !is_computed(cut, value->producer)) return;
  const Node *node = value->producer;
  for (int i = 0; i < node->input_count; i++) {
    compute_in_rest(cut, node->inputs[i]);
    rest_value(cut, node->inputs[i]);
  }
  int_map_set(cut->computed, copy_to_rest(cut, node)->id, cut);
}

static void compute_wanted(Cut *cut, const Node *node) {
  bool waits = node->op == &op_if || is_deferred(cut, node);
  for (int i = 0; i < node->input_count && waits; i++)
    if (node->inputs[i] && is_wanted(node, i)) compute_in_rest(cut, node->inputs[i]);
}

static void mark_fetch(Cut *cut, const IntMap *numbers, const Value *value) {
  if (!value) return;
  uintptr_t number = (uintptr_t)int_map_get(numbers, value->id);
  if (number) cut->stage->fetch[number - 1] = true;
  const Node *node = value->producer;
  for (int i = 0; node && int_map_get(cut->computed, node->id) && i < node->input_count; i++)
    mark_fetch(cut, numbers, node->inputs[i]);
}

// What its first `if`s and deferred operators wait for.
static void mark_fetches(Cut *cut) {
  Stage *stage = cut->stage;
  IntMap *numbers = int_map_new(cut->arena);  // input value -> its number + 1
  for (int k = 0; k < stage->rest->input_count; k++)
    int_map_set(numbers, stage->rest->inputs[k]->id, (void *)(uintptr_t)(k + 1));
  FOR_NODES(node, stage->rest) {
    if (node->op != &op_if && !is_deferred(cut, node)) continue;
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i] && is_wanted(node, i)) mark_fetch(cut, numbers, node->inputs[i]);
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

// Sizes that rest speaks of come in with a value that has them, even where nobody reads it.
static void show_symbols(Cut *cut) {
  const StringMap *symbols = graph_attribute_symbols(cut->stage->rest, cut->arena);
  FOR_NODES(node, cut->work)
  for (int i = 0; i < node->output_count; i++)
    if (cut->state[node->outputs[i]->id] != MADE_LATER && value_shows_symbol(node->outputs[i], symbols))
      rest_value(cut, node->outputs[i]);
}

// What an input holds comes in with it, to be read again.
static void show_reads(Cut *cut, StringMap *hidden) {
  Stage *stage = cut->stage;
  for (int i = 0; i < cut->work->input_count; i++) {
    if (!open_rest_reads(cut->open, i, hidden)) continue;
    Value *input = rest_value(cut, cut->work->inputs[i]);
    open_rest_set_contents(cut->open, i, input);
    for (int k = 0; k < stage->rest->input_count; k++) stage->fetch[k] |= stage->rest->inputs[k] == input;
  }
}

// As many values as show all symbols, those that are there before those that come; false where a node needs one that is shown by none.
static bool show_open_symbols(Cut *cut) {
  const Graph *work = cut->work;
  StringMap *hidden = open_rest_symbols(cut->stage->rest, cut->arena);
  for (int i = 0; i < work->input_count; i++)
    if (open_rest_shows(work->inputs[i], hidden)) rest_value(cut, work->inputs[i]);
  FOR_NODES(node, work)
  for (int i = 0; i < node->output_count; i++) {
    Value *value = node->outputs[i];
    if (cut->state[value->id] != MADE_LATER && open_rest_shows(value, hidden)) rest_value(cut, value);
  }
  show_reads(cut, hidden);
  open_rest_show_later(cut->stage->rest, hidden);
  open_rest_rename(cut->stage->rest, hidden, cut->arena);
  return open_rest_says_all(cut->stage->rest, hidden);
}

static bool build_rest(Cut *cut) {
  Stage *stage = cut->stage;
  Graph *work = cut->work;
  bool shown = true;
  stage->rest = graph_new(cut->arena, work->ops, work->name);
  stage->rest_inputs = NULL, stage->fetch = NULL, cut->rest_slot_capacity = 0;
  memset(cut->rest_map, 0, work->next_value_id * sizeof(Value *));
  FOR_NODES(node, work) {
    if (cut->taken[node->id]) continue;
    compute_wanted(cut, node);
    for (int i = 0; i < node->input_count; i++) rest_value(cut, node->inputs[i]);
    copy_to_rest(cut, node);
  }
  for (int i = 0; i < work->output_count; i++) graph_mark_output(stage->rest, rest_value(cut, work->outputs[i]));
  if (cut->open) shown = show_open_symbols(cut);
  else show_symbols(cut);
  mark_fetches(cut);
  return shown;
}

static Status make_rest(Cut *cut) {
  Stage *stage = cut->stage;
  if (!cut->open || !build_rest(cut)) {
    cut->open = NULL;
    build_rest(cut);
  }
  stage->rest_is_open = cut->open != NULL;
  graph_remove_unused(stage->ready);
  return check_progress(stage);
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
  return make_rest(&cut);
}
