// Tensors in every encoding the specification allows, in other files, and back to a file.
#include "tests/unit/onnx_model.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static Status read_from(Arena *arena, const Onnx__Tensor *proto, const char *folder, Tensor *out) {
  Bytes bytes = pack(arena, proto);
  void *unpacked;
  Status status = onnx_unpack(&onnx__tensor__descriptor, "the tensor", bytes, NULL, arena, &unpacked);
  return status ? status : onnx_read_tensor(tensor_source_new(arena, bytes, folder, 1 << 20, 1 << 20), unpacked, out);
}

static void expect_failure(Status status, const char *part) {
  cr_assert(status != OK, "expected '%s'", part);
  cr_assert(strstr(status_message(status), part) != NULL, "'%s' does not say '%s'", status_message(status), part);
  status_free(status);
}

Test(onnx_tensor, packed_types_are_unpacked) {
  Arena *arena = arena_new();
  Tensor out;
  ok(read_from(arena, raw_tensor(arena, "i4", 22, 1, (int64_t[]){3}, (uint8_t[]){0x8f, 0x07}, 2), NULL, &out));
  int8_t expected[] = {-1, -8, 7};
  for (int i = 0; i < 3; i++) cr_assert_eq(tensor_get_i(&out, i), expected[i]);
  ok(read_from(arena, raw_tensor(arena, "u2", 25, 1, (int64_t[]){5}, (uint8_t[]){0xe4, 0x02}, 2), NULL, &out));
  for (int i = 0; i < 5; i++) cr_assert_eq(tensor_get_i(&out, i), i < 4 ? i : 2);
  ok(read_from(arena, raw_tensor(arena, "i2", 26, 1, (int64_t[]){4}, (uint8_t[]){0xe4}, 1), NULL, &out));
  for (int i = 0; i < 4; i++) cr_assert_eq(tensor_get_i(&out, i), i < 2 ? i : i - 4);
  ok(read_from(arena, raw_tensor(arena, "f4", 23, 1, (int64_t[]){2}, (uint8_t[]){0xf7}, 1), NULL, &out));
  cr_assert_eq(tensor_get_f(&out, 0), 6);
  cr_assert_eq(tensor_get_f(&out, 1), -6);
  arena_free(arena);
}

Test(onnx_tensor, typed_fields_are_read) {
  Arena *arena = arena_new();
  Tensor out;
  Onnx__Tensor *half = raw_tensor(arena, "half", 10, 1, (int64_t[]){2}, NULL, 0);
  LIST_ADD(arena, half, int32_data, 0x3c00);
  LIST_ADD(arena, half, int32_data, 0xc000);
  ok(read_from(arena, half, NULL, &out));
  cr_assert_eq(tensor_get_f(&out, 0), 1);
  cr_assert_eq(tensor_get_f(&out, 1), -2);
  Onnx__Tensor *floats = raw_tensor(arena, "floats", 1, 2, (int64_t[]){10, 10}, NULL, 0);
  for (int i = 0; i < 100; i++) LIST_ADD(arena, floats, float_data, (float)i / 2);  // long enough to stay in the file
  ok(read_from(arena, floats, NULL, &out));
  for (int i = 0; i < 100; i++) cr_assert_eq(tensor_get_f(&out, i), i / 2.0);
  Onnx__Tensor *words = raw_tensor(arena, "words", 12, 1, (int64_t[]){1}, NULL, 0);
  LIST_ADD(arena, words, uint64_data, 4000000000u);
  ok(read_from(arena, words, NULL, &out));
  cr_assert_eq(tensor_get_i(&out, 0), 4000000000);
  Onnx__Tensor *texts = raw_tensor(arena, "texts", 8, 1, (int64_t[]){1}, NULL, 0);
  LIST_ADD(arena, texts, string_data, ((ProtobufCBinaryData){.len = 2, .data = (uint8_t *)"hi"}));
  ok(read_from(arena, texts, NULL, &out));
  cr_assert_str_eq(((const char **)out.data)[0], "hi");
  arena_free(arena);
}

