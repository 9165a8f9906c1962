// See owners.h.
#include "lower/owners.h"

#include <stdlib.h>

#include "base/checked.h"

static int ascending(const void *a, const void *b) {
  size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return (x > y) - (x < y);
}

static bool is_placed(const PlanBuffer *buffer) {
  return buffer->kind == PLAN_ARENA && buffer->bytes && buffer->first_step >= 0;
}

static int find_bound(const Owners *owners, size_t bound) {
  const size_t *found = bsearch(&bound, owners->bounds, (size_t)owners->count + 1, sizeof bound, ascending);
  return (int)(found - owners->bounds);
}

Owners *owners_new(const Plan *plan, Arena *arena) {
  Owners *owners = arena_new_of(arena, Owners);
  size_t *bounds = owners->bounds = arena_array(arena, size_t, 2 * (size_t)plan->buffer_count + 2);
  int found = 0, kept = 0;
  bounds[found++] = 0;
  for (uint32_t b = 0; b < plan->buffer_count; b++) {
    const PlanBuffer *buffer = &plan->buffers[b];
    if (!is_placed(buffer)) continue;
    bounds[found++] = buffer->offset;
    bounds[found++] = buffer->offset + buffer->bytes;
  }
  qsort(bounds, (size_t)found, sizeof *bounds, ascending);
  for (int i = 1; i < found; i++)
    if (bounds[i] != bounds[kept]) bounds[++kept] = bounds[i];
  owners->count = kept;
  owners->first = arena_array(arena, int, plan->buffer_count);
  owners->last = arena_array(arena, int, plan->buffer_count);
  for (uint32_t b = 0; b < plan->buffer_count; b++) {
    const PlanBuffer *buffer = &plan->buffers[b];
    if (!is_placed(buffer)) continue;
    owners->first[b] = find_bound(owners, buffer->offset);
    owners->last[b] = find_bound(owners, buffer->offset + buffer->bytes);
  }
  owners->owner = arena_array(arena, int, 4 * (size_t)kept + 4);
  for (int i = 0; i < 4 * kept + 4; i++) owners->owner[i] = OWNER_NONE;
  return owners;
}

typedef struct Range {
  int first, last, buffer;
} Range;

// Of the node, which stands for the stretches from low to high, high excluded.
static void write(int *owner, int node, int low, int high, const Range *range) {
  if (range->last <= low || high <= range->first) return;
  if (range->first <= low && high <= range->last) {
    owner[node] = range->buffer;
    return;
  }
  int middle = (low + high) / 2, *left = &owner[2 * node + 1], *right = &owner[2 * node + 2];
  if (owner[node] != OWNER_MIXED) *left = *right = owner[node];
  write(owner, 2 * node + 1, low, middle, range);
  write(owner, 2 * node + 2, middle, high, range);
  owner[node] = *left == *right ? *left : OWNER_MIXED;
}

static int find(const int *owner, int node, int low, int high, const Range *range) {
  if (range->last <= low || high <= range->first) return range->buffer;
  if (owner[node] != OWNER_MIXED) return owner[node];
  int middle = (low + high) / 2, found = find(owner, 2 * node + 1, low, middle, range);
  return found != range->buffer ? found : find(owner, 2 * node + 2, middle, high, range);
}

void owners_write(Owners *owners, int buffer) {
  write(owners->owner, 0, 0, owners->count, &(Range){owners->first[buffer], owners->last[buffer], buffer});
}

int owners_find(const Owners *owners, int buffer) {
  if (owners->first[buffer] == owners->last[buffer]) return buffer;
  return find(owners->owner, 0, 0, owners->count, &(Range){owners->first[buffer], owners->last[buffer], buffer});
}

typedef struct Question {
  Range range;
  bool (*ask)(void *context, int owner);
  void *context;
} Question;

static int ask(const int *owner, int node, int low, int high, const Question *q) {
  if (q->range.last <= low || high <= q->range.first || owner[node] == OWNER_NONE) return OWNER_NONE;
  if (owner[node] != OWNER_MIXED) return q->ask(q->context, owner[node]) ? OWNER_NONE : owner[node];
  int middle = (low + high) / 2, found = ask(owner, 2 * node + 1, low, middle, q);
  return found != OWNER_NONE ? found : ask(owner, 2 * node + 2, middle, high, q);
}

int owners_ask(const Owners *owners, int buffer, bool (*one)(void *context, int owner), void *context) {
  const Question question = {{owners->first[buffer], owners->last[buffer], buffer}, one, context};
  if (owners->first[buffer] == owners->last[buffer]) return OWNER_NONE;
  return ask(owners->owner, 0, 0, owners->count, &question);
}
