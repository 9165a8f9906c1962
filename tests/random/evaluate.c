// See evaluate.h.
#include "tests/random/evaluate.h"

#include <float.h>
#include <math.h>

#include "base/checked.h"
#include "kernels/reference.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/view/view.h"

enum { MOST_TRIPS = 64 };
int evaluate_most;

static double as_stored(DType dtype, double value) {
  uint64_t element;
  element_set_f(dtype, &element, value);
  return element_get_f(dtype, &element);
}

// ---- Sizes and inputs

static void bind_symbols(const DimTable *table, Dim dim, uint64_t values, Arena *arena, DimBinding *binding) {
  static const int sizes[] = {1, 2, 2, 3, 3, 4, 5, 0};
  if (dim_is_static(dim)) return;
  switch (dim_op(table, dim)) {
    case DIM_CONSTANT: return;
    case DIM_SYMBOL: {
      Draw draw = draw_named(values, dim_symbol_name(table, dim));
      int size = evaluate_most ? 1 + draw_below(&draw, evaluate_most)
                               : sizes[draw_below(&draw, values % FLAVOURS == FLAVOURS - 1 ? 8 : 7)];
      dim_bind(binding, arena, dim_symbol_name(table, dim), size);
      return;
    }
    default:
      bind_symbols(table, dim_operand(table, dim, 0), values, arena, binding);
      bind_symbols(table, dim_operand(table, dim, 1), values, arena, binding);
  }
}

static void set_sizes(Graph *graph, const DimBinding *binding, Dim *dims, int count) {
  int64_t size;
  for (int i = 0; i < count; i++)
    if (dim_evaluate(graph->dims, binding, dims[i], &size)) dims[i] = dim_constant(graph->dims, size);
}

static void bind_graph(Graph *graph, const DimBinding *binding) {
  for (int i = 0; i < graph->input_count; i++) set_sizes(graph, binding, graph->inputs[i]->dims, graph->inputs[i]->rank);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->output_count; i++) set_sizes(graph, binding, node->outputs[i]->dims, node->outputs[i]->rank);
    for (int i = 0; i < node->attribute_count; i++) {
      Attribute *attribute = &node->attributes[i];
      if (attribute->kind == ATTR_GRAPH) bind_graph(attribute->graph, binding);
      if (attribute->kind != ATTR_DIMS) continue;
      Dim *dims = arena_copy(graph->arena, attribute->dims, (size_t)attribute->count * sizeof *dims);
      set_sizes(graph, binding, dims, attribute->count);
      attribute->dims = dims;
    }
  }
}

Graph *evaluate_bind(Arena *arena, const Graph *graph, uint64_t values) {
  Graph *bound = graph_copy(arena, graph);
  DimBinding binding = dim_binding_new(arena);
  for (int i = 0; i < bound->input_count; i++)
    for (int k = 0; k < bound->inputs[i]->rank; k++)
      bind_symbols(bound->dims, bound->inputs[i]->dims[k], values, arena, &binding);
  bind_graph(bound, &binding);
  return bound;
}

Status evaluate_inputs(Arena *arena, const Graph *bound, uint64_t values, Tensor *inputs) {
  for (int i = 0; i < bound->input_count; i++) {
    const Value *value = bound->inputs[i];
    int64_t dims[MAX_RANK];
    if (!value_get_dims(value, dims)) FAIL(ERROR_INVALID_MODEL, "input '%s' has no size", value->name);
    TRY(tensor_new(arena, value->dtype, value->rank, dims, &inputs[i]));
    Draw draw = draw_named(values, value->name);
    bool is_float = dtype_is_float(value->dtype);
    for (int64_t k = 0, count = tensor_count(&inputs[i]); k < count; k++)
      tensor_set_f(&inputs[i], k, draw_number(&draw, is_float ? (int)(values % FLAVOURS) : 0));
  }
  return OK;
}

// ---- The graph in double

Tensor evaluate_wide_tensor(Arena *arena, const Tensor *tensor) {
  if (!dtype_is_float(tensor->dtype)) return *tensor;
  Tensor wide;
  Status status = tensor_new(arena, DTYPE_F64, tensor->rank, tensor->dims, &wide);
  status_free(status);
  for (int64_t i = 0, count = status ? 0 : tensor_count(tensor); i < count; i++)
    tensor_set_f(&wide, i, tensor_get_f(tensor, i));
  return wide;
}

