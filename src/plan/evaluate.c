// The evaluator works on a copy of the graph in an arena of its own, because reaching a deferred operator rewrites the graph, and
// frees it at the end; only outputs are copied out. Symbols are bound from inputs and, where sizes depend on data, from
// results as they appear. A subgraph starts with the bindings of the graph around it and may change them for itself.
#include "plan/evaluate.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/deferred.h"

typedef struct Symbols {
  const char **names;
  uint32_t count, capacity;
  DimBinding binding;
} Symbols;

// Dims that a value was said to have before its operator was translated: symbols of the nodes behind it.
typedef struct Promise {
  const Value *value;
  int rank;
  Dim dims[MAX_RANK];
} Promise;

typedef struct Evaluation {
  Graph *graph;
  Arena *arena;  // scratch, freed at the end
  TranslateDeferred translate;
  Symbols symbols;
  IntMap *tensors;  // value id -> Tensor
  Promise *promises;
  uint32_t promise_count, promise_capacity;
} Evaluation;

static Status evaluate(const Graph *source, const Evaluation *outer, TranslateDeferred translate, Arena *arena,
                       const Tensor *const *inputs, Tensor *outputs);

static void bind(Evaluation *e, const char *name, int64_t value) {
  if (!string_map_get(e->symbols.binding.values, name))
    *ARENA_PUSH(e->arena, e->symbols.names, e->symbols.count, e->symbols.capacity) = arena_string(e->arena, name);
  dim_bind(&e->symbols.binding, e->arena, name, value);
}

// Learns symbols from the dims a tensor turned out to have.
static void bind_dims(Evaluation *e, int rank, const Dim *dims, const Tensor *tensor) {
  const DimTable *table = e->graph->dims;
  for (int i = 0; i < rank && rank == tensor->rank; i++) {
    int64_t known;
    if (dim_is_static(dims[i]) || dim_get_constant(table, dims[i], &known)) continue;
    if (dim_op(table, dims[i]) == DIM_SYMBOL) bind(e, dim_symbol_name(table, dims[i]), tensor->dims[i]);
  }
}

static Status bind_input(Evaluation *e, const Value *input, const Tensor *tensor) {
  if (input->dtype != DTYPE_COUNT && input->dtype != tensor->dtype)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is %s, expected %s", input->name, dtype_name(tensor->dtype),
         dtype_name(input->dtype));
  if (input->rank >= 0 && input->rank != tensor->rank)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has rank %d, expected %d", input->name, tensor->rank, input->rank);
  bind_dims(e, input->rank, input->dims, tensor);
  return OK;
}

static Status check_input(Evaluation *e, const Value *input, const Tensor *tensor) {
  for (int i = 0; i < input->rank; i++) {
    int64_t expected;
    if (!dim_evaluate(e->graph->dims, &e->symbols.binding, input->dims[i], &expected) || expected == tensor->dims[i]) continue;
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has %lld elements along axis %d, expected %lld", input->name,
         (long long)tensor->dims[i], i, (long long)expected);
  }
  return OK;
}

static const Tensor *tensor_of(const Evaluation *e, const Value *value) {
  if (!value) return NULL;
  return value->constant ? value->constant : int_map_get(e->tensors, value->id);
}

static void remember(Evaluation *e, const Value *value, const Tensor *tensor) {
  int_map_set(e->tensors, value->id, arena_copy(e->arena, tensor, sizeof *tensor));
  bind_dims(e, value->rank, value->dims, tensor);
  for (uint32_t i = 0; i < e->promise_count; i++)
    if (e->promises[i].value == value) bind_dims(e, e->promises[i].rank, e->promises[i].dims, tensor);
}

// A node's own copy of the attribute with every symbolic dim replaced by its value.
static Status settle_dims(Evaluation *e, Node *node, const Attribute *attribute) {
  Dim *values = arena_array(e->arena, Dim, (size_t)attribute->count + 1);
  for (int i = 0; i < attribute->count; i++) {
    int64_t value;
    if (!dim_evaluate(e->graph->dims, &e->symbols.binding, attribute->dims[i], &value)) {
      Text text = text_new(e->arena);
      dim_print(&text, e->graph->dims, attribute->dims[i]);
      FAIL(ERROR_INTERNAL, "%s[%d] is %s, whose value is not known", attribute->name, i, text_get(&text));
    }
    values[i] = dim_constant(e->graph->dims, value);
  }
  node_set_dims(node, attribute->name, values, attribute->count);
  return OK;
}

