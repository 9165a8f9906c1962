// An engine file is a stranger's: whatever is cut off or flipped, loading says what is wrong or gives an engine that works. Checksums
// catch most; where they are made right again, the checks behind them have to.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/recover.h"
#include "engine/engine.h"
#include "ingot/ingot.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"

#define MODEL "examples/digits/digits.onnx"
// As engine_file.c lays it out: a header of magic, version, flags, size, sections (offset, size, checksum), checksum.
enum { SECTIONS = 8, SECTION_AT = 24, HEADER_BYTES = SECTION_AT + SECTIONS * 24 + 8, PAGE = 4096 };

static Arena *arena;
static uint8_t *good;
static size_t size;

static void set_up(void) {
  char path[] = "/tmp/ingot-engine-XXXXXX";
  close(mkstemp(path));
  ingot_config config;
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  ingot_model *model;
  ingot_engine *engine;
  cr_assert(!ingot_model_open(MODEL, &config, &model));
  cr_assert(!ingot_engine_build(model, &config, &engine));
  cr_assert(!ingot_engine_save(engine, path));
  ingot_engine_free(engine);
  ingot_model_free(model);
  arena = arena_new();
  Bytes bytes;
  cr_assert(!file_read(path, 0, arena, &bytes));
  unlink(path);
  size = bytes.size;
  good = arena_copy(arena, bytes.data, size);
}
static void tear_down(void) { arena_free(arena); }
TestSuite(engine_file, .init = set_up, .fini = tear_down, .timeout = 120);

// Reads bytes of their exact size from the heap, so that sanitizers see every step beyond the end. True where an engine came out.
static bool try_read(const void *bytes, size_t count, const char *what, size_t where) {
  void *exact = malloc(count ? count : 1);
  if (count) memcpy(exact, bytes, count);
  Arena *scratch = arena_new();
  Engine *engine = NULL;
  Status status = RECOVER_GUARD(engine_read_memory(exact, count, 1, core_ops, scratch, &engine));
  bool opened = !status;
  if (status) cr_assert_gt(strlen(status_message(status)), 10, "%s at %zu: refused without a reason", what, where);
  if (status) cr_assert_neq(status_code(status), ERROR_INTERNAL, "%s at %zu: %s", what, where, status_message(status));
  status_free(status);
  arena_free(scratch);
  free(exact);
  return opened;
}

Test(engine_file, the_good_one_opens) { cr_assert(try_read(good, size, "nothing", 0)); }

Test(engine_file, truncation_is_always_noticed) {
  for (size_t cut = 0; cut < size; cut += cut < PAGE ? 1 : 997)
    cr_assert_not(try_read(good, cut, "cut", cut), "%zu of %zu bytes are accepted", cut, size);
}

Test(engine_file, bytes_behind_the_end_are_noticed) {
  uint8_t *longer = arena_alloc(arena, size + 1);
  memcpy(longer, good, size);
  cr_assert_not(try_read(longer, size + 1, "one byte more", size));
}

Test(engine_file, a_flipped_bit_is_noticed_or_harmless) {
  uint8_t *bytes = arena_copy(arena, good, size);
  for (size_t at = 0; at < size; at += at < 2 * PAGE ? 1 : 211) {
    uint8_t bit = (uint8_t)(1 << at % 8);
    bytes[at] ^= bit;
    bool opened = try_read(bytes, size, "flip", at);
    // Only the gaps between sections are nobody's.
    if (at < HEADER_BYTES) cr_assert_not(opened, "a flipped bit at %zu is accepted", at);
    bytes[at] ^= bit;
  }
}

// ---- behind the checksums ----------------------------------------------------------------------------------------------------

static uint64_t get(const uint8_t *bytes, size_t at) {
  uint64_t value;
  memcpy(&value, bytes + at, 8);
  return value;
}
static void put(uint8_t *bytes, size_t at, uint64_t value) { memcpy(bytes + at, &value, 8); }

// As a malicious writer would: checksums of what is there now.
static void make_checksums_right(uint8_t *bytes) {
  for (int i = 0; i < SECTIONS; i++) {
    size_t entry = SECTION_AT + (size_t)i * 24;
    uint64_t offset = get(bytes, entry), length = get(bytes, entry + 8);
    if (offset > size || length > size - offset) continue;
    Hash128 part = hash128_bytes(bytes + offset, length);  // all of it: there is less than a mebibyte
    put(bytes, entry + 16, hash128_bytes(&part, length ? sizeof part : 0).low);
  }
  put(bytes, HEADER_BYTES - 8, hash_bytes(bytes, HEADER_BYTES - 8, 0));
}

