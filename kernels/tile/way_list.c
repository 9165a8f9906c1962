// See way_list.h.
#include "kernels/tile/way_list.h"

#include <string.h>

#include "base/checked.h"

bool way_is(const Way *way, const Way *other) { return !memcmp(way->config, other->config, sizeof way->config); }

bool way_is_wanted(const WayList *list, double cost) {
  return list->count < list->limit || (list->limit && list->items[list->limit - 1].cost > cost);
}

void way_offer(WayList *list, const Way *way) {
  if (list->only && !way_is(list->only, way)) return;
  int at = list->count;
  while (at > 0 && list->items[at - 1].cost > way->cost) at--;
  if (at >= list->limit) return;
  if (list->count < list->limit) list->count++;
  for (int i = list->count - 1; i > at; i--) list->items[i] = list->items[i - 1];
  list->items[at] = *way;
}

// The best at either rung, by what they cost now; one that is offered at its rung alone, as where a split pays there only, costs what it does there.
static int find_rungs(const Site *site, WaysAt *ways_at, const void *context, Way out[2]) {
  static const Rung rungs[] = {RUNG_ABOVE, RUNG_BELOW};
  WayList list = {.items = out, .limit = 2};
  for (size_t i = 0; i < COUNT_OF(rungs); i++) {
    Way best, now;
    if (!ways_at(site, rungs[i], NULL, context, &best, 1)) continue;
    if (list.count && way_is(&out[0], &best)) continue;
    if (ways_at(site, RUNG_NOW, &best, context, &now, 1)) best.cost = now.cost;
    best.at_rung = true;
    way_offer(&list, &best);
  }
  return list.count;
}

int ways_of_sizes(const Site *site, bool open, WaysAt *ways_at, const void *context, Way *out, int limit) {
  if (!open) return ways_at(site, RUNG_NOW, NULL, context, out, limit);
  Way rungs[2];
  int found = find_rungs(site, ways_at, context, rungs), count = 0;
  // The others keep the places that they have among all.
  int all = limit > found ? ways_at(site, RUNG_NOW, NULL, context, out, limit) : 0;
  for (int i = 0; i < all; i++) {
    bool named = false;
    for (int r = 0; r < found; r++) named = named || way_is(&rungs[r], &out[i]);
    if (!named) out[count++] = out[i];
  }
  found = MIN(found, limit), count = MIN(count, limit - found);
  memmove(out + found, out, (size_t)count * sizeof *out);
  memcpy(out, rungs, (size_t)found * sizeof *out);
  return found + count;
}
