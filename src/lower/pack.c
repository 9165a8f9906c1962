// Memory reuse: temporaries are intervals of steps; the largest is placed first, each at the lowest offset where it overlaps no placed interval that
// lives at the same time. Greedy by size is within a few percent of optimal on real networks. Who lives at the same time is asked of
// the order of beginnings: whoever begins while an item lives stands in one stretch of it, and whoever lives on when an item begins lies in
// a tree over it. So it takes n log n, and what is sorted is what meets. Where streams run side by side, intervals are as wide as what may live at the same time, and of
// those that overlap their spans say what does.
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "lower/clocks.h"

typedef struct Packer {
  const PackItem *items;
  int count, leaves;  // leaves: a power of two
  int *by_first;      // items by their beginning
  int *heads, *next;  // of each node of the tree a list of places: the first, and that behind each; -1 ends it
  int *owners;        // of each place an item
  int place_count, place_capacity;
  bool *placed;
  int *meets;  // of the item at hand
} Packer;

static int by_size(const void *a, const void *b, void *context) {
  const PackItem *items = context;
  const PackItem *x = &items[*(const int *)a], *y = &items[*(const int *)b];
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  if (x->first != y->first) return x->first < y->first ? -1 : 1;
  return *(const int *)a - *(const int *)b;
}

static int by_beginning(const void *a, const void *b, void *context) {
  const PackItem *items = context;
  int x = *(const int *)a, y = *(const int *)b;
  if (items[x].first != items[y].first) return items[x].first < items[y].first ? -1 : 1;
  return x - y;
}

static int by_offset(const void *a, const void *b, void *context) {
  const PackItem *items = context;
  size_t x = items[*(const int *)a].offset, y = items[*(const int *)b].offset;
  return x < y ? -1 : x > y;
}

// How many items begin before the step.
static int rank_of(const Packer *p, int64_t step) {
  int low = 0, high = p->count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (p->items[p->by_first[middle]].first < step) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Every rank lies in exactly one of the nodes that cover its stretch.
static void add_to_node(Packer *p, int node, int item, Arena *scratch) {
  if (p->place_count == p->place_capacity) {
    int capacity = p->place_capacity * 2;
    int *next = arena_array(scratch, int, capacity), *owners = arena_array(scratch, int, capacity);
    memcpy(next, p->next, (size_t)p->place_count * sizeof *next);
    memcpy(owners, p->owners, (size_t)p->place_count * sizeof *owners);
    p->next = next, p->owners = owners, p->place_capacity = capacity;
  }
  p->owners[p->place_count] = item;
  p->next[p->place_count] = p->heads[node];
  p->heads[node] = p->place_count++;
}

static void note_placed(Packer *p, int item, Arena *scratch) {
  int low = rank_of(p, p->items[item].first) + p->leaves, high = rank_of(p, (int64_t)p->items[item].last + 1) + p->leaves;
  p->placed[item] = true;
  for (; low < high; low /= 2, high /= 2) {
    if (low & 1) add_to_node(p, low++, item, scratch);
    if (high & 1) add_to_node(p, --high, item, scratch);
  }
}

// One of two whose intervals overlap may be over before the other begins all the same.
static void meet(Packer *p, int *count, const PackItem *one, int other) {
  const BufferSpan *span = one->span, *others = p->items[other].span;
  if (span && (span_is_before(span, others) || span_is_before(others, span))) return;
  p->meets[(*count)++] = other;
}

// Fills p->meets with what is placed and lives at the same time; returns how many.
static int find_meeting(Packer *p, int item) {
  const PackItem *one = &p->items[item];
  int count = 0, begin = rank_of(p, one->first), end = rank_of(p, (int64_t)one->last + 1);
  for (int r = begin; r < end; r++)
    if (p->placed[p->by_first[r]]) meet(p, &count, one, p->by_first[r]);
  for (int node = begin + p->leaves; node; node /= 2)
    for (int at = p->heads[node]; at >= 0; at = p->next[at])
      if (p->items[p->owners[at]].first < one->first) meet(p, &count, one, p->owners[at]);
  return count;
}

static Packer packer_new(PackItem *items, int count, Arena *scratch) {
  Packer p = {.items = items, .count = count, .leaves = 1, .place_capacity = 4 * count + 16};
  while (p.leaves < count) p.leaves *= 2;
  p.by_first = arena_array(scratch, int, count);
  p.heads = arena_array(scratch, int, 2 * p.leaves);
  p.next = arena_array(scratch, int, p.place_capacity);
  p.owners = arena_array(scratch, int, p.place_capacity);
  p.placed = arena_array(scratch, bool, count);
  p.meets = arena_array(scratch, int, count);
  for (int i = 0; i < 2 * p.leaves; i++) p.heads[i] = -1;
  for (int i = 0; i < count; i++) p.by_first[i] = i;
  qsort_r(p.by_first, (size_t)count, sizeof *p.by_first, by_beginning, items);
  return p;
}

static size_t lowest_gap(const Packer *p, const PackItem *item, int meeting, size_t alignment) {
  size_t at = 0;
  for (int k = 0; k < meeting; k++) {
    const PackItem *other = &p->items[p->meets[k]];
    if (other->offset >= at + item->bytes) break;  // they are sorted: the gap before it fits
    at = MAX(at, align_up(other->offset + other->bytes, alignment));
  }
  return at;
}

size_t pack_intervals(PackItem *items, int count, size_t alignment, Arena *scratch) {
  if (!count) return 0;
  Packer p = packer_new(items, count, scratch);
  int *sorted = arena_array(scratch, int, count);
  for (int i = 0; i < count; i++) sorted[i] = i;
  qsort_r(sorted, (size_t)count, sizeof *sorted, by_size, items);
  size_t total = 0;
  for (int i = 0; i < count; i++) {
    PackItem *item = &items[sorted[i]];
    int meeting = find_meeting(&p, sorted[i]);
    if (meeting) qsort_r(p.meets, (size_t)meeting, sizeof *p.meets, by_offset, items);
    item->offset = lowest_gap(&p, item, meeting, alignment);
    note_placed(&p, sorted[i], scratch);
    total = MAX(total, item->offset + item->bytes);
  }
  return align_up(total, alignment);
}
