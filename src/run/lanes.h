// The streams that a plan's steps are captured on: the context's own, which is the first, and others beside it, forked from it and joined with it again, so that one graph holds
// all of them. A session that wants fewer than the plan has puts several of the plan's on one: its order is one in which that is right.
#pragma once
#include "lower/plan.h"
#include "cuda/context.h"

typedef struct Lanes {
  CudaContext *context;
  const Plan *plan;
  int count;
  CudaStream streams[PLAN_STREAMS];
  CudaEvent *events;           // by step that another lane waits for; else NULL
  int64_t last[PLAN_STREAMS];  // the step that each was given last; -1: none
} Lanes;

// Makes streams and events. At most `limit` lanes. events: one a step of the plan, all NULL, as they are again when it is closed. To be closed where it fails, too.
MUST_CHECK Status lanes_open(Lanes *lanes, const Plan *plan, int limit, CudaContext *context, CudaEvent *events);
void lanes_close(Lanes *lanes);
// While the context's stream is captured: at the beginning, before and behind each step in the plan's order, and at the end.
MUST_CHECK Status lanes_fork(Lanes *lanes);
MUST_CHECK Status lanes_enter(Lanes *lanes, uint32_t step);
MUST_CHECK Status lanes_leave(Lanes *lanes, uint32_t step);
MUST_CHECK Status lanes_join(Lanes *lanes);
CudaStream lanes_stream(const Lanes *lanes, uint32_t step);
// After lanes_enter: whether nothing but the step before it on its lane is what this one is behind, and nothing else behind that, so that they may overlap. Where
// lanes meet and part, kernels wait for whole kernels.
bool lanes_only_follows(const Lanes *lanes, uint32_t step);
