// Declared types: inputs and outputs. A dimension is a number, a name, or nothing; a name is a symbol,
// nothing is one of its own. Exporters also write -1 for nothing, one `?` for every size they do not know, and formulas, which say
// nothing that could be relied on: only an identifier is a name.
#include <string.h>
#include "onnx/importer.h"

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_identifier(const char *name) {
  static const char *const nothing[] = {"None", "none", "unk", "unknown", "dynamic"};
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
    if (strcmp(name, nothing[i]) == 0) return false;
  if (!is_letter(*name)) return false;
  for (; *name; name++)
    if (!is_letter(*name) && !is_digit(*name) && !strchr(".:/-", *name)) return false;
  return true;
}

static Dim declared_dim(Graph *graph, const Onnx__Shape__Dimension *proto, const char *value, int axis) {
  if (proto->value_case == ONNX__SHAPE__DIMENSION__VALUE_DIM_VALUE && proto->dim_value >= 0) return proto->dim_value;
  if (proto->value_case == ONNX__SHAPE__DIMENSION__VALUE_DIM_PARAM && is_identifier(proto->dim_param))
    return dim_symbol(graph->dims, proto->dim_param);
  return dim_fresh(graph->dims, arena_printf(graph->arena, "%s_d%d_", value, axis));
}

Status read_declared(Graph *graph, const Onnx__ValueInfo *info, DeclaredKind *kind, DeclaredType *out) {
  const Onnx__Type *type = info ? info->type : NULL;
  const char *name = info && info->name ? info->name : "";
  *out = (DeclaredType){.dtype = DTYPE_COUNT, .rank = -1};
  *kind = DECLARED_NOTHING;
  if (!type || type->value_case == ONNX__TYPE__VALUE__NOT_SET) return OK;
  *kind = DECLARED_OTHER;
  if (type->value_case != ONNX__TYPE__VALUE_TENSOR) return OK;
  const Onnx__Type__OfTensor *tensor = type->tensor;
  *kind = DECLARED_TENSOR;
  if (!dtype_from_onnx(tensor->elem_type, &out->dtype)) {
    out->dtype = DTYPE_COUNT;
    if (tensor->elem_type != 0) FAIL(ERROR_INVALID_MODEL, "value '%s' has unknown data type %d", name, tensor->elem_type);
    *kind = DECLARED_NOTHING;
    return OK;
  }
  out->known = true;
  if (!tensor->shape) return OK;
  if (tensor->shape->n_dim > MAX_RANK)
    FAIL(ERROR_UNSUPPORTED, "value '%s' has rank %zu, more than %d", name, tensor->shape->n_dim, MAX_RANK);
  out->rank = (int)tensor->shape->n_dim;
  for (int i = 0; i < out->rank; i++) out->dims[i] = declared_dim(graph, tensor->shape->dim[i], name, i);
  return OK;
}

static const Onnx__Type *inner_type(const Onnx__Type *type) {
  if (type->value_case == ONNX__TYPE__VALUE_SEQUENCE) return type->sequence->elem_type;
  return type->value_case == ONNX__TYPE__VALUE_OPTIONAL ? type->optional->elem_type : NULL;
}

const Onnx__Type *feedable_tensor(const Onnx__Type *type) {
  if (type && type->value_case == ONNX__TYPE__VALUE_OPTIONAL) type = inner_type(type);
  if (type && type->value_case == ONNX__TYPE__VALUE_SEQUENCE) type = inner_type(type);
  return type && type->value_case == ONNX__TYPE__VALUE_TENSOR ? type : NULL;
}

ValueKind declared_value_kind(const Onnx__ValueInfo *info, DeclaredKind kind) {
  if (kind != DECLARED_OTHER) return VALUE_TENSOR;
  return info->type->value_case == ONNX__TYPE__VALUE_SEQUENCE ? VALUE_SEQUENCE : VALUE_OPTIONAL;
}

static void print_type(Text *text, const Onnx__Type *type) {
  DType dtype;
  if (!type) {
    text_add(text, "?");
    return;
  }
  switch (type->value_case) {
    case ONNX__TYPE__VALUE_TENSOR:
    case ONNX__TYPE__VALUE_SPARSE_TENSOR: {
      bool sparse = type->value_case == ONNX__TYPE__VALUE_SPARSE_TENSOR;
      int32_t element = sparse ? type->sparse_tensor->elem_type : type->tensor->elem_type;
      text_add(text, "%s(%s)", sparse ? "sparse_tensor" : "tensor", dtype_from_onnx(element, &dtype) ? dtype_name(dtype) : "?");
      return;
    }
    case ONNX__TYPE__VALUE_SEQUENCE:
    case ONNX__TYPE__VALUE_OPTIONAL: {
      bool sequence = type->value_case == ONNX__TYPE__VALUE_SEQUENCE;
      text_add(text, sequence ? "seq(" : "optional(");
      print_type(text, sequence ? type->sequence->elem_type : type->optional->elem_type);
      text_add(text, ")");
      return;
    }
    case ONNX__TYPE__VALUE_MAP: text_add(text, "map"); return;
    default: text_add(text, "?");
  }
}

const char *type_text(Arena *arena, const Onnx__Type *type) {
  Text text = text_new(arena);
  print_type(&text, type);
  return text_get(&text);
}
