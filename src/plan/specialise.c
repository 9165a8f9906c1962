// See specialise.h.
#include "plan/specialise.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/op.h"
#include "kernels/sequence/sequence.h"
#include "kernels/view/view.h"

enum { MAX_REWRITES = 200000 };  // nested translations and inlined branches: a bound against models that never end

typedef struct Specialiser {
  Graph *graph;
  const SpecialiseHooks *hooks;
  Arena *arena;
  DimBinding binding;
  int rewrites;
} Specialiser;

static bool is_control(const Node *node) { return node->op == &op_if || node->op == &op_loop || node->op == &op_scan; }

static bool all_inputs_constant(const Node *node) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !node->inputs[i]->constant) return false;
  return true;
}

// A sequence's elements are known where a `sequence` node holds them.
static bool input_is_static(const Value *value) {
  if (value->kind == VALUE_SEQUENCE) return value->producer && value->producer->op == &op_sequence;
  return value_is_static(value) && value->dtype != DTYPE_COUNT;
}

static bool all_inputs_static(const Node *node) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !input_is_static(node->inputs[i])) return false;
  return true;
}

static bool all_outputs_static(const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (!value_is_static(node->outputs[i]) || node->outputs[i]->dtype == DTYPE_COUNT) return false;
  return true;
}

// Symbols get their values from where a declared shape meets an actual one.
static Status bind_input(Specialiser *s, Value *value, const StageInput *actual) {
  if (value->dtype != DTYPE_COUNT && value->dtype != actual->dtype)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is %s, but %s was given", value->name, dtype_name(value->dtype),
         dtype_name(actual->dtype));
  if (value->rank >= 0 && value->rank != actual->rank)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has rank %d, but rank %d was given", value->name, value->rank, actual->rank);
  for (int i = 0; i < actual->rank && value->rank >= 0; i++) {
    Dim declared = value->dims[i];
    int64_t expected;
    if (!dim_is_static(declared) && dim_op(s->graph->dims, declared) == DIM_SYMBOL &&
        !dim_evaluate(s->graph->dims, &s->binding, declared, &expected))
      dim_bind(&s->binding, s->arena, dim_symbol_name(s->graph->dims, declared), actual->dims[i]);
    else if (dim_evaluate(s->graph->dims, &s->binding, declared, &expected) && expected != actual->dims[i]) {
      Text text = text_new(s->arena);
      dim_print(&text, s->graph->dims, declared);
      FAIL(ERROR_INVALID_ARGUMENT, "input '%s': axis %d is %lld, but the model says %s, which is %lld here", value->name, i,
           (long long)actual->dims[i], text_get(&text), (long long)expected);
    }
  }
  value_set_static(value, actual->dtype, actual->rank, actual->dims);
  return OK;
}

static void bind_outputs(Specialiser *s, Node *node) {
  for (int i = 0; i < node->output_count; i++) {
    Value *value = node->outputs[i];
    for (int k = 0; k < value->rank; k++) {
      int64_t size;
      if (!dim_is_static(value->dims[k]) && dim_evaluate(s->graph->dims, &s->binding, value->dims[k], &size) && size >= 0)
        value->dims[k] = size;
    }
  }
}

// Replaces symbolic dims in attributes by their values, as far as they are bound; in bodies and branches too, since those may
// speak of the symbols of the graph around them.
static void bind_attributes(Specialiser *s, Node *node) {
  for (int i = 0; i < node->attribute_count; i++)
    if (node->attributes[i].kind == ATTR_GRAPH) FOR_NODES(inner, node->attributes[i].graph) {
        bind_attributes(s, inner);
        bind_outputs(s, inner);
      }
  for (int i = 0; i < node->attribute_count; i++) {
    Attribute *attribute = &node->attributes[i];
    if (attribute->kind != ATTR_DIMS) continue;
    Dim *dims = arena_array(s->graph->arena, Dim, attribute->count);
    for (int k = 0; k < attribute->count; k++) {
      int64_t value;
      dims[k] = dim_evaluate(s->graph->dims, &s->binding, attribute->dims[k], &value) ? dim_constant(s->graph->dims, value)
                                                                                      : attribute->dims[k];
    }
    attribute->dims = dims;
  }
}

