// Memory reuse: temporaries are intervals of steps; the largest is placed first, each at the lowest offset where it
// overlaps no placed interval that lives at the same time. Greedy by size is within a few percent of optimal on real networks.
#include <stdlib.h>
#include "base/checked.h"
#include "lower/plan.h"

static int by_size(const void *a, const void *b, void *context) {
  const PackItem *items = context;
  const PackItem *x = &items[*(const int *)a], *y = &items[*(const int *)b];
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  if (x->first != y->first) return x->first < y->first ? -1 : 1;
  return *(const int *)a - *(const int *)b;
}

size_t pack_intervals(PackItem *items, int count, size_t alignment, Arena *scratch) {
  int *sorted = arena_array(scratch, int, count);
  int *placed = arena_array(scratch, int, count);  // by ascending offset
  for (int i = 0; i < count; i++) sorted[i] = i;
  qsort_r(sorted, count, sizeof *sorted, by_size, items);
  size_t total = 0;
  for (int i = 0; i < count; i++) {
    PackItem *item = &items[sorted[i]];
    size_t at = 0;
    for (int k = 0; k < i; k++) {
      const PackItem *other = &items[placed[k]];
      if (other->last < item->first || other->first > item->last) continue;
      if (other->offset >= at + item->bytes) break;  // placed is sorted: the gap before it fits
      size_t end = align_up(other->offset + other->bytes, alignment);
      if (end > at) at = end;
    }
    item->offset = at;
    int k = i;
    for (; k > 0 && items[placed[k - 1]].offset > at; k--) placed[k] = placed[k - 1];
    placed[k] = sorted[i];
    if (at + item->bytes > total) total = at + item->bytes;
  }
  return align_up(total, alignment);
}
