// Writing and reading engine files. See engine.h.
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "engine/engine.h"
#include "engine/layout.h"
#include "engine/weights.h"
#include "ir/graph_text.h"
#include "ir/token.h"
#include "ir/verify.h"

enum { MAX_KERNELS = 1 << 20, INLINE_ELEMENTS = 16 };
static const char *const section_names[] = {"graph", "weights", "kernels", "tuning", "passes", "disabled", "rewrites", "plans"};

enum { FLAG_TF32 = 1, FLAG_F16 = 2, FLAG_BF16 = 4, FLAG_MEASURED = 8, FLAGS_KNOWN = 15 };

typedef struct KernelRecord {
  uint64_t hash_low, hash_high;
  uint64_t sm, size;  // the cubin follows, padded to 16 bytes
} KernelRecord;

// ---- writing -----------------------------------------------------------------------------------------------------------------

static void write_kernels(const Engine *engine, Text *text) {
  static const char zeros[16];
  for (uint32_t i = 0; i < engine->kernel_count; i++) {
    const EngineKernel *kernel = &engine->kernels[i];
    KernelRecord record = {kernel->hash.low, kernel->hash.high, (uint64_t)kernel->sm, kernel->cubin.size};
    text_add_n(text, (const char *)&record, sizeof record);
    text_add_n(text, (const char *)kernel->cubin.data, kernel->cubin.size);
    text_add_n(text, zeros, align_up(kernel->cubin.size, 16) - kernel->cubin.size);
  }
}

static uint32_t flags_of(const EngineOptions *built) {
  return (built->tf32 ? FLAG_TF32 : 0) | (built->precision == DTYPE_F16 ? FLAG_F16 : 0) |
         (built->precision == DTYPE_BF16 ? FLAG_BF16 : 0) | (built->measured ? FLAG_MEASURED : 0);
}

typedef struct Parts {
  const char *bytes;
  size_t size;
  Hash128 *hashes;
} Parts;

static void hash_parts(void *context, int64_t begin, int64_t end) {
  Parts *parts = context;
  for (int64_t i = begin; i < end; i++) {
    size_t at = (size_t)i * ENGINE_PART;
    parts->hashes[i] = hash128_bytes(parts->bytes + at, MIN(parts->size - at, (size_t)ENGINE_PART));
  }
}

static uint64_t checksum(const void *bytes, size_t size, ThreadPool *pool, Arena *scratch) {
  size_t count = (size + ENGINE_PART - 1) / ENGINE_PART;
  Parts parts = {bytes, size, arena_array(scratch, Hash128, count)};
  parallel_for(pool, (int64_t)count, 1, hash_parts, &parts);
  return hash128_bytes(parts.hashes, count * sizeof *parts.hashes).low;
}

void engine_seal(void *bytes) {
  Arena *scratch = arena_scratch();
  Header header;
  memcpy(&header, bytes, sizeof header);
  for (int i = 0; i < SECTION_COUNT; i++)
    header.sections[i].checksum =
        checksum((const char *)bytes + header.sections[i].offset, header.sections[i].size, NULL, scratch);
  header.checksum = hash_bytes(&header, offsetof(Header, checksum), 0);
  memcpy(bytes, &header, sizeof header);
  arena_free(scratch);
}

static void write_rewrite(const EngineRewrite *rewrite, Text *text) {
  const char *const parts[] = {rewrite->pass, rewrite->rule, rewrite->place, rewrite->before, rewrite->after};
  for (size_t i = 0; i < COUNT_OF(parts); i++) {
    if (i) text_add(text, " ");
    token_quote(text, parts[i]);
  }
  text_add(text, "\n");
}

static void write_plans(const Engine *engine, Weights *weights, Text *text) {
  for (uint32_t i = 0; i < engine->content_count; i++) {
    const EngineContent *content = engine->contents[i];
    char hex[33];
    hash128_hex(content->name, hex);
    text_add(text, "content %s %llu %lld\n", hex, (unsigned long long)weights_offset(weights, &content->tensor),
             (long long)content->tensor.dims[0]);
  }
  for (uint32_t i = 0; i < engine->plan_count; i++) {
    const EnginePlan *plan = &engine->plans[i];
    text_add(text, "plan ");
    token_quote(text, plan->inputs);
    text_add(text, " ");
    token_quote(text, plan->needs);
    text_add(text, " %d %zu\n", plan->multiprocessors, plan->length);
    text_add_n(text, plan->text, plan->length);
  }
}

