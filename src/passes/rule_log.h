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

typedef struct NodeList {
  Node **items;
  uint32_t count, capacity;
} NodeList;

// A rule that is tried on a match: what it works on, and what it has made of that so far.
typedef struct RuleTrial {
  const Pass *pass;
  const Rule *rule;
  Node *root;
  NodeList covered, added;
  const char *before;  // texts of what is covered, as rule_log_before found it; NULL: not asked for
} RuleTrial;

RuleLog *rule_log_new(Arena *arena, bool texts);
// Before the rule changes anything; and when it has applied, or refused. log NULL: nothing.
void rule_log_before(const RuleLog *log, RuleTrial *trial);
void rule_log_applied(RuleLog *log, const RuleTrial *trial);
void rule_log_miss(RuleLog *log, const RuleTrial *trial, const char *why);
bool rule_event_concerns(const RuleEvent *event, const char *onnx_node);
