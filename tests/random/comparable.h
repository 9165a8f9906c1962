// Which NaN arithmetic gives is open, and the bits of a number would tell: in a graph that is compared, what a bitcast reads has one NaN.
#pragma once
#include "ir/graph.h"

void graph_make_comparable(Graph *graph);
