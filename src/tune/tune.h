// The tuner: measures the candidates of sites on the GPU at hand, those first that a run may gain most of, and keeps the fastest that agrees
// with what is chosen without measuring, which is always measured too. It may stop after any measurement, also because the call's budget is exceeded;
// what it learnt so far stays in the database.
#pragma once
#include "cuda/compiler.h"
#include "lower/plan.h"

typedef struct TuneOptions {
  CudaContext *cuda;
  Compiler *compiler;
  size_t workspace_limit;
  double seconds;  // after which no further candidate is begun; the first of the dearest site always is
  const Log *log;
} TuneOptions;

typedef struct TuneReport {
  int sites, measured, candidates,
      rejected;  // distinct sites; those learnt of now; candidates timed; candidates that disagreed
  double seconds;
} TuneReport;

// The steps of a plan. Sites the database knows already are left alone.
MUST_CHECK Status tune_steps(const PlanStep *steps, int count, const TuneOptions *options, TuningDatabase *database,
                             TuneReport *report);
