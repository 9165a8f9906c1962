// The tuner: measures the candidates of sites on the GPU at hand, most expensive sites first, and keeps the fastest that agrees
// with the others. It may stop after any measurement, also because the
// call's budget is exceeded; what it learnt so far stays in the database.
#pragma once
#include "cuda/compiler.h"
#include "tune/select.h"

typedef struct TuneOptions {
  CudaContext *cuda;
  Compiler *compiler;
  size_t workspace_limit;
  double seconds;  // after which no further site is begun; the heaviest always is
  const Log *log;
} TuneOptions;

typedef struct TuneReport {
  int sites, measured, candidates, rejected;  // distinct sites; those measured now; candidates timed; candidates that disagreed
  double seconds;
} TuneReport;

// sites: what a plan consists of. Sites the database knows already are left alone.
MUST_CHECK Status tune_sites(const Site *const *sites, int count, const TuneOptions *options, TuningDatabase *database,
                             TuneReport *report);
