// See write_graph.h.
#include "onnx/write_graph.h"

#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "ir/op.h"
#include "kernels/control/region.h"
#include "onnx.pb-c.h"
#include "onnx/tensor.h"

#define DOMAIN "ingot"
#define REGIONS "ingot.region"
enum { IR_VERSION = 10, MAX_SHOWN = 64 };  // elements of a constant

typedef struct Writer {
  Arena *arena;
  StringMap *named;  // functions
  Onnx__Function **functions;
  uint32_t function_count, function_capacity;
} Writer;

static char *own(Writer *w, const char *text) { return arena_string(w->arena, text); }

#define NEW(w, Type, init)                        \
  ({                                              \
    Type *made_ = arena_new_of((w)->arena, Type); \
    init(made_);                                  \
    made_;                                        \
  })

static const char *dim_text(Writer *w, const DimTable *table, Dim dim) {
  Text text = text_new(w->arena);
  dim_print(&text, table, dim);
  return text_get(&text);
}

static Onnx__Shape *shape_of(Writer *w, const Value *value) {
  Onnx__Shape *shape = NEW(w, Onnx__Shape, onnx__shape__init);
  shape->n_dim = (size_t)value->rank;
  shape->dim = arena_array(w->arena, Onnx__Shape__Dimension *, shape->n_dim + 1);
  for (int i = 0; i < value->rank; i++) {
    Onnx__Shape__Dimension *dim = shape->dim[i] = NEW(w, Onnx__Shape__Dimension, onnx__shape__dimension__init);
    if (dim_is_static(value->dims[i])) {
      dim->value_case = ONNX__SHAPE__DIMENSION__VALUE_DIM_VALUE;
      dim->dim_value = value->dims[i];
    } else {
      dim->value_case = ONNX__SHAPE__DIMENSION__VALUE_DIM_PARAM;
      dim->dim_param = own(w, dim_text(w, value->graph->dims, value->dims[i]));
    }
  }
  return shape;
}

static Onnx__Type *type_of(Writer *w, const Value *value) {
  Onnx__Type *type = NEW(w, Onnx__Type, onnx__type__init), *tensor = type;
  if (value->kind != VALUE_TENSOR) {
    bool sequence = value->kind == VALUE_SEQUENCE;
    type->value_case = sequence ? ONNX__TYPE__VALUE_SEQUENCE : ONNX__TYPE__VALUE_OPTIONAL;
    Onnx__Type__OfElements *elements = NEW(w, Onnx__Type__OfElements, onnx__type__of_elements__init);
    *(sequence ? &type->sequence : &type->optional) = elements;
    tensor = elements->elem_type = NEW(w, Onnx__Type, onnx__type__init);
  }
  tensor->value_case = ONNX__TYPE__VALUE_TENSOR;
  tensor->tensor = NEW(w, Onnx__Type__OfTensor, onnx__type__of_tensor__init);
  tensor->tensor->has_elem_type = 1;
  tensor->tensor->elem_type = value->dtype == DTYPE_COUNT ? 0 : dtype_to_onnx(value->dtype);
  if (value->rank >= 0 && value->kind == VALUE_TENSOR) tensor->tensor->shape = shape_of(w, value);
  return type;
}

static Onnx__ValueInfo *info_of(Writer *w, const Value *value) {
  Onnx__ValueInfo *info = NEW(w, Onnx__ValueInfo, onnx__value_info__init);
  info->name = own(w, value->name);
  if (value->dtype != DTYPE_COUNT) info->type = type_of(w, value);
  return info;
}

static Onnx__Graph *graph_message(Writer *w, const Graph *graph);

static Onnx__Attribute *attribute_named(Writer *w, const char *name, Onnx__Attribute__Kind kind) {
  Onnx__Attribute *attribute = NEW(w, Onnx__Attribute, onnx__attribute__init);
  attribute->name = own(w, name);
  attribute->has_type = 1;
  attribute->type = (int)kind;
  return attribute;
}

static ProtobufCBinaryData bytes_of(Writer *w, const char *text) {
  return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)own(w, text)};
}

