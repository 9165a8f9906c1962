// See shrink.h. Steps leave types to a later inference; what then makes no sense is dropped by whoever took them.
#include "tests/random/shrink.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

static Node *node_number(Graph *graph, int number) {
  Node *node = graph->first;
  while (node && number-- > 0) node = node->next;
  return node;
}

// ---- Outputs and nodes

static void keep_outputs(Graph *graph, int count, Value *const *outputs) {
  for (int i = 0; i < graph->output_count; i++) graph->outputs[i]->is_output = false;
  graph->output_count = 0;
  for (int i = 0; i < count; i++) graph_mark_output(graph, outputs[i]);
}

// All that is wanted is one node's results.
static Place only_node(Graph *graph, int place) {
  Node *node = node_number(graph, place);
  if (!node) return PAST_THE_END;
  if (!node->next && graph->output_count == node->output_count) return NOT_HERE;
  keep_outputs(graph, node->output_count, node->outputs);
  return TAKEN;
}

static Place drop_output(Graph *graph, int place) {
  if (place >= graph->output_count) return PAST_THE_END;
  if (graph->output_count == 1) return NOT_HERE;
  Value *left[64];
  int count = 0;
  if (graph->output_count > (int)COUNT_OF(left)) return NOT_HERE;
  for (int i = 0; i < graph->output_count; i++)
    if (i != place) left[count++] = graph->outputs[i];
  keep_outputs(graph, count, left);
  return TAKEN;
}

static bool gives_output(const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i]->is_output) return true;
  return false;
}

static Place node_to_inputs(Graph *graph, int place) {
  Node *node = node_number(graph, place);
  if (!node) return PAST_THE_END;
  if (gives_output(node)) return NOT_HERE;
  for (int i = 0; i < node->output_count; i++) {
    Value *old = node->outputs[i];
    if (!old->uses) continue;
    char name[32];
    snprintf(name, sizeof name, "cut%u", graph->next_value_id);
    value_replace(old, graph_add_input(graph, name, old->dtype, old->rank, old->dims));
  }
  node_remove(node);
  return TAKEN;
}

enum { BYPASSES = 4 };
static Place bypass(Graph *graph, int place) {
  Node *node = node_number(graph, place / BYPASSES);
  if (!node) return PAST_THE_END;
  int index = place % BYPASSES;
  if (node->output_count != 1 || index >= node->input_count || !node->inputs[index]) return NOT_HERE;
  Value *in = node->inputs[index], *out = node->outputs[0];
  if (in->dtype != out->dtype || !value_same_shape(in, out) || (out->is_output && !in->producer)) return NOT_HERE;
  if (out->is_output) {
    for (int i = 0; i < graph->output_count; i++)
      if (graph->outputs[i] == in) return NOT_HERE;
  }
  value_replace(out, in);
  node_remove(node);
  return TAKEN;
}

static Place drop_attribute(Graph *graph, int place) {
  enum { ATTRIBUTES = 10 };
  Node *node = node_number(graph, place / ATTRIBUTES);
  if (!node) return PAST_THE_END;
  if (place % ATTRIBUTES >= node->attribute_count) return NOT_HERE;
  const char *name = node->attributes[place % ATTRIBUTES].name;
  for (const AttributeSpec *spec = node->op->attributes; spec && spec->name; spec++)
    if (!strcmp(spec->name, name) && spec->required) return NOT_HERE;
  node_drop_attribute(node, name);
  return TAKEN;
}

// ---- Programs

// The node with another program, without what that does not read.
static Place reprogram(Node *node, Program *program) {
  Graph *graph = node->graph;
  int *used = arena_array(graph->arena, int, (size_t)program->input_count + 1);
  Value **inputs = arena_array(graph->arena, Value *, (size_t)node->input_count + 1);
  int before = program->input_count, count = program_prune(program, used);
  for (int i = 0; i < node->input_count && i < before; i++)
    if (used[i] >= 0) inputs[used[i]] = node->inputs[i];
  Node *made = graph_add(graph, node, node->op, count, inputs, program->output_count);
  size_t bytes = (size_t)node->attribute_count * sizeof *node->attributes;
  made->attributes = arena_copy(graph->arena, node->attributes, bytes);
  made->attribute_count = node->attribute_count;
  made->attribute_capacity = (uint32_t)node->attribute_count;
  node_set_program(made, "program", program);
  return TAKEN;
}

static void take_over(Node *node, int skipped) {
  Node *made = node->previous;
  for (int i = 0, k = 0; i < node->output_count; i++) {
    if (i == skipped) continue;
    value_set_type(made->outputs[k], node->outputs[i]->dtype, node->outputs[i]->rank, node->outputs[i]->dims);
    value_replace(node->outputs[i], made->outputs[k++]);
  }
  node_remove(node);
}