static Status gather_inputs(const Evaluation *e, const Node *node, const Tensor ***out) {
  const Tensor **inputs = arena_array(e->arena, const Tensor *, (size_t)node->input_count + 1);
  for (int i = 0; i < node->input_count; i++) {
    inputs[i] = tensor_of(e, node->inputs[i]);
    if (node->inputs[i] && !inputs[i]) FAIL(ERROR_INTERNAL, "input '%s' has no value", node->inputs[i]->name);
  }
  *out = inputs;
  return OK;
}

// --- deferred operators

typedef struct Place {  // somewhere a value is used: a node's input or a graph output
  Node *node;
  int index;
} Place;

static Place place_of(const Graph *graph, const Value *value) {
  if (value->uses) return (Place){value->uses->node, value->uses->index};
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i] == value) return (Place){NULL, i};
  return (Place){NULL, -1};
}

// Makes every operand a constant, translates the node in place and gives the first node to run next.
static Status translate_now(Evaluation *e, Node *node, Node **next) {
  Node *before = node->previous;
  for (int i = 0; i < node->input_count; i++) {
    Value *input = node->inputs[i];
    if (!input || input->constant) continue;
    const Tensor *tensor = tensor_of(e, input);
    if (!tensor) FAIL(ERROR_INTERNAL, "input '%s' has no value", input->name);
    node_set_input(node, i, graph_add_constant(e->graph, NULL, tensor));
  }
  int count = node->output_count;
  Place *places = arena_array(e->arena, Place, (size_t)count);
  Promise *promises = arena_array(e->arena, Promise, (size_t)count);
  for (int i = 0; i < count; i++) {
    const Value *value = node->outputs[i];
    places[i] = place_of(e->graph, value);
    promises[i].rank = value->rank;
    memcpy(promises[i].dims, value->dims, sizeof value->dims);
  }
  bool done;
  if (!e->translate) FAIL(ERROR_UNSUPPORTED, "nothing here translates it");
  TRY(e->translate(node, &done));
  if (!done) FAIL(ERROR_UNSUPPORTED, "its operands are all known, yet it cannot be translated");
  for (int i = 0; i < count; i++) {
    if (!places[i].node && places[i].index < 0) continue;
    const Value *value = places[i].node ? places[i].node->inputs[places[i].index] : e->graph->outputs[places[i].index];
    promises[i].value = value;
    *ARENA_PUSH(e->arena, e->promises, e->promise_count, e->promise_capacity) = promises[i];
    const Tensor *tensor = tensor_of(e, value);
    if (tensor) bind_dims(e, promises[i].rank, promises[i].dims, tensor);
  }
  *next = before ? before->next : e->graph->first;
  return OK;
}

// --- control flow

static Status run_if(Evaluation *e, const Node *node, const Tensor **inputs, Tensor *outputs) {
  if (tensor_count(inputs[0]) != 1)
    FAIL(ERROR_INVALID_MODEL, "its condition has %lld elements", (long long)tensor_count(inputs[0]));
  const Graph *branch = node_graph(node, tensor_get_i(inputs[0], 0) ? "then_branch" : "else_branch");
  return evaluate(branch, e, e->translate, e->arena, inputs + 1, outputs);
}

// Slices collected over the iterations, stacked along a new axis.
typedef struct Stack {
  Tensor *slices;
  uint32_t count, capacity;
} Stack;

static Status stack_join(Evaluation *e, const Stack *stack, const Value *slice, int axis, bool reverse, Tensor *out) {
  Tensor shape = {.dtype = slice->dtype, .rank = MAX(slice->rank, 0)};
  for (int i = 0; i < slice->rank; i++)
    if (!dim_evaluate(e->graph->dims, &e->symbols.binding, slice->dims[i], &shape.dims[i])) shape.dims[i] = 0;
  if (stack->count) shape = stack->slices[0];
  int64_t dims[MAX_RANK], inner = 1, outer = 1;
  if (shape.rank + 1 > MAX_RANK) FAIL(ERROR_UNSUPPORTED, "a scan output has rank %d", shape.rank + 1);
  for (int i = 0; i < shape.rank + 1; i++) dims[i] = i < axis ? shape.dims[i] : i == axis ? stack->count : shape.dims[i - 1];
  for (int i = 0; i < shape.rank; i++) *(i < axis ? &outer : &inner) *= shape.dims[i];
  TRY(tensor_new(e->arena, shape.dtype, shape.rank + 1, dims, out));
  size_t run = (size_t)inner * dtype_size(shape.dtype);
  for (uint32_t k = 0; k < stack->count; k++) {
    const Tensor *from = &stack->slices[k];
    if (from->rank != shape.rank || memcmp(from->dims, shape.dims, sizeof *dims * (size_t)shape.rank) != 0)
      FAIL(ERROR_INVALID_MODEL, "the slices of a scan output differ in shape");
    size_t to = reverse ? stack->count - 1 - k : k;
    for (size_t o = 0; o < (size_t)outer; o++)
      memcpy((char *)out->data + (o * stack->count + to) * run, (char *)from->data + o * run, run);
  }
  return OK;
}

