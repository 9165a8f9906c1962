// See nest.h.
#include "kernels/program/nest.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

Nest nest_new(Arena *arena, int rank, const int64_t *extents) {
  Nest nest = {.arena = arena, .rank = rank};
  for (int i = 0; i < rank; i++) nest.extents[i] = extents[i];
  return nest;
}

int nest_add_strides(Nest *nest, const int64_t *strides) {
  uint32_t count = (uint32_t)nest->count;
  int64_t(*added)[NEST_AXES] = ARENA_PUSH(nest->arena, nest->strides, count, nest->capacity);
  nest->count = (int)count;
  for (int i = 0; i < NEST_AXES; i++) (*added)[i] = i < nest->rank ? strides[i] : 0;
  return nest->count - 1;
}

int nest_add(Nest *nest, const TensorDesc *desc) {
  int64_t strides[NEST_AXES] = {0};
  int lead = nest->rank - desc->rank;
  for (int i = 0; i < desc->rank; i++)
    if (desc->dims[i] != 1 && i + lead >= 0) strides[i + lead] = desc->strides[i];
  return nest_add_strides(nest, strides);
}

int nest_add_index(Nest *nest, int axis) {
  int64_t strides[NEST_AXES] = {0};
  strides[axis] = 1;
  return nest_add_strides(nest, strides);
}

int64_t nest_count(const Nest *nest) {
  int64_t count = 1;
  for (int i = 0; i < nest->rank; i++) count *= nest->extents[i];
  return count;
}

static void nest_swap(Nest *nest, int a, int b) {
  int64_t extent = nest->extents[a];
  nest->extents[a] = nest->extents[b];
  nest->extents[b] = extent;
  for (int t = 0; t < nest->count; t++) {
    int64_t stride = nest->strides[t][a];
    nest->strides[t][a] = nest->strides[t][b];
    nest->strides[t][b] = stride;
  }
}

static void nest_drop(Nest *nest, int axis) {
  for (int i = axis; i + 1 < nest->rank; i++) nest_swap(nest, i, i + 1);
  nest->rank--;
}

void nest_insert(Nest *nest, int axis) {
  int last = nest->rank++;
  nest->extents[last] = 1;
  for (int t = 0; t < nest->count; t++) nest->strides[t][last] = 0;
  for (int i = last; i > axis; i--) nest_swap(nest, i, i - 1);
}

static bool mergeable(const Nest *nest, int axis) {
  for (int t = 0; t < nest->count; t++)
    if (nest->strides[t][axis] != nest->strides[t][axis + 1] * nest->extents[axis + 1]) return false;
  return true;
}

// An axis the tensor does not move along (broadcast) goes by what the next tensors do, so that they still merge.
static bool comes_before(const Nest *nest, int tensor, int a, int b) {
  int64_t at_a = llabs(nest->strides[tensor][a]), at_b = llabs(nest->strides[tensor][b]);
  if (at_a != at_b) return at_a > at_b;
  for (int t = 0; t < nest->count; t++) {
    at_a = llabs(nest->strides[t][a]), at_b = llabs(nest->strides[t][b]);
    if (at_a != at_b) return at_a > at_b;
  }
  return false;
}

// Sorts and merges axes [first, end); returns the new end.
static int collapse_part(Nest *nest, int tensor, int first, int end) {
  for (int i = first; i < end;) {
    if (nest->extents[i] != 1) {
      i++;
      continue;
    }
    nest_drop(nest, i);
    end--;
  }
  for (int i = first + 1; i < end; i++)
    for (int j = i; j > first && comes_before(nest, tensor, j, j - 1); j--) nest_swap(nest, j, j - 1);
  for (int i = first; i + 1 < end;) {
    if (!mergeable(nest, i)) {
      i++;
      continue;
    }
    nest->extents[i + 1] *= nest->extents[i];
    nest_drop(nest, i);
    end--;
  }
  return end;
}

void nest_collapse(Nest *nest, int tensor, int *outer) {
  *outer = collapse_part(nest, tensor, 0, *outer);
  collapse_part(nest, tensor, *outer, nest->rank);
  if (nest->rank == 0) nest_insert(nest, 0);
}

bool nest_is_small(const Nest *nest) {
  const double limit = 2147483647.0;
  double points = 1;
  for (int i = 0; i < nest->rank; i++) points *= (double)nest->extents[i];
  if (points > limit) return false;
  for (int t = 0; t < nest->count; t++) {
    double span = 0;
    for (int i = 0; i < nest->rank; i++) span += (double)MAX(nest->extents[i] - 1, 0) * (double)llabs(nest->strides[t][i]);
    if (span > limit) return false;
  }
  return true;
}

void nest_emit_coordinates(Text *text, const Nest *nest, int first, int count, const char *index, int64_t inner_scale) {
  const char *type = nest_is_small(nest) ? "int" : "i64";
  int64_t inner = 1;
  for (int i = first + count - 1; i >= first; i--) {
    int64_t extent = nest->extents[i], scale = i == first + count - 1 ? MAX(inner_scale, 1) : 1;
    int64_t steps = ceil_div(extent, scale);
    text_add(text, "  const %s c%d = (%s)(%s", type, i, type, index);
    if (inner > 1) text_add(text, " / %lldu", (long long)inner);
    if (i > first) text_add(text, " %% %lldu", (long long)MAX(steps, 1));
    text_add(text, ")");
    if (scale > 1) text_add(text, " * %lld", (long long)scale);
    text_add(text, ";\n");
    inner *= MAX(steps, 1);
  }
}

char *nest_offset(const Nest *nest, int tensor, int first, int count) {
  Text text = text_new(nest->arena);
  const char *suffix = nest_is_small(nest) ? "" : "ll";
  for (int i = first; i < first + count; i++) {
    int64_t stride = nest->strides[tensor][i];
    if (stride == 0) continue;
    text_add(&text, "%sc%d", text.length ? " + " : "", i);
    if (stride != 1) text_add(&text, stride < 0 ? " * (%lld%s)" : " * %lld%s", (long long)stride, suffix);
  }
  return arena_string(nest->arena, text.length ? text_get(&text) : "0");
}

int nest_alignment(const Nest *nest, int tensor, int axis, int64_t base, int most) {
  int alignment = 1;
  while (alignment < most) {
    int next = alignment * 2;
    if (base % next) return alignment;
    for (int i = 0; i < nest->rank; i++)
      if (i != axis && nest->extents[i] > 1 && nest->strides[tensor][i] % next) return alignment;
    alignment = next;
  }
  return alignment;
}
