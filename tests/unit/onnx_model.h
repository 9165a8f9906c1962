// ONNX models built in tests: protobuf-c structures, filled tersely, packed to bytes and opened like any file's.
#pragma once
#include <criterion/criterion.h>
#include <string.h>
#include "onnx.pb-c.h"
#include "onnx/import.h"
#include "onnx/model.h"
#include "onnx/tensor.h"
#include "onnx/validate.h"

// Must be zero status; prints the message otherwise.
#define ok(call)                                                             \
  do {                                                                       \
    Status ok_status = (call);                                               \
    cr_assert(!ok_status, "%s", ok_status ? status_message(ok_status) : ""); \
  } while (0)

// Growable lists of a message's repeated field.
#define LIST_ADD(arena, message, field, item)                                                         \
  do {                                                                                                \
    void *list_old = (message)->field;                                                                \
    (message)->field = arena_alloc((arena), sizeof *(message)->field * ((message)->n_##field + 1));   \
    if (list_old) memcpy((message)->field, list_old, sizeof *(message)->field *(message)->n_##field); \
    (message)->field[(message)->n_##field++] = (item);                                                \
  } while (0)

#define MAKE(arena, Type, INIT)               \
  ({                                          \
    Type *made = arena_new_of((arena), Type); \
    *made = (Type)INIT;                       \
    made;                                     \
  })

typedef struct TestModel {
  Arena *arena;
  Onnx__Model *model;
  Onnx__Graph *graph;
} TestModel;

static inline void add_opset(TestModel *t, const char *domain, int version) {
  Onnx__OperatorSet *set = MAKE(t->arena, Onnx__OperatorSet, ONNX__OPERATOR_SET__INIT);
  set->domain = arena_string(t->arena, domain);
  set->has_version = 1;
  set->version = version;
  LIST_ADD(t->arena, t->model, opset_import, set);
}

static inline TestModel test_model(void) {
  TestModel t = {.arena = arena_new()};
  t.model = MAKE(t.arena, Onnx__Model, ONNX__MODEL__INIT);
  t.graph = MAKE(t.arena, Onnx__Graph, ONNX__GRAPH__INIT);
  t.model->graph = t.graph;
  t.graph->name = arena_string(t.arena, "test");
  add_opset(&t, "", 21);
  return t;
}

// dims: -1 is nothing, -2 is the symbol "batch". rank -1: no shape.
static inline Onnx__ValueInfo *value_info(Arena *arena, const char *name, int type, int rank, const int64_t *dims) {
  Onnx__ValueInfo *info = MAKE(arena, Onnx__ValueInfo, ONNX__VALUE_INFO__INIT);
  info->name = arena_string(arena, name);
  info->type = MAKE(arena, Onnx__Type, ONNX__TYPE__INIT);
  info->type->value_case = ONNX__TYPE__VALUE_TENSOR;
  info->type->tensor = MAKE(arena, Onnx__Type__OfTensor, ONNX__TYPE__OF_TENSOR__INIT);
  info->type->tensor->has_elem_type = 1;
  info->type->tensor->elem_type = type;
  if (rank < 0) return info;
  Onnx__Shape *shape = info->type->tensor->shape = MAKE(arena, Onnx__Shape, ONNX__SHAPE__INIT);
  for (int i = 0; i < rank; i++) {
    Onnx__Shape__Dimension *dim = MAKE(arena, Onnx__Shape__Dimension, ONNX__SHAPE__DIMENSION__INIT);
    if (dims[i] >= 0) {
      dim->value_case = ONNX__SHAPE__DIMENSION__VALUE_DIM_VALUE;
      dim->dim_value = dims[i];
    } else if (dims[i] == -2) {
      dim->value_case = ONNX__SHAPE__DIMENSION__VALUE_DIM_PARAM;
      dim->dim_param = arena_string(arena, "batch");
    }
    LIST_ADD(arena, shape, dim, dim);
  }
  return info;
}
#define add_input(t, name, type, rank, ...) \
  LIST_ADD((t)->arena, (t)->graph, input, value_info((t)->arena, (name), (type), (rank), (const int64_t[]){__VA_ARGS__}))
static inline void add_output_to(Arena *arena, Onnx__Graph *graph, const char *name) {
  Onnx__ValueInfo *info = MAKE(arena, Onnx__ValueInfo, ONNX__VALUE_INFO__INIT);
  info->name = arena_string(arena, name);
  LIST_ADD(arena, graph, output, info);
}
static inline void add_output(TestModel *t, const char *name) { add_output_to(t->arena, t->graph, name); }

// inputs and outputs are separated by spaces; "-" is an absent one.
static inline Onnx__Node *make_node(Arena *arena, const char *op_type, const char *inputs, const char *outputs) {
  Onnx__Node *node = MAKE(arena, Onnx__Node, ONNX__NODE__INIT);
  node->op_type = arena_string(arena, op_type);
  char *save = NULL;
  for (char *name = strtok_r(arena_string(arena, inputs), " ", &save); name; name = strtok_r(NULL, " ", &save))
    LIST_ADD(arena, node, input, strcmp(name, "-") ? name : arena_string(arena, ""));
  for (char *name = strtok_r(arena_string(arena, outputs), " ", &save); name; name = strtok_r(NULL, " ", &save))
    LIST_ADD(arena, node, output, strcmp(name, "-") ? name : arena_string(arena, ""));
  return node;
}
static inline Onnx__Node *add_node(TestModel *t, const char *op_type, const char *inputs, const char *outputs) {
  Onnx__Node *node = make_node(t->arena, op_type, inputs, outputs);
  LIST_ADD(t->arena, t->graph, node, node);
  return node;
}

static inline Onnx__Attribute *add_attribute(Arena *arena, Onnx__Node *node, const char *name, int kind) {
  Onnx__Attribute *attribute = MAKE(arena, Onnx__Attribute, ONNX__ATTRIBUTE__INIT);
  attribute->name = arena_string(arena, name);
  attribute->has_type = kind != 0;
  attribute->type = kind;
  LIST_ADD(arena, node, attribute, attribute);
  return attribute;
}
static inline void set_int(Arena *arena, Onnx__Node *node, const char *name, int64_t value) {
  Onnx__Attribute *attribute = add_attribute(arena, node, name, ONNX__ATTRIBUTE__KIND__INT);
  attribute->has_i = 1;
  attribute->i = value;
}

static inline Onnx__Tensor *raw_tensor(Arena *arena, const char *name, int type, int rank, const int64_t *dims,
                                       const void *data, size_t size) {
  Onnx__Tensor *tensor = MAKE(arena, Onnx__Tensor, ONNX__TENSOR__INIT);
  tensor->name = arena_string(arena, name);
  tensor->has_data_type = 1;
  tensor->data_type = type;
  for (int i = 0; i < rank; i++) LIST_ADD(arena, tensor, dims, dims[i]);
  if (!data) return tensor;
  tensor->has_raw_data = 1;
  tensor->raw_data = (ProtobufCBinaryData){.len = size, .data = arena_copy(arena, data, size)};
  return tensor;
}
static inline Onnx__Tensor *i64_tensor(Arena *arena, const char *name, int rank, int64_t count, const int64_t *values) {
  return raw_tensor(arena, name, 7, rank, &count, values, sizeof *values * (size_t)count);
}
#define add_i64s(t, name, ...)                  \
  LIST_ADD((t)->arena, (t)->graph, initializer, \
           i64_tensor((t)->arena, (name), 1, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__}))

static inline Bytes pack(Arena *arena, const void *message) {
  uint8_t *bytes = arena_alloc(arena, protobuf_c_message_get_packed_size(message) + 1);
  return (Bytes){.data = bytes, .size = protobuf_c_message_pack(message, bytes)};
}

static inline Status open_and_import(TestModel *t, Graph **graph) {
  Model *model;
  Status status = onnx_model_open_bytes(pack(t->arena, t->model), NULL, NULL, t->arena, NULL, &model);
  return status ? status : onnx_import(model, t->arena, graph);
}
