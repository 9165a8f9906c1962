// The best tiles of products that were asked for before. Open sizes are planned anew for each call's, and ask for the best at the same few rungs every time.
#pragma once
#include "kernels/cost.h"
#include "kernels/host_routine.h"

BestWays *best_ways_new(Arena *arena);  // serves one device and one thread at a time
// The best way of a site that any of these products makes; false: it was not asked for before, or not lately.
bool best_ways_find(const BestWays *best, const TiledProduct *products, int count, Way *out);
void best_ways_keep(BestWays *best, const TiledProduct *products, int count, const Way *way);