static Onnx__Attribute *text_attribute(Writer *w, const char *name, const char *text) {
  Onnx__Attribute *attribute = attribute_named(w, name, ONNX__ATTRIBUTE__KIND__STRING);
  attribute->has_s = 1;
  attribute->s = bytes_of(w, text);
  return attribute;
}

static Onnx__Attribute *texts_attribute(Writer *w, const char *name, int count, const char *const *texts) {
  Onnx__Attribute *attribute = attribute_named(w, name, ONNX__ATTRIBUTE__KIND__STRINGS);
  attribute->n_strings = (size_t)count;
  attribute->strings = arena_array(w->arena, ProtobufCBinaryData, attribute->n_strings + 1);
  for (int i = 0; i < count; i++) attribute->strings[i] = bytes_of(w, texts[i]);
  return attribute;
}

static Onnx__Attribute *floats_attribute(Writer *w, const char *name, int count, const double *values) {
  Onnx__Attribute *attribute = attribute_named(w, name, ONNX__ATTRIBUTE__KIND__FLOATS);
  attribute->n_floats = (size_t)count;
  attribute->floats = arena_array(w->arena, float, attribute->n_floats + 1);
  for (int i = 0; i < count; i++) attribute->floats[i] = (float)values[i];
  return attribute;
}

static Onnx__Attribute *ints_attribute(Writer *w, const char *name, int count, const int64_t *values) {
  Onnx__Attribute *attribute = attribute_named(w, name, ONNX__ATTRIBUTE__KIND__INTS);
  attribute->n_ints = (size_t)count;
  attribute->ints = arena_copy(w->arena, values, (size_t)count * sizeof *values);
  return attribute;
}

static Onnx__Attribute *dims_attribute(Writer *w, const DimTable *table, const char *name, int count, const Dim *dims) {
  const char **texts = arena_array(w->arena, const char *, (size_t)count + 1);
  for (int i = 0; i < count; i++) texts[i] = dim_text(w, table, dims[i]);
  return texts_attribute(w, name, count, texts);
}

static Onnx__Attribute *program_attribute(Writer *w, const char *name, const Program *program) {
  Text text = text_new(w->arena);
  program_print(&text, program);
  return text_attribute(w, name, text_get(&text));
}

static Onnx__Attribute *attribute_message(Writer *w, const Node *node, const Attribute *from) {
  switch (from->kind) {
    case ATTR_INTS: return ints_attribute(w, from->name, from->count, from->ints);
    case ATTR_FLOATS: return floats_attribute(w, from->name, from->count, from->floats);
    case ATTR_STRING: return text_attribute(w, from->name, from->string);
    case ATTR_STRINGS: return texts_attribute(w, from->name, from->count, from->strings);
    case ATTR_DIMS: return dims_attribute(w, node->graph->dims, from->name, from->count, from->dims);
    case ATTR_PROGRAM: return program_attribute(w, from->name, from->program);
    case ATTR_TENSOR: break;
    case ATTR_GRAPH: break;
  }
  bool graph = from->kind == ATTR_GRAPH;
  Onnx__Attribute *made = attribute_named(w, from->name, graph ? ONNX__ATTRIBUTE__KIND__GRAPH : ONNX__ATTRIBUTE__KIND__TENSOR);
  if (graph) made->g = graph_message(w, from->graph);
  else made->t = onnx_tensor_message(w->arena, "", from->tensor);
  return made;
}

static const char *add_function(Writer *w, const Graph *body);

