// See workshop.h. Nodes wait in the order in which the graph has them. The first one is taken, each rule whose root it can be is tried on it, and what an application
// touched waits again. So the outcome follows from the graph alone, and the time is that of the applications, times the logarithm of how many nodes wait.
#include "passes/workshop.h"

#include "base/budget.h"
#include "base/checked.h"
#include "passes/rewrite.h"
#include "passes/selection.h"

enum { APPLICATIONS_PER_NODE = 64 };  // beyond them rules undo each other

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
      rewrite_one_user_fewer(r, input);
      if (input->producer && only_computes(input->producer)) rewrite_push(r, unused, input->producer);
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
    if (!r->trial.added.items[i]->origin_count) rewrite_come_from_all(r, r->trial.added.items[i]);
  rule_log_applied(r->options->rules, &r->trial);
  for (uint32_t i = 0; i < r->trial.added.count; i++) {
    Node *node = r->trial.added.items[i];
    worklist_add(&r->waiting, node);
    for (int k = 0; k < node->input_count; k++) {
      Node *producer = node->inputs[k] ? node->inputs[k]->producer : NULL;
      worklist_add(&r->waiting, producer);
      if (producer) wake_siblings(r, producer);
    }
    rewrite_push(r, &unused, node);
  }
  for (uint32_t i = 0; i < r->trial.covered.count; i++) {
    Node *node = r->trial.covered.items[i];
    worklist_add(&r->waiting, node);
    if (node == r->trial.root || only_computes(node)) rewrite_push(r, &unused, node);
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
