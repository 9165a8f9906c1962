// What the parts of `ingot verify` share: tolerances, findings, and the two ways of judging without expected outputs.
#pragma once
#include <math.h>

#include "cli/cli.h"
#include "ir/graph.h"

typedef struct Tolerance {
  double rtol, atol, norm;  // norm >= 0: judge by it
} Tolerance;

// Where the findings go: lines for people, or one JSON object.
typedef struct Report {
  Json *json;                   // NULL: lines
  bool quiet, verbose, silent;  // silent: counts alone
  int compared, differing;
  int64_t elements;  // of all that was expected
  bool nonfinite;    // some result holds NaN or infinities where that proves nothing
} Report;

// How far numbers that are not finite may agree with each other.
typedef enum NonFinite {
  NONFINITE_EQUAL,      // NaN equals NaN: a site did what its operator means
  NONFINITE_SOME,       // in some elements, where a file says so: a result of nothing else proves nothing
  NONFINITE_DISAGREES,  // never: on inputs of our own they say that the comparison is void
} NonFinite;

// One value compared. node: what made it, or NULL.
void report_value(Report *report, Arena *arena, const char *name, const Tensor *actual, const Tensor *expected,
                  const Tolerance *tolerance, NonFinite nonfinite, const Node *node);

// Values that are not both tensors, or not sequences of one length; or both nothing, and then they agree.
void report_kind(Report *report, Arena *arena, const HostValue *actual, const HostValue *expected);

// What was given of tolerances, with defaults for the rest; false where one is none, which was said then.
bool verify_tolerance(const Common *common, Tolerance *tolerance);
#define TOLERANCE_NOT_GIVEN \
  { -INFINITY, -INFINITY, -INFINITY }
// Runs the engine and compares its outputs with the judge's or, where there are none, with output_K.pb of the folder. Returns an exit code, which says nothing of what
// the report counts.
int verify_outputs(Common *common, ingot_engine *engine, const InputSet *inputs, const HostValue *judged, const char *folder,
                   const Tolerance *tolerance, Report *report);

// Every node of the optimised graph runs on the device with the values the device itself made, and is compared with its reference. Values
// whose nodes agree are only counted.
int verify_sites(const Common *common, ingot_engine *engine, const InputSet *inputs, const Tolerance *tolerance,
                 Report *report);
// Says which node's result first holds NaN or infinity on the device though its inputs hold none.
int verify_find_nonfinite(const Common *common, ingot_engine *engine, const InputSet *inputs);