// A region is a call of a function, which viewers show as a box to look into.
static Onnx__Node *node_message(Writer *w, const Node *node) {
  Onnx__Node *message = NEW(w, Onnx__Node, onnx__node__init);
  bool region = node->op == &op_region;
  message->domain = own(w, region ? REGIONS : DOMAIN);
  message->op_type = own(w, region ? add_function(w, region_body(node)) : node->op->name);
  message->name = own(w, node->origin_count ? node->origins[0].name : node->output_count ? node->outputs[0]->name : "");
  message->n_input = (size_t)node->input_count;
  message->input = arena_array(w->arena, char *, message->n_input + 1);
  for (int i = 0; i < node->input_count; i++) message->input[i] = own(w, node->inputs[i] ? node->inputs[i]->name : "");
  message->n_output = (size_t)node->output_count;
  message->output = arena_array(w->arena, char *, message->n_output + 1);
  for (int i = 0; i < node->output_count; i++) message->output[i] = own(w, node->outputs[i]->name);
  message->attribute = arena_array(w->arena, Onnx__Attribute *, (size_t)node->attribute_count + 1);
  for (int i = 0; i < node->attribute_count && !region; i++)
    message->attribute[message->n_attribute++] = attribute_message(w, node, &node->attributes[i]);
  const char **origins = arena_array(w->arena, const char *, (size_t)node->origin_count + 1);
  for (int i = 0; i < node->origin_count; i++)
    origins[i] = arena_printf(w->arena, "%s (%s)", node->origins[i].name, node->origins[i].op_type);
  if (node->origin_count)
    message->attribute[message->n_attribute++] = texts_attribute(w, "origins", node->origin_count, origins);
  return message;
}

// Constants that nodes or outputs use, each once: small ones with their content, large ones as inputs.
static void put_constant(Writer *w, Onnx__Graph *message, const Value *value, uint8_t *met) {
  if (!value || !value->constant || met[value->id]) return;
  met[value->id] = 1;
  bool shown = tensor_count(value->constant) <= MAX_SHOWN;
  if (shown) message->initializer[message->n_initializer++] = onnx_tensor_message(w->arena, value->name, value->constant);
  else message->input[message->n_input++] = info_of(w, value);
}

static Onnx__Graph *graph_message(Writer *w, const Graph *graph) {
  Onnx__Graph *message = NEW(w, Onnx__Graph, onnx__graph__init);
  size_t values = graph->next_value_id;
  uint8_t *met = arena_array(w->arena, uint8_t, values + 1);
  message->name = own(w, *graph->name ? graph->name : "graph");
  message->node = arena_array(w->arena, Onnx__Node *, (size_t)graph->node_count + 1);
  message->input = arena_array(w->arena, Onnx__ValueInfo *, values + 1);
  message->output = arena_array(w->arena, Onnx__ValueInfo *, (size_t)graph->output_count + 1);
  message->value_info = arena_array(w->arena, Onnx__ValueInfo *, values + 1);
  message->initializer = arena_array(w->arena, Onnx__Tensor *, values + 1);
  for (int i = 0; i < graph->input_count; i++) message->input[message->n_input++] = info_of(w, graph->inputs[i]);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++) put_constant(w, message, node->inputs[i], met);
    message->node[message->n_node++] = node_message(w, node);
    for (int i = 0; i < node->output_count; i++)
      if (!node->outputs[i]->is_output) message->value_info[message->n_value_info++] = info_of(w, node->outputs[i]);
  }
  for (int i = 0; i < graph->output_count; i++) {
    put_constant(w, message, graph->outputs[i], met);
    message->output[message->n_output++] = info_of(w, graph->outputs[i]);
  }
  return message;
}

// ---- Functions. They know no initializers, and no result that is an operand, a constant, or another result: nodes stand for these.

static Onnx__Node *plain_node(Writer *w, const char *op, const char *input, const char *output) {
  Onnx__Node *message = NEW(w, Onnx__Node, onnx__node__init);
  message->domain = own(w, DOMAIN);
  message->op_type = own(w, op);
  message->n_input = input != NULL;
  message->input = arena_array(w->arena, char *, 1);
  if (input) message->input[0] = own(w, input);
  message->n_output = 1;
  message->output = arena_array(w->arena, char *, 1);
  message->output[0] = own(w, output);
  return message;
}

static void add_constant_node(Writer *w, Onnx__Function *function, const Value *value, uint8_t *met) {
  if (!value || !value->constant || met[value->id]) return;
  met[value->id] = 1;
  Onnx__Node *node = function->node[function->n_node++] = plain_node(w, "constant", NULL, value->name);
  function->value_info[function->n_value_info++] = info_of(w, value);
  if (tensor_count(value->constant) > MAX_SHOWN) return;
  node->attribute = arena_array(w->arena, Onnx__Attribute *, 1);
  node->attribute[node->n_attribute++] = attribute_named(w, "value", ONNX__ATTRIBUTE__KIND__TENSOR);
  node->attribute[0]->t = onnx_tensor_message(w->arena, "", value->constant);
}

