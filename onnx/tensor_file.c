// The .pb files that ONNX's test suites keep beside their models: one TensorProto, SequenceProto or OptionalProto each.
#include <string.h>
#include "base/checked.h"
#include "onnx.pb-c.h"
#include "onnx/tensor.h"

enum { FILE_MEMORY = 1u << 31 };

static Status take_tensor(TensorSource *source, const Onnx__Tensor *proto, HostValue *out) {
  *out = (HostValue){.kind = VALUE_TENSOR, .name = proto->name ? proto->name : ""};
  return onnx_read_tensor(source, proto, &out->tensor);
}

static Status take_sparse(TensorSource *source, const Onnx__SparseTensor *proto, HostValue *out) {
  *out = (HostValue){.kind = VALUE_TENSOR, .name = ""};
  return onnx_read_sparse_tensor(source, proto, &out->tensor);
}

static Status take_optional(TensorSource *source, Arena *arena, const Onnx__Optional *proto, HostValue *out);

static Status take_sequence(TensorSource *source, Arena *arena, const Onnx__Sequence *proto, HostValue *out) {
  *out = (HostValue){.kind = VALUE_SEQUENCE, .name = proto->name ? proto->name : ""};
  size_t count = proto->n_tensor_values + proto->n_sparse_tensor_values + proto->n_sequence_values + proto->n_optional_values;
  out->count = (int)count;
  out->items = arena_array(arena, HostValue, count + 1);
  HostValue *next = out->items;
  for (size_t i = 0; i < proto->n_tensor_values; i++) TRY(take_tensor(source, proto->tensor_values[i], next++));
  for (size_t i = 0; i < proto->n_sparse_tensor_values; i++) TRY(take_sparse(source, proto->sparse_tensor_values[i], next++));
  for (size_t i = 0; i < proto->n_sequence_values; i++) TRY(take_sequence(source, arena, proto->sequence_values[i], next++));
  for (size_t i = 0; i < proto->n_optional_values; i++) TRY(take_optional(source, arena, proto->optional_values[i], next++));
  return OK;
}

static Status take_optional(TensorSource *source, Arena *arena, const Onnx__Optional *proto, HostValue *out) {
  *out = (HostValue){.kind = VALUE_OPTIONAL, .name = proto->name ? proto->name : "", .count = 1};
  out->items = arena_array(arena, HostValue, 1);
  if (proto->tensor_value) return take_tensor(source, proto->tensor_value, out->items);
  if (proto->sparse_tensor_value) return take_sparse(source, proto->sparse_tensor_value, out->items);
  if (proto->sequence_value) return take_sequence(source, arena, proto->sequence_value, out->items);
  if (proto->optional_value) return take_optional(source, arena, proto->optional_value, out->items);
  out->count = 0;
  return OK;
}

Status onnx_read_value(Bytes bytes, ValueKind kind, Arena *arena, HostValue *out) {
  static const ProtobufCMessageDescriptor *const types[] = {
      [VALUE_TENSOR] = &onnx__tensor__descriptor,
      [VALUE_SEQUENCE] = &onnx__sequence__descriptor,
      [VALUE_OPTIONAL] = &onnx__optional__descriptor,
  };
  TensorSource *source = tensor_source_new(arena, bytes, NULL, FILE_MEMORY, 0);
  void *proto;
  TRY(onnx_unpack(types[kind], "the file", bytes, NULL, arena, &proto));
  switch (kind) {
    case VALUE_SEQUENCE: return take_sequence(source, arena, proto, out);
    case VALUE_OPTIONAL: return take_optional(source, arena, proto, out);
    default: return take_tensor(source, proto, out);
  }
}

Status onnx_read_declared(Bytes bytes, ValueKind declared, Arena *arena, HostValue *out) {
  Status status = onnx_read_value(bytes, declared, arena, out);
  for (ValueKind kind = VALUE_TENSOR; status && declared == VALUE_OPTIONAL && kind < VALUE_OPTIONAL; kind++) {
    Status other = onnx_read_value(bytes, kind, arena, out);
    if (!other) {
      status_free(status);
      return OK;
    }
    status_free(other);
  }
  TRY(status);
  if (out->kind == VALUE_OPTIONAL && out->count) *out = (HostValue)out->items[0];
  for (int i = 0; i < out->count; i++)
    if (out->items[i].kind != VALUE_TENSOR) FAIL(ERROR_UNSUPPORTED, "element %d is no tensor", i);
  return OK;
}

Status onnx_read_value_file(const char *path, ValueKind kind, Arena *arena, HostValue *out) {
  Bytes bytes;
  *out = (HostValue){0};
  TRY(file_map(path, 0, arena, &bytes));
  return status_context(onnx_read_value(bytes, kind, arena, out), "'%s'", path);
}

Status onnx_read_declared_file(const char *path, ValueKind declared, Arena *arena, HostValue *out) {
  Bytes bytes;
  *out = (HostValue){0};
  TRY(file_map(path, 0, arena, &bytes));
  return status_context(onnx_read_declared(bytes, declared, arena, out), "'%s'", path);
}