Test(onnx_tensor, wrong_sizes_are_named) {
  Arena *arena = arena_new();
  Tensor out;
  float data[3] = {0};
  expect_failure(read_from(arena, raw_tensor(arena, "w", 1, 1, (int64_t[]){4}, data, 12), NULL, &out),
                 "12 bytes of data, expected 16");
  expect_failure(read_from(arena, raw_tensor(arena, "w", 1, 1, (int64_t[]){-4}, data, 12), NULL, &out), "dimension 0 is -4");
  expect_failure(read_from(arena, raw_tensor(arena, "w", 99, 1, (int64_t[]){3}, data, 12), NULL, &out), "unknown data type 99");
  expect_failure(read_from(arena, raw_tensor(arena, "w", 1, 2, (int64_t[]){1ll << 40, 1ll << 40}, data, 12), NULL, &out),
                 "64 bits");
  expect_failure(read_from(arena, raw_tensor(arena, "w", 1, 1, (int64_t[]){1ll << 50}, NULL, 0), NULL, &out), "bytes of data");
  expect_failure(read_from(arena, raw_tensor(arena, "w", 6, 1, (int64_t[]){3}, NULL, 0), NULL, &out), "0 elements");
  arena_free(arena);
}

static void add_entry(Arena *arena, Onnx__Tensor *tensor, const char *key, const char *value) {
  Onnx__KeyValue *entry = MAKE(arena, Onnx__KeyValue, ONNX__KEY_VALUE__INIT);
  entry->key = arena_string(arena, key);
  entry->value = arena_string(arena, value);
  LIST_ADD(arena, tensor, external_data, entry);
}

static Onnx__Tensor *external(Arena *arena, const char *location, const char *offset, const char *length) {
  Onnx__Tensor *tensor = raw_tensor(arena, "e", 1, 1, (int64_t[]){4}, NULL, 0);
  tensor->has_data_location = 1;
  tensor->data_location = 1;
  add_entry(arena, tensor, "location", location);
  if (offset) add_entry(arena, tensor, "offset", offset);
  if (length) add_entry(arena, tensor, "length", length);
  return tensor;
}