static Status fold(Specialiser *s, Node *node) {
  const Tensor **inputs = arena_array(s->arena, const Tensor *, node->input_count);
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] ? node->inputs[i]->constant : NULL;
  Tensor *outputs = arena_array(s->arena, Tensor, node->output_count);
  TRY(reference_run(node, s->arena, inputs, outputs));
  for (int i = 0; i < node->output_count; i++) {
    Value *value = node->outputs[i];
    Value *constant = graph_add_constant(s->graph, NULL, &outputs[i]);
    value_replace(value, constant);
  }
  node_remove(node);
  return OK;
}

// Copies the chosen branch in front of the `if` and lets its outputs stand for the node's.
static Status inline_branch(Specialiser *s, Node *node) {
  const Tensor *condition = node->inputs[0]->constant;
  if (tensor_count(condition) != 1)
    FAIL(ERROR_INVALID_MODEL, "the condition of an if has %lld elements", (long long)tensor_count(condition));
  Graph *branch = node_graph(node, tensor_get_i(condition, 0) ? "then_branch" : "else_branch");
  Value **map = arena_array(s->arena, Value *, branch->next_value_id);
  for (int i = 0; i < branch->input_count; i++) map[branch->inputs[i]->id] = node->inputs[1 + i];
  FOR_NODES(inner, branch) {
    for (int i = 0; i < inner->input_count; i++) {
      Value *value = inner->inputs[i];
      if (value && !map[value->id] && value->constant) map[value->id] = graph_add_constant(s->graph, NULL, value->constant);
    }
    Node *copy = node_copy(s->graph, inner, map);
    node_move_before(copy, node);
    for (int i = 0; i < inner->output_count; i++) map[inner->outputs[i]->id] = copy->outputs[i];
  }
  for (int i = 0; i < node->output_count; i++) {
    Value *result = branch->outputs[i];
    if (!map[result->id] && result->constant) map[result->id] = graph_add_constant(s->graph, NULL, result->constant);
    value_replace(node->outputs[i], map[result->id]);
  }
  node_remove(node);
  return OK;
}

// Simplifies one node. *again: something stands in its place now; walk on from *next.
static Status simplify(Specialiser *s, Node *node, Node **next) {
  Node *before = node->previous;
  *next = node->next;
  bind_attributes(s, node);
  bool rewritten = false;
  if (s->hooks->is_deferred && s->hooks->is_deferred(node)) {
    if (all_inputs_static(node)) TRY(s->hooks->translate(node, &rewritten));
  } else if (node->op == &op_if) {
    if (node->inputs[0]->constant) {
      TRY(inline_branch(s, node));
      rewritten = true;
    }
  } else if (is_control(node)) {
    if (all_inputs_static(node)) bind_outputs(s, node);
  } else if (node->op->reference && !node->op->random && all_inputs_constant(node)) {
    bool known = true;  // shape arithmetic over symbols that are not bound yet has to wait
    for (int i = 0; i < node->attribute_count; i++)
      for (int k = 0; node->attributes[i].kind == ATTR_DIMS && k < node->attributes[i].count; k++) {
        int64_t unused;
        known = known && dim_get_constant(s->graph->dims, node->attributes[i].dims[k], &unused);
      }
    if (known) return fold(s, node);
  } else if (node->op->data_dependent) {
    bind_outputs(s, node);
  } else if (all_inputs_static(node)) {
    TRY(node_infer(node));
  }
  if (rewritten) {
    if (++s->rewrites > MAX_REWRITES) FAIL(ERROR_INVALID_MODEL, "specialising the model does not end");
    *next = before ? before->next : s->graph->first;
  }
  return OK;
}

// ---- cutting -----------------------------------------------------------------------------------------------------------------

