// Reading a step's packed constants and launches.
#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "ir/verify.h"
#include "kernels/ops.h"
#include "lower/parser.h"

// ---- packed constants --------------------------------------------------------------------------------------------------------

typedef struct Sources {
  Hash128 *names;
  uint32_t count, capacity;
} Sources;

static Status find_sources(PlanParser *p, const Graph *graph, const Sources *names, const Tensor ***out) {
  *out = arena_array(p->arena, const Tensor *, names->count);
  for (uint32_t i = 0; i < names->count && (int)i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    Tensor *tensor = arena_new_of(p->arena, Tensor);
    *tensor = (Tensor){.dtype = input->dtype, .rank = input->rank};
    if (input->kind != VALUE_TENSOR || input->dtype == DTYPE_STRING || input->dtype == DTYPE_COUNT ||
        !value_get_dims(input, tensor->dims))
      FAIL(ERROR_INVALID_MODEL, "a recipe of '%s', whose type is not known", input->name);
    TRY(value_check_size(input));
    if (!p->constants.find) FAIL(ERROR_INVALID_MODEL, "a recipe, where no tensors came with the plan");
    tensor->data = (void *)(uintptr_t)p->constants.find(p->constants.context, names->names[i], tensor_bytes(tensor));
    if (!tensor->data) FAIL(ERROR_INVALID_MODEL, "a recipe of a tensor that did not come with the plan");
    (*out)[i] = tensor;
  }
  return OK;
}

static Status parse_packed(PlanParser *p, Emission *emission) {
  int64_t number;
  size_t bytes;
  Hash128 key;
  Sources sources = {0};
  const Tensor **tensors;
  Graph *graph;
  Recipe *recipe;
  TRY(plan_number(p, 0, INT_MAX, &number));
  if (number != emission->packed_count) FAIL(ERROR_INVALID_MODEL, "packed constants are counted from 0");
  TRY(plan_expect(p, ":"));
  TRY(plan_size(p, &bytes));
  TRY(plan_expect_word(p, "bytes"));
  TRY(plan_expect(p, ","));
  TRY(plan_expect_word(p, "recipe"));
  TRY(plan_hash(p, &key));
  TRY(plan_expect_word(p, "of"));
  while (plan_accept(p, "&")) {
    TRY(plan_hash(p, ARENA_PUSH(p->arena, sources.names, sources.count, sources.capacity)));
    TRY(plan_expect(p, ","));
  }
  TRY(graph_parse_at(p->arena, core_ops, &p->cursor, p->end, &(GraphContents){0}, &graph));
  TRY(status_context(graph_verify(graph), "a recipe"));
  TRY(find_sources(p, graph, &sources, &tensors));
  TRY(recipe_again(graph, tensors, sources.count, key, &recipe));
  if (recipe->bytes != bytes) FAIL(ERROR_INVALID_MODEL, "the recipe makes %zu bytes, not %zu", recipe->bytes, bytes);
  *ARENA_PUSH(p->arena, emission->packed, emission->packed_count, emission->packed_capacity) = recipe;
  return OK;
}

// ---- launches ----------------------------------------------------------------------------------------------------------------

static Status parse_reference(PlanParser *p, Emission *emission, Launch *launch) {
  static const struct {
    const char *word;
    BufferKind kind;
    bool numbered;
  } rows[] = {{"in", BUFFER_INPUT, true},
              {"out", BUFFER_OUTPUT, true},
              {"packed", BUFFER_PACKED, true},
              {"report", BUFFER_REPORT, false},
              {"step", BUFFER_STEP, false}};
  size_t offset = 0;
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    int index = 0;
    if (!plan_accept_word(p, rows[i].word)) continue;
    if (rows[i].numbered) TRY(plan_int(p, 0, &index));
    emit_buffer(emission, launch, rows[i].kind, index);
    return OK;
  }
  TRY(plan_expect_word(p, "workspace"));
  if (plan_accept(p, "+")) TRY(plan_size(p, &offset));
  emit_workspace(emission, launch, offset);
  return OK;
}

static Status parse_float(PlanParser *p, float *out) {
  uint64_t wide;
  token_skip_space(&p->cursor);
  if (!token_parse_hex(&p->cursor, &wide) || wide > UINT32_MAX)
    FAIL(ERROR_INVALID_MODEL, "expected 8 hex digits before '%.*s'", TOKEN_GLIMPSE(p->cursor));
  uint32_t bits = (uint32_t)wide;
  memcpy(out, &bits, sizeof bits);
  return OK;
}

