// The workshop: applies the rules of a pass to a graph until none applies any more, and writes the log. See rule.h for what a rule sees.
#pragma once
#include "passes/rule.h"

MUST_CHECK Status workshop_run(const Pass *pass, Graph *graph, const PassOptions *options, int *applications);
