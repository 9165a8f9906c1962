// TensorProto to Tensor. The bytes of a tensor are in one of three places: the message's typed fields, its raw bytes (which
// the scan may have left in the file), or another file. Raw bytes of every origin take one path: plain types point into the file,
// misaligned ones are copied, packed 4- and 2-bit types are spread to a byte an element.
#include "onnx/tensor.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/map.h"
#include "onnx.pb-c.h"

enum { FLOAT_DATA = 4, RAW_DATA = 9, DOUBLE_DATA = 10, LOCATION_EXTERNAL = 1 };

struct TensorSource {
  Arena *arena;
  Bytes bytes;
  const char *folder;
  size_t memory_left, files_left;
  StringMap *external;  // location -> Bytes
  IntMap *read;         // message -> Tensor: validation and import both ask
};

TensorSource *tensor_source_new(Arena *arena, Bytes bytes, const char *folder, size_t memory_bytes, size_t file_bytes) {
  TensorSource *source = arena_new_of(arena, TensorSource);
  *source =
      (TensorSource){.arena = arena, .bytes = bytes, .folder = folder, .memory_left = memory_bytes, .files_left = file_bytes};
  source->external = string_map_new(arena);
  source->read = int_map_new(arena);
  return source;
}

// --- Where the bytes are

static const char *external_entry(const Onnx__Tensor *proto, const char *key) {
  for (size_t i = 0; i < proto->n_external_data; i++)
    if (proto->external_data[i]->key && strcmp(proto->external_data[i]->key, key) == 0) return proto->external_data[i]->value;
  return NULL;
}

static Status external_number(const Onnx__Tensor *proto, const char *key, size_t otherwise, size_t *out) {
  const char *text = external_entry(proto, key);
  *out = otherwise;
  if (!text) return OK;
  uint64_t value = 0;
  bool digits = text[0] != 0;
  for (const char *c = text; *c && digits; c++)
    digits = *c >= '0' && *c <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
             !__builtin_add_overflow(value, (uint64_t)(*c - '0'), &value);
  if (!digits) FAIL(ERROR_INVALID_MODEL, "%s '%s' of its external data is no number", key, text);
  *out = (size_t)value;
  return OK;
}

static Status map_external(TensorSource *source, const char *location, Bytes *out) {
  Bytes *known = string_map_get(source->external, location);
  if (!known) {
    known = arena_new_of(source->arena, Bytes);
    TRY(file_map_confined(source->folder, location, source->arena, known));
    if (known->size > source->files_left)
      FAIL(ERROR_LIMIT, "'%s' has %zu bytes, and with it the model more than the limit", location, known->size);
    source->files_left -= known->size;
    string_map_set(source->external, location, known);
  }
  *out = *known;
  return OK;
}

static Status find_external(TensorSource *source, const Onnx__Tensor *proto, size_t size, Bytes *out) {
  const char *location = external_entry(proto, "location");
  size_t offset, length, end;
  Bytes file;
  if (!location) FAIL(ERROR_INVALID_MODEL, "its external data has no location");
  if (!source->folder) FAIL(ERROR_INVALID_MODEL, "its data is in file '%s', but the model has no folder", location);
  TRY(external_number(proto, "offset", 0, &offset));
  TRY(external_number(proto, "length", size, &length));
  if (length != size) FAIL(ERROR_INVALID_MODEL, "its external data has %zu bytes, expected %zu", length, size);
  if (size == 0) {
    *out = (Bytes){.data = (const uint8_t *)"", .size = 0};
    return OK;
  }
  TRY(map_external(source, location, &file));
  if (!checked_add(offset, length, &end) || end > file.size)
    FAIL(ERROR_INVALID_MODEL, "its data lies at offset %zu of '%s', %zu bytes, but the file has %zu", offset, location, length,
         file.size);
  *out = (Bytes){.data = file.data + offset, .size = length};
  return OK;
}