Status engine_write_memory(const Engine *engine, Arena *scratch, Bytes *out) {
  Weights weights = {.arena = scratch, .numbers = int_map_new(scratch)};
  Text noted = text_new(scratch), graph = text_new(scratch), kernels = text_new(scratch), passes = text_new(scratch),
       rewrites = text_new(scratch), plans = text_new(scratch);
  GraphTextOptions options = {.place = weights_note, .context = &weights, .inline_limit = INLINE_ELEMENTS, .origins = true};
  graph_print(&noted, engine->graph, &options);
  for (uint32_t i = 0; i < engine->content_count; i++) weights_note(&weights, &engine->contents[i]->tensor);
  weights_place(&weights);
  options.place = weights_offset;
  graph_print(&graph, engine->graph, &options);
  write_kernels(engine, &kernels);
  write_plans(engine, &weights, &plans);
  for (uint32_t i = 0; i < engine->pass_count; i++) {
    const EnginePass *pass = &engine->passes[i];
    text_add(&passes, "%s %d %d %d\n", pass->name, pass->changes, pass->nodes_before, pass->nodes_after);
  }
  for (uint32_t i = 0; i < engine->rewrite_count; i++) write_rewrite(&engine->rewrites[i], &rewrites);
  const char *tuning = engine->tuning ? engine->tuning : "", *disabled = engine->built.disabled;
  size_t sizes[SECTION_COUNT] = {graph.length,  weights.end,      kernels.length,  strlen(tuning),
                                 passes.length, strlen(disabled), rewrites.length, plans.length};
  const void *contents[SECTION_COUNT] = {text_get(&graph),  NULL,     text_get(&kernels),  tuning,
                                         text_get(&passes), disabled, text_get(&rewrites), text_get(&plans)};

  Header header = {.version = ENGINE_VERSION, .flags = flags_of(&engine->built)};
  memcpy(header.magic, ENGINE_MAGIC, sizeof header.magic);
  size_t end = align_up(sizeof header, ENGINE_PAGE);
  for (int i = 0; i < SECTION_COUNT; i++) {
    header.sections[i] = (SectionEntry){.offset = end, .size = sizes[i]};
    end = align_up(end + sizes[i], ENGINE_PAGE);
  }
  header.file_size = end;
  void *file;
  TRY(arena_try_alloc(scratch, end, ENGINE_PAGE, &file));
  char *bytes = file;
  for (int i = 0; i < SECTION_COUNT; i++)
    if (contents[i] && sizes[i]) memcpy(bytes + header.sections[i].offset, contents[i], sizes[i]);
  weights_copy(&weights, bytes + header.sections[SECTION_WEIGHTS].offset);
  memcpy(bytes, &header, sizeof header);
  engine_seal(bytes);
  *out = (Bytes){(const uint8_t *)bytes, end};
  return OK;
}

Status engine_write(const Engine *engine, const char *path) {
  Arena *scratch = arena_scratch();
  Bytes bytes;
  Status status = engine_write_memory(engine, scratch, &bytes);
  if (!status) status = file_write(path, bytes.data, bytes.size);
  arena_free(scratch);
  return status;
}

// ---- reading -----------------------------------------------------------------------------------------------------------------

static Status check_header(const void *bytes, size_t size, Header *header) {
  if (size < sizeof *header)
    FAIL(ERROR_CORRUPT, "not an engine: %zu bytes are fewer than its header's %zu", size, sizeof *header);
  memcpy(header, bytes, sizeof *header);
  if (memcmp(header->magic, ENGINE_MAGIC, sizeof header->magic))
    FAIL(ERROR_CORRUPT, "not an engine: it does not begin with the engine signature");
  if (header->version != ENGINE_VERSION)
    FAIL(ERROR_CORRUPT, "engine format %u is not the one this Ingot reads (%d); build the engine again", header->version,
         ENGINE_VERSION);
  if (hash_bytes(header, offsetof(Header, checksum), 0) != header->checksum)
    FAIL(ERROR_CORRUPT, "the engine's header fails its checksum");
  if (header->file_size != size)
    FAIL(ERROR_CORRUPT, "the engine has %zu bytes, but its header says %llu", size, (unsigned long long)header->file_size);
  for (int i = 0; i < SECTION_COUNT; i++) {
    const SectionEntry *s = &header->sections[i];
    if (s->offset % ENGINE_PAGE || s->offset > size || s->size > size - s->offset)
      FAIL(ERROR_CORRUPT, "the engine's section '%s' lies outside the file", section_names[i]);
  }
  return OK;
}

static Status check_sections(const void *bytes, const Header *header, ThreadPool *pool, Arena *scratch) {
  for (int i = 0; i < SECTION_COUNT; i++) {
    const SectionEntry *s = &header->sections[i];
    if (checksum((const char *)bytes + s->offset, s->size, pool, scratch) != s->checksum)
      FAIL(ERROR_CORRUPT, "the engine's section '%s' fails its checksum", section_names[i]);
  }
  return OK;
}