Test(engine_file, the_layout_is_the_one_this_test_knows) {
  uint8_t *bytes = arena_copy(arena, good, size);
  make_checksums_right(bytes);
  cr_assert_arr_eq(bytes, good, size);
}

Test(engine_file, sections_outside_the_file_are_noticed) {
  const uint64_t odd[] = {1, PAGE - 1, PAGE + 8, size, size + PAGE, UINT64_MAX, UINT64_MAX - PAGE + 1, (uint64_t)1 << 63};
  for (int section = 0; section < SECTIONS; section++)
    for (size_t field = 0; field < 2; field++)
      for (size_t i = 0; i < COUNT_OF(odd); i++) {
        uint8_t *bytes = arena_copy(arena, good, size);
        put(bytes, SECTION_AT + (size_t)section * 24 + field * 8, odd[i]);
        make_checksums_right(bytes);
        try_read(bytes, size, "section", odd[i]);
      }
}

Test(engine_file, whatever_the_sections_say_nothing_crashes) {
  uint8_t *bytes = malloc(size);
  uint64_t random = 12345;
  for (int round = 0; round < 3000; round++) {
    memcpy(bytes, good, size);
    for (int change = 0; change < 1 + round % 4; change++) {
      random = random * 6364136223846793005ull + 1442695040888963407ull;
      size_t entry =
          SECTION_AT + (round % 5 == 1 ? 0 : (size_t)(random >> 33) % SECTIONS) * 24;  // the graph more often than the others
      uint64_t offset = get(good, entry), length = get(good, entry + 8);
      if (!length) continue;
      size_t at = offset + (random >> 20) % length;
      static const char spice[] = "0123456789-%@[](){}:,=\"\n\0 ~fi";
      bytes[at] = round % 2 ? (uint8_t)spice[(random >> 50) % sizeof spice] : (uint8_t)(random >> 56);
    }
    make_checksums_right(bytes);
    try_read(bytes, size, "round", (size_t)round);
  }
  free(bytes);
}

// Lines of the graph's text taken out, doubled and swapped: still text, often still a graph, but another one.
Test(engine_file, graphs_with_lines_moved_are_refused_or_sound) {
  uint64_t offset = get(good, SECTION_AT), length = get(good, SECTION_AT + 8);
  const char *text = (const char *)good + offset;
  size_t lines[256];
  int count = 0;
  lines[count++] = 0;
  for (size_t i = 0; i < length && count < 255; i++)
    if (text[i] == '\n') lines[count++] = i + 1;
  uint8_t *bytes = malloc(size);
  for (int drop = 0; drop + 1 < count; drop++) {
    memcpy(bytes, good, size);
    memset(bytes + offset + lines[drop], ' ', lines[drop + 1] - lines[drop] - 1);  // out
    make_checksums_right(bytes);
    try_read(bytes, size, "line out", (size_t)drop);
    if (drop + 2 >= count) continue;
    memcpy(bytes, good, size);  // swapped with the next
    size_t first = lines[drop + 1] - lines[drop], second = lines[drop + 2] - lines[drop + 1];
    memcpy(bytes + offset + lines[drop], text + lines[drop + 1], second);
    memcpy(bytes + offset + lines[drop] + second, text + lines[drop], first);
    make_checksums_right(bytes);
    try_read(bytes, size, "lines swapped", (size_t)drop);
  }
  free(bytes);
}

static Value *constant_at(Graph *graph, DType dtype, int64_t count, const void *data) {
  Tensor tensor = {.dtype = dtype, .rank = 1, .dims = {count}, .data = (void *)(uintptr_t)data};
  Value *value = graph_add_constant(graph, NULL, &tensor);
  graph_mark_output(graph, value);
  return value;
}

static size_t section_size(const void *bytes, int section) {
  uint64_t words[3];
  memcpy(words, (const char *)bytes + SECTION_AT + section * (int)sizeof words, sizeof words);
  return words[1];
}