// The bytes of field `number`, in the message or cut out of it. False: there are none.
static bool find_bytes(const TensorSource *source, const Onnx__Tensor *proto, uint32_t number, Bytes *out) {
  if (proto->has_cut_field && proto->cut_field == number) {
    if (proto->cut_offset > source->bytes.size || proto->cut_size > source->bytes.size - proto->cut_offset) return false;
    *out = (Bytes){.data = source->bytes.data + proto->cut_offset, .size = (size_t)proto->cut_size};
    return true;
  }
  if (number == RAW_DATA && proto->has_raw_data) {
    *out = (Bytes){.data = proto->raw_data.data, .size = proto->raw_data.len};
    return true;
  }
  if (number == FLOAT_DATA && proto->n_float_data) {
    *out = (Bytes){.data = (const uint8_t *)proto->float_data, .size = proto->n_float_data * sizeof(float)};
    return true;
  }
  if (number == DOUBLE_DATA && proto->n_double_data) {
    *out = (Bytes){.data = (const uint8_t *)proto->double_data, .size = proto->n_double_data * sizeof(double)};
    return true;
  }
  return false;
}

// --- From bytes to elements

static Status allocate(TensorSource *source, Tensor *out) {
  size_t size, count = 1;
  for (int i = 0; i < out->rank; i++)
    if (!checked_mul(count, (size_t)out->dims[i], &count)) return status_out_of_memory();
  if (!checked_mul(count, dtype_size(out->dtype), &size) || size > source->memory_left)
    FAIL(ERROR_INVALID_MODEL, "unpacking it would exceed the limit on memory");
  source->memory_left -= size;
  Tensor type = *out;
  return tensor_new(source->arena, type.dtype, type.rank, type.dims, out);
}

// Element i of packed bits, sign-extended where the type is signed.
static uint8_t unpack_element(DType dtype, const uint8_t *packed, int64_t i) {
  int bits = dtype_bits(dtype);
  int per_byte = 8 / bits;
  uint8_t value = (uint8_t)((packed[i / per_byte] >> (i % per_byte * bits)) & ((1 << bits) - 1));
  bool negative = dtype_kind(dtype) == KIND_SIGNED && value >> (bits - 1);
  return negative ? (uint8_t)(value | ~((1 << bits) - 1)) : value;
}

static size_t packed_bytes(DType dtype, int64_t count) {
  int bits = dtype_bits(dtype);
  return bits >= 8 ? (size_t)count * dtype_size(dtype) : ((size_t)count * (size_t)bits + 7) / 8;
}

static bool booleans_are_clean(Bytes raw) {
  for (size_t i = 0; i < raw.size; i++)
    if (raw.data[i] > 1) return false;
  return true;
}

static Status from_raw(TensorSource *source, Bytes raw, Tensor *out) {
  int64_t count = tensor_count(out);
  size_t expected = packed_bytes(out->dtype, count), alignment = MIN(dtype_size(out->dtype), (size_t)8);
  if (raw.size != expected) FAIL(ERROR_INVALID_MODEL, "it has %zu bytes of data, expected %zu", raw.size, expected);
  bool packed = dtype_bits(out->dtype) < 8, unclean = out->dtype == DTYPE_BOOL && !booleans_are_clean(raw);
  if (!packed && !unclean && (uintptr_t)raw.data % alignment == 0) {
    out->data = (void *)(uintptr_t)raw.data;
    return OK;
  }
  TRY(allocate(source, out));
  if (packed)
    for (int64_t i = 0; i < count; i++) ((uint8_t *)out->data)[i] = unpack_element(out->dtype, raw.data, i);
  else if (unclean)
    for (int64_t i = 0; i < count; i++) ((uint8_t *)out->data)[i] = raw.data[i] != 0;
  else if (raw.size) memcpy(out->data, raw.data, raw.size);
  return OK;
}

static Status expect_count(size_t have, size_t expected) {
  if (have != expected) FAIL(ERROR_INVALID_MODEL, "it has %zu elements of data, expected %zu", have, expected);
  return OK;
}