static void widen_value(Value *value, IntMap *stored) {
  uint64_t key = (uint64_t)(uintptr_t)value;
  if (int_map_get(stored, key) || value->dtype >= DTYPE_COUNT || !dtype_is_float(value->dtype)) return;
  int_map_set(stored, key, (void *)(uintptr_t)(value->dtype + 1));
  value->dtype = DTYPE_F64;
  if (value->constant) *value->constant = evaluate_wide_tensor(value->graph->arena, value->constant);
}

// Constants have in double the digits that programs compute with.
static Program *widen_program(Arena *arena, const Program *program, Inside *inside) {
  Program *wide = inside ? inside_open(inside, program) : program_copy(arena, program);
  for (int i = 0; i < wide->count; i++) {
    Instruction *in = &wide->code[i];
    if (!dtype_is_float(in->dtype)) continue;
    if (in->op == OP_const && in->dtype != DTYPE_F64) in->number = (float)in->number;
    in->dtype = DTYPE_F64;
  }
  return wide;
}

static Status widen_graph(Graph *graph, IntMap *stored, Inside *inside) {
  for (int i = 0; i < graph->input_count; i++) widen_value(graph->inputs[i], stored);
  for (int i = 0; i < graph->output_count; i++) widen_value(graph->outputs[i], stored);
  FOR_NODES(node, graph) {
    if (node->op == &op_bitcast) FAIL(ERROR_UNSUPPORTED, "the bits of a number have no wider form");
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) widen_value(node->inputs[i], stored);
    for (int i = 0; i < node->output_count; i++) widen_value(node->outputs[i], stored);
    for (int i = 0; i < node->attribute_count; i++) {
      const Attribute *attribute = &node->attributes[i];
      if (attribute->kind == ATTR_GRAPH) TRY(widen_graph(attribute->graph, stored, inside));
      if (attribute->kind == ATTR_PROGRAM)
        node_set_program(node, attribute->name, widen_program(graph->arena, attribute->program, inside));
    }
    if (node_attribute(node, "dtype") && dtype_is_float((DType)node_int(node, "dtype", 0)))
      node_set_int(node, "dtype", DTYPE_F64);
  }
  return OK;
}

Status evaluate_widen(Arena *arena, const Graph *bound, IntMap *stored, Inside *inside, Graph **out) {
  *out = graph_copy(arena, bound);
  return widen_graph(*out, stored, inside);
}

// ---- Running

// Half a unit in the last place, relative and absolute.
static void rounding_of(DType dtype, double *relative, double *absolute) {
  *relative = *absolute = 0;
  switch (dtype) {
    case DTYPE_F64: *relative = DBL_EPSILON / 2; break;
    case DTYPE_F32: *relative = FLT_EPSILON / 2, *absolute = FLT_TRUE_MIN; break;
    case DTYPE_F16: *relative = 0x1p-11, *absolute = 0x1p-25; break;
    case DTYPE_BF16: *relative = 0x1p-8, *absolute = FLT_TRUE_MIN; break;
    default: break;
  }
}

// Inputs and constants are what they are: they shake as little as arithmetic inside of programs rounds, unless they are narrowed on request.
static DType shaken_as(const Evaluation *e, const Value *value) {
  DType stored = (DType)((uintptr_t)int_map_get(e->stored, (uint64_t)(uintptr_t)value) - 1);
  bool is_result = value->producer != NULL;
  if (e->precision < DTYPE_COUNT && stored != DTYPE_F64) return e->precision;
  return stored == DTYPE_F64 || is_result ? stored : DTYPE_F32;
}

static void shake(Evaluation *e, const Value *value, Tensor *tensor) {
  double relative, absolute;
  DType dtype = shaken_as(e, value);
  rounding_of(dtype, &relative, &absolute);
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++) {
    double direction = draw_direction(e->shakes);
    double exact = tensor_get_f(tensor, i);
    if (!isfinite(exact)) continue;
    double shaken = exact + direction * SHAKEN_BY * (fabs(exact) * relative + absolute);
    if (exact == 0) shaken = value->producer && direction < 0 ? -exact : exact;  // sums of products have either zero
    tensor_set_f(tensor, i, e->rounds ? as_stored(dtype, shaken) : shaken);
  }
}