// Guarded, for the threads.
static Status check_sums(const void *bytes, const Header *header, int threads) {
  ThreadPool *pool = thread_pool_for_bytes(threads, header->file_size);
  Arena *scratch = arena_scratch();
  Status status = RECOVER_GUARD(check_sections(bytes, header, pool, scratch));
  arena_free(scratch);
  thread_pool_free(pool);
  return status;
}

static Status read_kernels(Engine *engine, const char *bytes, size_t size) {
  size_t at = 0;
  while (at < size) {
    KernelRecord record;
    if (size - at < sizeof record || engine->kernel_count == MAX_KERNELS)
      FAIL(ERROR_CORRUPT, "the engine's kernels end in the middle of one");
    memcpy(&record, bytes + at, sizeof record);
    at += sizeof record;
    if (record.size > size - at || align_up(record.size, 16) > size - at || record.sm > 1000)
      FAIL(ERROR_CORRUPT, "an engine kernel is larger than its section");
    *ARENA_PUSH(engine->arena, engine->kernels, engine->kernel_count, engine->kernel_capacity) = (EngineKernel){
        .hash = {record.hash_low, record.hash_high}, .sm = (int)record.sm, .cubin = {(const uint8_t *)bytes + at, record.size}};
    at += align_up(record.size, 16);
  }
  return OK;
}

static Status read_passes(Engine *engine, const char *bytes, size_t size) {
  char *text = arena_string_n(engine->arena, bytes, size), *save = NULL;
  for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    char name[64];
    EnginePass pass = {0};
    if (sscanf(line, "%63s %d %d %d", name, &pass.changes, &pass.nodes_before, &pass.nodes_after) != 4)
      FAIL(ERROR_CORRUPT, "the engine's pass report is malformed");
    pass.name = arena_string(engine->arena, name);
    *ARENA_PUSH(engine->arena, engine->passes, engine->pass_count, engine->pass_capacity) = pass;
  }
  return OK;
}

static Status read_rewrites(Engine *engine, const char *bytes, size_t size) {
  const char *cursor = arena_string_n(engine->arena, bytes, size);
  for (token_skip_space(&cursor); *cursor; token_skip_space(&cursor)) {
    char *parts[5];
    for (size_t i = 0; i < COUNT_OF(parts); i++)
      TRY(status_context(token_parse_quoted(engine->arena, &cursor, &parts[i]), "the engine's log of rewrites"));
    *ARENA_PUSH(engine->arena, engine->rewrites, engine->rewrite_count, engine->rewrite_capacity) =
        (EngineRewrite){parts[0], parts[1], parts[2], parts[3], parts[4]};
  }
  return OK;
}

static Status read_content(Engine *engine, const char **cursor, const char *weights, size_t weights_size) {
  Hash128 name;
  uint64_t offset, size;
  token_skip_space(cursor);
  if (!token_parse_hash(cursor, &name)) FAIL(ERROR_CORRUPT, "the engine's plans name a content without a hash");
  token_skip_space(cursor);
  bool good = token_parse_u64(cursor, &offset);
  token_skip_space(cursor);
  if (!good || !token_parse_u64(cursor, &size) || offset > weights_size || size > weights_size - offset)
    FAIL(ERROR_CORRUPT, "a constant of the engine's plans lies outside its weights");
  Tensor tensor = {.dtype = DTYPE_U8, .rank = 1, .dims = {(int64_t)size}, .data = (void *)(uintptr_t)(weights + offset)};
  engine_add_content(engine, name, &tensor);
  return OK;
}

static Status read_plan(Engine *engine, const char **cursor, const char *end) {
  char *inputs, *needs;
  uint64_t multiprocessors, length;
  token_skip_space(cursor);
  TRY(status_context(token_parse_quoted(engine->arena, cursor, &inputs), "the engine's plans"));
  token_skip_space(cursor);
  TRY(status_context(token_parse_quoted(engine->arena, cursor, &needs), "the engine's plans"));
  token_skip_space(cursor);
  bool good = token_parse_u64(cursor, &multiprocessors) && multiprocessors <= INT_MAX;
  token_skip_space(cursor);
  if (!good || !token_parse_u64(cursor, &length) || **cursor != '\n' || length > (size_t)(end - *cursor - 1))
    FAIL(ERROR_CORRUPT, "the engine's plans end in the middle of one");
  *ARENA_PUSH(engine->arena, engine->plans, engine->plan_count, engine->plan_capacity) = (EnginePlan){
      inputs, needs, (int)multiprocessors, arena_string_n(engine->arena, *cursor + 1, (size_t)length), (size_t)length};
  *cursor += 1 + length;
  return OK;
}

