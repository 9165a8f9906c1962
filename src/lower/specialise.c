// See specialise.h. One walk in topological order: what a node says is resolved, it is folded, inlined, translated or typed anew
// from its static inputs, and what its recorded types called by a symbol is learned from the types it has now.
#include "lower/specialise.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/build.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/fused.h"
#include "kernels/reference.h"
#include "kernels/sequence/sequence.h"
#include "ir/bindings.h"
#include "lower/cut.h"
#include "lower/in_place.h"
#include "lower/rebind.h"

typedef struct Specialiser {
  Graph *graph;
  const SpecialiseHooks *hooks;
  Arena *arena;
  Bindings bindings;
  int rewrites;
  size_t folded_bytes;
  bool open;  // an attribute speaks of a symbol that has no value yet
  FromSizes from_sizes;
  ReadSymbols reads;
  const char *closed;  // why the result serves these sizes alone; NULL: nothing found yet
} Specialiser;

static bool all_inputs_constant(const Node *node) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !node->inputs[i]->constant) return false;
  return true;
}

// Of a constant another part in every call, or more of the same: where it is much it stays a view; folded it would be copied and uploaded for each size.
static bool stays_view(const Node *node) {
  enum { LARGE = 1 << 16 };
  const Value *out = node->outputs[0];
  if (!node->op->view || !out->open) return false;
  if (out->dtype == DTYPE_STRING || dtype_kind(out->dtype) == KIND_COMPLEX)
    return false;  // whose views the host makes, in every call
  Tensor type = {.dtype = out->dtype, .rank = out->rank};
  size_t written = value_get_dims(out, type.dims) ? tensor_bytes(&type) : 0;
  return MAX(written, tensor_bytes(node->inputs[0]->constant)) >= LARGE;
}

// ---- inputs ------------------------------------------------------------------------------------------------------------------

static void bind_contents(Specialiser *s, const Value *value, int number, const StageInput *actual) {
  for (int i = 0; i < value->contents_count; i++) {
    int64_t now = tensor_get_i(actual->known, i);
    bindings_learn(&s->bindings, value->contents[i], dim_constant(s->graph->dims, now));
    if (actual->read)
      *ARENA_PUSH(s->arena, s->reads.list, s->reads.count, s->reads.capacity) =
          (ReadSymbol){value->contents[i], number, i, now};
  }
}

static Status bind_tensor(Specialiser *s, Value *value, int number, const StageInput *actual) {
  if (value->kind == VALUE_SEQUENCE)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is a sequence, but a tensor was given", value->name);
  value->kind = VALUE_TENSOR;
  if (value->dtype != DTYPE_COUNT && value->dtype != actual->dtype)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is %s, but %s was given", value->name, dtype_name(value->dtype),
         dtype_name(actual->dtype));
  if (value->rank >= 0 && value->rank != actual->rank)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has rank %d, but rank %d was given", value->name, value->rank, actual->rank);
  for (int i = 0; i < value->rank; i++) {
    bindings_learn(&s->bindings, value->dims[i], actual->dims[i]);
    int64_t expected;
    if (!dim_get_constant(s->graph->dims, bindings_resolve(&s->bindings, value->dims[i]), &expected) ||
        expected == actual->dims[i])
      continue;
    if (dim_is_static(value->dims[i]))
      FAIL(ERROR_INVALID_ARGUMENT, "input '%s': axis %d is %lld, but the model says %lld", value->name, i,
           (long long)actual->dims[i], (long long)expected);
    Text text = text_new(s->arena);
    dim_print(&text, s->graph->dims, value->dims[i]);
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s': axis %d is %lld, but the model says %s, which is %lld here", value->name, i,
         (long long)actual->dims[i], text_get(&text), (long long)expected);
  }
  value_set_static(value, actual->dtype, actual->rank, actual->dims);
  if (!actual->known) return OK;
  if (tensor_count(actual->known) == value->contents_count) bind_contents(s, value, number, actual);
  if (actual->read) return OK;  // it stays an input, for those who want the numbers themselves
  s->closed = "an input's content decides";
  Value *constant = graph_add_constant(s->graph, NULL, actual->known);
  value_replace(value, constant);
  return OK;
}