static Status run_loop(Evaluation *e, const Node *node, const Tensor **inputs, Tensor *outputs) {
  const Graph *body = node_graph(node, "body");
  int states = (int)node_int(node, "states", 0), scans = node->output_count - states, arguments = body->input_count;
  int64_t trips = inputs[0] ? tensor_get_i(inputs[0], 0) : INT64_MAX;
  bool going = inputs[1] ? tensor_get_i(inputs[1], 0) != 0 : true;
  const Tensor **in = arena_array(e->arena, const Tensor *, (size_t)arguments + 1);
  Stack *stacks = arena_array(e->arena, Stack, (size_t)scans + 1);
  for (int i = 2; i < arguments; i++) in[i] = inputs[i];
  for (int64_t k = 0; k < trips && going; k++) {
    Tensor *out = arena_array(e->arena, Tensor, (size_t)body->output_count + 1);
    Tensor *flag = arena_new_of(e->arena, Tensor);
    TRY(tensor_new(e->arena, DTYPE_BOOL, 0, NULL, flag));
    tensor_set_i(flag, 0, going);
    in[0] = tensor_scalar_i64(e->arena, k);
    in[1] = flag;
    TRY(evaluate(body, e, e->translate, e->arena, in, out));
    going = tensor_get_i(&out[0], 0) != 0;
    for (int i = 0; i < states; i++) in[2 + i] = &out[1 + i];
    for (int i = 0; i < scans; i++)
      *ARENA_PUSH(e->arena, stacks[i].slices, stacks[i].count, stacks[i].capacity) = out[1 + states + i];
  }
  for (int i = 0; i < states; i++) outputs[i] = *in[2 + i];
  for (int i = 0; i < scans; i++) TRY(stack_join(e, &stacks[i], body->outputs[1 + states + i], 0, false, &outputs[states + i]));
  return OK;
}

// Element `index` along an axis, copied out.
static Status take_slice(Evaluation *e, const Tensor *x, int axis, int64_t index, Tensor *out) {
  int64_t dims[MAX_RANK], outer = 1, inner = 1;
  for (int i = 0; i < x->rank; i++) {
    if (i != axis) dims[i - (i > axis)] = x->dims[i];
    if (i < axis) outer *= x->dims[i];
    if (i > axis) inner *= x->dims[i];
  }
  TRY(tensor_new(e->arena, x->dtype, x->rank - 1, dims, out));
  size_t run = (size_t)inner * dtype_size(x->dtype), size = (size_t)x->dims[axis];
  for (size_t o = 0; o < (size_t)outer; o++)
    memcpy((char *)out->data + o * run, (char *)x->data + (o * size + (size_t)index) * run, run);
  return OK;
}

static int64_t listed(const int64_t *values, int count, int index) { return values && index < count ? values[index] : 0; }

static Status run_scan(Evaluation *e, const Node *node, const Tensor **inputs, Tensor *outputs) {
  const Graph *body = node_graph(node, "body");
  int states = (int)node_int(node, "states", 0), scans = (int)node_int(node, "scan_inputs", 0);
  int slices = node->output_count - states, axis_count, direction_count, out_axis_count, out_direction_count;
  const int64_t *axes = node_ints(node, "input_axes", &axis_count);
  const int64_t *directions = node_ints(node, "input_directions", &direction_count);
  const int64_t *out_axes = node_ints(node, "output_axes", &out_axis_count);
  const int64_t *out_directions = node_ints(node, "output_directions", &out_direction_count);
  if (scans < 1) FAIL(ERROR_INVALID_MODEL, "it scans nothing");
  int64_t length = inputs[states]->dims[listed(axes, axis_count, 0)];
  const Tensor **in = arena_array(e->arena, const Tensor *, (size_t)node->input_count + 1);
  Stack *stacks = arena_array(e->arena, Stack, (size_t)slices + 1);
  memcpy(in, inputs, sizeof *in * (size_t)node->input_count);
  for (int64_t k = 0; k < length; k++) {
    Tensor *out = arena_array(e->arena, Tensor, (size_t)body->output_count + 1);
    Tensor *taken = arena_array(e->arena, Tensor, (size_t)scans);
    for (int i = 0; i < scans; i++) {
      const Tensor *x = inputs[states + i];
      int axis = (int)listed(axes, axis_count, i);
      if (x->dims[axis] != length) FAIL(ERROR_INVALID_MODEL, "its scan inputs differ in length");
      TRY(take_slice(e, x, axis, listed(directions, direction_count, i) ? length - 1 - k : k, &taken[i]));
      in[states + i] = &taken[i];
    }
    TRY(evaluate(body, e, e->translate, e->arena, in, out));
    for (int i = 0; i < states; i++) in[i] = &out[i];
    for (int i = 0; i < slices; i++)
      *ARENA_PUSH(e->arena, stacks[i].slices, stacks[i].count, stacks[i].capacity) = out[states + i];
  }
  for (int i = 0; i < states; i++) outputs[i] = *in[i];
  for (int i = 0; i < slices; i++)
    TRY(stack_join(e, &stacks[i], body->outputs[states + i], (int)listed(out_axes, out_axis_count, i),
                   listed(out_directions, out_direction_count, i) != 0, &outputs[states + i]));
  return OK;
}