// Plans are read when they are wanted.
static Status read_plans(Engine *engine, const char *base, const SectionEntry *section, const SectionEntry *weights) {
  const char *cursor = arena_string_n(engine->arena, base + section->offset, section->size), *end = cursor + section->size;
  for (token_skip_space(&cursor); *cursor; token_skip_space(&cursor)) {
    if (token_accept_word(&cursor, "content")) TRY(read_content(engine, &cursor, base + weights->offset, weights->size));
    else if (token_accept_word(&cursor, "plan")) TRY(read_plan(engine, &cursor, end));
    else FAIL(ERROR_CORRUPT, "the engine's plans begin with '%.*s'", TOKEN_GLIMPSE(cursor));
  }
  return OK;
}

const EngineContent *engine_content(const Engine *engine, Hash128 name) {
  const EngineContent *content = int_map_get(engine->content_names, name.low);
  return content && content->name.high == name.high ? content : NULL;
}

void engine_add_content(Engine *engine, Hash128 name, const Tensor *tensor) {
  EngineContent *content = arena_new_of(engine->arena, EngineContent);
  *content = (EngineContent){name, *tensor};
  *ARENA_PUSH(engine->arena, engine->contents, engine->content_count, engine->content_capacity) = content;
  int_map_set(engine->content_names, name.low, content);
}

Engine *engine_new(Arena *arena) {
  Engine *engine = arena_new_of(arena, Engine);
  engine->arena = arena;
  engine->tuning = "";
  engine->content_names = int_map_new(arena);
  engine->built = (EngineOptions){.precision = DTYPE_COUNT, .disabled = ""};
  return engine;
}

Status engine_read_memory(const void *bytes, size_t size, int threads, const OpDef *const *ops, Arena *arena, Engine **out) {
  Header header;
  double start = time_now();
  TRY(check_header(bytes, size, &header));
  TRY(check_sums(bytes, &header, threads));
  double checked = time_now();
  Engine *engine = engine_new(arena);
  uint32_t flags = header.flags;
  if (flags & ~(uint32_t)FLAGS_KNOWN) FAIL(ERROR_CORRUPT, "the engine has unknown flags 0x%x", flags);
  engine->built = (EngineOptions){.tf32 = (flags & FLAG_TF32) != 0,
                                  .precision = flags & FLAG_F16    ? DTYPE_F16
                                               : flags & FLAG_BF16 ? DTYPE_BF16
                                                                   : DTYPE_COUNT,
                                  .measured = (flags & FLAG_MEASURED) != 0};
  const char *base = bytes;
  const SectionEntry *s = header.sections;
  TRY(read_kernels(engine, base + s[SECTION_KERNELS].offset, s[SECTION_KERNELS].size));
  TRY(read_passes(engine, base + s[SECTION_PASSES].offset, s[SECTION_PASSES].size));
  TRY(read_rewrites(engine, base + s[SECTION_REWRITES].offset, s[SECTION_REWRITES].size));
  engine->built.disabled = arena_string_n(arena, base + s[SECTION_DISABLED].offset, s[SECTION_DISABLED].size);
  engine->tuning = arena_string_n(arena, base + s[SECTION_TUNING].offset, s[SECTION_TUNING].size);
  TRY(graph_parse(arena, ops, base + s[SECTION_GRAPH].offset, s[SECTION_GRAPH].size, base + s[SECTION_WEIGHTS].offset,
                  s[SECTION_WEIGHTS].size, &engine->graph));
  TRY(status_context(graph_verify(engine->graph), "the engine's graph"));
  graph_name_constants(engine->graph);
  TRY(read_plans(engine, base, &s[SECTION_PLANS], &s[SECTION_WEIGHTS]));
  engine->opening.seconds[OPENING_FILE] = checked - start;
  engine->opening.seconds[OPENING_GRAPH] = time_now() - checked;
  *out = engine;
  return OK;
}

Status engine_read(const char *path, size_t size_limit, int threads, const OpDef *const *ops, Engine **out) {
  Arena *arena = arena_scratch();
  Bytes bytes;
  double start = time_now();
  Status status = file_load(path, size_limit, threads, arena, &bytes);
  double loaded = time_now();
  if (!status) status = status_context(engine_read_memory(bytes.data, bytes.size, threads, ops, arena, out), "%s", path);
  if (!status) (*out)->opening.seconds[OPENING_FILE] += loaded - start;
  if (status) arena_free(arena);
  else arena_keep(arena);
  return status;
}

void engine_free(Engine *engine) {
  if (engine) arena_free(engine->arena);
}
