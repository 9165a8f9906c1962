// ONNX attributes to IR attributes. One number is a list of one. Inside a local function an attribute may stand for one of the
// call's; then the call's is taken under the name of the reference.
#include <string.h>
#include "base/checked.h"
#include "onnx/importer.h"

// Models of IR version 1 do not say the kind: the field that is there decides.
int attribute_kind(const Onnx__Attribute *proto) {
  if (proto->type) return proto->type;
  if (proto->has_f) return ONNX__ATTRIBUTE__KIND__FLOAT;
  if (proto->has_i) return ONNX__ATTRIBUTE__KIND__INT;
  if (proto->has_s) return ONNX__ATTRIBUTE__KIND__STRING;
  if (proto->t) return ONNX__ATTRIBUTE__KIND__TENSOR;
  if (proto->g) return ONNX__ATTRIBUTE__KIND__GRAPH;
  if (proto->n_floats) return ONNX__ATTRIBUTE__KIND__FLOATS;
  if (proto->n_ints) return ONNX__ATTRIBUTE__KIND__INTS;
  if (proto->n_strings) return ONNX__ATTRIBUTE__KIND__STRINGS;
  if (proto->sparse_tensor) return ONNX__ATTRIBUTE__KIND__SPARSE_TENSOR;
  if (proto->tp) return ONNX__ATTRIBUTE__KIND__TYPE;
  return ONNX__ATTRIBUTE__KIND__UNDEFINED;
}

GivenAttribute attribute_given(const Onnx__Attribute *proto) {
  static const char *const names[] = {"?",       "float",   "int",    "string", "tensor",  "graph", "floats", "ints",
                                      "strings", "tensors", "graphs", "sparse", "sparses", "type",  "types"};
  int kind = attribute_kind(proto);
  GivenAttribute given = {.name = proto->name ? proto->name : ""};
  given.kinds = names[kind >= 0 && kind < (int)COUNT_OF(names) ? kind : 0];
  if (proto->ref_attr_name && proto->ref_attr_name[0]) return given;
  given.has_number = proto->has_i;
  given.number = proto->i;
  given.text = proto->has_s ? (proto->s.len ? (const char *)proto->s.data : "") : NULL;
  given.length = proto->s.len;
  return given;
}

static bool find_argument(const Call *call, const char *name, Argument *out) {
  for (int i = 0; i < call->argument_count; i++) {
    if (strcmp(call->arguments[i].name, name) != 0) continue;
    *out = call->arguments[i];
    return true;
  }
  for (size_t i = 0; i < call->function->n_attribute_proto; i++) {
    const Onnx__Attribute *proto = call->function->attribute_proto[i];
    if (!proto->name || strcmp(proto->name, name) != 0) continue;
    *out = (Argument){.proto = proto};  // a default; the body's scope is as good as any
    return true;
  }
  return false;
}

void resolve_arguments(Scope *scope, size_t count, Onnx__Attribute *const *protos, Argument **out, int *out_count) {
  *out = arena_array(scope->importer->arena, Argument, count + 1);
  *out_count = 0;
  for (size_t i = 0; i < count; i++) {
    const char *name = protos[i]->name ? protos[i]->name : "", *reference = protos[i]->ref_attr_name;
    Argument argument = {.proto = protos[i]};
    if (reference && reference[0] && (!scope->call || !find_argument(scope->call, reference, &argument))) continue;
    argument.name = name;
    if (!argument.scope) argument.scope = scope;
    (*out)[(*out_count)++] = argument;
  }
}

static const char *bytes_text(Arena *arena, const ProtobufCBinaryData *bytes) {
  return arena_string_n(arena, (const char *)bytes->data, bytes->len);
}

static void set_floats(Node *node, const Argument *argument) {
  size_t count = argument->proto->n_floats;
  double *values = arena_array(node->graph->arena, double, count + 1);
  for (size_t i = 0; i < count; i++) values[i] = argument->proto->floats[i];
  node_set_floats(node, argument->name, values, (int)count);
}

static void set_strings(Node *node, const Argument *argument) {
  size_t count = argument->proto->n_strings;
  const char **values = arena_array(node->graph->arena, const char *, count + 1);
  for (size_t i = 0; i < count; i++) values[i] = bytes_text(node->graph->arena, &argument->proto->strings[i]);
  node_set_strings(node, argument->name, values, (int)count);
}

static Status set_tensor(Scope *scope, Node *node, const Argument *argument, bool sparse) {
  TensorSource *source = scope->importer->model->tensors;
  Tensor *tensor = arena_new_of(node->graph->arena, Tensor);
  if (sparse) TRY(onnx_read_sparse_tensor(source, argument->proto->sparse_tensor, tensor));
  else TRY(onnx_read_tensor(source, argument->proto->t, tensor));
  node_set_tensor(node, argument->name, tensor);
  return OK;
}

static Status set_argument(Scope *scope, Node *node, const Argument *argument) {
  const Onnx__Attribute *proto = argument->proto;
  Arena *arena = node->graph->arena;
  switch (attribute_kind(proto)) {
    case ONNX__ATTRIBUTE__KIND__FLOAT: node_set_float(node, argument->name, proto->f); return OK;
    case ONNX__ATTRIBUTE__KIND__INT: node_set_int(node, argument->name, proto->i); return OK;
    case ONNX__ATTRIBUTE__KIND__STRING:
      node_set_string(node, argument->name, proto->has_s ? bytes_text(arena, &proto->s) : "");
      return OK;
    case ONNX__ATTRIBUTE__KIND__FLOATS: set_floats(node, argument); return OK;
    case ONNX__ATTRIBUTE__KIND__INTS: node_set_ints(node, argument->name, proto->ints, (int)proto->n_ints); return OK;
    case ONNX__ATTRIBUTE__KIND__STRINGS: set_strings(node, argument); return OK;
    case ONNX__ATTRIBUTE__KIND__TYPE: node_set_string(node, argument->name, type_text(arena, proto->tp)); return OK;
    case ONNX__ATTRIBUTE__KIND__TENSOR:
      if (!proto->t) FAIL(ERROR_INVALID_MODEL, "it has no tensor");
      return set_tensor(scope, node, argument, false);
    case ONNX__ATTRIBUTE__KIND__SPARSE_TENSOR:
      if (!proto->sparse_tensor) FAIL(ERROR_INVALID_MODEL, "it has no sparse tensor");
      return set_tensor(scope, node, argument, true);
    case ONNX__ATTRIBUTE__KIND__GRAPH: return OK;
    case ONNX__ATTRIBUTE__KIND__TENSORS:
    case ONNX__ATTRIBUTE__KIND__GRAPHS:
    case ONNX__ATTRIBUTE__KIND__SPARSE_TENSORS:
    case ONNX__ATTRIBUTE__KIND__TYPES:
      FAIL(ERROR_UNSUPPORTED, "it is a list of tensors, graphs or types, which no operator takes");
    default: FAIL(ERROR_INVALID_MODEL, "it has no value");
  }
}

Status set_arguments(Scope *scope, Node *node, const Argument *arguments, int count) {
  for (int i = 0; i < count; i++)
    TRY(status_context(set_argument(scope, node, &arguments[i]), "attribute '%s'", arguments[i].name));
  return OK;
}