// In place of a sequence stands a node that holds its elements, which are inputs of their own from here on.
static Status bind_input(Specialiser *s, int number, const StageInput *actual, Value **leaves, int *leaf_count) {
  Value *value = s->graph->inputs[number];
  if (actual->kind == VALUE_TENSOR) {
    leaves[(*leaf_count)++] = value;
    return bind_tensor(s, value, number, actual);
  }
  if (value->kind != actual->kind && value->kind != VALUE_OPTIONAL)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is a %s, but %s was given", value->name,
         value->kind == VALUE_SEQUENCE ? "sequence" : "tensor", actual->kind == VALUE_SEQUENCE ? "a sequence" : "nothing");
  Value **items = arena_array(s->arena, Value *, (size_t)actual->count + 1);
  for (int i = 0; i < actual->count; i++) {
    const StageInput *item = &actual->items[i];
    if (value->dtype != DTYPE_COUNT && value->dtype != item->dtype)
      FAIL(ERROR_INVALID_ARGUMENT, "input '%s' holds %s, but its element %d is %s", value->name, dtype_name(value->dtype), i,
           dtype_name(item->dtype));
    items[i] = graph_add_input(s->graph, NULL, item->dtype, item->rank, item->dims);
    leaves[(*leaf_count)++] = items[i];
  }
  const OpDef *op = actual->kind == VALUE_SEQUENCE ? &op_sequence : &op_nothing;
  Node *node = graph_add(s->graph, s->graph->first, op, actual->count, items, 1);
  TRY(node_infer(node));
  if (!actual->count && actual->kind == VALUE_SEQUENCE) node->outputs[0]->dtype = actual->dtype;
  value_replace(value, node->outputs[0]);
  return OK;
}

static int count_leaves(const StageInput *inputs, int count) {
  int leaves = 0;
  for (int i = 0; i < count; i++) leaves += inputs[i].kind == VALUE_TENSOR ? 1 : inputs[i].count;
  return leaves;
}

// ---- nodes -------------------------------------------------------------------------------------------------------------------

static RecordedType *record(const Specialiser *s, const Node *node) { return bindings_record(s->arena, node); }

static void learn(Specialiser *s, const RecordedType *recorded, int index, const Value *found) {
  bindings_learn_recorded(&s->bindings, recorded, index, found);
}

static Status fold(Specialiser *s, Node *node) {
  const Tensor **inputs = arena_array(s->arena, const Tensor *, node->input_count);
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] ? node->inputs[i]->constant : NULL;
  Tensor *outputs = arena_array(s->arena, Tensor, node->output_count);
  TRY(reference_run(node, s->arena, inputs, outputs));
  const RecordedType *recorded = record(s, node);
  Value **constants = from_sizes_add(&s->from_sizes, node);
  for (int i = 0; i < node->output_count; i++) {
    Value *value = node->outputs[i];
    Value *constant = graph_add_constant(s->graph, NULL, &outputs[i]);
    if (constants) constants[i] = constant;
    s->folded_bytes += tensor_bytes(&outputs[i]);
    value_copy_open(constant, value);
    learn(s, recorded, i, constant);
    value_replace(value, constant);
  }
  if (constants) from_sizes_made(&s->from_sizes, constants, node->output_count);
  node_remove(node);
  return OK;
}

static Status choose_branch(Specialiser *s, Node *node) {
  const Tensor *condition = node->inputs[0]->constant;
  if (tensor_count(condition) != 1)
    FAIL(ERROR_INVALID_MODEL, "the condition of an if has %lld elements", (long long)tensor_count(condition));
  put_in_place(&s->bindings, s->arena, node, branch_of(node, tensor_get_i(condition, 0) != 0), node->inputs + 1);
  return OK;
}

static Status translate(Specialiser *s, Node *node, bool *done) {
  const RecordedType *recorded = record(s, node);
  Value **results = arena_array(s->arena, Value *, (size_t)node->output_count);
  int count = node->output_count;
  TRY(s->hooks->translate(node, results, done));
  for (int i = 0; *done && i < count; i++) learn(s, recorded, i, results[i]);
  return OK;
}

static void keep_open(Value *value) {
  if (value->rank > 0 && !value_is_static(value))
    value->open = arena_copy(value->graph->arena, value->dims, (size_t)value->rank * sizeof *value->dims);
}

// What a new node's results are in every call, as it infers them of what its inputs are then.
static Status infer_open(Specialiser *s, Node *node) {
  Dim(*now)[MAX_RANK] = arena_alloc(s->arena, ((size_t)node->input_count + 1) * sizeof *now);
  bool any = false;
  for (int i = 0; i < node->input_count; i++) {
    Value *value = node->inputs[i];
    if (!value || !value->open) continue;
    memcpy(now[i], value->dims, sizeof now[i]);
    memcpy(value->dims, value->open, (size_t)value->rank * sizeof *value->open);
    any = true;
  }
  if (!any) return OK;
  Status status = node_infer(node);
  for (int i = 0; i < node->output_count && !status; i++) keep_open(node->outputs[i]);
  for (int i = node->input_count; i--;)
    if (node->inputs[i] && node->inputs[i]->open) memcpy(node->inputs[i]->dims, now[i], sizeof now[i]);
  TRY(status);
  return node_infer(node);
}

