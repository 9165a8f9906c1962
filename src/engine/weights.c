// See weights.h.
#include "engine/weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"

enum { WEIGHT_ALIGNMENT = 256, ELEMENT_ALIGNMENT = 64 };

uint64_t weights_note(void *context, const Tensor *tensor) {
  Weights *weights = context;
  uint64_t key = (uint64_t)(uintptr_t)tensor;
  if (int_map_get(weights->numbers, key)) return 0;
  *ARENA_PUSH(weights->arena, weights->tensors, weights->count, weights->capacity) = tensor;
  int_map_set(weights->numbers, key, (void *)(uintptr_t)weights->count);
  return 0;
}

typedef struct Piece {
  const char *begin, *end;
  uint32_t number;  // of the tensor
} Piece;

static int by_address(const void *a, const void *b) {
  const Piece *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return x->number < y->number ? -1 : x->number > y->number;
}

static int by_first(const void *a, const void *b) {
  const Stretch *x = a, *y = b;
  return x->first < y->first ? -1 : x->first > y->first;
}

static Piece *sorted_pieces(const Weights *weights) {
  Piece *pieces = arena_array(weights->arena, Piece, weights->count);
  for (uint32_t i = 0; i < weights->count; i++) {
    const char *begin = weights->tensors[i]->data;
    pieces[i] = (Piece){begin, begin + tensor_bytes(weights->tensors[i]), i};
  }
  if (weights->count) qsort(pieces, weights->count, sizeof *pieces, by_address);
  return pieces;
}

// Fills first_of with the first tensor of each one's stretch.
static void cut(Weights *weights, const Piece *pieces, uint32_t *first_of) {
  for (uint32_t i = 0, next; i < weights->count; i = next) {
    Stretch stretch = {.begin = pieces[i].begin, .first = pieces[i].number, .one_address = true};
    const char *end = pieces[i].end;
    for (next = i + 1; next < weights->count && (pieces[next].begin < end || pieces[next].begin == stretch.begin); next++) {
      stretch.first = MIN(stretch.first, pieces[next].number);
      stretch.one_address = stretch.one_address && pieces[next].begin == stretch.begin;
      end = MAX(end, pieces[next].end);
    }
    stretch.size = (size_t)(end - stretch.begin);
    for (uint32_t k = i; k < next; k++) first_of[pieces[k].number] = stretch.first;
    weights->stretches[weights->stretch_count++] = stretch;
  }
  if (weights->stretch_count) qsort(weights->stretches, weights->stretch_count, sizeof *weights->stretches, by_first);
}

// Elements keep the alignment that they had, where one stretch holds several tensors.
static size_t lead_of(const Stretch *stretch) {
  return stretch->one_address ? 0 : (uintptr_t)stretch->begin % ELEMENT_ALIGNMENT;
}

static void place(Weights *weights, IntMap *by_content, Stretch *stretch) {
  uint64_t key = hash128_bytes(stretch->begin, stretch->size).low ^ lead_of(stretch);
  const Stretch *same = int_map_get(by_content, key);
  stretch->is_copy = same && same->size == stretch->size && lead_of(same) == lead_of(stretch) &&
                     !memcmp(same->begin, stretch->begin, stretch->size);
  if (stretch->is_copy) {
    stretch->offset = same->offset;
    return;
  }
  stretch->offset = align_up(weights->end, WEIGHT_ALIGNMENT) + lead_of(stretch);
  weights->end = stretch->offset + stretch->size;
  int_map_set(by_content, key, stretch);
}

void weights_place(Weights *weights) {
  uint32_t *first_of = arena_array(weights->arena, uint32_t, weights->count);
  IntMap *by_content = int_map_new(weights->arena), *of_first = int_map_new(weights->arena);
  weights->stretches = arena_array(weights->arena, Stretch, weights->count);
  weights->offsets = arena_array(weights->arena, uint64_t, weights->count);
  cut(weights, sorted_pieces(weights), first_of);
  for (uint32_t i = 0; i < weights->stretch_count; i++) {
    place(weights, by_content, &weights->stretches[i]);
    int_map_set(of_first, weights->stretches[i].first, &weights->stretches[i]);
  }
  for (uint32_t i = 0; i < weights->count; i++) {
    const Stretch *stretch = int_map_get(of_first, first_of[i]);
    weights->offsets[i] = stretch->offset + (uint64_t)((const char *)weights->tensors[i]->data - stretch->begin);
  }
}

uint64_t weights_offset(void *context, const Tensor *tensor) {
  const Weights *weights = context;
  return weights->offsets[(uintptr_t)int_map_get(weights->numbers, (uint64_t)(uintptr_t)tensor) - 1];
}

void weights_copy(const Weights *weights, void *section) {
  for (uint32_t i = 0; i < weights->stretch_count; i++) {
    const Stretch *stretch = &weights->stretches[i];
    if (!stretch->is_copy && stretch->size) memcpy((char *)section + stretch->offset, stretch->begin, stretch->size);
  }
}
