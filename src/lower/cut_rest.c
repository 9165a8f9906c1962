// What remains of a graph behind what runs at once and what the host does then; see cut.h.
#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/deferred.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "ir/op.h"
#include "lower/cut_inside.h"

enum { MAX_SMALL = 64 };  // elements of an operand that is fetched along with the one asked for

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
  cut->stage->rest_inputs[count] = cut_slot(cut, value);
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
  cut_copy_node(cut->stage->rest, value->producer, cut->rest_map);
  return *mapped;
}

static Node *copy_to_rest(Cut *cut, const Node *node) {
  Node *copy = cut_copy_node(cut->stage->rest, node, cut->rest_map);
  if (cut->open) open_rest_node(copy);
  return copy;
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
  bool waits = node->op == &op_if || cut_is_deferred(cut, node);
  for (int i = 0; i < node->input_count && waits; i++)
    if (node->inputs[i] && is_wanted(node, i)) compute_in_rest(cut, node->inputs[i]);
}

static void mark_fetch(Cut *cut, const IntMap *numbers, const Value *value) {
  if (!value) return;
  uintptr_t number = (uintptr_t)int_map_get(numbers, value->id);
  if (number) cut->stage->fetch[number - 1] = true;
  const Node *node = value->producer;
  if (!node || !int_map_get(cut->computed, node->id)) return;
  int_map_set(cut->computed, node->id, NULL);  // once is enough
  for (int i = 0; i < node->input_count; i++) mark_fetch(cut, numbers, node->inputs[i]);
}

// What its first `if`s and deferred operators wait for.
static void mark_fetches(Cut *cut) {
  Stage *stage = cut->stage;
  IntMap *numbers = int_map_new(cut->arena);  // input value -> its number + 1
  for (int k = 0; k < stage->rest->input_count; k++)
    int_map_set(numbers, stage->rest->inputs[k]->id, (void *)(uintptr_t)(k + 1));
  FOR_NODES(node, stage->rest) {
    if (node->op != &op_if && !cut_is_deferred(cut, node)) continue;
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

Status cut_make_rest(Cut *cut) {
  Stage *stage = cut->stage;
  if (!cut->open || !build_rest(cut)) {
    cut->open = NULL;
    build_rest(cut);
  }
  stage->rest_is_open = cut->open != NULL;
  graph_remove_unused(stage->ready);
  return check_progress(stage);
}