enum { CODE = 24, FORMS = 4 };
// An instruction gives way to one of its operands, or to 1.
static Place simplify_program(Graph *graph, int place) {
  Node *node = node_number(graph, place / (CODE * FORMS));
  if (!node) return PAST_THE_END;
  const Program *old = node_program(node, "program");
  int at = place / FORMS % CODE, form = place % FORMS;
  if (!old || at >= old->count) return NOT_HERE;
  const Instruction *in = &old->code[at];
  if (form < 3 && form >= opcode_info(in->op)->arity) return NOT_HERE;
  if (form < 3 && old->code[in->args[form]].dtype != in->dtype) return NOT_HERE;
  if (form == 3 && in->op == OP_const) return NOT_HERE;
  Program *program = program_copy(graph->arena, old);
  if (form == 3) {
    DType dtype = in->dtype;
    program->code[at] =
        (Instruction){.op = OP_const, .dtype = dtype, .number = dtype_is_float(dtype), .integer = !dtype_is_float(dtype)};
  } else {
    for (int i = 0; i < program->count; i++)
      for (int k = 0; k < opcode_info(program->code[i].op)->arity; k++)
        if (program->code[i].args[k] == at) program->code[i].args[k] = in->args[form];
    for (int i = 0; i < program->output_count; i++)
      if (program->outputs[i] == at) program->outputs[i] = in->args[form];
  }
  Place done = reprogram(node, program);
  take_over(node, -1);
  return done;
}

static Place drop_result(Graph *graph, int place) {
  enum { RESULTS = 4 };
  Node *node = node_number(graph, place / RESULTS);
  if (!node) return PAST_THE_END;
  int at = place % RESULTS;
  const Program *old = node_program(node, "program");
  if (!old || node->output_count < 2 || at >= node->output_count || value_use_count(node->outputs[at])) return NOT_HERE;
  Program *program = program_copy(graph->arena, old);
  for (int i = at; i + 1 < program->output_count; i++) program->outputs[i] = program->outputs[i + 1];
  program->output_count--;
  Place done = reprogram(node, program);
  take_over(node, at);
  return done;
}

// ---- Sizes and constants

static bool resize(Dim *dims, int count, Dim from, Dim to) {
  bool any = false;
  for (int i = 0; i < count; i++)
    if (dims[i] == from) dims[i] = to, any = true;
  return any;
}

static bool crop(Graph *graph, Value *value, Dim from, Dim to) {
  Tensor *old = value->constant, cropped;
  int64_t dims[MAX_RANK], at[MAX_RANK] = {0};
  memcpy(dims, old->dims, sizeof dims);
  if (!resize(dims, old->rank, from, to)) return false;
  Status status = tensor_new(graph->arena, old->dtype, old->rank, dims, &cropped);
  status_free(status);
  if (status) return false;
  for (int64_t i = 0, count = tensor_count(&cropped); i < count; i++) {
    int64_t from_index = 0;
    for (int k = 0; k < old->rank; k++) from_index = from_index * old->dims[k] + at[k];
    if (dtype_is_float(old->dtype)) tensor_set_f(&cropped, i, tensor_get_f(old, from_index));
    else tensor_set_i(&cropped, i, tensor_get_i(old, from_index));
    for (int k = old->rank - 1; k >= 0 && ++at[k] == dims[k]; k--) at[k] = 0;
  }
  *value->constant = cropped;
  for (int k = 0; k < value->rank; k++) value->dims[k] = dims[k];
  return true;
}

// Wherever one size stands, a smaller one stands.
static Place shrink_size(Graph *graph, int place) {
  enum { LARGEST = 16, FORMS_OF_SIZE = 3 };
  Dim from = LARGEST - place / FORMS_OF_SIZE, to = (Dim[]){1, from / 2, from - 1}[place % FORMS_OF_SIZE];
  bool any = false;
  if (from < 2) return PAST_THE_END;
  for (int i = 0; i < graph->input_count; i++) any |= resize(graph->inputs[i]->dims, graph->inputs[i]->rank, from, to);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i] && node->inputs[i]->constant) any |= crop(graph, node->inputs[i], from, to);
    for (int i = 0; i < node->attribute_count; i++) {
      Attribute *attribute = &node->attributes[i];
      if (attribute->kind != ATTR_DIMS) continue;
      Dim *dims = arena_copy(graph->arena, attribute->dims, (size_t)attribute->count * sizeof *dims);
      any |= resize(dims, attribute->count, from, to);
      attribute->dims = dims;
    }
  }
  return any ? TAKEN : NOT_HERE;
}

// A constant becomes ones.
static Place plain_constant(Graph *graph, int place) {
  enum { INPUTS = 6 };
  Node *node = node_number(graph, place / INPUTS);
  if (!node) return PAST_THE_END;
  int at = place % INPUTS;
  if (at >= node->input_count || !node->inputs[at] || !node->inputs[at]->constant) return NOT_HERE;
  Tensor *old = node->inputs[at]->constant, ones;
  bool plain = true;
  for (int64_t i = 0, count = tensor_count(old); i < count; i++) plain = plain && tensor_get_f(old, i) == 1;
  if (plain) return NOT_HERE;
  Status status = tensor_new(graph->arena, old->dtype, old->rank, old->dims, &ones);
  status_free(status);
  if (status) return NOT_HERE;
  for (int64_t i = 0, count = tensor_count(&ones); i < count; i++) tensor_set_f(&ones, i, 1);
  *old = ones;
  return TAKEN;
}

ShrinkStep *const shrink_steps[] = {only_node,   drop_output,    node_to_inputs, bypass,           shrink_size,
                                    drop_result, drop_attribute, plain_constant, simplify_program, NULL};
