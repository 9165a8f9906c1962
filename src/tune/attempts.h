// The candidates of one site in the order in which they are tried: what is chosen without measuring, then those that the database has measurements of, as they
// are here, which are not tried again, then the first guess of every implementation, then the second ones. Those of Ingot's own kernels are made ready some time before they are measured, so that threads of the background compile them; what a library
// needs (cuDNN takes a tenth of a second for a plan) only when it is to be measured.
#pragma once
#include "tune/kernels_ahead.h"
#include "lower/select.h"

typedef struct AttemptsOptions {
  CudaContext *cuda;
  Compiler *compiler;
  Background *background;
  size_t workspace_limit;
  const TuningDatabase *database;  // NULL: nothing is known
  const Log *log;
} AttemptsOptions;

typedef struct Attempt {
  Selection selection;  // its emission is NULL before attempts_emit, after attempts_end, and where it cannot be made
  bool tried;           // also where it failed, and where the database knows
  const char *version;  // NULL before it is emitted, unless its implementation is a library's (version.h)
  const char *refusal;  // of a library that lists the way and then does not make it; NULL: none
  // Private, of the turn under way.
  Arena *arena;
  KernelJob **jobs;
  int job_count;
} Attempt;

typedef struct Attempts {
  AttemptsOptions options;
  const Site *site;
  Attempt *list;
  int count;                // 0 where there is nothing to choose
  int goal;                 // those of the turn under way, from the first; 0: none is
  int tried, timed, known;  // known: of the tried, to the database
  int best;                 // -1: none
  double best_seconds;
  double first_seconds;  // of what is chosen without measuring, where the database knows; 0: it does not
  // Private.
  Arena *lasting;
  Arena *arena;  // of the turn under way; NULL: none
  KernelsAhead kernels;
} Attempts;

MUST_CHECK Status attempts_list(const AttemptsOptions *options, const Site *site, Arena *arena, Attempts **out);
// A turn of the first `goal` attempts that were not tried, and of the first of all: compiling begins.
MUST_CHECK Status attempts_begin(Attempts *attempts, int goal);
MUST_CHECK Status attempts_emit(Attempts *attempts, int number);  // nothing where it is done
// The kernels of an attempt with an emission, in the order of its launches, until attempts_end.
MUST_CHECK Status attempts_cubins(Attempts *attempts, int number, const Cubin **out);
int attempts_waiting(const Attempts *attempts);  // kernels that nobody has asked for yet
void attempts_end(Attempts *attempts);           // NULL, and no turn, are fine
