// See node_check.h. Errors name the node.
#include "onnx/ops/node_check.h"
#include <string.h>
#include "onnx/ops/schema.h"

static GivenAttribute given_of(const Attribute *attribute) {
  GivenAttribute given = {.name = attribute->name};
  bool one = attribute->count == 1;
  switch (attribute->kind) {
    case ATTR_INTS:
      given.kinds = one ? "int ints" : "ints";
      given.has_number = one;
      given.number = one ? attribute->ints[0] : 0;
      break;
    case ATTR_FLOATS: given.kinds = one ? "float floats" : "floats"; break;
    case ATTR_STRING:
      given.kinds = "string type";
      given.text = attribute->string;
      given.length = strlen(attribute->string);
      break;
    case ATTR_STRINGS: given.kinds = "strings"; break;
    case ATTR_GRAPH: given.kinds = "graph"; break;
    case ATTR_TENSOR: given.kinds = "tensor sparse"; break;
    case ATTR_DIMS: given.kinds = "dims"; break;
    case ATTR_PROGRAM: given.kinds = "program"; break;
  }
  return given;
}

// Those that the importer adds are not the operator's.
static bool is_ours(const char *name) {
  return strcmp(name, "captures") == 0 || strncmp(name, DEFERRED_PREFIX, strlen(DEFERRED_PREFIX)) == 0;
}

static Status check_attributes(const Node *node, const Schema *schema) {
  int count = 0;
  GivenAttribute *given = arena_array(node->graph->arena, GivenAttribute, (size_t)node->attribute_count);
  for (int i = 0; i < node->attribute_count; i++)
    if (!is_ours(node->attributes[i].name)) given[count++] = given_of(&node->attributes[i]);
  for (int i = 0; i < count; i++) TRY(schema_check_attribute(schema, &given[i]));
  return schema_check_required(schema, (size_t)count, given);
}

static Status check_counts(const Translation *t, const OnnxOp *op, int inputs) {
  if (inputs < op->min_inputs || (op->max_inputs >= 0 && inputs > op->max_inputs))
    FAIL(ERROR_INVALID_MODEL, "it has %d inputs, expected %d to %d", inputs, op->min_inputs,
         op->max_inputs < 0 ? MAX_INPUTS : op->max_inputs);
  if (op->max_outputs >= 0 && t->output_count > op->max_outputs)
    FAIL(ERROR_INVALID_MODEL, "it has %d outputs, expected at most %d", t->output_count, op->max_outputs);
  return OK;
}

static Status check_presence(const Translation *t, const OnnxOp *op, const Schema *schema, int inputs) {
  for (int i = 0; i < t->input_count; i++) {
    bool required = i >= inputs || (schema ? schema_requires(schema, i) : i < op->min_inputs);
    if (!t->inputs[i] && required) FAIL(ERROR_INVALID_MODEL, "input %d is empty but not optional", i);
  }
  return OK;
}

static Status check(const Translation *t, const OnnxOp *op) {
  const Schema *schema = schema_find(t->domain, t->op_type, t->opset);
  int64_t captures = node_int(t->attributes, "captures", 0);
  if (captures < 0 || captures > t->input_count)
    FAIL(ERROR_INVALID_MODEL, "%lld of its %d inputs are said to be captured", (long long)captures, t->input_count);
  int inputs = t->input_count - (int)captures;
  TRY(check_counts(t, op, inputs));
  TRY(check_presence(t, op, schema, inputs));
  if (!schema) return OK;
  TRY(check_attributes(t->attributes, schema));
  return schema_check_inputs(schema, inputs, t->inputs);
}

Status node_check(const Translation *t, const OnnxOp *op) {
  return status_context(check(t, op), "node '%s' (%s)", t->name, t->op_type);
}
