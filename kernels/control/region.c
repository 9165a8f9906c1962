// See region.h.
#include "kernels/control/region.h"

#include <string.h>

#include "base/checked.h"
#include "ir/bindings.h"
#include "kernels/control/body.h"
#include "kernels/view/view.h"

static bool is_half(DType dtype) { return dtype == DTYPE_F16 || dtype == DTYPE_BF16; }

// ---- What a body may hold

static const char *refuses_value(const Node *node, const Value *value) {
  if (value->kind != VALUE_TENSOR) return "it works on sequences or optionals";
  if (value->dtype == DTYPE_COUNT || value->rank < 0) return "the type of one of its values is not known";
  if (node->op == &op_bitcast && is_half(value->dtype)) return "it sees the bits of a number that a region does not round";
  return NULL;
}

const char *region_refuses(const Node *node) {
  const char *why = NULL;
  if (!node->op->reference) return "it holds graphs that the host runs, or waits for a run";
  if (node->op->data_dependent) return "the size of its result shows only in a run";
  if (node->op->random) return "its numbers are random";
  for (int i = 0; i < node->input_count && !why; i++)
    if (node->inputs[i]) why = refuses_value(node, node->inputs[i]);
  for (int i = 0; i < node->output_count && !why; i++) why = refuses_value(node, node->outputs[i]);
  return why;
}

int region_input(const Graph *body, const Value *value) {
  for (int i = 0; i < body->input_count; i++)
    if (body->inputs[i] == value) return i;
  return -1;
}

// ---- Inference

static Status read_body(const Node *node, Graph **body) {
  TRY(body_read(node, "body", node->input_count, body));
  for (int i = 0; i < (*body)->input_count; i++)
    if (!meaning_input(node, i)) FAIL(ERROR_INVALID_MODEL, "region '%s': its input %d is absent", (*body)->name, i);
  if ((*body)->output_count != node->output_count)
    FAIL(ERROR_INVALID_MODEL, "region '%s' gives %d results where the node has %d", (*body)->name, (*body)->output_count,
         node->output_count);
  return OK;
}

// Values keep their stride orders.
static Status infer_inside(Node *inner) {
  enum { MOST_KEPT = 8 };
  uint8_t orders[MOST_KEPT][MAX_RANK];
  int kept = MIN(inner->output_count, MOST_KEPT), ranks[MOST_KEPT];
  for (int i = 0; i < kept; i++) {
    ranks[i] = inner->outputs[i]->rank;
    memcpy(orders[i], inner->outputs[i]->order, MAX_RANK);
  }
  TRY(node_infer(inner));
  for (int i = 0; i < kept; i++)
    if (ranks[i] == inner->outputs[i]->rank) memcpy(inner->outputs[i]->order, orders[i], MAX_RANK);
  return OK;
}

// The body is inferred even where its inputs have their types already: sizes may have become known that do not fit.
static Status infer_region(Node *node) {
  Graph *body;
  bool changed = false;
  TRY(read_body(node, &body));
  for (int i = 0; i < body->input_count; i++) body_set_input(body->inputs[i], meaning_input(node, i), &changed);
  FOR_NODES(inner, body) TRY(status_context(infer_inside(inner), "region '%s'", body->name));
  for (int i = 0; i < node->output_count; i++) {
    const Value *result = body->outputs[i];
    value_set_type(node->outputs[i], result->dtype, result->rank, result->dims);
  }
  return OK;
}

// ---- The verifier's questions

static const char *type_text(Arena *arena, const Value *value) {
  Text text = text_new(arena);
  text_add(&text, "%s[", dtype_name(value->dtype));
  for (int i = 0; i < value->rank; i++) {
    if (i) text_add(&text, ", ");
    dim_print(&text, value->graph->dims, value->dims[i]);
  }
  text_add(&text, "]");
  return text_get(&text);
}

static Status wrong_type(const Graph *body, const Value *formal, const Value *actual) {
  Arena *arena = arena_scratch();
  Status status = status_make(ERROR_INVALID_MODEL, "region '%s': its input '%s' is %s where '%s', which stands for it, is %s",
                              body->name, formal->name, type_text(arena, formal), actual->name, type_text(arena, actual));
  arena_free(arena);
  return status;
}

// Inference would give a body's input the type of what stands for it.
static Status check_region(const Node *node) {
  Graph *body;
  TRY(read_body(node, &body));
  for (int i = 0; i < body->input_count; i++) {
    const Value *formal = body->inputs[i], *actual = meaning_input(node, i);
    if (formal->kind != VALUE_TENSOR)
      FAIL(ERROR_INVALID_MODEL, "region '%s': its input '%s' is no tensor", body->name, formal->name);
    if (formal->initial) FAIL(ERROR_INVALID_MODEL, "region '%s': its input '%s' has a default", body->name, formal->name);
    if (formal->kind != actual->kind || formal->dtype != actual->dtype || !value_same_shape(formal, actual))
      return wrong_type(body, formal, actual);
  }
  FOR_NODES(inner, body) {
    const char *why = region_refuses(inner);
    if (why)
      FAIL(ERROR_INVALID_MODEL, "region '%s': node '%s' (%s) may not stand in it, since %s", body->name,
           inner->output_count ? inner->outputs[0]->name : "", inner->op->name, why);
  }
  return OK;
}

