// See best_ways.h. A table in which each question has one place, and takes it from the one before.
#include "kernels/tile/best_ways.h"

#include <string.h>

#include "base/hash.h"

enum { PLACES = 256, MOST_PRODUCTS = 3 };

typedef struct Known {
  int count;  // 0: none
  TiledProduct products[MOST_PRODUCTS];
  Way way;
} Known;

struct BestWays {
  Known list[PLACES];
};

BestWays *best_ways_new(Arena *arena) { return arena_new_of(arena, BestWays); }

static uint64_t number_bits(double number) {
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static uint64_t place_of(const TiledProduct *products, int count) {
  uint64_t hash = (uint64_t)count;
  for (int i = 0; i < count; i++) {
    const TiledProduct *p = &products[i];
    const uint64_t numbers[] = {(uint64_t)p->m,     (uint64_t)p->n,         (uint64_t)p->k,         (uint64_t)p->batch,
                                (uint64_t)p->dtype, number_bits(p->filled), number_bits(p->before), number_bits(p->elements)};
    hash = hash_bytes(numbers, sizeof numbers, hash);
  }
  return hash % PLACES;
}

// What names are called is the caller's text: equal names are equal texts.
static bool product_equal(const TiledProduct *a, const TiledProduct *b) {
  bool named = !a->name || !b->name ? a->name == b->name : !strcmp(a->name, b->name);
  return a->m == b->m && a->n == b->n && a->k == b->k && a->batch == b->batch && a->dtype == b->dtype &&
         a->filled == b->filled && a->elements == b->elements && a->k_open == b->k_open && a->before == b->before && named;
}

bool best_ways_find(const BestWays *best, const TiledProduct *products, int count, Way *out) {
  if (!best || count > MOST_PRODUCTS) return false;
  const Known *known = &best->list[place_of(products, count)];
  if (known->count != count) return false;
  for (int i = 0; i < count; i++)
    if (!product_equal(&known->products[i], &products[i])) return false;
  *out = known->way;
  return true;
}

void best_ways_keep(BestWays *best, const TiledProduct *products, int count, const Way *way) {
  if (!best || count > MOST_PRODUCTS) return;
  Known *known = &best->list[place_of(products, count)];
  known->count = count;
  memcpy(known->products, products, (size_t)count * sizeof *products);
  known->way = *way;
}
