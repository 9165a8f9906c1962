// Reading plans back; the text is print.c's, token by token, with spaces, line ends and // comments between any two. The text may be a
// stranger's: what it names must be there, what it says twice must agree, what a routine of the host is given is asked of the
// implementation anew, and the plan as a whole is verified. What it says of kernels' arguments and of libraries' parameters only they
// could judge: whoever does not trust a text for a GPU does not run it.
#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "ir/verify.h"
#include "kernels/ops.h"
#include "lower/parser.h"

// ---- buffers -----------------------------------------------------------------------------------------------------------------

static uint64_t name_key(const void *data, size_t bytes) { return hash_mix((uintptr_t)data, bytes); }

static const Hash128 *find_name(const PlanParser *p, const Tensor *tensor) {
  size_t bytes = tensor_bytes(tensor);
  const PlanContent *content = int_map_get(p->names, name_key(tensor->data, bytes));
  return content && content->data == tensor->data && content->bytes == bytes ? &content->name : NULL;
}

static Status parse_constant(PlanParser *p, PlanBuffer *buffer) {
  char *name;
  unsigned seen = 0;
  TRY(plan_value_name(p, &name));
  const Value *value = graph_find_value(p->plan->graph, name);
  if (!value || !value->constant) FAIL(ERROR_INVALID_MODEL, "%%%s is no constant", name);
  buffer->kind = PLAN_CONSTANT;
  buffer->index = -1;
  buffer->constant = value->constant;
  buffer->content = find_name(p, value->constant);
  buffer->name = name;
  if (value->constant->rank) TRY(plan_expect_word(p, "order"));
  for (int i = 0; i < value->constant->rank; i++) {
    int64_t axis;
    if (i) TRY(plan_expect(p, ","));
    TRY(plan_number(p, 0, value->constant->rank - 1, &axis));
    if (seen & 1u << axis) FAIL(ERROR_INVALID_MODEL, "the order of %%%s is no permutation of its axes", name);
    seen |= 1u << axis;
    buffer->order[i] = (uint8_t)axis;
  }
  return OK;
}

static Status parse_kind(PlanParser *p, PlanBuffer *buffer) {
  if (plan_accept_word(p, "constant")) return parse_constant(p, buffer);
  bool input = plan_accept_word(p, "input");
  if (input || plan_accept_word(p, "output")) {
    buffer->kind = input ? PLAN_INPUT : PLAN_OUTPUT;
    return plan_int(p, 0, &buffer->index);
  }
  TRY(plan_expect_word(p, "arena"));
  TRY(plan_expect_word(p, "at"));
  buffer->kind = PLAN_ARENA;
  buffer->index = -1;
  return plan_size(p, &buffer->offset);
}

// What the steps will say of it, which is compared behind the last.
static Status parse_lifetime(PlanParser *p, PlanBuffer *buffer) {
  TRY(plan_expect_word(p, "steps"));
  TRY(plan_int(p, 0, &buffer->first_step));
  TRY(plan_expect_word(p, "to"));
  return plan_int(p, buffer->first_step, &buffer->last_step);
}

static Status parse_buffer(PlanParser *p) {
  char *name;
  Plan *plan = p->plan;
  TRY(plan_value_name(p, &name));
  if (string_map_get(p->buffers, name)) FAIL(ERROR_INVALID_MODEL, "there are two buffers %%%s", name);
  PlanBuffer *buffer = ARENA_PUSH(p->arena, plan->buffers, plan->buffer_count, plan->buffer_capacity);
  *buffer = (PlanBuffer){.name = name, .first_step = -1, .last_step = -1};
  string_map_set(p->buffers, name, (void *)(uintptr_t)plan->buffer_count);
  TRY(plan_expect(p, ":"));
  TRY(parse_kind(p, buffer));
  TRY(plan_expect(p, ","));
  TRY(plan_size(p, &buffer->bytes));
  TRY(plan_expect_word(p, "bytes"));
  if (plan_accept(p, ",")) TRY(parse_lifetime(p, buffer));
  return plan_verify_buffer(plan, buffer);
}

// ---- the whole ---------------------------------------------------------------------------------------------------------------

// The steps that use each buffer, and all that is a sum over buffers, as the planner counts them.
static Status count_again(PlanParser *p, size_t temporary_bytes) {
  Plan *plan = p->plan;
  Arena *arena = p->arena;
  int *first = arena_array(arena, int, plan->buffer_count), *last = arena_array(arena, int, plan->buffer_count);
  for (uint32_t b = 0; b < plan->buffer_count; b++) {
    PlanBuffer *buffer = &plan->buffers[b];
    first[b] = buffer->first_step, last[b] = buffer->last_step;
    buffer->first_step = buffer->last_step = -1;
  }
  plan_find_lifetimes(plan);
  for (uint32_t b = 0; b < plan->buffer_count; b++) {
    const PlanBuffer *buffer = &plan->buffers[b];
    if (first[b] != buffer->first_step || last[b] != buffer->last_step)
      FAIL(ERROR_INVALID_MODEL, "buffer %%%s is used by the steps %d to %d", buffer->name, buffer->first_step,
           buffer->last_step);
    if (buffer->kind == PLAN_CONSTANT) plan->constant_bytes += buffer->bytes;
    if (buffer->kind == PLAN_ARENA && buffer->first_step >= 0 &&
        !checked_add(plan->temporary_bytes, align_up(buffer->bytes, PLAN_ALIGNMENT), &plan->temporary_bytes))
      FAIL(ERROR_INVALID_MODEL, "all values together take more than the address space");
  }
  if (temporary_bytes != plan->temporary_bytes)
    FAIL(ERROR_INVALID_MODEL, "temporaries take %zu bytes, not %zu", plan->temporary_bytes, temporary_bytes);
  return OK;
}

