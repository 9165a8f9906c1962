// How long one candidate takes on a rig, and what it computed.
#pragma once
#include "tune/rig.h"
#include "plan/launches.h"

// cubins: of its kernels, in the order of its launches. best: seconds of the fastest so far; one that takes thrice as long is timed once. On a sketch
// every candidate is. The outputs hold what it computed; elements that it did not write are of bytes 0xff.
MUST_CHECK Status measure_emission(Rig *rig, const Emission *emission, const Cubin *cubins, double best, double *seconds);

// Whether candidates computed the same as the first one did. All are judged by parts of their outputs; one that is to be chosen, by all of
// an output that is small enough.
typedef struct Judge {
  Rig *rig;
  Tensor *parts, *whole;  // of the first, by output
} Judge;
Judge judge_new(Rig *rig);
MUST_CHECK Status judge_outputs(Judge *judge, bool thoroughly, bool *agrees);
