// The judge of `ingot verify`: what a model means. Its graph as it was imported, without passes, every node carried out by its reference.
#pragma once
#include "cli/cli.h"
#include "ir/graph.h"

// Within the limits of the configuration. *outputs: one for each graph output, in the arena of the inputs.
MUST_CHECK Status judge_run(const ingot_config *config, const Graph *graph, const InputSet *inputs, HostValue **outputs);
