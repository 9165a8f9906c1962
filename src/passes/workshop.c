// See workshop.h. Nodes wait in the order in which the graph has them. The first one is taken, each rule whose root it can be is tried on it, and what an application
// touched waits again. So the outcome follows from the graph alone, and the time is that of the applications, times the logarithm of how many nodes wait.
#include "passes/workshop.h"

#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "ir/graph_value.h"
#include "kernels/build.h"
#include "kernels/control/inline.h"
#include "kernels/control/region.h"
#include "passes/outline.h"
#include "passes/pattern.h"
#include "passes/programs.h"
#include "passes/rule_log.h"
#include "passes/selection.h"
#include "passes/worklist.h"

enum { APPLICATIONS_PER_NODE = 64 };  // beyond them rules undo each other

struct Rewrite {
  Graph *graph;
  const PassOptions *options;
  Arena *scratch;
  Pattern *patterns;  // by rule
  bool *left_out;     // by rule
  void **states;      // by rule
  Worklist waiting;
  int applications;
  // Of the rule that is tried:
  int rule;
  Match match;
  const char *refusal;
  bool changed;  // something that was there before
  RuleTrial trial;
};

// --- What a rule sees and does.

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

static void push(Rewrite *r, NodeList *nodes, Node *node) {
  *ARENA_PUSH(r->scratch, nodes->items, nodes->count, nodes->capacity) = node;
}

// In the graph's order, so that origins are.
void rewrite_cover(Rewrite *r, Node *node) {
  uint32_t at = r->trial.covered.count;
  for (uint32_t i = 0; i < at; i++)
    if (r->trial.covered.items[i] == node) return;
  push(r, &r->trial.covered, node);
  for (; at && node_is_before(node, r->trial.covered.items[at - 1]); at--)
    r->trial.covered.items[at] = r->trial.covered.items[at - 1];
  r->trial.covered.items[at] = node;
}

static void come_from_all(Rewrite *r, Node *node) {
  for (uint32_t i = 0; i < r->trial.covered.count; i++) node_merge_origins(node, r->trial.covered.items[i]);
}

Node *rewrite_add(Rewrite *r, const OpDef *op, int input_count, Value *const *inputs, int output_count) {
  Node *node = graph_add(r->graph, r->trial.root, op, input_count, inputs, output_count);
  push(r, &r->trial.added, node);
  return node;
}

Node *rewrite_like(Rewrite *r, const Node *node) {
  Node *copy = rewrite_add(r, node->op, node->input_count, node->inputs, node->output_count);
  node_take_attributes(copy, node);
  copy->epilogue = node->epilogue;
  copy->epilogue_first = node->epilogue_first;
  node_merge_origins(copy, node);
  return copy;
}

static bool is_added(const Rewrite *r, const Node *node) {
  for (uint32_t i = 0; i < r->trial.added.count; i++)
    if (r->trial.added.items[i] == node) return true;
  return false;
}

// The one that is left may match now.
static void one_user_fewer(Rewrite *r, const Value *value) {
  worklist_add(&r->waiting, value->producer);
  worklist_add(&r->waiting, only_user(value));
}

// heir: where `to` is a new node's, it comes from all that was matched.
static void replace(Rewrite *r, Value *from, Value *to, bool heir) {
  bool takes_over = to->producer && is_added(r, to->producer), given_out = from->is_output;
  const char *name = from->name;
  r->changed = true;
  if (takes_over) {
    value_set_type(to, from->dtype, from->rank, from->dims);
    memcpy(to->order, from->order, sizeof to->order);
    if (heir) come_from_all(r, to->producer);
  }
  worklist_add_users(&r->waiting, from);
  value_replace(from, to);
  if (takes_over && !given_out) value_rename(r->graph, to, name);
  worklist_add(&r->waiting, to->producer);
}

void rewrite_replace(Rewrite *r, Value *from, Value *to) { replace(r, from, to, true); }

// The same size may be written in another way where it is symbolic: the verifier takes only what inference says.
Status rewrite_root_by(Rewrite *r, Node *node) {
  Node *root = r->trial.root;
  TRY(node_infer(node));
  for (int i = 0; i < root->output_count; i++) {
    const Value *from = root->outputs[i], *to = node->outputs[i];
    if (from->dtype != to->dtype) FAIL(ERROR_INTERNAL, "output %d would be of another type", i);
    WANT(from->rank < 0 || to->rank < 0 || value_same_shape(from, to),
         "a result's size would be another, or be written in another way");
  }
  for (int i = 0; i < root->output_count; i++) rewrite_replace(r, root->outputs[i], node->outputs[i]);
  return OK;
}

