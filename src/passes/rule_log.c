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

const char *rule_log_describe(const RuleLog *log, Node *const *nodes, uint32_t count) {
  if (!log) return NULL;
  Text text = text_new(log->arena);
  for (uint32_t i = 0; i < count; i++) {
    if (i) text_add(&text, log->texts ? "\n" : ", ");
    if (log->texts) node_print(&text, nodes[i], &(GraphTextOptions){.leave_out = true});
    else text_add(&text, "%s", nodes[i]->op->name);
  }
  return text_get(&text);
}

// Of the nodes' origins, one after the other.
static void take_origins(RuleLog *log, RuleEvent *event, Node *const *nodes, uint32_t count) {
  size_t all = 0;
  for (uint32_t i = 0; i < count; i++) all += (size_t)nodes[i]->origin_count;
  Origin *origins = arena_array(log->arena, Origin, all);
  for (uint32_t i = 0; i < count; i++)
    for (int k = 0; k < nodes[i]->origin_count; k++) origins[event->origin_count++] = nodes[i]->origins[k];
  event->origins = origins;
}

static RuleEvent *add(RuleLog *log, const Pass *pass, const Rule *rule, Node *const *nodes, uint32_t count) {
  RuleEvent *event = ARENA_PUSH(log->arena, log->events, log->count, log->capacity);
  *event = (RuleEvent){.pass = pass->name, .rule = rule, .place = arena_string(log->arena, node_place(nodes[0]))};
  take_origins(log, event, nodes, count);
  return event;
}

void rule_log_applied(RuleLog *log, const Pass *pass, const Rule *rule, const char *before, Node *const *covered,
                      uint32_t covered_count, Node *const *added, uint32_t added_count) {
  if (!log) return;
  RuleEvent *event = add(log, pass, rule, covered, covered_count);
  event->before = before;
  event->after = rule_log_describe(log, added, added_count);
}

void rule_log_miss(RuleLog *log, const Pass *pass, const Rule *rule, const Node *root, const char *why) {
  if (!log) return;
  uint64_t key = hash_mix(hash_mix((uint64_t)(uintptr_t)rule, root->id), (uint64_t)(uintptr_t)why);
  if (int_map_get(log->misses, key)) return;
  add(log, pass, rule, (Node *const[]){(Node *)root}, 1)->refusal = why;
  int_map_set(log->misses, key, log);
}

bool rule_event_concerns(const RuleEvent *event, const char *onnx_node) {
  for (int i = 0; i < event->origin_count; i++)
    if (!strcmp(event->origins[i].name, onnx_node)) return true;
  return false;
}