// Makes it on the device, in memory for all there may be, where the device can.
static Status reserve(Specialiser *s, Node *node) {
  enum { MOST_BYTES = 256 << 20 };
  Node *before = node->previous;
  Builder b = {.graph = s->graph, .at = node};
  Value *counted = node->op->reserve(&b, node), *was = node->outputs[0];
  TRY(b.status);
  if (!counted) return OK;
  const Value *room = counted->producer->inputs[0];
  Tensor type = {.dtype = room->dtype, .rank = room->rank};
  if (!value_get_dims(room, type.dims) || tensor_bytes(&type) > MOST_BYTES ||
      !s->hooks->runs(s->hooks->context, room->producer))
    return OK;  // what was added is not used
  for (Node *added = before ? before->next : s->graph->first; added != counted->producer; added = added->next)
    TRY(infer_open(s, added));
  value_set_type(counted, was->dtype, was->rank, was->dims);
  value_replace(was, counted);
  node_remove(node);
  return OK;
}

static Status infer(Specialiser *s, Node *node) {
  const RecordedType *recorded = record(s, node);
  TRY(node_infer(node));
  for (int i = 0; i < node->output_count; i++) learn(s, recorded, i, node->outputs[i]);
  return OK;
}

static bool body_is_static(const Graph *body) {
  FOR_NODES(node, body) {
    if (!attributes_are_known(node)) return false;
    if (node->op == &op_region && !body_is_static(region_body(node))) return false;
    for (int i = 0; i < node->output_count; i++)
      if (!value_is_static(node->outputs[i])) return false;
  }
  return true;
}

// Whether the device computes the region as one step; otherwise its body takes its place. An anchor with its epilogue may wait for its sizes as the anchor alone would.
static Status keeps_region(Specialiser *s, Node *node, bool *keeps) {
  *keeps = false;
  if (!s->hooks->runs || all_inputs_constant(node)) return OK;
  Graph *body = region_body(node);
  bindings_apply_everywhere(&s->bindings, body);
  bool known = inputs_are_static(node);
  if (known) TRY(infer(s, node));
  known = known && body_is_static(body);
  *keeps = known ? s->hooks->runs(s->hooks->context, node) : fused_anchor(node) != node;
  s->open |= *keeps && !known;
  return OK;
}

// Simplifies one node. *again: something stands in its place now; walk on from *next.
static Status simplify(Specialiser *s, Node *node, Node **next) {
  Node *before = node->previous;
  *next = node->next;
  bool known = bindings_apply(&s->bindings, node), rewritten = false;
  s->open |= !known;
  if (s->hooks->is_deferred && s->hooks->is_deferred(node)) {
    if (inputs_are_static(node)) TRY(translate(s, node, &rewritten));
    if (rewritten) s->closed = "an operator has waited for its operands";
  } else if (node->op == &op_if) {
    if (node->inputs[0]->constant) {
      TRY(choose_branch(s, node));
      rewritten = true;
      s->closed = "a branch is chosen";
    }
  } else if (node->op == &op_region) {
    bool keeps;
    TRY(keeps_region(s, node, &keeps));
    if (!keeps) put_in_place(&s->bindings, s->arena, node, region_body(node), node->inputs);
    rewritten = !keeps;
    if (!keeps) s->closed = "the device has no kernel for a region";
  } else if (node->op->is_control || node->op->is_list) {
    return OK;
  } else if (node->op->reference && !node->op->random && known && all_inputs_constant(node) && !stays_view(node)) {
    return fold(s, node);
  } else if (node->op->reserve && s->hooks->reserves && inputs_are_static(node)) {
    return reserve(s, node);
  } else if (!node->op->data_dependent && inputs_are_static(node)) {
    TRY(infer(s, node));
  }
  if (rewritten) {
    if (++s->rewrites > MAX_REWRITES) FAIL(ERROR_INVALID_MODEL, "specialising the model does not end");
    *next = before ? before->next : s->graph->first;
  }
  return OK;
}