typedef struct Cut {
  Specialiser *s;
  Stage *stage;
  Graph *work;
  uint8_t *state;     // by value id: how far it is known
  Value **ready_map;  // by value id: its copy in `ready`
  Value **rest_map;   // by value id: its copy in `rest`
  Slot *slots;        // by value id, for values made before `rest`
  uint32_t rest_slot_capacity;
} Cut;
enum { MADE_LATER, MADE_READY, MADE_ACTION };

static Slot slot_of(Cut *cut, Value *value) {
  if (!value) return (Slot){.kind = SLOT_CONSTANT};
  if (value->constant) return (Slot){.kind = SLOT_CONSTANT, .constant = value->constant};
  Slot *slot = &cut->slots[value->id];
  if (slot->kind == SLOT_READY && slot->index < 0) {  // first wish for it: it becomes an output of ready
    slot->index = cut->stage->ready->output_count;
    graph_mark_output(cut->stage->ready, cut->ready_map[value->id]);
  }
  return *slot;
}

// Sizes that the node's own attributes speak of are known.
static bool attributes_are_known(const Node *node) {
  for (int i = 0; i < node->attribute_count; i++)
    for (int k = 0; node->attributes[i].kind == ATTR_DIMS && k < node->attributes[i].count; k++) {
      int64_t unused;
      if (!dim_get_constant(node->graph->dims, node->attributes[i].dims[k], &unused)) return false;
    }
  return true;
}

static bool node_is_ready(Cut *cut, const Node *node) {
  const SpecialiseHooks *hooks = cut->s->hooks;
  if (is_control(node) || node->op->data_dependent) return false;
  if (hooks->is_deferred && hooks->is_deferred(node)) return false;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !node->inputs[i]->constant && cut->state[node->inputs[i]->id] != MADE_READY) return false;
  if (!all_inputs_static(node) || !all_outputs_static(node) || !attributes_are_known(node)) return false;
  return node->op->is_view || !hooks->runs || hooks->runs(hooks->context, node);
}

static bool node_is_action(Cut *cut, const Node *node) {
  const SpecialiseHooks *hooks = cut->s->hooks;
  if (node->op == &op_if || (hooks->is_deferred && hooks->is_deferred(node))) return false;
  if (node->op->is_view && node->outputs[0]->dtype != DTYPE_STRING) return false;  // costs nothing in the next stage
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !node->inputs[i]->constant && cut->state[node->inputs[i]->id] == MADE_LATER) return false;
  if (!attributes_are_known(node)) return false;
  return all_inputs_static(node) || node->op == &op_loop || node->op == &op_scan || node->op->data_dependent;
}

// Places the value into rest, as an input if it is made before.
static Value *rest_value(Cut *cut, Value *value) {
  if (!value) return NULL;
  Value **mapped = &cut->rest_map[value->id];
  if (*mapped) return *mapped;
  Graph *rest = cut->stage->rest;
  if (value->constant) return *mapped = graph_add_constant(rest, value->name, value->constant);
  Dim dims[MAX_RANK];
  for (int i = 0; i < value->rank; i++) dims[i] = dim_import(rest->dims, cut->work->dims, value->dims[i]);
  *mapped = graph_add_input(rest, value->name, value->dtype, value->rank, dims);
  uint32_t count = (uint32_t)rest->input_count - 1;
  if (count == cut->rest_slot_capacity) {
    uint32_t capacity = cut->rest_slot_capacity;
    cut->stage->rest_inputs = arena_grow(cut->s->arena, cut->stage->rest_inputs, sizeof(Slot), count, &cut->rest_slot_capacity);
    cut->stage->fetch = arena_grow(cut->s->arena, cut->stage->fetch, sizeof(bool), count, &capacity);
  }
  cut->stage->rest_inputs[count] = slot_of(cut, value);
  return *mapped;
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
    memcpy((*mapped)->order, value->order, sizeof value->order);
  }
  return *mapped;
}

