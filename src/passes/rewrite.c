// What a rule sees and does: see rule.h. What it adds and covers is noted, and what it touches waits to be tried again.
#include "passes/rewrite.h"

#include <string.h>

#include "base/checked.h"
#include "ir/graph_value.h"
#include "kernels/build.h"
#include "kernels/control/inline.h"
#include "kernels/control/region.h"
#include "passes/outline.h"
#include "passes/programs.h"
#include "passes/selection.h"

Node *matched(const Rewrite *r, const char *name) { return r->match.nodes[pattern_term(r->match.pattern, name)]; }
Value *operand(const Rewrite *r, const char *name) { return r->match.values[pattern_term(r->match.pattern, name)]; }
Graph *rewrite_graph(const Rewrite *r) { return r->graph; }
const PassOptions *rewrite_options(const Rewrite *r) { return r->options; }
Arena *rewrite_scratch(const Rewrite *r) { return r->scratch; }
bool rewrite_rounds_constants(const Rewrite *r, DType dtype) {
  return r->options->in_region && dtype_is_float(dtype) && dtype_bits(dtype) < 32;
}
void **rewrite_state(Rewrite *r) { return &r->states[r->rule]; }

Status rewrite_refuse(Rewrite *r, const char *why) {
  r->refusal = why;
  return OK;
}

void rewrite_push(Rewrite *r, NodeList *nodes, Node *node) {
  *ARENA_PUSH(r->scratch, nodes->items, nodes->count, nodes->capacity) = node;
}

// In the graph's order, so that origins are.
void rewrite_cover(Rewrite *r, Node *node) {
  uint32_t at = r->trial.covered.count;
  for (uint32_t i = 0; i < at; i++)
    if (r->trial.covered.items[i] == node) return;
  rewrite_push(r, &r->trial.covered, node);
  for (; at && node_is_before(node, r->trial.covered.items[at - 1]); at--)
    r->trial.covered.items[at] = r->trial.covered.items[at - 1];
  r->trial.covered.items[at] = node;
}

void rewrite_come_from_all(Rewrite *r, Node *node) {
  for (uint32_t i = 0; i < r->trial.covered.count; i++) node_merge_origins(node, r->trial.covered.items[i]);
}

Node *rewrite_add(Rewrite *r, const OpDef *op, int input_count, Value *const *inputs, int output_count) {
  Node *node = graph_add(r->graph, r->trial.root, op, input_count, inputs, output_count);
  rewrite_push(r, &r->trial.added, node);
  return node;
}

Node *rewrite_like(Rewrite *r, const Node *node) {
  Node *copy = rewrite_add(r, node->op, node->input_count, node->inputs, node->output_count);
  node_take_attributes(copy, node);
  node_merge_origins(copy, node);
  return copy;
}

static bool is_added(const Rewrite *r, const Node *node) {
  for (uint32_t i = 0; i < r->trial.added.count; i++)
    if (r->trial.added.items[i] == node) return true;
  return false;
}

void rewrite_one_user_fewer(Rewrite *r, const Value *value) {
  worklist_add(&r->waiting, value->producer);
  worklist_add(&r->waiting, only_user(value));
}

// takes_over: `to` is a new node's, and gets what is known of the other; heir: and comes from all that was matched.
static void replace(Rewrite *r, Value *from, Value *to, bool takes_over, bool heir) {
  bool given_out = from->is_output;
  const char *name = from->name;
  r->changed = true;
  if (takes_over) {
    value_set_type(to, from->dtype, from->rank, from->dims);
    memcpy(to->order, from->order, sizeof to->order);
    value_copy_open(to, from);
    if (heir) rewrite_come_from_all(r, to->producer);
  }
  worklist_add_users(&r->waiting, from);
  value_replace(from, to);
  if (takes_over && !given_out) value_rename(r->graph, to, name);
  worklist_add(&r->waiting, to->producer);
}

