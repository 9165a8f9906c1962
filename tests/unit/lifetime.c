// Who owns what: an engine's graph keeps nothing of its model, whatever its tensors share.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/api_test.h"
#include "ir/graph.h"
#include "kernels/control/control.h"
#include "kernels/deferred.h"
#include "kernels/ops.h"

static void expect_fine(Status status) { cr_assert(!status, "%s", status_message(status)); }

static Value *constant_at(Graph *graph, DType dtype, int64_t count, void *data) {
  Tensor tensor = {.dtype = dtype, .rank = 1, .dims = {count}, .data = data};
  Value *value = graph_add_constant(graph, NULL, &tensor);
  graph_mark_output(graph, value);
  return value;
}

Test(lifetime, overlapping_tensors_are_one_stretch) {
  Arena *arena = arena_new();
  Graph *graph = graph_new(arena, core_ops, "shared");
  float *numbers = aligned_alloc(64, 1 << 10);
  for (int i = 0; i < 256; i++) numbers[i] = (float)i;
  Value *small = constant_at(graph, DTYPE_F32, 4, numbers), *large = constant_at(graph, DTYPE_F32, 200, numbers);
  Value *inside = constant_at(graph, DTYPE_F32, 100, numbers + 150), *again = constant_at(graph, DTYPE_F32, 4, numbers);
  Value *apart = constant_at(graph, DTYPE_F32, 3, numbers + 252), *empty = constant_at(graph, DTYPE_F32, 0, numbers + 255);
  size_t before = arena_used(arena);
  expect_fine(graph_own_tensors(graph));
  cr_expect_lt(arena_used(arena) - before, 1200, "what is shared is copied once");
  memset(numbers, 0xff, 1 << 10);
  free(numbers);
  cr_expect_eq(small->constant->data, large->constant->data);
  cr_expect_eq(again->constant->data, large->constant->data);
  cr_expect_eq((float *)inside->constant->data, (float *)large->constant->data + 150);
  cr_expect_eq(tensor_get_f(large->constant, 199), 199);
  cr_expect_eq(tensor_get_f(inside->constant, 99), 249);
  cr_expect_eq(tensor_get_f(apart->constant, 2), 254);
  cr_expect_eq((uintptr_t)apart->constant->data % 64, 0);
  cr_expect(arena_owns(arena, empty->constant->data));
  const void *data = large->constant->data;
  expect_fine(graph_own_tensors(graph));
  cr_expect_eq(large->constant->data, data, "what is the graph's already stays");
  arena_free(arena);
}

Test(lifetime, attributes_bodies_and_strings_are_taken_over) {
  Arena *arena = arena_new();
  Graph *graph = graph_new(arena, core_ops, "outer"), *body = graph_new_inside(graph, "body");
  int64_t *number = malloc(sizeof *number);
  *number = 42;
  char *text = strdup("a longer text than any inline one");
  const char **texts = malloc(2 * sizeof *texts);
  texts[0] = texts[1] = text;
  Tensor attribute = {.dtype = DTYPE_I64, .data = number};
  Node *node = graph_add(body, NULL, &op_deferred, 0, NULL, 1);
  node_set_tensor(node, "value", &attribute);
  Value *strings = constant_at(body, DTYPE_STRING, 2, texts), *shared = constant_at(graph, DTYPE_STRING, 1, texts);
  node_set_graph(graph_add(graph, NULL, &op_loop, 0, NULL, 1), "body", body);
  expect_fine(graph_own_tensors(graph));
  memset(text, 'x', strlen(text));
  free(text);
  free(texts);
  free(number);
  cr_expect_eq(tensor_get_i(node_tensor(node, "value"), 0), 42);
  cr_expect_str_eq(((const char **)strings->constant->data)[1], "a longer text than any inline one");
  cr_expect_str_eq(((const char **)shared->constant->data)[0], "a longer text than any inline one");
  arena_free(arena);
}

// Two external tensors at one offset, 256 bytes and 4 MiB.
Test(lifetime, overlapping_external_data_outlives_its_file) {
  char folder[] = "/tmp/ingot-lifetime-XXXXXX", path[64], command[256];
  cr_assert(mkdtemp(folder));
  snprintf(command, sizeof command, "cp tests/hostile/files/ext_overlap/model.onnx %s && truncate -s 4M %s/big.bin", folder,
           folder);
  cr_assert_eq(system(command), 0);
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  ingot_config config;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  snprintf(command, sizeof command, "rm -r %s", folder);
  cr_assert_eq(system(command), 0);
  expect_ok(ingot_session_create(engine, &config, &session));
  ingot_session_free(session);
  ingot_engine_free(engine);
}

static ingot_session *open_session(const char *path) {
  ingot_config config;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_session_create(engine, &config, &session));
  ingot_engine_free(engine);
  return session;
}

static ingot_tensor tensor_of(void *data, uint8_t code, int64_t *shape) {
  return (ingot_tensor){.data = data, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {code, 64, 1}, .shape = shape};
}

