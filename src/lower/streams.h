// Which steps of a plan for a GPU run side by side, on which stream, and which they wait for. See streams.c.
#pragma once
#include "lower/plan.h"

// Before buffers are packed. Steps get streams below `limit` and another order, or all stay as they are, where that gains too little.
void streams_assign(Plan *plan, int limit, Arena *arena);