// --- nodes in order

static Status run_node(Evaluation *e, Node *node) {
  const Tensor **inputs;
  Tensor *outputs = arena_array(e->arena, Tensor, (size_t)node->output_count + 1);
  TRY(gather_inputs(e, node, &inputs));
  for (int i = 0; i < node->attribute_count; i++)
    if (node->attributes[i].kind == ATTR_DIMS) TRY(settle_dims(e, node, &node->attributes[i]));
  if (node->op == &op_if) TRY(run_if(e, node, inputs, outputs));
  else if (node->op == &op_loop) TRY(run_loop(e, node, inputs, outputs));
  else if (node->op == &op_scan) TRY(run_scan(e, node, inputs, outputs));
  else TRY(reference_run(node, e->arena, inputs, outputs));
  for (int i = 0; i < node->output_count; i++) remember(e, node->outputs[i], &outputs[i]);
  return OK;
}

static Status run_nodes(Evaluation *e) {
  Node *next;
  for (Node *node = e->graph->first; node; node = next) {
    next = node->next;
    Status status = node->op == &op_deferred ? translate_now(e, node, &next) : run_node(e, node);
    if (status)
      return status_context(status, "node '%s' (%s)", node->output_count ? node->outputs[0]->name : "", node->op->name);
  }
  return OK;
}

static Status copy_out(Arena *arena, const Tensor *from, Tensor *to) {
  TRY(tensor_new(arena, from->dtype, from->rank, from->dims, to));
  if (from->dtype != DTYPE_STRING) {
    memcpy(to->data, from->data, tensor_bytes(from));
    return OK;
  }
  for (int64_t i = 0; i < tensor_count(from); i++) ((char **)to->data)[i] = arena_string(arena, ((char **)from->data)[i]);
  return OK;
}

static Status evaluate_in(Evaluation *e, Arena *arena, const Tensor *const *inputs, Tensor *outputs) {
  for (int i = 0; i < e->graph->input_count; i++) TRY(bind_input(e, e->graph->inputs[i], inputs[i]));
  for (int i = 0; i < e->graph->input_count; i++) {
    TRY(check_input(e, e->graph->inputs[i], inputs[i]));
    remember(e, e->graph->inputs[i], inputs[i]);
  }
  TRY(run_nodes(e));
  for (int i = 0; i < e->graph->output_count; i++) {
    const Tensor *result = tensor_of(e, e->graph->outputs[i]);
    if (!result) FAIL(ERROR_INTERNAL, "output '%s' was not computed", e->graph->outputs[i]->name);
    TRY(copy_out(arena, result, &outputs[i]));
  }
  return OK;
}

static Status evaluate(const Graph *source, const Evaluation *outer, TranslateDeferred translate, Arena *arena,
                       const Tensor *const *inputs, Tensor *outputs) {
  Evaluation e = {.arena = arena_new(), .translate = translate};
  e.graph = graph_copy(e.arena, source);
  e.tensors = int_map_new(e.arena);
  e.symbols.binding = dim_binding_new(e.arena);
  for (uint32_t i = 0; outer && i < outer->symbols.count; i++) {
    const int64_t *value = string_map_get(outer->symbols.binding.values, outer->symbols.names[i]);
    bind(&e, outer->symbols.names[i], *value);
  }
  Status status = evaluate_in(&e, arena, inputs, outputs);
  arena_free(e.arena);
  return status;
}

Status graph_evaluate(const Graph *graph, TranslateDeferred translate, Arena *arena, const Tensor *const *inputs,
                      Tensor *outputs) {
  return evaluate(graph, NULL, translate, arena, inputs, outputs);
}