static Status parse_argument(PlanParser *p, Emission *emission, Launch *launch) {
  int64_t number;
  float real;
  if (plan_accept_word(p, "i32")) {
    TRY(plan_number(p, INT32_MIN, INT32_MAX, &number));
    emit_i32(emission, launch, (int32_t)number);
  } else if (plan_accept_word(p, "i64")) {
    TRY(plan_number(p, INT64_MIN, INT64_MAX, &number));
    emit_i64(emission, launch, number);
  } else if (plan_accept_word(p, "f32")) {
    TRY(parse_float(p, &real));
    emit_f32(emission, launch, real);
  } else {
    return parse_reference(p, emission, launch);
  }
  return OK;
}

static Status parse_arguments(PlanParser *p, Emission *emission, Launch *launch) {
  TRY(plan_expect(p, "("));
  for (bool more = !plan_accept(p, ")"); more;) {
    TRY(parse_argument(p, emission, launch));
    more = plan_accept(p, ",");
    if (!more) TRY(plan_expect(p, ")"));
  }
  return OK;
}

static Status parse_dims(PlanParser *p, unsigned out[3]) {
  for (int i = 0; i < 3; i++) {
    int64_t number;
    TRY(plan_number(p, 1, INT32_MAX, &number));
    out[i] = (unsigned)number;
  }
  return OK;
}

static Status parse_kernel(PlanParser *p, Emission *emission) {
  char *entry;
  Hash128 key;
  int64_t shared;
  unsigned grid[3], block[3];
  TRY(plan_identifier(p, &entry));
  TRY(plan_hash(p, &key));
  TRY(plan_expect_word(p, "grid"));
  TRY(parse_dims(p, grid));
  TRY(plan_expect_word(p, "block"));
  TRY(parse_dims(p, block));
  const char *source = p->contents->kernel ? p->contents->kernel(p->contents->context, key) : NULL;
  Launch *launch = emit_kernel(emission, source, entry, grid, block);
  launch->code = key;
  if (plan_accept_word(p, "cluster")) TRY(parse_dims(p, launch->cluster));
  launch->cooperative = plan_accept_word(p, "cooperative");
  TRY(plan_expect_word(p, "shared"));
  TRY(plan_number(p, 0, INT32_MAX, &shared));
  launch->shared_bytes = (unsigned)shared;
  return parse_arguments(p, emission, launch);
}

static Status parse_library(PlanParser *p, Emission *emission) {
  char *name;
  TRY(plan_identifier(p, &name));
  const LibraryRoutine *routine = library_routine_named(name);
  if (!routine) FAIL(ERROR_UNSUPPORTED, "there is no routine of a library called '%s'", name);
  uint8_t *block = arena_alloc(p->arena, routine->parameter_bytes);
  token_skip_space(&p->cursor);
  for (size_t i = 0; i < routine->parameter_bytes; i++) {
    uint64_t byte;
    char digits[3] = {p->cursor[0], p->cursor[0] ? p->cursor[1] : 0};
    const char *at = digits;
    if (!token_parse_hex(&at, &byte) || at != digits + 2)
      FAIL(ERROR_INVALID_MODEL, "the parameters of %s are %zu bytes, but %zu bytes are there", name, routine->parameter_bytes,
           i);
    block[i] = (uint8_t)byte;
    p->cursor += 2;
  }
  return parse_arguments(p, emission, emit_library(emission, routine, block, name));
}

static Status parse_host(PlanParser *p, PlanStep *step) {
  char *name;
  const HostRoutine *routine = step->selection.implementation->host;
  TRY(plan_identifier(p, &name));
  if (!routine || strcmp(routine->name, name))
    FAIL(ERROR_UNSUPPORTED, "%s does not compute through '%s'", step->selection.implementation->name, name);
  emit_host(step->selection.emission, routine, &step->site, &step->selection.way);
  return OK;
}

Status plan_parse_launches(PlanParser *p, PlanStep *step) {
  Emission *emission = step->selection.emission;
  for (;;) {
    if (plan_accept_word(p, "packed")) TRY(parse_packed(p, emission));
    else if (plan_accept_word(p, "kernel")) TRY(parse_kernel(p, emission));
    else if (plan_accept_word(p, "library")) TRY(parse_library(p, emission));
    else if (plan_accept_word(p, "host")) TRY(parse_host(p, step));
    else return OK;
  }
}