void rewrite_set_input(Rewrite *r, Node *node, int index, Value *value) {
  r->changed = true;
  Value *old = node->inputs[index];
  node_set_input(node, index, value);
  worklist_add(&r->waiting, node);
  if (old) one_user_fewer(r, old);
}

// --- Regions.

Status rewrite_outline(Rewrite *r, Node *const *nodes, int count, const char *name) {
  Outline outline;
  const char *why = outline_plan(r->scratch, nodes, count, &outline);
  if (why) return rewrite_refuse(r, why);
  for (int i = 0; i < outline.count; i++) rewrite_cover(r, outline.nodes[i]);
  rule_log_before(r->options->rules, &r->trial);
  Node *region = outline_make(&outline, name);
  if (outline.ahead_count) worklist_restore(&r->waiting);
  push(r, &r->trial.added, region);
  for (int i = 0; i < region->output_count; i++) rewrite_replace(r, outline.given[i], region->outputs[i]);
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
    push(r, &r->trial.added, to->producer);
  }
  replace(r, from, to, false);
  return OK;
}

Status rewrite_inline(Rewrite *r, Node *region) {
  Node *before = region->previous;
  Value **results = arena_array(r->scratch, Value *, region->output_count);
  rewrite_cover(r, region);
  // So that what computes a result has its name at once, and no other one that something inside has.
  for (int i = 0; i < region->output_count; i++) value_forget_name(region->outputs[i]);
  inline_graph(r->graph, region, region_body(region), true, region->inputs, results);
  for (Node *node = before ? before->next : r->graph->first; node != region; node = node->next) push(r, &r->trial.added, node);
  for (int i = 0; i < region->output_count; i++) TRY(give_out(r, region, region->outputs[i], results[i]));
  return OK;
}

void rewrite_learn(Rewrite *r, const Bindings *sizes) {
  bindings_apply_everywhere(sizes, r->graph);
  FOR_NODES(node, r->graph) worklist_add(&r->waiting, node);
}

// --- Applying.

static bool is_used(const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i]->uses || node->outputs[i]->is_output) return true;
  return !node->output_count;
}

// Others may speak of the sizes that a node tells: such a one stays until nothing does; see graph_remove_unused.
static bool only_computes(const Node *node) { return node->op->reference && !node->op->data_dependent && !node->op->random; }

// Nodes that nobody uses, and what stands before them for their sake alone.
static void remove_unused(Rewrite *r, NodeList *unused) {
  while (unused->count) {
    Node *node = unused->items[--unused->count];
    if (!node->graph || is_used(node)) continue;
    for (int i = 0; i < node->input_count; i++) {
      Value *input = node->inputs[i];
      if (!input) continue;
      node_set_input(node, i, NULL);
      one_user_fewer(r, input);
      if (input->producer && only_computes(input->producer)) push(r, unused, input->producer);
    }
    node_remove(node);
  }
}

static void start(Rewrite *r) {
  r->refusal = NULL;
  r->changed = false;
  r->trial.covered.count = r->trial.added.count = 0;
  for (int i = r->match.pattern->count; i-- > 0;)
    if (r->match.nodes[i]) rewrite_cover(r, r->match.nodes[i]);
}

static Status take_back(Rewrite *r) {
  if (r->changed) FAIL(ERROR_INTERNAL, "it refused after it had changed something");
  while (r->trial.added.count) node_remove(r->trial.added.items[--r->trial.added.count]);
  return OK;
}

// A rule may have refused at one user of a value since another user stood in front of it. The other one has been made anew further behind, so all are tried again;
// but not where there are many, each of which may be made anew and wake all others.
static void wake_siblings(Rewrite *r, const Node *producer) {
  enum { MANY_USERS = 16 };
  for (int i = 0; i < producer->output_count; i++)
    if (producer->outputs[i]->use_count <= MANY_USERS) worklist_add_users(&r->waiting, producer->outputs[i]);
}