// ---- Reference

static Status widen_tensor(Arena *arena, Tensor *tensor) {
  Tensor wide;
  if (!tensor || !is_half(tensor->dtype)) return OK;
  TRY(tensor_new(arena, DTYPE_F32, tensor->rank, tensor->dims, &wide));
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++) tensor_set_f(&wide, i, tensor_get_f(tensor, i));
  *tensor = wide;
  return OK;
}

static Status widen_value(Value *value) {
  if (value->dtype == DTYPE_COUNT || !is_half(value->dtype)) return OK;
  value->dtype = DTYPE_F32;
  return widen_tensor(value->graph->arena, value->constant);
}

// What is cast to half precision is rounded to it, and goes on as f32.
static Program *widen_program(Arena *arena, const Program *program) {
  Program *wide = program_new(arena, program->input_count);
  int *map = arena_array(arena, int, (size_t)program->count + 1);
  for (int i = 0; i < program->count; i++) {
    Instruction in = program->code[i];
    bool half = is_half(in.dtype), cast = in.op == OP_cast;
    for (int k = 0; k < opcode_info(in.op)->arity; k++) in.args[k] = map[in.args[k]];
    if (half && !cast) in.dtype = DTYPE_F32;
    map[i] = program_instruction(wide, in);
    if (half && cast) map[i] = program_cast(wide, DTYPE_F32, map[i]);
  }
  for (int i = 0; i < program->output_count; i++) program_output(wide, map[program->outputs[i]]);
  return wide;
}

static Status widen_graph(Graph *graph);

static Status widen_attribute(Node *node, Attribute *attribute) {
  switch (attribute->kind) {
    case ATTR_PROGRAM: attribute->program = widen_program(node->graph->arena, attribute->program); return OK;
    case ATTR_TENSOR: return widen_tensor(node->graph->arena, attribute->tensor);
    case ATTR_GRAPH: return widen_graph(attribute->graph);
    default: return OK;
  }
}

static Status widen_graph(Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) TRY(widen_value(graph->inputs[i]));
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) TRY(widen_value(node->inputs[i]));
    for (int i = 0; i < node->output_count; i++) TRY(widen_value(node->outputs[i]));
    for (int i = 0; i < node->attribute_count; i++) TRY(widen_attribute(node, &node->attributes[i]));
    if (is_half((DType)node_int(node, "dtype", DTYPE_F32))) node_set_int(node, "dtype", DTYPE_F32);
  }
  for (int i = 0; i < graph->output_count; i++) TRY(widen_value(graph->outputs[i]));
  return OK;
}

// What attributes say of sizes follows from the sizes of what is given.
static void bind_sizes(Graph *body, const Tensor *const *inputs) {
  Bindings bindings = bindings_new(body);
  for (int i = 0; i < body->input_count; i++)
    for (int k = 0; k < body->inputs[i]->rank; k++) bindings_learn(&bindings, body->inputs[i]->dims[k], inputs[i]->dims[k]);
  bindings_apply_everywhere(&bindings, body);
}

static Status store(Reference *r, int index, DType dtype, const Tensor *result) {
  Tensor *out;
  TRY(reference_output(r, index, dtype, result->rank, result->dims, &out));
  if (result->dtype == dtype) {
    if (tensor_bytes(result)) memcpy(out->data, result->data, tensor_bytes(result));
    return OK;
  }
  for (int64_t i = 0, count = tensor_count(out); i < count; i++) tensor_set_f(out, i, tensor_get_f(result, i));
  return OK;
}

static Status reference_region(Reference *r) {
  const Graph *as_written = region_body(r->node);
  Graph *body = graph_copy(r->arena, as_written);
  const Tensor **values = arena_array(r->arena, const Tensor *, (size_t)body->next_value_id + 1);
  bind_sizes(body, r->inputs);
  TRY(widen_graph(body));
  for (int i = 0; i < body->input_count; i++) {
    Tensor *wide = arena_copy(r->arena, r->inputs[i], sizeof *wide);
    TRY(widen_tensor(r->arena, wide));
    values[body->inputs[i]->id] = wide;
  }
  TRY(status_context(reference_run_graph(body, r->arena, values), "region '%s'", body->name));
  for (int i = 0; i < body->output_count; i++) {
    const Value *value = body->outputs[i];
    TRY(store(r, i, as_written->outputs[i]->dtype, value->constant ? value->constant : values[value->id]));
  }
  return OK;
}

const OpDef op_region = {
    .name = "region",
    .help = "a graph that is computed as one step, without rounding inside",
    .min_inputs = 0,
    .max_inputs = -1,
    .min_outputs = 1,
    .max_outputs = -1,
    .attributes = (const AttributeSpec[]){{"body", ATTR_GRAPH, true}, {0}},
    .infer = infer_region,
    .check = check_region,
    .reference = reference_region,
    .exact_values = true,
};
