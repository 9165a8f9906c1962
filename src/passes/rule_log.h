// The log of a build's rewrites: each application of a rule, and each match that a rule refused and tells about.
#pragma once
#include "base/map.h"
#include "passes/rule.h"

typedef struct RuleEvent {
  const char *pass;
  const Rule *rule;
  const char *place;           // of the first of the nodes: the ONNX node it came from first, or its result
  const char *before, *after;  // the nodes, "pad, conv": their operators or, where asked for, their texts, one a line
  const char *refusal;         // why the rule did not apply; NULL: it did
  const Origin *origins;       // the ONNX nodes that what was matched came from
  int origin_count;
} RuleEvent;

struct RuleLog {
  Arena *arena;
  bool texts;  // of nodes, whole
  RuleEvent *events;
  uint32_t count, capacity;
  IntMap *misses;  // by rule, root and reason, so that each is told once
};

RuleLog *rule_log_new(Arena *arena, bool texts);
// log NULL: nothing. before: what rule_log_describe said of the nodes before the rule changed them.
void rule_log_applied(RuleLog *log, const Pass *pass, const Rule *rule, const char *before, Node *const *covered,
                      uint32_t covered_count, Node *const *added, uint32_t added_count);
void rule_log_miss(RuleLog *log, const Pass *pass, const Rule *rule, const Node *root, const char *why);
const char *rule_log_describe(const RuleLog *log, Node *const *nodes, uint32_t count);  // NULL without a log
bool rule_event_concerns(const RuleEvent *event, const char *onnx_node);
const char *node_place(const Node *node);
