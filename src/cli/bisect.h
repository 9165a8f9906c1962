// The first application of a rule that makes a model's result wrong.
#pragma once
#include "api/api.h"
#include "cli/verify.h"

// Builds the model with the first applications alone, ever again, halving where the wrong one may be; prints it. Returns an exit code: 0 where the result is right.
int bisect_rules(Common *common, const ingot_model *model, const BuildHooks *hooks, const char *folder,
                 const Tolerance *tolerance, Arena *arena);