// Which of rest's inputs have to be known: what its first `if`s and deferred operators wait for.
static void mark_fetches(Cut *cut) {
  Stage *stage = cut->stage;
  const SpecialiseHooks *hooks = cut->s->hooks;
  FOR_NODES(node, stage->rest) {
    bool deferred = hooks->is_deferred && hooks->is_deferred(node);
    if (node->op != &op_if && !deferred) continue;
    for (int i = 0; i < node->input_count; i++) {
      if (node->op == &op_if && i > 0) break;
      for (int k = 0; k < stage->rest->input_count; k++)
        if (stage->rest->inputs[k] == node->inputs[i]) stage->fetch[k] = true;
    }
  }
}

static Status cut_graph(Cut *cut) {
  Stage *stage = cut->stage;
  Graph *work = cut->work;
  Arena *arena = cut->s->arena;
  stage->ready = graph_new(arena, work->ops, work->name);
  for (int i = 0; i < work->input_count; i++) {
    Value *value = work->inputs[i];
    cut->ready_map[value->id] = graph_add_input(stage->ready, value->name, value->dtype, value->rank, value->dims);
    cut->state[value->id] = MADE_READY;
    cut->slots[value->id] = (Slot){.kind = SLOT_INPUT, .index = i};
  }
  bool *taken = arena_array(arena, bool, work->next_node_id);
  stage->complete = true;
  FOR_NODES(node, work) {
    if (!node_is_ready(cut, node)) {
      stage->complete = false;
      continue;
    }
    taken[node->id] = true;
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) ready_value(cut, node->inputs[i]);
    copy_node(stage->ready, node, cut->ready_map);
    for (int i = 0; i < node->output_count; i++) {
      cut->state[node->outputs[i]->id] = MADE_READY;
      cut->slots[node->outputs[i]->id] = (Slot){.kind = SLOT_READY, .index = -1};
    }
  }
  if (stage->complete) {
    stage->results = arena_array(arena, Slot, work->output_count);
    for (int i = 0; i < work->output_count; i++) {
      Value *value = work->outputs[i];
      if (value->dtype == DTYPE_STRING && (value->is_input || value->constant)) {
        stage->results[i] = slot_of(cut, value);
        continue;
      }
      stage->results[i] = (Slot){.kind = SLOT_READY, .index = stage->ready->output_count};
      graph_mark_output(stage->ready, ready_value(cut, value));
    }
    return OK;
  }
  // Actions: what the host can do as soon as ready has run.
  FOR_NODES(node, work) {
    if (taken[node->id] || !node_is_action(cut, node)) continue;
    taken[node->id] = true;
    int index = (int)stage->action_count;
    Action *action = ARENA_PUSH(arena, stage->actions, stage->action_count, stage->action_capacity);
    action->node = node;
    action->inputs = arena_array(arena, Slot, node->input_count);
    for (int i = 0; i < node->input_count; i++) action->inputs[i] = slot_of(cut, node->inputs[i]);
    for (int i = 0; i < node->output_count; i++) {
      cut->state[node->outputs[i]->id] = MADE_ACTION;
      cut->slots[node->outputs[i]->id] = (Slot){.kind = SLOT_ACTION, .index = index, .output = i};
    }
  }
  stage->rest = graph_new(arena, work->ops, work->name);
  FOR_NODES(node, work) {
    if (taken[node->id]) continue;
    for (int i = 0; i < node->input_count; i++) rest_value(cut, node->inputs[i]);
    copy_node(stage->rest, node, cut->rest_map);
  }
  // Sizes that rest speaks of come in with a value that has them, even where nobody reads it.
  const StringMap *symbols = graph_attribute_symbols(stage->rest, arena);
  FOR_NODES(node, work)
  for (int i = 0; i < node->output_count; i++)
    if (cut->state[node->outputs[i]->id] != MADE_LATER && value_shows_symbol(node->outputs[i], symbols))
      rest_value(cut, node->outputs[i]);
  for (int i = 0; i < work->output_count; i++) graph_mark_output(stage->rest, rest_value(cut, work->outputs[i]));
  mark_fetches(cut);
  bool any_fetch = false;
  for (int i = 0; i < stage->rest->input_count; i++) any_fetch |= stage->fetch[i];
  if (!any_fetch && !stage->action_count && stage->rest->node_count) {
    const Node *stuck = stage->rest->first;
    FAIL(ERROR_UNSUPPORTED, "node '%s' (%s) cannot be given a static shape", stuck->output_count ? stuck->outputs[0]->name : "",
         stuck->op->name);
  }
  return OK;
}

