// Which NaN arithmetic gives is open, and the bits of a number would tell: what bitcasts read gets one NaN here. Where results differ with another one, they hang on it.
#pragma once
#include "ir/graph.h"

void graph_give_one_nan(Graph *graph, double nan);