Status rewrite_replace(Rewrite *r, Value *from, Value *to) {
  if (to->producer && is_added(r, to->producer))
    FAIL(ERROR_INTERNAL, "what a new node gives, '%s', has no type yet: rewrite_values_by infers it", to->name);
  replace(r, from, to, false, false);
  return OK;
}

// The same size may be written in another way where it is symbolic: the verifier takes only what inference says. Inference keeps symbols that it would have to make.
Status rewrite_values_by(Rewrite *r, Value *const *values, Node *node) {
  for (int i = 0; i < node->output_count; i++)
    value_set_type(node->outputs[i], values[i]->dtype, values[i]->rank, values[i]->dims);
  TRY(node_infer(node));
  for (int i = 0; i < node->output_count; i++) {
    const Value *from = values[i], *to = node->outputs[i];
    if (from->dtype != to->dtype) FAIL(ERROR_INTERNAL, "output %d would be of another type", i);
    WANT(from->rank < 0 || to->rank < 0 || value_same_shape(from, to),
         "a result's size would be another, or be written in another way");
  }
  for (int i = 0; i < node->output_count; i++) replace(r, values[i], node->outputs[i], true, true);
  return OK;
}

Status rewrite_root_by(Rewrite *r, Node *node) { return rewrite_values_by(r, r->trial.root->outputs, node); }

void rewrite_set_input(Rewrite *r, Node *node, int index, Value *value) {
  r->changed = true;
  Value *old = node->inputs[index];
  node_set_input(node, index, value);
  worklist_add(&r->waiting, node);
  if (old) rewrite_one_user_fewer(r, old);
}

// --- Regions.

Status rewrite_outline(Rewrite *r, Node *const *nodes, int count, const char *name) {
  Outline outline;
  const char *why = outline_plan(r->scratch, nodes, count, &outline);
  if (why) return rewrite_refuse(r, why);
  for (int i = 0; i < outline.count; i++) rewrite_cover(r, outline.nodes[i]);
  if (rule_left_out_at(r->options, r->trial.pass, r->trial.rule, r->trial.covered.items, r->trial.covered.count))
    return rewrite_refuse(r, "it is left out at one of its nodes");
  rule_log_before(r->options->rules, &r->trial);
  Node *region = outline_make(&outline, name);
  if (outline.ahead_count) worklist_restore(&r->waiting);
  rewrite_push(r, &r->trial.added, region);
  for (int i = 0; i < region->output_count; i++) replace(r, outline.given[i], region->outputs[i], true, true);
  return OK;
}

Status rewrite_outline_match(Rewrite *r, const char *name) {
  Node **nodes = arena_copy(r->scratch, r->trial.covered.items, r->trial.covered.count * sizeof *nodes);
  return rewrite_outline(r, nodes, (int)r->trial.covered.count, name);
}

// Names that callers know are the region's results', of which two may be one value inside, or an operand.
static Status give_out(Rewrite *r, Node *region, Value *from, Value *to) {
  if (!value_can_replace(from, to)) {
    TRY(build_copy(r->graph, region, to, &to));
    rewrite_push(r, &r->trial.added, to->producer);
  }
  replace(r, from, to, to->producer && is_added(r, to->producer), false);
  return OK;
}

Status rewrite_inline(Rewrite *r, Node *region) {
  Node *before = region->previous;
  Value **results = arena_array(r->scratch, Value *, region->output_count);
  rewrite_cover(r, region);
  // So that what computes a result has its name at once, and no other one that something inside has.
  for (int i = 0; i < region->output_count; i++) value_forget_name(region->outputs[i]);
  inline_graph(r->graph, region, region_body(region), true, region->inputs, results);
  for (Node *node = before ? before->next : r->graph->first; node != region; node = node->next)
    rewrite_push(r, &r->trial.added, node);
  for (int i = 0; i < region->output_count; i++) TRY(give_out(r, region, region->outputs[i], results[i]));
  return OK;
}

void rewrite_learn(Rewrite *r, const Bindings *sizes) {
  bindings_apply_everywhere(sizes, r->graph);
  FOR_NODES(node, r->graph) worklist_add(&r->waiting, node);
}
