// Reading a step: its node in the plan's graph, how it is computed, and where its operands lie.
#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "ir/origins.h"
#include "kernels/fused.h"
#include "lower/parser.h"

static Status describe(const Value *value, TensorDesc *desc) {
  desc->dtype = value->dtype;
  desc->rank = value->rank;
  if (value->dtype == DTYPE_COUNT || !value_get_dims(value, desc->dims))
    FAIL(ERROR_INVALID_MODEL, "'%s' in a plan without its type", value->name);
  return value_check_size(value);
}

// What is known of an operand: the constant itself, or, of its bytes seen by another shape, those.
static Status find_content(PlanParser *p, const PlanPlace *place, const Value *value, TensorDesc *desc) {
  const Tensor *whole = p->plan->buffers[place->buffer].constant;
  Tensor seen = {.dtype = desc->dtype, .rank = desc->rank};
  memcpy(seen.dims, desc->dims, sizeof seen.dims);
  desc->constant = value->constant;
  if (value->constant) return OK;
  if (!whole || place->offset || whole->dtype != seen.dtype || tensor_bytes(whole) != tensor_bytes(&seen))
    FAIL(ERROR_INVALID_MODEL, "'%s' is no constant", value->name);
  seen.data = whole->data;
  desc->constant = arena_copy(p->arena, &seen, sizeof seen);
  return OK;
}

static Status parse_strides(PlanParser *p, TensorDesc *desc) {
  for (int i = 0; i < desc->rank; i++) {
    if (i) TRY(plan_expect(p, ","));
    TRY(plan_number(p, -(INT64_MAX / 32), INT64_MAX / 32, &desc->strides[i]));
  }
  return plan_expect(p, "]");
}

static Status parse_offset(PlanParser *p, PlanPlace *place, TensorDesc *desc) {
  if (plan_accept(p, "+")) TRY(plan_number(p, 1, INT64_MAX / 32, &place->offset));
  desc->offset = place->offset;
  return OK;
}

static Status parse_place(PlanParser *p, const Value *value, PlanPlace *place, TensorDesc *desc) {
  *place = (PlanPlace){.buffer = -1};
  *desc = (TensorDesc){.absent = !value};
  if (!value) return plan_expect_word(p, "_");
  TRY(describe(value, desc));
  TRY(plan_buffer_name(p, &place->buffer));
  TRY(parse_offset(p, place, desc));
  if (plan_accept_word(p, "const")) TRY(find_content(p, place, value, desc));
  TRY(plan_expect(p, "["));
  return parse_strides(p, desc);
}

// Without strides it fills its buffer, and lies there in the value's own order.
static Status parse_result(PlanParser *p, const Value *value, int number, PlanPlace *place, TensorDesc *desc) {
  TRY(describe(value, desc));
  TRY(plan_buffer_name(p, &place->buffer));
  TRY(parse_offset(p, place, desc));
  if (plan_accept(p, "[")) return parse_strides(p, desc);
  const PlanBuffer *buffer = &p->plan->buffers[place->buffer];
  if (place->offset || desc_bytes(desc) != buffer->bytes)
    FAIL(ERROR_INVALID_MODEL, "result %d has %zu bytes, the buffer of '%s' %zu", number, desc_bytes(desc), buffer->name,
         buffer->bytes);
  order_strides(desc->rank, desc->dims, value->order, desc->strides);
  return OK;
}

static Status parse_places(PlanParser *p, const int *numbers, PlanStep *step) {
  Node *node = step->node;
  int count = site_input_count(&step->site);
  TensorDesc *inputs = arena_array(p->arena, TensorDesc, (size_t)count),
             *outputs = arena_array(p->arena, TensorDesc, (size_t)node->output_count);
  step->inputs = arena_array(p->arena, PlanPlace, (size_t)count);
  step->outputs = arena_array(p->arena, PlanPlace, (size_t)node->output_count);
  step->workspace_buffer = -1;
  step->site.inputs = inputs;
  step->site.outputs = outputs;
  for (int i = 0; i < count; i++) {
    TRY(i ? plan_expect(p, ",") : plan_expect_word(p, "reads"));
    TRY(parse_place(p, numbers[i] < 0 ? NULL : node->inputs[numbers[i]], &step->inputs[i], &inputs[i]));
  }
  for (int i = 0; i < node->output_count; i++) {
    TRY(i ? plan_expect(p, ",") : plan_expect_word(p, "writes"));
    TRY(parse_result(p, node->outputs[i], i, &step->outputs[i], &outputs[i]));
  }
  return plan_accept_word(p, "workspace") ? plan_buffer_name(p, &step->workspace_buffer) : OK;
}

static Status parse_way(PlanParser *p, Way *way) {
  char *name;
  token_skip_space(&p->cursor);
  if (*p->cursor == '"') {
    TRY(token_parse_quoted(p->arena, &p->cursor, &name));
    if (strlen(name) >= sizeof way->name) FAIL(ERROR_INVALID_MODEL, "a way with a name of %zu bytes", strlen(name));
    memcpy(way->name, name, strlen(name) + 1);
  }
  if (!plan_accept_word(p, "config")) return OK;
  for (size_t i = 0;; i++) {
    int64_t number;
    if (i == COUNT_OF(way->config)) FAIL(ERROR_INVALID_MODEL, "a way of more than %zu numbers", i);
    TRY(plan_number(p, INT_MIN, INT_MAX, &number));
    way->config[i] = (int)number;
    if (!plan_accept(p, ",")) return OK;
  }
}

