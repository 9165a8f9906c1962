// Shapes that stand for all in the ranges of a profile (ShapeProfile): kernels of open sizes are told apart by the rungs around them (kernels/tile/way_list.h), and by what is
// special about the ends. Every symbol takes its ends, what it mostly is, and the powers of two between with the quarters of each octave, closer than
// rungs are, so that sizes that are multiples of it meet every rung too; each with those of the others, and fewer where these are too many.
#include <string.h>

#include "api/api.h"

enum { MOST_SAMPLES = 512, MOST_VALUES = 256 };

typedef struct Symbol {
  Dim dim;
  int64_t values[MOST_VALUES];  // in order
  int count;
  int64_t best;
} Symbol;

typedef struct Sampling {
  const Graph *graph;
  Arena *arena;
  Symbol *symbols;
  uint32_t count, capacity;
} Sampling;

static void add_value(Symbol *symbol, int64_t value) {
  int at = symbol->count;
  while (at && symbol->values[at - 1] > value) at--;
  if (symbol->count == MOST_VALUES || (at && symbol->values[at - 1] == value)) return;
  memmove(symbol->values + at + 1, symbol->values + at, (size_t)(symbol->count - at) * sizeof value);
  symbol->values[at] = value;
  symbol->count++;
}

static void add_symbol(Sampling *s, Dim dim, const ShapeRange *range, int axis) {
  for (uint32_t i = 0; i < s->count; i++)
    if (s->symbols[i].dim == dim) return;
  Symbol *symbol = ARENA_PUSH(s->arena, s->symbols, s->count, s->capacity);
  *symbol = (Symbol){.dim = dim, .best = range->best[axis]};
  add_value(symbol, range->least[axis]);
  add_value(symbol, range->most[axis]);
  add_value(symbol, range->best[axis]);
  for (int64_t power = 1; power < range->most[axis]; power *= 2)
    for (int64_t quarter = 4; quarter < 8; quarter++) {
      int64_t value = power * quarter / 4;
      if (value > range->least[axis] && value < range->most[axis]) add_value(symbol, value);
    }
}

static void find_symbols(Sampling *s, const ShapeRange *const *ranges) {
  for (int i = 0; i < s->graph->input_count; i++)
    for (int k = 0; ranges[i] && k < s->graph->inputs[i]->rank; k++)
      if (!dim_is_static(s->graph->inputs[i]->dims[k])) add_symbol(s, s->graph->inputs[i]->dims[k], ranges[i], k);
}

// Of the symbol with the most values every second one goes, but for the ends.
static int64_t thin_out(Sampling *s) {
  for (;;) {
    int64_t combinations = 1;
    Symbol *most = NULL;
    for (uint32_t i = 0; i < s->count; i++) {
      combinations *= s->symbols[i].count;
      if (!most || s->symbols[i].count > most->count) most = &s->symbols[i];
    }
    if (combinations <= MOST_SAMPLES || most->count <= 2) return combinations <= MOST_SAMPLES ? combinations : MOST_SAMPLES;
    int kept = 0;
    for (int i = 0; i < most->count; i++)
      if (i % 2 == 0 || i == most->count - 1) most->values[kept++] = most->values[i];
    most->count = kept;
  }
}

// The shapes of all inputs where each symbol has the value that `number` says, in the symbols' mixed base; below 0: what it mostly is.
static InputShapes shapes_at(const Sampling *s, int64_t number) {
  const Graph *graph = s->graph;
  DimBinding binding = dim_binding_new(s->arena);
  for (uint32_t i = 0; i < s->count; i++) {
    const Symbol *symbol = &s->symbols[i];
    int64_t value = number < 0 ? symbol->best : symbol->values[number % symbol->count];
    if (dim_op(graph->dims, symbol->dim) == DIM_SYMBOL)
      dim_bind(&binding, s->arena, dim_symbol_name(graph->dims, symbol->dim), value);
    number /= number < 0 ? 1 : symbol->count;
  }
  const int64_t **shapes = arena_array(s->arena, const int64_t *, (size_t)graph->input_count + 1);
  for (int i = 0; i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    int64_t *dims = arena_array(s->arena, int64_t, MAX_RANK);
    bool known = input->kind == VALUE_TENSOR && input->rank >= 0;
    for (int k = 0; known && k < input->rank; k++) known = dim_evaluate(graph->dims, &binding, input->dims[k], &dims[k]);
    shapes[i] = known ? dims : NULL;
  }
  return shapes;
}

void api_sample_shapes(const Graph *graph, Arena *arena, ShapeProfile *profile) {
  Sampling s = {.graph = graph, .arena = arena};
  bool ranged = false;
  find_symbols(&s, profile->ranges);
  for (uint32_t i = 0; i < s.count; i++) ranged = ranged || s.symbols[i].count > 1;
  profile->best = shapes_at(&s, -1);
  if (!ranged) return;
  profile->sample_count = (int)thin_out(&s);
  profile->samples = arena_array(arena, InputShapes, (size_t)profile->sample_count);
  for (int i = 0; i < profile->sample_count; i++) profile->samples[i] = shapes_at(&s, i);
}