Status specialise(const Graph *graph, const StageInput *inputs, const SpecialiseHooks *hooks, Arena *arena, Stage **out) {
  Specialiser s = {.hooks = hooks, .arena = arena, .binding = dim_binding_new(arena)};
  Graph *work = s.graph = graph_copy(arena, graph);
  for (int i = 0; i < work->input_count; i++) TRY(bind_input(&s, work->inputs[i], &inputs[i]));
  for (int i = 0; i < work->input_count; i++) {
    if (!inputs[i].known) continue;
    Value *constant = graph_add_constant(work, NULL, inputs[i].known);
    value_replace(work->inputs[i], constant);
  }
  for (Node *node = work->first, *next; node; node = next)
    TRY(status_context(simplify(&s, node, &next), "in '%s' (%s)", node->output_count ? node->outputs[0]->name : "",
                       node->op->name));
  graph_remove_unused(work);
  Cut cut = {.s = &s, .work = work, .stage = arena_new_of(arena, Stage)};
  cut.state = arena_array(arena, uint8_t, work->next_value_id);
  cut.ready_map = arena_array(arena, Value *, work->next_value_id);
  cut.rest_map = arena_array(arena, Value *, work->next_value_id);
  cut.slots = arena_array(arena, Slot, work->next_value_id);
  cut.stage->rewritten = s.rewrites > 0;
  TRY(cut_graph(&cut));
  *out = cut.stage;
  return OK;
}

// ---- shape inputs ------------------------------------------------------------------------------------------------------------

static void mark_back(const Graph *graph, const Value *value, bool *seen, bool *mask) {
  if (!value || seen[value->id]) return;
  seen[value->id] = true;
  if (value->is_input) {
    bool small = value->rank <= 1 && (dtype_is_integer(value->dtype) || value->dtype == DTYPE_BOOL);
    for (int i = 0; small && i < graph->input_count; i++) mask[i] |= graph->inputs[i] == value;
  }
  if (!value->producer) return;
  bool shape_like = dtype_is_integer(value->dtype) || value->dtype == DTYPE_BOOL || value->dtype == DTYPE_COUNT;
  if (!shape_like || value->rank > 1) return;  // big data: known only by running it
  for (int i = 0; i < value->producer->input_count; i++) mark_back(graph, value->producer->inputs[i], seen, mask);
}

void graph_shape_inputs(const Graph *graph, bool (*is_deferred)(const Node *), bool *mask) {
  Arena *scratch = arena_scratch();
  bool *seen = arena_array(scratch, bool, graph->next_value_id);
  memset(mask, 0, (size_t)graph->input_count * sizeof *mask);
  FOR_NODES(node, graph) {
    if (node->op == &op_if) {
      mark_back(graph, node->inputs[0], seen, mask);
      // What the branches decide by comes in through their captures.
      for (int b = 0; b < 2; b++) {
        Graph *branch = node_graph(node, b ? "else_branch" : "then_branch");
        bool *inner = arena_array(scratch, bool, branch->input_count);
        graph_shape_inputs(branch, is_deferred, inner);
        for (int i = 0; i < branch->input_count; i++)
          if (inner[i]) mark_back(graph, node->inputs[1 + i], seen, mask);
      }
    } else if (node->op == &op_loop) {
      for (int i = 0; i < 2 && i < node->input_count; i++) mark_back(graph, node->inputs[i], seen, mask);
    } else if (is_deferred && is_deferred(node)) {
      for (int i = 0; i < node->input_count; i++) mark_back(graph, node->inputs[i], seen, mask);
    }
  }
  arena_free(scratch);
}