// The node that the step names its outputs of.
static Status parse_node(PlanParser *p, Node **out) {
  char *name;
  *out = NULL;
  for (int i = 0; !*out || i < (*out)->output_count; i++) {
    if (i) TRY(plan_expect(p, ","));
    TRY(plan_value_name(p, &name));
    const Value *value = graph_find_value(p->plan->graph, name);
    if (!value || !value->producer || value->producer_index != i || (*out && value->producer != *out))
      FAIL(ERROR_INVALID_MODEL, "no node of the graph has %%%s as output %d", name, i);
    *out = value->producer;
  }
  return plan_expect(p, "=");
}

static Status parse_origins(PlanParser *p, const Node *node) {
  char *origins;
  TRY(plan_expect_word(p, "from"));
  token_skip_space(&p->cursor);
  TRY(token_parse_quoted(p->arena, &p->cursor, &origins));
  if (strcmp(origins, node_origins_text(node, p->arena)))
    FAIL(ERROR_INVALID_MODEL, "the step is from '%s', and its node from '%s'", origins, node_origins_text(node, p->arena));
  return OK;
}

// On the host only what the implementation offers for the site may run.
static Status check_offer(PlanStep *step) {
  Selection *selection = &step->selection;
  const Implementation *implementation = selection->implementation;
  Way ways[WAYS_ASKED];
  if (implementation->backend != BACKEND_CPU) return OK;
  bool supports = implementation->supports(&step->site);
  int count = supports ? implementation_ways(implementation, &step->site, &(Machine){0}, ways, WAYS_ASKED) : 0;
  for (int w = 0; w < count; w++)
    if (!strcmp(ways[w].name, selection->way.name) && !memcmp(ways[w].config, selection->way.config, sizeof ways[w].config)) {
      selection->way.cost = ways[w].cost;
      return OK;
    }
  FAIL(ERROR_UNSUPPORTED, "%s does not compute '%s' (%s) like this here", implementation->name, step->node->outputs[0]->name,
       step->node->op->name);
}

// "on 2 behind 3, 5", either or neither; of what they mean plan_verify judges.
static Status parse_stream(PlanParser *p, PlanStep *step) {
  if (plan_accept_word(p, "on")) TRY(plan_int(p, 1, &step->stream));
  if (!plan_accept_word(p, "behind")) return OK;
  do {
    int64_t number;
    if (step->wait_count == PLAN_STREAMS - 1) FAIL(ERROR_INVALID_MODEL, "a step that waits for more than %d", step->wait_count);
    TRY(plan_number(p, 0, UINT32_MAX, &number));
    step->waits[step->wait_count++] = (uint32_t)number;
  } while (plan_accept(p, ","));
  return OK;
}

Status plan_parse_step(PlanParser *p) {
  char *op, *implementation;
  int64_t number;
  Node *node;
  Plan *plan = p->plan;
  PlanStep step = {0};
  Selection *selection = &step.selection;
  TRY(plan_number(p, 0, INT_MAX, &number));
  if (number != plan->step_count) FAIL(ERROR_INVALID_MODEL, "step %lld is number %u", (long long)number, plan->step_count);
  TRY(parse_stream(p, &step));
  TRY(plan_expect(p, ":"));
  TRY(parse_node(p, &node));
  int *numbers;
  step.node = node;
  step.site = (Site){.device = p->device, .tf32 = plan->tf32};
  fused_site(node, p->arena, &step.site, &numbers);
  TRY(plan_identifier(p, &op));
  if (strcmp(op, step.site.node->op->name))
    FAIL(ERROR_INVALID_MODEL, "the step's node is %s, not %s", step.site.node->op->name, op);
  TRY(plan_expect_word(p, "by"));
  TRY(plan_identifier(p, &implementation));
  TRY(parse_way(p, &selection->way));
  TRY(parse_origins(p, node));
  TRY(parse_places(p, numbers, &step));
  selection->implementation = implementation_named(implementation, &step.site);
  if (!selection->implementation) FAIL(ERROR_UNSUPPORTED, "nothing called '%s' computes %s here", implementation, op);
  TRY(check_offer(&step));
  selection->emission = arena_new_of(p->arena, Emission);
  *selection->emission = (Emission){.arena = p->arena};
  if (step.workspace_buffer >= 0) selection->emission->workspace_bytes = plan->buffers[step.workspace_buffer].bytes;
  TRY(plan_parse_launches(p, &step));
  uint32_t launches = selection->emission->launch_count;
  if (!launches || (selection->implementation->host && launches > 1))
    FAIL(ERROR_INVALID_MODEL, "a step of %u launches", launches);
  TRY(plan_verify_step(plan, &step));
  *ARENA_PUSH(p->arena, plan->steps, plan->step_count, plan->step_capacity) = step;
  return OK;
}