static void note_numbers(Evaluation *e, const Tensor *tensor, bool is_result) {
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++) {
    double number = tensor_get_f(tensor, i);
    if (isfinite(number)) e->largest = fmax(e->largest, fabs(number));
    else e->strange += is_result;
  }
}

// The tensor, or a shaken copy of it.
static const Tensor *given(Evaluation *e, const Value *value, const Tensor *tensor) {
  if (!dtype_is_float(tensor->dtype)) return tensor;
  note_numbers(e, tensor, false);
  if (!e->shakes) return tensor;
  Tensor *copy = arena_copy(e->arena, tensor, sizeof *tensor);
  copy->data = arena_copy(e->arena, tensor->data, tensor_bytes(tensor));
  shake(e, value, copy);
  return copy;
}

static void note_result(Evaluation *e, const Value *value, Tensor *tensor) {
  if (!dtype_is_float(tensor->dtype)) return;
  // What a view gives is moved, not rounded; on request it may be narrow where others read its operand as it was.
  if (e->shakes && (!value->producer->op->view || e->precision < DTYPE_COUNT)) shake(e, value, tensor);
  note_numbers(e, tensor, !e->depth);
}

static Status run_branch(Evaluation *e, const Node *node, const Tensor *const *in, Tensor *out) {
  const Graph *branch = node_graph(node, tensor_get_i(in[0], 0) ? "then_branch" : "else_branch");
  Tensor *inputs = arena_array(e->arena, Tensor, (size_t)branch->input_count + 1);
  for (int i = 0; i < branch->input_count; i++) inputs[i] = *in[1 + i];
  return evaluate_run(e, branch, inputs, out);
}

// Loops of the generator carry states and stack nothing.
static Status run_loop(Evaluation *e, const Node *node, const Tensor *const *in, Tensor *out) {
  const Graph *body = node_graph(node, "body");
  int states = (int)node_int(node, "states", 0);
  if (states != node->output_count) FAIL(ERROR_UNSUPPORTED, "a loop that stacks results");
  int64_t trips = in[0] ? tensor_get_i(in[0], 0) : MOST_TRIPS;
  bool goes_on = !in[1] || tensor_get_i(in[1], 0) != 0;
  Tensor *inputs = arena_array(e->arena, Tensor, (size_t)body->input_count);
  Tensor *results = arena_array(e->arena, Tensor, (size_t)body->output_count);
  for (int i = 2; i < body->input_count; i++) inputs[i] = *in[i];
  for (int64_t trip = 0; trip < MIN(trips, MOST_TRIPS) && goes_on; trip++) {
    inputs[0] = *tensor_scalar_i64(e->arena, trip);
    inputs[1] = *tensor_scalar_f(e->arena, DTYPE_BOOL, goes_on);
    TRY(evaluate_run(e, body, inputs, results));
    goes_on = tensor_get_i(&results[0], 0) != 0;
    for (int i = 0; i < states; i++) inputs[2 + i] = results[1 + i];
  }
  for (int i = 0; i < states; i++) out[i] = inputs[2 + i];
  return OK;
}

static Tensor slice_at(const Tensor *x, int64_t at) {
  Tensor slice = *x;
  slice.rank--;
  memmove(slice.dims, slice.dims + 1, sizeof slice.dims - sizeof *slice.dims);
  slice.data = (char *)x->data + (size_t)(at * tensor_count(&slice)) * dtype_size(x->dtype);
  return slice;
}

// Scans of the generator go forwards over the first axis of one input, and stack slices like its own.
static Status run_scan(Evaluation *e, const Node *node, const Tensor *const *in, Tensor *out) {
  const Graph *body = node_graph(node, "body");
  int states = (int)node_int(node, "states", 0);
  const Tensor *scanned = in[states];
  Tensor *inputs = arena_array(e->arena, Tensor, (size_t)body->input_count);
  Tensor *results = arena_array(e->arena, Tensor, (size_t)body->output_count);
  for (int i = 0; i < states; i++) inputs[i] = *in[i];
  for (int i = states; i < node->output_count; i++)
    TRY(tensor_new(e->arena, scanned->dtype, scanned->rank, scanned->dims, &out[i]));
  for (int64_t at = 0; at < scanned->dims[0]; at++) {
    inputs[states] = slice_at(scanned, at);
    TRY(evaluate_run(e, body, inputs, results));
    for (int i = 0; i < states; i++) inputs[i] = results[i];
    for (int i = states; i < node->output_count; i++) {
      Tensor to = slice_at(&out[i], at);
      memcpy(to.data, results[i].data, tensor_bytes(&to));
    }
  }
  for (int i = 0; i < states; i++) out[i] = inputs[i];
  return OK;
}

