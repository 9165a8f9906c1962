// The cheapest of many ways. Where sizes are open, the few ways that one site's kernels are compiled for.
#pragma once
#include "kernels/cost.h"
#include "kernels/host_routine.h"

// Keeps the `limit` cheapest of a stream of ways, cheapest first.
typedef struct WayList {
  Way *items;
  int count, limit;
  const Way *only;  // the one whose cost is asked for; NULL: any
} WayList;
void way_offer(WayList *list, const Way *way);         // whose cost is set
bool way_is_wanted(const WayList *list, double cost);  // whether one of this cost would be kept
bool way_is(const Way *way, const Way *other);         // the same numbers

// What an implementation offers, where open sizes are as the rung says; the one of the numbers of `only` alone, unless NULL. As Implementation.ways otherwise.
typedef int WaysAt(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit);
// Where something is open: first those that are best at the rungs around the sizes of now, marked (Way.at_rung), by what they cost now. So a site has few kernels whatever its
// sizes are, and each size the best of those. Behind them, for who measures, all others.
int ways_of_sizes(const Site *site, bool open, WaysAt *ways_at, const void *context, Way *out, int limit);