static Status parse_device(PlanParser *p) {
  const DeviceInfo *device = p->device;
  int sm = 0;
  TRY(plan_expect_word(p, "plan"));
  TRY(plan_expect_word(p, "for"));
  if (!plan_accept_word(p, "the")) {
    TRY(plan_expect(p, "sm_"));
    TRY(plan_int(p, 1, &sm));
  } else {
    TRY(plan_expect_word(p, "CPU"));
  }
  if (sm != (device->kind == DEVICE_CPU ? 0 : device->sm))
    FAIL(ERROR_UNSUPPORTED, "it is for %s%.0d, not for %s", sm ? "sm_" : "the CPU", sm, device->name);
  if (!plan_accept(p, ",")) return OK;
  p->plan->tf32 = true;
  return plan_expect_word(p, "tf32");
}

static Status parse_all(PlanParser *p) {
  Plan *plan = p->plan;
  int64_t buffers, steps;
  size_t temporary_bytes;
  TRY(parse_device(p));
  TRY(plan_expect(p, ":"));
  TRY(plan_number(p, 0, INT_MAX, &buffers));
  TRY(plan_expect_word(p, "buffers"));
  TRY(plan_expect(p, ","));
  TRY(plan_number(p, 0, INT_MAX, &steps));
  TRY(plan_expect_word(p, "steps"));
  TRY(plan_expect(p, ","));
  TRY(plan_size(p, &temporary_bytes));
  for (const char *const *word = (const char *const[]){"bytes", "of", "temporaries", "in", NULL}; *word; word++)
    TRY(plan_expect_word(p, *word));
  TRY(plan_size(p, &plan->arena_bytes));
  TRY(graph_parse_at(p->arena, core_ops, &p->cursor, p->end, &p->constants, &plan->graph));
  TRY(status_context(graph_verify(plan->graph), "the plan's graph"));
  while (plan_accept_word(p, "buffer")) TRY(parse_buffer(p));
  while (plan_accept_word(p, "step")) TRY(plan_parse_step(p));
  token_skip_space(&p->cursor);
  if (p->cursor != p->end)
    FAIL(ERROR_INVALID_MODEL, "expected a buffer, a step or the end, but there is '%.*s'", TOKEN_GLIMPSE(p->cursor));
  if (buffers != plan->buffer_count || steps != plan->step_count)
    FAIL(ERROR_INVALID_MODEL, "there are %u buffers and %u steps, not %lld and %lld", plan->buffer_count, plan->step_count,
         (long long)buffers, (long long)steps);
  return count_again(p, temporary_bytes);
}

static const void *find_and_note(void *context, Hash128 name, size_t bytes) {
  PlanParser *p = context;
  const void *found = p->contents->constant ? p->contents->constant(p->contents->context, name, bytes) : NULL;
  PlanContent content = {found, bytes, name};
  if (found) int_map_set(p->names, name_key(found, bytes), arena_copy(p->arena, &content, sizeof content));
  return found;
}

static int line_of(const char *text, const char *cursor) {
  int line = 1;
  for (; text < cursor; text++) line += *text == '\n';
  return line;
}

// What verifying finds is a defect of the text's here, not Ingot's.
static Status blame_text(Status status) {
  if (!status || status_code(status) != ERROR_INTERNAL) return status;
  Status refused = status_make(ERROR_INVALID_MODEL, "%s", status_message(status));
  status_free(status);
  return refused;
}

Status plan_parse(const char *text, size_t length, const DeviceInfo *device, const PlanContents *contents, Arena *arena,
                  Plan **out) {
  void *copy;
  if (length > INT_MAX) FAIL(ERROR_UNSUPPORTED, "a plan's text of %zu bytes: at most %d are supported", length, INT_MAX);
  TRY(arena_try_alloc(arena, length + 1, 16, &copy));
  if (length) memcpy(copy, text, length);
  const char *start = copy;
  PlanParser p = {.arena = arena,
                  .cursor = start,
                  .end = start + length,
                  .device = device,
                  .contents = contents,
                  .constants = {.find = find_and_note},
                  .plan = arena_new_of(arena, Plan),
                  .buffers = string_map_new(arena),
                  .names = int_map_new(arena)};
  p.plan->device = device;
  p.constants.context = &p;
  Status status = parse_all(&p);
  status = status_context(status, "line %d", line_of(start, p.cursor));
  if (!status) status = plan_verify(p.plan, arena);
  *out = p.plan;
  return blame_text(status);
}