// int32_data holds everything of 32 bits and less; packed types put one byte into each entry.
static Status from_int32(TensorSource *source, const Onnx__Tensor *proto, Tensor *out) {
  size_t count = (size_t)tensor_count(out), size = dtype_size(out->dtype);
  if (dtype_bits(out->dtype) < 8) {
    TRY(expect_count(proto->n_int32_data, packed_bytes(out->dtype, (int64_t)count)));
    uint8_t *packed = arena_array(source->arena, uint8_t, count + 1);
    for (size_t i = 0; i < proto->n_int32_data; i++) packed[i] = (uint8_t)proto->int32_data[i];
    return from_raw(source, (Bytes){.data = packed, .size = proto->n_int32_data}, out);
  }
  TRY(expect_count(proto->n_int32_data, count));
  TRY(allocate(source, out));
  for (size_t i = 0; i < count; i++) {
    int32_t value = out->dtype == DTYPE_BOOL ? proto->int32_data[i] != 0 : proto->int32_data[i];
    memcpy((uint8_t *)out->data + i * size, &value, size);
  }
  return OK;
}

static Status from_int64(TensorSource *source, const Onnx__Tensor *proto, Tensor *out) {
  TRY(expect_count(proto->n_int64_data, (size_t)tensor_count(out)));
  out->data = proto->n_int64_data ? (void *)proto->int64_data : (void *)(uintptr_t) "";
  return OK;
}

static Status from_uint64(TensorSource *source, const Onnx__Tensor *proto, Tensor *out) {
  size_t count = (size_t)tensor_count(out), size = dtype_size(out->dtype);
  TRY(expect_count(proto->n_uint64_data, count));
  TRY(allocate(source, out));
  for (size_t i = 0; i < count; i++) memcpy((uint8_t *)out->data + i * size, &proto->uint64_data[i], size);
  return OK;
}

static Status from_strings(TensorSource *source, const Onnx__Tensor *proto, Tensor *out) {
  TRY(expect_count(proto->n_string_data, (size_t)tensor_count(out)));
  TRY(allocate(source, out));
  for (size_t i = 0; i < proto->n_string_data; i++)
    ((const char **)out->data)[i] =
        arena_string_n(source->arena, (const char *)proto->string_data[i].data, proto->string_data[i].len);
  return OK;
}

static Status from_typed(TensorSource *source, const Onnx__Tensor *proto, Tensor *out) {
  Bytes bytes = {.data = (const uint8_t *)"", .size = 0};
  switch (out->dtype) {
    case DTYPE_F32:
    case DTYPE_C64: find_bytes(source, proto, FLOAT_DATA, &bytes); return from_raw(source, bytes, out);
    case DTYPE_F64:
    case DTYPE_C128: find_bytes(source, proto, DOUBLE_DATA, &bytes); return from_raw(source, bytes, out);
    case DTYPE_I64: return from_int64(source, proto, out);
    case DTYPE_U32:
    case DTYPE_U64: return from_uint64(source, proto, out);
    case DTYPE_STRING: return from_strings(source, proto, out);
    default: return from_int32(source, proto, out);
  }
}

// --- Whole tensors

static Status read_type(const Onnx__Tensor *proto, Tensor *out) {
  *out = (Tensor){0};
  if (!dtype_from_onnx(proto->data_type, &out->dtype))
    FAIL(ERROR_INVALID_MODEL, "it has unknown data type %d", proto->data_type);
  if (proto->n_dims > MAX_RANK) FAIL(ERROR_UNSUPPORTED, "it has rank %zu, more than %d", proto->n_dims, MAX_RANK);
  out->rank = (int)proto->n_dims;
  int64_t count = 1, bits;
  for (int i = 0; i < out->rank; i++) {
    out->dims[i] = proto->dims[i];
    if (proto->dims[i] < 0) FAIL(ERROR_INVALID_MODEL, "dimension %d is %lld", i, (long long)proto->dims[i]);
    // The product of the other dims is bounded even where one of them is 0.
    if (proto->dims[i] && !checked_mul_i64(count, proto->dims[i], &count))
      FAIL(ERROR_INVALID_MODEL, "the product of its dimensions does not fit 64 bits");
  }
  if (!checked_mul_i64(count, 128, &bits)) FAIL(ERROR_INVALID_MODEL, "it has %lld elements", (long long)count);
  return OK;
}