// Overlapping ranges of external data, and equal weights at different addresses, are written once; elements keep their alignment.
Test(engine_file, what_is_shared_is_written_once) {
  enum { COUNT = 100000, WEIGHTS = 1 };
  float *numbers, *twin;
  cr_assert(!arena_try_alloc(arena, COUNT * sizeof *numbers, 64, (void **)&numbers));
  cr_assert(!arena_try_alloc(arena, COUNT * sizeof *twin, 64, (void **)&twin));
  for (int i = 0; i < COUNT; i++) numbers[i] = twin[i] = (float)i;
  Engine *engine = engine_new(arena), *again;
  engine->graph = graph_new(arena, core_ops, "shared");
  for (int i = 0; i < 100; i++) constant_at(engine->graph, DTYPE_F32, COUNT - 103 - i, numbers + i);
  constant_at(engine->graph, DTYPE_F64, 1000, numbers + 2);
  constant_at(engine->graph, DTYPE_U8, 99, (char *)(numbers + 500) + 1);
  constant_at(engine->graph, DTYPE_F32, COUNT - 103, twin);  // the bytes of all the others together
  constant_at(engine->graph, DTYPE_F32, COUNT - 104, twin + 1);
  constant_at(engine->graph, DTYPE_F32, 20, (float[20]){1, 2, 3});
  Bytes bytes, twice;
  cr_assert(!engine_write_memory(engine, arena, &bytes));
  cr_expect_lt(section_size(bytes.data, WEIGHTS), (COUNT - 103) * sizeof(float) + 1000);
  cr_assert(!engine_read_memory(bytes.data, bytes.size, 1, core_ops, arena, &again));
  cr_assert_eq(again->graph->output_count, engine->graph->output_count);
  for (int i = 0; i < again->graph->output_count; i++)
    cr_expect(tensor_equal(again->graph->outputs[i]->constant, engine->graph->outputs[i]->constant), "constant %d", i);
  cr_assert(!engine_write_memory(again, arena, &twice));
  cr_expect(twice.size == bytes.size && !memcmp(twice.data, bytes.data, bytes.size), "written again it is another");
}

// Plans name constants by content, which lie among the weights; what they say of places is checked.
Test(engine_file, plans_and_what_they_name_are_kept) {
  static const float numbers[] = {1, 2, 3, 4};
  static const char plan[] = "plan for the CPU: not read before it is wanted\n";
  Tensor flat = {.dtype = DTYPE_U8, .rank = 1, .dims = {sizeof numbers}, .data = (void *)(uintptr_t)numbers};
  Hash128 name = hash128_bytes(numbers, sizeof numbers);
  Engine *engine = engine_new(arena), *again;
  Bytes bytes, twice;
  engine->graph = graph_new(arena, core_ops, "g");
  engine_add_content(engine, name, &flat);
  *ARENA_PUSH(arena, engine->plans, engine->plan_count, engine->plan_capacity) =
      (EnginePlan){"f32[2]", "that", 132, plan, strlen(plan)};
  cr_assert(!engine_write_memory(engine, arena, &bytes));
  cr_assert(!engine_read_memory(bytes.data, bytes.size, 1, core_ops, arena, &again));
  cr_assert_eq(again->plan_count, 1);
  cr_expect_str_eq(again->plans[0].inputs, "f32[2]");
  cr_expect_str_eq(again->plans[0].needs, "that");
  cr_expect_eq(again->plans[0].multiprocessors, 132);
  cr_expect_str_eq(again->plans[0].text, plan);
  const EngineContent *content = engine_content(again, name);
  cr_assert(content && content->tensor.dims[0] == sizeof numbers);
  cr_expect(!memcmp(content->tensor.data, numbers, sizeof numbers));
  cr_expect_null(engine_content(again, (Hash128){name.low, name.high + 1}));
  cr_assert(!engine_write_memory(again, arena, &twice));
  cr_expect(twice.size == bytes.size && !memcmp(twice.data, bytes.data, bytes.size), "written again it is another");
}