// What stands inside rounds differently, too, where passes rewrite it.
static Status run_region(Evaluation *e, const Node *node, const Tensor *const *in, Tensor *out) {
  Tensor *inputs = arena_array(e->arena, Tensor, (size_t)node->input_count + 1);
  for (int i = 0; i < node->input_count; i++) inputs[i] = *in[i];
  e->depth++;
  TRY(evaluate_run(e, region_body(node), inputs, out));
  e->depth--;
  return OK;
}

static Status run_node(Evaluation *e, const Node *node, const Tensor *const *in, Tensor *out) {
  if (node->op == &op_if) return run_branch(e, node, in, out);
  if (node->op == &op_loop) return run_loop(e, node, in, out);
  if (node->op == &op_scan) return run_scan(e, node, in, out);
  if (node->op == &op_region && (e->shakes || e->opens)) return run_region(e, node, in, out);
  return reference_run(node, e->arena, in, out);
}

static const Tensor *value_of(Evaluation *e, const Tensor **values, const Value *value) {
  if (!values[value->id]) values[value->id] = given(e, value, value->constant);
  return values[value->id];
}

// Sizes that a node turned out to give, by the symbols that its results' types have for them.
static void note_sizes(Evaluation *e, const Value *value, const Tensor *tensor) {
  const DimTable *table = value->graph->dims;
  for (int i = 0; i < value->rank && i < tensor->rank; i++) {
    if (dim_is_static(value->dims[i]) || dim_op(table, value->dims[i]) != DIM_SYMBOL) continue;
    if (!e->sizes.values) e->sizes = dim_binding_new(e->arena);
    dim_bind(&e->sizes, e->arena, dim_symbol_name(table, value->dims[i]), tensor->dims[i]);
  }
}

// The node with the sizes that are known by now in its attributes, and in a region's body.
static const Node *with_sizes(const Evaluation *e, const Node *node) {
  if (!e->sizes.values) return node;
  Node *sized = arena_copy(e->arena, node, sizeof *node);
  sized->attributes = arena_copy(e->arena, node->attributes, (size_t)node->attribute_count * sizeof *node->attributes);
  for (int i = 0; i < node->attribute_count; i++) {
    Attribute *attribute = &sized->attributes[i];
    if (node->op == &op_region && !e->shakes && attribute->kind == ATTR_GRAPH) {
      attribute->graph = graph_copy(e->arena, attribute->graph);
      bind_graph(attribute->graph, &e->sizes);
    }
    if (attribute->kind != ATTR_DIMS) continue;
    Dim *dims = arena_copy(e->arena, attribute->dims, (size_t)attribute->count * sizeof *dims);
    set_sizes(node->graph, &e->sizes, dims, attribute->count);
    attribute->dims = dims;
  }
  return sized;
}

Status evaluate_run(Evaluation *e, const Graph *bound, const Tensor *inputs, Tensor *outputs) {
  const Tensor **values = arena_array(e->arena, const Tensor *, bound->next_value_id);
  for (int i = 0; i < bound->input_count; i++) values[bound->inputs[i]->id] = given(e, bound->inputs[i], &inputs[i]);
  FOR_NODES(node, bound) {
    const Tensor **in = arena_array(e->arena, const Tensor *, (size_t)node->input_count + 1);
    Tensor *out = arena_array(e->arena, Tensor, (size_t)node->output_count + 1);
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) in[i] = value_of(e, values, node->inputs[i]);
    TRY(run_node(e, with_sizes(e, node), in, out));
    for (int i = 0; i < node->output_count; i++) {
      note_sizes(e, node->outputs[i], &out[i]);
      note_result(e, node->outputs[i], &out[i]);
      values[node->outputs[i]->id] = &out[i];
    }
  }
  for (int i = 0; i < bound->output_count; i++) outputs[i] = *value_of(e, values, bound->outputs[i]);
  return OK;
}