Test(onnx_tensor, external_data_stays_inside_the_folder) {
  Arena *arena = arena_new();
  Tensor out;
  char folder[] = "/tmp/ingot_onnx_XXXXXX";
  cr_assert_not_null(mkdtemp(folder));
  const char *inside = path_join(arena, folder, "model"), *data = path_join(arena, inside, "w.bin");
  const char *secret = path_join(arena, folder, "secret.bin"), *link = path_join(arena, inside, "link.bin");
  float values[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  ok(directory_make(inside));
  ok(file_write(data, values, sizeof values));
  ok(file_write(secret, values, sizeof values));
  cr_assert_eq(symlink("../secret.bin", link), 0);
  ok(read_from(arena, external(arena, "w.bin", "8", "16"), inside, &out));
  for (int i = 0; i < 4; i++) cr_assert_eq(tensor_get_f(&out, i), i + 2);
  ok(read_from(arena, external(arena, "w.bin", NULL, NULL), inside, &out));
  cr_assert_eq(tensor_get_f(&out, 3), 3);
  ok(read_from(arena, external(arena, "w.bin", "7", "16"), inside, &out));  // not aligned: copied
  expect_failure(read_from(arena, external(arena, "../secret.bin", NULL, NULL), inside, &out), "not a relative path");
  expect_failure(read_from(arena, external(arena, secret, NULL, NULL), inside, &out), "not a relative path");
  expect_failure(read_from(arena, external(arena, "link.bin", NULL, NULL), inside, &out), "outside of its folder");
  expect_failure(read_from(arena, external(arena, "w.bin", "20", "16"), inside, &out), "but the file has 32");
  expect_failure(read_from(arena, external(arena, "w.bin", "18446744073709551615", "16"), inside, &out), "but the file has 32");
  expect_failure(read_from(arena, external(arena, "w.bin", "-1", "16"), inside, &out), "no number");
  expect_failure(read_from(arena, external(arena, "w.bin", "0", "12"), inside, &out), "12 bytes, expected 16");
  expect_failure(read_from(arena, external(arena, "w.bin", NULL, NULL), NULL, &out), "no folder");
  unlink(link);
  unlink(data);
  unlink(secret);
  rmdir(inside);
  rmdir(folder);
  arena_free(arena);
}

Test(onnx_tensor, sparse_becomes_dense_within_the_limit) {
  Arena *arena = arena_new();
  Onnx__SparseTensor sparse = ONNX__SPARSE_TENSOR__INIT;
  Tensor out;
  sparse.values = raw_tensor(arena, "s", 1, 1, (int64_t[]){2}, (float[]){5, 6}, 8);
  sparse.indices = i64_tensor(arena, "i", 1, 2, (int64_t[]){1, 5});
  sparse.n_dims = 2;
  sparse.dims = (int64_t[]){2, 3};
  TensorSource *source = tensor_source_new(arena, (Bytes){0}, NULL, 1 << 20, 0);
  ok(onnx_read_sparse_tensor(source, &sparse, &out));
  cr_assert_eq(tensor_get_f(&out, 1), 5);
  cr_assert_eq(tensor_get_f(&out, 5), 6);
  cr_assert_eq(tensor_get_f(&out, 0), 0);
  Onnx__SparseTensor bomb = sparse;
  bomb.dims = (int64_t[]){1 << 20, 1 << 20};
  expect_failure(onnx_read_sparse_tensor(source, &bomb, &out), "limit on memory");
  Onnx__SparseTensor outside = sparse;
  outside.dims = (int64_t[]){1, 3};
  expect_failure(onnx_read_sparse_tensor(source, &outside, &out), "outside of it");
  arena_free(arena);
}

Test(onnx_tensor, files_round_trip) {
  Arena *arena = arena_new();
  char folder[] = "/tmp/ingot_onnx_XXXXXX";
  cr_assert_not_null(mkdtemp(folder));
  const char *path = path_join(arena, folder, "t.pb");
  for (int type = 0; type < DTYPE_COUNT; type++) {
    Tensor tensor, back;
    ok(tensor_new(arena, (DType)type, 2, (int64_t[]){1, 3}, &tensor));
    for (int i = 0; i < 3; i++) {
      if (type == DTYPE_STRING) ((const char **)tensor.data)[i] = i ? "text" : "";
      else if (dtype_kind((DType)type) != KIND_COMPLEX) tensor_set_f(&tensor, i, i & 1);
    }
    ok(onnx_write_value_file(path, &(HostValue){.name = "t", .tensor = tensor}));
    ok(onnx_read_tensor_file(path, arena, &back));
    cr_assert(tensor_equal(&tensor, &back), "%s", dtype_name((DType)type));
  }
  unlink(path);
  rmdir(folder);
  arena_free(arena);
}

Test(onnx_tensor, sequences_and_optionals_are_trees) {
  Arena *arena = arena_new();
  char folder[] = "/tmp/ingot_onnx_XXXXXX";
  cr_assert_not_null(mkdtemp(folder));
  const char *path = path_join(arena, folder, "t.pb");
  Onnx__Sequence *sequence = MAKE(arena, Onnx__Sequence, ONNX__SEQUENCE__INIT);
  LIST_ADD(arena, sequence, tensor_values, i64_tensor(arena, "a", 1, 2, (int64_t[]){1, 2}));
  LIST_ADD(arena, sequence, tensor_values, i64_tensor(arena, "b", 1, 1, (int64_t[]){3}));
  Bytes bytes = pack(arena, sequence);
  ok(file_write(path, bytes.data, bytes.size));
  HostValue value;
  ok(onnx_read_value_file(path, VALUE_SEQUENCE, arena, &value));
  cr_assert_eq(value.count, 2);
  cr_assert_eq(tensor_get_i(&value.items[1].tensor, 0), 3);
  Onnx__Optional *optional = MAKE(arena, Onnx__Optional, ONNX__OPTIONAL__INIT);
  optional->sequence_value = sequence;
  bytes = pack(arena, optional);
  ok(file_write(path, bytes.data, bytes.size));
  ok(onnx_read_value_file(path, VALUE_OPTIONAL, arena, &value));
  cr_assert_eq(value.count, 1);
  cr_assert_eq(value.items[0].kind, VALUE_SEQUENCE);
  cr_assert_eq(value.items[0].count, 2);
  HostValue again, inner = value.items[0];  // and written, and read as what a model declares
  ok(onnx_write_value_file(path, &value));
  ok(onnx_read_declared_file(path, VALUE_OPTIONAL, arena, &again));
  cr_assert(again.kind == VALUE_SEQUENCE && again.count == 2);
  ok(onnx_write_value_file(path, &inner));
  ok(onnx_read_declared_file(path, VALUE_SEQUENCE, arena, &again));
  cr_assert(tensor_equal(&again.items[0].tensor, &inner.items[0].tensor));
  ok(onnx_write_value_file(path, &(HostValue){.kind = VALUE_OPTIONAL, .name = ""}));
  ok(onnx_read_declared_file(path, VALUE_OPTIONAL, arena, &again));
  cr_assert(again.kind == VALUE_OPTIONAL && again.count == 0);
  ok(onnx_write_value_file(path, &inner.items[0]));
  ok(onnx_read_declared_file(path, VALUE_OPTIONAL, arena, &again));
  cr_assert(again.kind == VALUE_TENSOR && tensor_get_i(&again.tensor, 1) == 2);
  unlink(path);
  rmdir(folder);
  arena_free(arena);
}
