// Rules over paddings and pools that move elements or none: those that do nothing go, and paddings around one another become one. They belong to simplify_views, so that what they
// leave meets its rules.
#include <string.h>

#include "passes/views.h"

static Status remove_pad(Rewrite *r) {
  Node *pad = matched(r, "root");
  int count;
  const Dim *pads = node_dims(pad, "pads", &count);
  for (int i = 0; i < count; i++) WANT(pads[i] == 0, "it adds something");
  WANT(value_can_replace(pad->outputs[0], operand(r, "x")), "callers know both by name");
  return rewrite_replace(r, pad->outputs[0], operand(r, "x"));
}

static bool all_are(const Node *node, const char *name, int64_t number) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  for (int i = 0; values && i < count; i++)
    if (values[i] != number) return false;
  return true;
}

static Status remove_pool(Rewrite *r) {
  Node *pool = matched(r, "root");
  WANT(pool->output_count == 1 && strcmp(node_string(pool, "kind", ""), "lp"), "it does more than to pool");
  WANT(all_are(pool, "kernel", 1) && all_are(pool, "strides", 1) && all_are(pool, "pads", 0) &&
           value_same_shape(pool->outputs[0], operand(r, "x")),
       "its windows hold more than one");
  WANT(value_can_replace(pool->outputs[0], operand(r, "x")), "callers know both by name");
  return rewrite_replace(r, pool->outputs[0], operand(r, "x"));
}

static bool same_value(const Value *a, const Value *b) {
  return a == b || (a && b && a->constant && b->constant && tensor_equal(a->constant, b->constant));
}

static Status compose_pads(Rewrite *r) {
  const Node *outer = matched(r, "root"), *inner = matched(r, "inner");
  const char *mode = node_string(outer, "mode", "constant");
  int count;
  Dim pads[2 * MAX_RANK];
  WANT(!strcmp(mode, node_string(inner, "mode", "constant")), "they pad in different ways");
  const Value *value[] = {outer->input_count > 1 ? outer->inputs[1] : NULL, inner->input_count > 1 ? inner->inputs[1] : NULL};
  WANT(!strcmp(mode, "edge") || (!strcmp(mode, "constant") && same_value(value[0], value[1])), "they pad by different values");
  const Dim *first = node_dims(inner, "pads", &count), *second = node_dims(outer, "pads", &count);
  for (int i = 0; i < count; i++) pads[i] = dim_add(rewrite_graph(r)->dims, first[i], second[i]);
  Node *pad = rewrite_like(r, outer);
  node_set_dims(pad, "pads", pads, count);
  node_set_input(pad, 0, operand(r, "x"));
  return rewrite_root_by(r, pad);
}

const Rule rule_remove_pad = MOVING_RULE(remove_pad, "padding by nothing goes", .pattern = "pad(x, ...)");
const Rule rule_remove_pool = {.name = "remove_pool",
                               .help = "a pool of one element goes",
                               .pattern = "pool(x)",
                               .exactness = ZERO_SIGNS,
                               .bound = "the average of -0 alone is 0",
                               .apply = remove_pool};
const Rule rule_compose_pads =
    MOVING_RULE(compose_pads, "a padding around a padding of the same kind is one", .pattern = "pad(inner: pad(x, ...)!, ...)");
