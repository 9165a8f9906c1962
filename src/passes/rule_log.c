// See rule_log.h.
#include "passes/rule_log.h"

#include <string.h>

#include "base/hash.h"
#include "ir/graph_text.h"

RuleLog *rule_log_new(Arena *arena, bool texts) {
  RuleLog *log = arena_new_of(arena, RuleLog);
  *log = (RuleLog){.arena = arena, .texts = texts, .misses = int_map_new(arena)};
  return log;
}

const char *node_place(const Node *node) {
  return node->origin_count ? node->origins[0].name : node->output_count ? node->outputs[0]->name : node->op->name;
}

static const char *describe(const RuleLog *log, Node *const *nodes, uint32_t count) {
  Text text = text_new(log->arena);
  for (uint32_t i = 0; i < count; i++) {
    if (i) text_add(&text, log->texts ? "\n" : ", ");
    if (log->texts) node_print(&text, nodes[i], &(GraphTextOptions){.leave_out = true});
    else text_add(&text, "%s", nodes[i]->op->name);
  }
  return text_get(&text);
}

static RuleEvent *add(RuleLog *log, const Pass *pass, const Rule *rule, const Node *root, const Node *from) {
  RuleEvent *event = ARENA_PUSH(log->arena, log->events, log->count, log->capacity);
  *event = (RuleEvent){.pass = pass->name,
                       .rule = rule,
                       .place = arena_string(log->arena, node_place(root)),
                       .origin_count = from->origin_count};
  Origin *origins = arena_copy(log->arena, from->origins, (size_t)from->origin_count * sizeof *origins);
  event->origins = origins;
  return event;
}

void rule_log_applied(RuleLog *log, const Pass *pass, const Rule *rule, const Node *root, Node *const *covered,
                      uint32_t covered_count, Node *const *added, uint32_t added_count) {
  if (!log) return;
  RuleEvent *event = add(log, pass, rule, root, added_count ? added[0] : root);
  event->before = describe(log, covered, covered_count);
  event->after = describe(log, added, added_count);
}

void rule_log_miss(RuleLog *log, const Pass *pass, const Rule *rule, const Node *root, const char *why) {
  if (!log) return;
  uint64_t key = hash_mix(hash_mix((uint64_t)(uintptr_t)rule, root->id), (uint64_t)(uintptr_t)why);
  if (int_map_get(log->misses, key)) return;
  RuleEvent *event = add(log, pass, rule, root, root);
  event->refusal = why;
  int_map_set(log->misses, key, log);
}

bool rule_event_concerns(const RuleEvent *event, const char *onnx_node) {
  for (int i = 0; i < event->origin_count; i++)
    if (!strcmp(event->origins[i].name, onnx_node)) return true;
  return false;
}