// Once all sizes are known that will be.
static void open_regions(Specialiser *s) {
  for (Node *node = s->graph->first, *next; node; node = next) {
    Node *before = node->previous;
    next = node->next;
    if (node->op != &op_region || !s->hooks->runs || !inputs_are_static(node) || !body_is_static(region_body(node))) continue;
    if (s->hooks->runs(s->hooks->context, node)) continue;
    put_in_place(&s->bindings, s->arena, node, region_body(node), node->inputs);
    s->closed = "the device has no kernel for a region";
    next = before ? before->next : s->graph->first;
  }
}

// A symbol may be learned behind a node that speaks of it: such a node is met again.
static Status simplify_all(Specialiser *s) {
  for (int before = -1; before != s->bindings.count;) {
    before = s->bindings.count;
    s->open = false;
    for (Node *node = s->graph->first, *next; node; node = next)
      TRY(status_context(simplify(s, node, &next), "in '%s' (%s)", node_place(node), node->op->name));
    if (!s->open) break;
  }
  bindings_apply_everywhere(&s->bindings, s->graph);
  open_regions(s);
  return OK;
}

void specialise_regions(Graph *graph, const SpecialiseHooks *hooks, Arena *arena) {
  Specialiser s = {
      .graph = graph, .hooks = hooks, .arena = arena, .bindings = bindings_new(graph), .from_sizes = from_sizes_new(graph)};
  open_regions(&s);
}

static void keep_attributes_open(const Node *node) {
  for (int i = 0; i < node->attribute_count; i++) {
    Attribute *attribute = &node->attributes[i];
    for (int k = 0; attribute->kind == ATTR_DIMS && k < attribute->count; k++)
      if (!dim_is_static(attribute->dims[k])) attribute->open = attribute->dims;  // what is bound gets an array of its own
  }
}

// What the graph says of every call's sizes is kept beside what they are in this one.
static void keep_all_open(const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) keep_open(graph->inputs[i]);
  FOR_NODES(node, graph) {
    keep_attributes_open(node);
    for (int i = 0; i < node->output_count; i++) keep_open(node->outputs[i]);
    if (node->op == &op_region) keep_all_open(region_body(node));
    if (node->op == &op_if) keep_all_open(branch_of(node, true)), keep_all_open(branch_of(node, false));
  }
}

// Whether the device runs a node is asked where it is met, where it is cut and where regions are opened: implementations are asked once.
typedef struct Asked {
  const SpecialiseHooks *hooks;
  IntMap *answers;  // by the node's number
} Asked;

static bool ask_once(void *context, const Node *node) {
  enum { NO = 1, YES };
  Asked *asked = context;
  uintptr_t answer = (uintptr_t)int_map_get(asked->answers, node->id);
  if (!answer) answer = asked->hooks->runs(asked->hooks->context, node) ? YES : NO;
  int_map_set(asked->answers, node->id, (void *)answer);
  return answer == YES;
}

Status specialise(const Graph *graph, const StageInput *inputs, const SpecialiseHooks *given, Arena *arena, Stage **out) {
  Graph *work = graph_copy(arena, graph);
  Asked asked = {given, int_map_new(arena)};
  SpecialiseHooks once = *given, *hooks = &once;
  if (given->runs) once.runs = ask_once, once.context = &asked;
  Specialiser s = {
      .graph = work, .hooks = hooks, .arena = arena, .bindings = bindings_new(work), .from_sizes = from_sizes_new(work)};
  int leaf_count = 0, input_count = work->input_count;
  keep_all_open(work);
  Value **leaves = arena_array(arena, Value *, (size_t)count_leaves(inputs, input_count) + 1);
  for (int i = 0; i < input_count; i++) TRY(bind_input(&s, i, &inputs[i], leaves, &leaf_count));
  TRY(simplify_all(&s));
  graph_remove_unused(work);
  OpenRest open = open_rest_new(&s.from_sizes, &s.reads, arena);
  TRY(cut_graph(work, leaves, leaf_count, hooks, s.closed ? NULL : &open, arena, out));
  Stage *stage = *out;
  stage->rewritten = s.rewrites > 0;
  stage->folded_bytes = s.folded_bytes;
  if (!s.closed && !stage->complete && !stage->rest_is_open) s.closed = "something waits for what the device makes";
  if (!s.closed && stage->complete && stage->ready != work) s.closed = "the host has a part in it";
  stage->closed = s.closed;
  if (!s.closed) stage->rebinding = rebinding_new(stage->ready, &s.from_sizes, &s.reads, arena, &stage->closed);
  return OK;
}
