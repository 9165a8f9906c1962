// Whether constants have left the L2 cache by the time that they are read again, in the next run.
#pragma once
#include "lower/plan.h"

// Where a run touches more than the cache holds: every constant once, and what steps hand on, as much as the largest of them does.
bool constants_are_cold(const PlanStep *steps, int count, const DeviceInfo *device);
