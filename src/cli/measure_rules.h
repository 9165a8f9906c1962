// What each rule and each pass that applied to a model is worth on a device.
#pragma once
#include "api/api.h"
#include "cli/cli.h"

// Builds the model without each in turn, those first that applied most, measures runs of it beside runs of the whole, and prints it, for about so many seconds. What
// there is no time for is named. Returns an exit code.
int measure_rules(const Common *common, const ingot_model *model, double seconds, Arena *arena);
