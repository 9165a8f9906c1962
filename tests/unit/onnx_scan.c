// Hostile bytes: what is cut short, nested, overlong or oversized is refused before protobuf-c sees it, and nothing crashes.
#include "tests/unit/onnx_model.h"

static TestModel small_model(void) {
  TestModel t = test_model();
  add_input(&t, "x", 1, 2, -2, 64);
  float weights[64] = {0};
  for (int i = 0; i < 64; i++) weights[i] = (float)i;
  LIST_ADD(t.arena, t.graph, initializer, raw_tensor(t.arena, "w", 1, 1, (int64_t[]){64}, weights, sizeof weights));
  add_node(&t, "Add", "x w", "y");
  set_int(t.arena, t.graph->node[0], "note", -5);
  add_output(&t, "y");
  return t;
}

Test(onnx_scan, truncation_is_refused_or_harmless) {
  TestModel t = small_model();
  Bytes whole = pack(t.arena, t.model);
  for (size_t size = 0; size < whole.size; size++) {
    Arena *arena = arena_new();
    uint8_t *copy = arena_copy(arena, whole.data, size);
    Model *model;
    Graph *graph;
    Status status = onnx_model_open_bytes((Bytes){copy, size}, NULL, NULL, arena, NULL, &model);
    if (!status) status = onnx_import(model, arena, &graph);
    cr_assert(status || size > whole.size - 10, "the first %zu of %zu bytes are no model", size, whole.size);
    status_free(status);
    arena_free(arena);
  }
  arena_free(t.arena);
}

Test(onnx_scan, every_flipped_byte_is_survived) {
  TestModel t = small_model();
  Bytes whole = pack(t.arena, t.model);
  for (size_t at = 0; at < whole.size; at++) {
    for (int bit = 0; bit < 8; bit += 3) {
      Arena *arena = arena_new();
      uint8_t *copy = arena_copy(arena, whole.data, whole.size);
      copy[at] ^= (uint8_t)(1 << bit);
      Model *model;
      Graph *graph;
      Status status = onnx_model_open_bytes((Bytes){copy, whole.size}, NULL, NULL, arena, NULL, &model);
      if (!status) status = onnx_import(model, arena, &graph);
      status_free(status);
      arena_free(arena);
    }
  }
  arena_free(t.arena);
}

Test(onnx_scan, bulky_data_stays_where_it_is) {
  TestModel t = small_model();
  Bytes whole = pack(t.arena, t.model), slim;
  ok(onnx_scan(&onnx__model__descriptor, whole, NULL, t.arena, &slim));
  cr_assert_lt(slim.size, whole.size - 150);
  Model *model;
  ok(onnx_model_open_bytes(whole, NULL, NULL, t.arena, NULL, &model));
  Tensor w;
  ok(onnx_read_tensor(model->tensors, model->proto->graph->initializer[0], &w));
  cr_assert_eq(tensor_get_f(&w, 63), 63);
  arena_free(t.arena);
}

static void expect_refusal(const uint8_t *bytes, size_t size, const OnnxLimits *limits, const char *part) {
  Arena *arena = arena_new();
  Bytes slim;
  Status status = onnx_scan(&onnx__model__descriptor, (Bytes){bytes, size}, limits, arena, &slim);
  cr_assert(status != OK, "expected '%s'", part);
  cr_assert(strstr(status_message(status), part) != NULL, "'%s' does not say '%s'", status_message(status), part);
  status_free(status);
  arena_free(arena);
}
#define REFUSE(part, ...) expect_refusal((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), NULL, part)

Test(onnx_scan, malformed_fields_are_named) {
  REFUSE("claims 127 bytes", 0x3a, 0x7f, 0);
  REFUSE("claims", 0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0);
  REFUSE("does not fit 64 bits", 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f);
  REFUSE("end inside a number", 0x08, 0xff);
  REFUSE("wire type 3", 0x0b);
  REFUSE("no field number", 0x00);
  REFUSE("expected 0", 0x0a, 0x00);               // ir_version as bytes
  REFUSE("second time", 0x3a, 0x00, 0x3a, 0x00);  // two graphs
  REFUSE("end inside a field", 0x09, 0, 0);
}

Test(onnx_scan, a_cut_of_the_files_own_is_ignored) {
  TestModel t = test_model();
  Onnx__Tensor *tensor = raw_tensor(t.arena, "w", 1, 1, (int64_t[]){4}, NULL, 0);
  tensor->has_cut_field = tensor->has_cut_offset = tensor->has_cut_size = 1;
  tensor->cut_field = 9;
  tensor->cut_offset = 1u << 20;
  tensor->cut_size = 16;
  LIST_ADD(t.arena, t.graph, initializer, tensor);
  Model *model;
  ok(onnx_model_open_bytes(pack(t.arena, t.model), NULL, NULL, t.arena, NULL, &model));
  cr_assert_not(model->proto->graph->initializer[0]->has_cut_field);
  arena_free(t.arena);
}

Test(onnx_scan, nesting_is_bounded) {
  // A node with an attribute with a graph with a node ...
  Arena *arena = arena_new();
  Onnx__Graph *inner = MAKE(arena, Onnx__Graph, ONNX__GRAPH__INIT);
  for (int i = 0; i < 40; i++) {
    Onnx__Graph *outer = MAKE(arena, Onnx__Graph, ONNX__GRAPH__INIT);
    Onnx__Node *node = make_node(arena, "If", "c", "y");
    add_attribute(arena, node, "then_branch", ONNX__ATTRIBUTE__KIND__GRAPH)->g = inner;
    LIST_ADD(arena, outer, node, node);
    inner = outer;
  }
  TestModel t = test_model();
  t.model->graph = inner;
  Bytes bytes = pack(arena, t.model);
  expect_refusal(bytes.data, bytes.size, NULL, "nested more than 64 deep");
  Bytes slim;
  ok(onnx_scan(&onnx__model__descriptor, bytes, &(OnnxLimits){.depth = 200}, arena, &slim));
  arena_free(arena);
  arena_free(t.arena);
}

Test(onnx_scan, memory_is_bounded) {
  // Millions of empty nodes, two bytes each, would unpack to hundreds of bytes each.
  Arena *arena = arena_new();
  enum { NODES = 2000000 };
  uint8_t *bytes = arena_alloc(arena, 2 * NODES + 10);
  size_t size = 0;
  bytes[size++] = 0x3a;
  for (uint32_t rest = 2 * NODES; rest; rest >>= 7) bytes[size++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  for (int i = 0; i < NODES; i++) {
    bytes[size++] = 0x0a;
    bytes[size++] = 0;
  }
  expect_refusal(bytes, size, NULL, "would take more than");
  expect_refusal(bytes, size, &(OnnxLimits){.memory_bytes = 1 << 20}, "would take more than 1048576 bytes");
  arena_free(arena);
}

Test(onnx_scan, overlong_tags_still_unpack) {
  // Field 1 (ir_version) and field 7 (an empty graph) with tags of more bytes than needed.
  const uint8_t bytes[] = {0x88, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x05, 0xba,
                           0x80, 0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
  Arena *arena = arena_new();
  Model *model;
  ok(onnx_model_open_bytes((Bytes){bytes, sizeof bytes}, NULL, NULL, arena, NULL, &model));
  cr_assert_eq(model->ir_version, 5);
  arena_free(arena);
}