Status onnx_read_tensor_file(const char *path, Arena *arena, Tensor *out) {
  HostValue value;
  TRY(onnx_read_value_file(path, VALUE_TENSOR, arena, &value));
  *out = value.tensor;
  return OK;
}

// --- Writing

// Sub-byte elements go back into packed bytes; everything else is as in memory.
static Bytes raw_of(Arena *arena, const Tensor *tensor) {
  int bits = dtype_bits(tensor->dtype);
  if (bits >= 8) return (Bytes){.data = tensor->data, .size = tensor_bytes(tensor)};
  int64_t count = tensor_count(tensor);
  size_t size = ((size_t)count * (size_t)bits + 7) / 8;
  uint8_t *packed = arena_array(arena, uint8_t, size + 1);
  for (int64_t i = 0; i < count; i++) {
    int per_byte = 8 / bits, value = ((const uint8_t *)tensor->data)[i] & ((1 << bits) - 1);
    packed[i / per_byte] |= (uint8_t)(value << (i % per_byte * bits));
  }
  return (Bytes){.data = packed, .size = size};
}

static void put_strings(Arena *arena, const Tensor *tensor, Onnx__Tensor *proto) {
  proto->n_string_data = (size_t)tensor_count(tensor);
  proto->string_data = arena_array(arena, ProtobufCBinaryData, proto->n_string_data + 1);
  for (size_t i = 0; i < proto->n_string_data; i++) {
    const char *text = ((const char *const *)tensor->data)[i];
    proto->string_data[i] = (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
  }
}

Onnx__Tensor *onnx_tensor_message(Arena *arena, const char *name, const Tensor *tensor) {
  Onnx__Tensor *proto = arena_new_of(arena, Onnx__Tensor);
  onnx__tensor__init(proto);
  proto->name = *name ? arena_string(arena, name) : NULL;
  proto->has_data_type = 1;
  proto->data_type = dtype_to_onnx(tensor->dtype);
  proto->n_dims = (size_t)tensor->rank;
  proto->dims = (int64_t *)(uintptr_t)tensor->dims;
  if (tensor->dtype == DTYPE_STRING) {
    put_strings(arena, tensor, proto);
  } else {
    Bytes raw = raw_of(arena, tensor);
    proto->has_raw_data = 1;
    proto->raw_data = (ProtobufCBinaryData){.len = raw.size, .data = (uint8_t *)(uintptr_t)raw.data};
  }
  return proto;
}

static Onnx__Tensor *tensor_proto(Arena *arena, const HostValue *value) {
  return onnx_tensor_message(arena, value->name, &value->tensor);
}

// What elem_type says of the elements.
enum { ELEMENTS_ARE_TENSORS = 1, ELEMENTS_ARE_SEQUENCES = 3 };

static Onnx__Sequence *sequence_proto(Arena *arena, const HostValue *value) {
  Onnx__Sequence *proto = arena_new_of(arena, Onnx__Sequence);
  onnx__sequence__init(proto);
  proto->name = *value->name ? arena_string(arena, value->name) : NULL;
  proto->has_elem_type = 1;
  proto->elem_type = ELEMENTS_ARE_TENSORS;
  proto->n_tensor_values = (size_t)value->count;
  proto->tensor_values = arena_array(arena, Onnx__Tensor *, proto->n_tensor_values + 1);
  for (int i = 0; i < value->count; i++) proto->tensor_values[i] = tensor_proto(arena, &value->items[i]);
  return proto;
}

static Onnx__Optional *optional_proto(Arena *arena, const HostValue *value) {
  Onnx__Optional *proto = arena_new_of(arena, Onnx__Optional);
  onnx__optional__init(proto);
  proto->name = *value->name ? arena_string(arena, value->name) : NULL;
  if (!value->count) return proto;
  bool sequence = value->items->kind == VALUE_SEQUENCE;
  proto->has_elem_type = 1;
  proto->elem_type = sequence ? ELEMENTS_ARE_SEQUENCES : ELEMENTS_ARE_TENSORS;
  if (sequence) proto->sequence_value = sequence_proto(arena, value->items);
  else proto->tensor_value = tensor_proto(arena, value->items);
  return proto;
}

static Status write_value(Arena *arena, const char *path, const HostValue *value) {
  ProtobufCMessage *message = value->kind == VALUE_TENSOR     ? &tensor_proto(arena, value)->base
                              : value->kind == VALUE_SEQUENCE ? &sequence_proto(arena, value)->base
                                                              : &optional_proto(arena, value)->base;
  void *bytes;
  TRY(arena_try_alloc(arena, MAX(protobuf_c_message_get_packed_size(message), 1), 16, &bytes));
  return file_write(path, bytes, protobuf_c_message_pack(message, bytes));
}

Status onnx_write_value_file(const char *path, const HostValue *value) {
  Arena *arena = arena_scratch();
  Status status = write_value(arena, path, value);
  arena_free(arena);
  return status;
}