static Status read_tensor(TensorSource *source, const Onnx__Tensor *proto, Tensor *out) {
  Bytes raw;
  TRY(read_type(proto, out));
  if (proto->segment) FAIL(ERROR_UNSUPPORTED, "it is one segment of a larger tensor");
  if (proto->data_location == LOCATION_EXTERNAL) {
    if (out->dtype == DTYPE_STRING) FAIL(ERROR_INVALID_MODEL, "strings cannot be external");
    TRY(find_external(source, proto, packed_bytes(out->dtype, tensor_count(out)), &raw));
    return from_raw(source, raw, out);
  }
  if (find_bytes(source, proto, RAW_DATA, &raw)) {
    if (out->dtype == DTYPE_STRING) FAIL(ERROR_INVALID_MODEL, "strings cannot be raw data");
    return from_raw(source, raw, out);
  }
  return from_typed(source, proto, out);
}

static bool recall(const TensorSource *source, const void *proto, Tensor *out) {
  const Tensor *known = int_map_get(source->read, (uintptr_t)proto);
  if (known) *out = *known;
  return known != NULL;
}

static void remember(TensorSource *source, const void *proto, const Tensor *tensor) {
  int_map_set(source->read, (uintptr_t)proto, arena_copy(source->arena, tensor, sizeof *tensor));
}

Status onnx_read_tensor(TensorSource *source, const Onnx__Tensor *proto, Tensor *out) {
  if (recall(source, proto, out)) return OK;
  Status status = read_tensor(source, proto, out);
  if (!status) remember(source, proto, out);
  return status_context(status, "tensor '%s'", proto->name ? proto->name : "");
}

// The row-major index of entry i; -1 where it is out of range.
static int64_t dense_index(const Tensor *indices, const Tensor *dense, int64_t i) {
  if (indices->rank == 1) {
    int64_t index = tensor_get_i(indices, i);
    return index < tensor_count(dense) ? index : -1;
  }
  int64_t index = 0;
  for (int axis = 0; axis < dense->rank; axis++) {
    int64_t at = tensor_get_i(indices, i * dense->rank + axis);
    if (at < 0 || at >= dense->dims[axis]) return -1;
    index = index * dense->dims[axis] + at;
  }
  return index;
}

static Status read_sparse(TensorSource *source, const Onnx__SparseTensor *proto, Tensor *out) {
  Tensor values, indices;
  if (!proto->values || !proto->indices) FAIL(ERROR_INVALID_MODEL, "a sparse tensor has no values or no indices");
  TRY(onnx_read_tensor(source, proto->values, &values));
  TRY(onnx_read_tensor(source, proto->indices, &indices));
  // Only type and dims of this one count.
  Onnx__Tensor shape = ONNX__TENSOR__INIT;
  shape.data_type = proto->values->data_type;
  shape.n_dims = proto->n_dims;
  shape.dims = proto->dims;
  TRY(read_type(&shape, out));
  if (values.dtype == DTYPE_STRING) FAIL(ERROR_UNSUPPORTED, "it is sparse and of strings");
  bool flat = indices.rank == 1, pairs = indices.rank == 2 && indices.dims[1] == out->rank;
  if (values.rank != 1 || indices.dtype != DTYPE_I64 || (!flat && !pairs) || indices.dims[0] != values.dims[0])
    FAIL(ERROR_INVALID_MODEL, "its indices are not one i64, or one a dimension, for each value");
  TRY(allocate(source, out));
  size_t size = dtype_size(out->dtype);
  for (int64_t i = 0; i < values.dims[0]; i++) {
    int64_t index = dense_index(&indices, out, i);
    if (index < 0) FAIL(ERROR_INVALID_MODEL, "entry %lld lies outside of it", (long long)i);
    memcpy((uint8_t *)out->data + (size_t)index * size, (const uint8_t *)values.data + (size_t)i * size, size);
  }
  return OK;
}

Status onnx_read_sparse_tensor(TensorSource *source, const Onnx__SparseTensor *proto, Tensor *out) {
  const char *name = proto->values && proto->values->name ? proto->values->name : "";
  if (recall(source, proto, out)) return OK;
  Status status = read_sparse(source, proto, out);
  if (!status) remember(source, proto, out);
  return status_context(status, "sparse tensor '%s'", name);
}
