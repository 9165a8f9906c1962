// The tuner: measures the candidates of sites on the GPU at hand, those first that a run may gain most of, and keeps the fastest that agrees
// with what is chosen without measuring, which is always measured too. It may stop after any measurement, also because the call's budget is exceeded:
// each is recorded in the database, and in its file, when it is made, and is not made again.
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
  int sites;       // distinct ones
  int compared;    // of them, those of which several candidates were measured by now
  int candidates;  // timed now
  int rejected;    // of them, those that disagreed
  int known;       // that the database knew before
  int left;        // that nobody has tried, of sites that were looked at
  int unseen;      // sites that were not looked at: how many candidates they have is not known
  double seconds;
} TuneReport;

// The steps of a plan.
MUST_CHECK Status tune_steps(const PlanStep *steps, int count, const TuneOptions *options, TuningDatabase *database,
                             TuneReport *report);