static void finish(Rewrite *r) {
  NodeList unused = {0};
  for (uint32_t i = 0; i < r->trial.added.count; i++)
    if (!r->trial.added.items[i]->origin_count) come_from_all(r, r->trial.added.items[i]);
  rule_log_applied(r->options->rules, &r->trial);
  for (uint32_t i = 0; i < r->trial.added.count; i++) {
    Node *node = r->trial.added.items[i];
    worklist_add(&r->waiting, node);
    for (int k = 0; k < node->input_count; k++) {
      Node *producer = node->inputs[k] ? node->inputs[k]->producer : NULL;
      worklist_add(&r->waiting, producer);
      if (producer) wake_siblings(r, producer);
    }
    push(r, &unused, node);
  }
  for (uint32_t i = 0; i < r->trial.covered.count; i++) {
    Node *node = r->trial.covered.items[i];
    worklist_add(&r->waiting, node);
    if (node == r->trial.root || only_computes(node)) push(r, &unused, node);
  }
  remove_unused(r, &unused);
}

// A rule at a root: matches one after the other, until it applies to one.
static Status try_matches(Rewrite *r, const Rule *rule, Node *root, bool *done) {
  r->trial.rule = rule;
  r->trial.root = root;
  match_begin(&r->match, &r->patterns[r->rule], root);
  while (match_next(&r->match)) {
    budget_step(WORK_NODE);
    start(r);
    if (rule_left_out_at(r->options, r->trial.pass, rule, r->trial.covered.items, r->trial.covered.count)) continue;
    rule_log_before(r->options->rules, &r->trial);
    TRY(rule->apply(r));
    if (r->refusal) {
      TRY(take_back(r));
      if (rule->tells_misses) rule_log_miss(r->options->rules, &r->trial, r->refusal);
      continue;
    }
    finish(r);
    *done = true;
    return OK;
  }
  return OK;
}

static bool serves(const Rule *rule, const PassOptions *options) {
  return rule->device == ANY_DEVICE || (rule->device == CPU_ONLY) == (options->device == DEVICE_CPU);
}

static Status try_rules(Rewrite *r, Node *node) {
  const Rule *rule;
  for (r->rule = 0; (rule = r->trial.pass->rules[r->rule]); r->rule++) {
    if (r->left_out[r->rule] || !pattern_may_match(&r->patterns[r->rule], node) || (rule->root && !rule->root(node))) continue;
    bool done = false;
    TRY(status_context(try_matches(r, rule, node, &done), "rule %s at '%s'", rule->name, node_place(node)));
    if (!done) continue;
    r->applications++;
    if (r->options->allowed && *r->options->allowed > 0) --*r->options->allowed;
    worklist_add(&r->waiting, node);
    return OK;
  }
  return OK;
}

static Status compile(Rewrite *r) {
  int count = 0;
  while (r->trial.pass->rules[count]) count++;
  r->patterns = arena_array(r->scratch, Pattern, count);
  r->left_out = arena_array(r->scratch, bool, count);
  r->states = arena_array(r->scratch, void *, count);
  for (int i = 0; i < count; i++) {
    const Rule *rule = r->trial.pass->rules[i];
    r->left_out[i] = !serves(rule, r->options) || rule_left_out(r->options, r->trial.pass, rule);
    TRY(status_context(pattern_compile(rule->pattern, r->graph->ops, &r->patterns[i]), "rule %s", rule->name));
  }
  return OK;
}

static bool may_go_on(const Rewrite *r) { return r->trial.pass->needed || !r->options->allowed || *r->options->allowed > 0; }

static Status run(Rewrite *r) {
  TRY(compile(r));
  int64_t most = (int64_t)APPLICATIONS_PER_NODE * (r->graph->node_count + 16);
  FOR_NODES(node, r->graph) worklist_add(&r->waiting, node);
  for (Node *node; may_go_on(r) && (node = worklist_take(&r->waiting));) {
    TRY(try_rules(r, node));
    if (r->applications > most) FAIL(ERROR_INTERNAL, "its rules come to no end");
  }
  return OK;
}

Status workshop_run(const Pass *pass, Graph *graph, const PassOptions *options, int *applications) {
  Arena *scratch = arena_scratch();
  Rewrite rewrite = {.trial.pass = pass, .graph = graph, .options = options, .scratch = scratch, .waiting.arena = scratch};
  Status status = run(&rewrite);
  *applications += rewrite.applications;
  arena_free(scratch);
  return status;
}
