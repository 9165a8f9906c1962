// What a report tells of a model on a device: gathered first, from the graph as imported, the log of the passes, the plan and profiled runs; written afterwards (page.h, trace.h).
#pragma once
#include "cli/cli.h"
#include "passes/rule_log.h"

// Kinds of steps that have a colour of their own.
typedef enum Family {
  FAMILY_PRODUCT,
  FAMILY_REGION,
  FAMILY_ROWWISE,
  FAMILY_ELEMENTWISE,
  FAMILY_WINDOW,
  FAMILY_MOVE,
  FAMILY_OTHER,
  FAMILIES
} Family;
extern const char *const family_names[FAMILIES];

typedef struct ReportStep {
  const char *name, *op, *tactic, *origins;
  const char *site;  // shapes and programs, as tuning knows it
  Family family;
  double ms, predicted;     // ms: the median of the profiled runs
  double moving, products;  // ms that no way beats, by the chip's peaks
  double flops, bytes;
  int launches, stream;
  double start;  // ms: of a run in which each step takes `ms`, and begins when its stream and what it waits for are done
  const Origin *from;
  int from_count;
} ReportStep;

typedef struct ReportNode {
  const char *label, *name;
  int step;  // that it is, or became part of; -1: none
  bool end;  // an input or output of the graph
  Family family;
} ReportNode;

typedef struct ReportGraph {
  ReportNode *nodes;
  int count, edge_count;
  int (*edges)[2];  // from a node to a later one
} ReportGraph;

typedef struct ReportBuffer {
  const char *name;
  size_t offset, bytes;
  int first_step, last_step;
  Family family;
} ReportBuffer;

// An application of a rule, or its refusal.
typedef struct ReportEvent {
  const char *pass, *rule, *place, *before, *after;
  const char *refusal;  // NULL: it applied
} ReportEvent;

typedef struct Report {
  Arena *arena;
  const char *model, *device, *precision, *rest;  // rest: what profiles leave out
  const ingot_engine *engine;
  double ms;  // of a run, back to back with others
  int profiled, kernels, streams;
  double end;  // ms: of the last step, by their `start`
  size_t weights, arena_bytes, unpacked;
  ReportStep *steps;
  int step_count;
  ReportGraph before, after;  // before: of a model; of an engine it is empty
  ReportBuffer *buffers;
  int buffer_count;
  ReportEvent *events;
  int event_count, refusal_count;
} Report;

// model may be NULL, and then log is. Runs the session several times.
ingot_error *report_gather(ingot_session *session, const InputSet *inputs, const ingot_model *model, const RuleLog *log,
                           Report *report);
double report_floor(const ReportStep *step);  // ms