// Files that are worth several threads: every part of the weights is checked.
Test(engine_file, large_sections_are_checked_by_threads) {
  enum { BYTES = 9 << 20, PART = 1 << 20 };
  uint8_t *numbers = arena_alloc(arena, BYTES);
  for (int i = 0; i < BYTES; i++) numbers[i] = (uint8_t)(i * 7 + i / PART);
  Engine *engine, *again;
  Bytes bytes;
  cr_assert(!engine_read_memory(good, size, 1, core_ops, arena, &engine));
  Tensor tensor = {.dtype = DTYPE_U8, .rank = 1, .dims = {BYTES}, .data = numbers};
  engine_add_content(engine, (Hash128){5, 6}, &tensor);
  cr_assert(!engine_write_memory(engine, arena, &bytes));
  uint8_t *copy = arena_copy(arena, bytes.data, bytes.size);
  uint64_t weights = get(copy, SECTION_AT + 24), end = weights + get(copy, SECTION_AT + 32);
  for (int threads = 1; threads <= 3; threads += 2) {
    cr_assert(!engine_read_memory(copy, bytes.size, threads, core_ops, arena, &again));
    for (uint64_t at = weights; at < end; at += PART) {
      copy[MIN(at + PART, end) - 1] ^= 1;
      Status status = engine_read_memory(copy, bytes.size, threads, core_ops, arena, &again);
      cr_assert(status, "byte %llu is another, and nobody says so", (unsigned long long)at);
      cr_expect(strstr(status_message(status), "'weights' fails its checksum"), "%s", status_message(status));
      status_free(status);
      copy[MIN(at + PART, end) - 1] ^= 1;
    }
  }
}

// The section is put where weights were.
static void expect_plans_refused(const char *section, const char *why) {
  uint8_t *bytes = arena_copy(arena, good, size);
  size_t entry = SECTION_AT + (SECTIONS - 1) * 24, offset = get(good, SECTION_AT + 24);
  Engine *engine;
  put(bytes, entry, offset);
  memcpy(bytes + offset, section, strlen(section));
  put(bytes, entry + 8, strlen(section));
  make_checksums_right(bytes);
  Status status = engine_read_memory(bytes, size, 1, core_ops, arena, &engine);
  cr_assert(status, "accepted: %s", section);
  cr_expect(strstr(status_message(status), why), "'%s' is not in '%s'", why, status_message(status));
  status_free(status);
}

Test(engine_file, plans_that_lie_are_refused) {
#define NAME "00112233445566778899aabbccddeeff"
  expect_plans_refused("content " NAME " 0 1000000000", "lies outside its weights");
  expect_plans_refused("content " NAME " 1000000000 0", "lies outside its weights");
  expect_plans_refused("content " NAME " 18446744073709551615 2", "lies outside its weights");
  expect_plans_refused("content 1234 0 1", "without a hash");
  expect_plans_refused("content " NAME " -1 1", "lies outside its weights");
  expect_plans_refused("plan \"i\" \"n\" 1 30\nshort\n", "in the middle of one");
  expect_plans_refused("plan \"i\" \"n\" 1 18446744073709551615\n", "in the middle of one");
  expect_plans_refused("plan \"i\" \"n\" 18446744073709551615 2\nab", "in the middle of one");
  expect_plans_refused("plan n 3\nabc", "the engine's plans");
  expect_plans_refused("nothing", "begin with 'nothing'");
}

Test(engine_file, a_region_is_kept_as_it_is) {
  static const char text[] =
      "graph g(%x: f32[n, 2]) -> (%y) {\n"
      "  const %w: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]\n"
      "  %y: f32[2, n] = region(%x, %w) {body: graph r(%x: f32[n, 2], %w: f32[2, 2]) -> (%t) {\n"
      "      %p: f32[n, 2] = matmul(%x, %w) origins [\"first\": \"MatMul\"]\n"
      "      const %v: f32[2, 2] = [5.0, 6.0, 7.0, 8.0]\n"
      "      %q: f32[n, 2] = matmul(%p, %v) origins [\"second\": \"MatMul\"]\n"
      "      %t: f32[2, n] = transpose(%q) {perm: [1, 0]}\n"
      "    }} origins [\"first\": \"MatMul\", \"second\": \"MatMul\"]\n"
      "}\n";
  Engine *engine = engine_new(arena), *again;
  Bytes bytes;
  cr_assert(!graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &engine->graph));
  cr_assert(!engine_write_memory(engine, arena, &bytes));
  cr_assert(!engine_read_memory(bytes.data, bytes.size, 1, core_ops, arena, &again));
  Text printed = text_new(arena);
  graph_print(&printed, again->graph, &(GraphTextOptions){.origins = true});
  cr_expect_str_eq(text_get(&printed), text);
}
