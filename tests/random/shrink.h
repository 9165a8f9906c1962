// One step of making a failing graph smaller. Each kind of step has places where it may be taken, numbered from 0.
#pragma once
#include "ir/op.h"

typedef enum Place { TAKEN, NOT_HERE, PAST_THE_END } Place;
typedef Place ShrinkStep(Graph *graph, int place);
extern ShrinkStep *const shrink_steps[];  // in the order to be tried; ends with NULL