static void add_results(Writer *w, Onnx__Function *function, const Graph *body, uint8_t *met) {
  uint8_t *given = arena_array(w->arena, uint8_t, (size_t)body->next_value_id + 1);
  function->output = arena_array(w->arena, char *, (size_t)body->output_count + 1);
  for (int i = 0; i < body->output_count; i++) {
    const Value *value = body->outputs[i];
    const char *name = value->name;
    add_constant_node(w, function, value, met);
    if (!value->producer || given[value->id]) {
      name = arena_printf(w->arena, "%s as result %d", value->name, i);
      function->node[function->n_node++] = plain_node(w, "copy", value->name, name);
    }
    given[value->id] = 1;
    function->output[function->n_output++] = own(w, name);
  }
}

static void add_nodes(Writer *w, Onnx__Function *function, const Graph *body) {
  size_t values = body->next_value_id, nodes = (size_t)body->node_count + values + (size_t)body->output_count;
  uint8_t *met = arena_array(w->arena, uint8_t, values + 1);
  function->node = arena_array(w->arena, Onnx__Node *, nodes + 1);
  function->value_info = arena_array(w->arena, Onnx__ValueInfo *, values + 1);
  function->input = arena_array(w->arena, char *, (size_t)body->input_count + 1);
  for (int i = 0; i < body->input_count; i++) function->input[function->n_input++] = own(w, body->inputs[i]->name);
  FOR_NODES(node, body) {
    for (int i = 0; i < node->input_count; i++) add_constant_node(w, function, node->inputs[i], met);
    function->node[function->n_node++] = node_message(w, node);
    for (int i = 0; i < node->output_count; i++) function->value_info[function->n_value_info++] = info_of(w, node->outputs[i]);
  }
  add_results(w, function, body, met);
}

static Onnx__OperatorSet *operator_set(Writer *w, const char *domain) {
  Onnx__OperatorSet *set = NEW(w, Onnx__OperatorSet, onnx__operator_set__init);
  set->domain = own(w, domain);
  set->has_version = 1;
  set->version = 1;
  return set;
}

static void import_sets(Writer *w, size_t *count, Onnx__OperatorSet ***sets) {
  *sets = arena_array(w->arena, Onnx__OperatorSet *, 2);
  (*sets)[(*count)++] = operator_set(w, DOMAIN);
  (*sets)[(*count)++] = operator_set(w, REGIONS);
}

static const char *add_function(Writer *w, const Graph *body) {
  const char *name = *body->name ? body->name : "region";
  for (int i = 2; string_map_get(w->named, name); i++) name = arena_printf(w->arena, "%s_%d", body->name, i);
  string_map_set(w->named, name, w);
  Onnx__Function *function = NEW(w, Onnx__Function, onnx__function__init);
  function->name = own(w, name);
  function->domain = own(w, REGIONS);
  import_sets(w, &function->n_opset_import, &function->opset_import);
  add_nodes(w, function, body);
  *ARENA_PUSH(w->arena, w->functions, w->function_count, w->function_capacity) = function;
  return name;
}

static Status write(Writer *w, const char *path, const Graph *graph) {
  Onnx__Model *model = NEW(w, Onnx__Model, onnx__model__init);
  model->has_ir_version = 1;
  model->ir_version = IR_VERSION;
  model->producer_name = own(w, "ingot");
  model->graph = graph_message(w, graph);
  import_sets(w, &model->n_opset_import, &model->opset_import);
  model->n_functions = w->function_count;
  model->functions = w->functions;
  void *bytes;
  TRY(arena_try_alloc(w->arena, MAX(onnx__model__get_packed_size(model), 1), 16, &bytes));
  return file_write(path, bytes, onnx__model__pack(model, bytes));
}

Status onnx_write_graph_file(const char *path, const Graph *graph) {
  Writer writer = {.arena = arena_scratch()};
  writer.named = string_map_new(writer.arena);
  Status status = write(&writer, path, graph);
  arena_free(writer.arena);
  return status;
}
