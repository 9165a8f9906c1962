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

static const char *describe(const RuleLog *log, const NodeList *nodes) {
  Text text = text_new(log->arena);
  for (uint32_t i = 0; i < nodes->count; i++) {
    if (i) text_add(&text, log->texts ? "\n" : ", ");
    if (log->texts) node_print(&text, nodes->items[i], &(GraphTextOptions){.leave_out = true});
    else text_add(&text, "%s", nodes->items[i]->op->name);
  }
  return text_get(&text);
}

// Of the nodes' origins, one after the other.
static void take_origins(RuleLog *log, RuleEvent *event, const NodeList *nodes) {
  size_t all = 0;
  for (uint32_t i = 0; i < nodes->count; i++) all += (size_t)nodes->items[i]->origin_count;
  Origin *origins = arena_array(log->arena, Origin, all);
  for (uint32_t i = 0; i < nodes->count; i++)
    for (int k = 0; k < nodes->items[i]->origin_count; k++) origins[event->origin_count++] = nodes->items[i]->origins[k];
  event->origins = origins;
}

static RuleEvent *add(RuleLog *log, const RuleTrial *trial, const NodeList *nodes) {
  RuleEvent *event = ARENA_PUSH(log->arena, log->events, log->count, log->capacity);
  *event = (RuleEvent){
      .pass = trial->pass->name, .rule = trial->rule, .place = arena_string(log->arena, node_place(nodes->items[0]))};
  take_origins(log, event, nodes);
  return event;
}

void rule_log_before(const RuleLog *log, RuleTrial *trial) {
  trial->before = log && log->texts ? describe(log, &trial->covered) : NULL;
}

void rule_log_applied(RuleLog *log, const RuleTrial *trial) {
  if (!log) return;
  RuleEvent *event = add(log, trial, &trial->covered);
  event->before = trial->before ? trial->before : describe(log, &trial->covered);
  event->after = describe(log, &trial->added);
}

void rule_log_miss(RuleLog *log, const RuleTrial *trial, const char *why) {
  if (!log) return;
  uint64_t key = hash_mix(hash_mix((uint64_t)(uintptr_t)trial->rule, trial->root->id), (uint64_t)(uintptr_t)why);
  if (int_map_get(log->misses, key)) return;
  add(log, trial, &(NodeList){.items = (Node *[]){trial->root}, .count = 1})->refusal = why;
  int_map_set(log->misses, key, log);
}

bool rule_event_concerns(const RuleEvent *event, const char *onnx_node) {
  for (int i = 0; i < event->origin_count; i++)
    if (!strcmp(event->origins[i].name, onnx_node)) return true;
  return false;
}
