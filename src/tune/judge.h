// Whether candidates computed the same as the first one did. All are judged by parts of their outputs; one that is to be chosen, by all of
// an output that is small enough.
#pragma once
#include "tune/rig.h"

typedef struct Judge {
  Rig *rig;
  Tensor *parts, *whole;  // of the first, by output
} Judge;
Judge judge_new(Rig *rig);
MUST_CHECK Status judge_outputs(Judge *judge, bool thoroughly, bool *agrees);