// What a run lent may go into the next one, whose results stand when the caller's strings are gone.
Test(lifetime, strings_are_lent_until_the_run_after_the_next) {
  ingot_session *session = open_session("tests/regress/strings_through/model.onnx");
  const char *strings[2] = {strdup("left"), strdup("right")};
  int64_t at[2] = {1, 0}, two = 2;
  ingot_tensor inputs[2] = {tensor_of(strings, INGOT_STRING, &two), tensor_of(at, INGOT_INT, &two)}, first[4] = {0},
               second[4] = {0};
  expect_ok(ingot_session_run(session, inputs, 2, first, 4));
  for (int i = 0; i < 2; i++) {
    memset((char *)(uintptr_t)strings[i], '#', strlen(strings[i]));
    free((char *)(uintptr_t)strings[i]);
  }
  cr_expect_eq(first[0].dtype.code, INGOT_STRING);
  cr_expect_str_eq(((const char **)first[0].data)[0], "left");
  cr_expect_str_eq(((const char **)first[1].data)[1], "right-é");
  cr_expect_str_eq(((const char **)first[2].data)[0], "-é");
  cr_expect_str_eq(((const char **)first[3].data)[0], "right");
  inputs[0] = first[1];
  expect_ok(ingot_session_run(session, inputs, 2, second, 4));
  cr_expect_str_eq(((const char **)second[1].data)[0], "left-é-é");
  cr_expect_str_eq(((const char **)first[1].data)[0], "left-é");
  const char *missing[2] = {"one", NULL};
  inputs[0] = tensor_of(missing, INGOT_STRING, &two);
  ingot_error *error = ingot_session_run(session, inputs, 2, second, 4);
  cr_expect_eq(ingot_error_code(error), INGOT_INVALID_ARGUMENT);
  cr_expect(strstr(ingot_error_message(error), "string 1 is NULL"));
  ingot_error_free(error);
  ingot_session_free(session);
}

static ingot_engine *load_engine(const char *path) {
  ingot_engine *engine;
  expect_ok(ingot_engine_load(path, NULL, &engine));
  return engine;
}

// Cut off, then overwritten in place: what was loaded and verified is what runs.
Test(lifetime, a_loaded_engine_does_not_need_its_file) {
  char path[] = "/tmp/ingot-lifetime-XXXXXX";
  int file = mkstemp(path);
  cr_assert_geq(file, 0);
  ingot_config config = {0};
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  expect_ok(ingot_model_open("examples/digits/digits.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_engine_save(engine, path));
  ingot_engine_free(engine);
  engine = load_engine(path);
  cr_assert_eq(truncate(path, 5000), 0);
  expect_ok(ingot_session_create(engine, &config, &session));
  uint8_t image[64] = {0};
  int64_t shape[4] = {1, 1, 8, 8};
  ingot_tensor input = {.data = image, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = shape},
               output;
  expect_ok(ingot_session_run(session, &input, 1, &output, 1));
  float before[10];
  memcpy(before, output.data, sizeof before);
  char garbage[8192];
  memset(garbage, 0x55, sizeof garbage);
  for (int i = 0; i < 64; i++)
    cr_assert_eq(pwrite(file, garbage, sizeof garbage, i * (off_t)sizeof garbage), (ssize_t)sizeof garbage);
  expect_ok(ingot_session_run(session, &input, 1, &output, 1));
  cr_expect_arr_eq(output.data, before, sizeof before);
  ingot_session_free(session);
  expect_ok(ingot_session_create(engine, &config, &session));
  expect_ok(ingot_session_run(session, &input, 1, &output, 1));
  cr_expect_arr_eq(output.data, before, sizeof before);
  ingot_session_free(session);
  ingot_engine_free(engine);
  close(file);
  unlink(path);
}

// Elements of a sequence are lent like tensors, and asked for by number.
Test(lifetime, sequences_come_out_element_by_element) {
  ingot_session *session = open_session("tests/regress/split_to_sequence/model.onnx");
  float numbers[6] = {1, 2, 3, 4, 5, 6};
  int64_t shape[1] = {6};
  ingot_tensor input = {.data = numbers, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
  ingot_tensor outputs[3], element;
  cr_expect_eq(ingot_session_output_kind(session, 0), INGOT_TENSOR);
  expect_ok(ingot_session_run(session, &input, 1, outputs, 3));
  memset(numbers, 0, sizeof numbers);
  cr_expect_eq(ingot_session_output_kind(session, 0), INGOT_SEQUENCE);
  cr_expect_eq(ingot_session_output_kind(session, 1), INGOT_TENSOR);
  cr_expect_eq(ingot_session_output_kind(session, 3), INGOT_NOTHING);
  cr_expect_null(outputs[0].data);
  cr_expect_eq(outputs[0].dtype.bits, 0);
  cr_assert_eq(ingot_session_output_length(session, 0), 3);
  expect_ok(ingot_session_output_element(session, 0, 2, &element));
  cr_expect_eq(element.ndim, 1);
  cr_expect_eq(element.shape[0], 2);
  cr_expect_eq(((const float *)element.data)[1], 6);
  ingot_error *error = ingot_session_output_element(session, 0, 3, &element);
  cr_expect_eq(ingot_error_code(error), INGOT_INVALID_ARGUMENT);
  ingot_error_free(error);
  ingot_output wanted[3];
  for (int i = 0; i < 3; i++) wanted[i] = (ingot_output){.size = sizeof *wanted};
  float room[6];
  wanted[0].owner = INGOT_OWNED_BY_CALLER;
  wanted[0].tensor.data = room;
  wanted[0].capacity = sizeof room;
  error = ingot_session_run_into(session, &input, 1, wanted, 3);
  cr_expect_eq(ingot_error_code(error), INGOT_INVALID_ARGUMENT);
  ingot_error_free(error);
  ingot_session_free(session);
}
