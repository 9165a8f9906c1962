// A source of numbers that a seed decides: every draw mixes a counter, so that streams of different seeds have nothing in common.
#pragma once
#include <stdbool.h>
#include <string.h>

#include "base/hash.h"

typedef struct Draw {
  uint64_t seed, next;
} Draw;

static inline uint64_t draw_word(Draw *draw) { return hash_mix(hash_mix(draw->seed, ++draw->next), 0x9e3779b97f4a7c15u); }
static inline int draw_below(Draw *draw, int count) { return count > 0 ? (int)((draw_word(draw) >> 11) % (uint64_t)count) : 0; }
static inline bool draw_one_in(Draw *draw, int count) { return draw_below(draw, count) == 0; }
static inline double draw_unit(Draw *draw) { return (double)(draw_word(draw) >> 11) * 0x1p-53; }

// From -1 to 1, and often one of these.
static inline double draw_direction(Draw *draw) {
  return draw_one_in(draw, 2) ? 2 * draw_unit(draw) - 1 : draw_one_in(draw, 2) ? 1 : -1;
}

// A source of its own for a thing with a name: what else is drawn does not change it.
static inline Draw draw_named(uint64_t seed, const char *name) { return (Draw){.seed = hash_bytes(name, strlen(name), seed)}; }

// A number of one of four flavours: whole, quarters, any, any with the edges of the type among them.
enum { FLAVOURS = 4 };
double draw_number(Draw *draw, int flavour);
