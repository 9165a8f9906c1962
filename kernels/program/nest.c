// See nest.h.
#include "kernels/program/nest.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

Nest nest_new(DimTable *table, KernelArguments *arguments, int rank, const Extent *extents) {
  Nest nest = {.arena = arguments->arena, .table = table, .arguments = arguments, .rank = rank};
  for (int i = 0; i < rank; i++) nest.extents[i] = extents[i];
  return nest;
}

int nest_add_strides(Nest *nest, const Extent *strides) {
  uint32_t count = (uint32_t)nest->count;
  Extent(*added)[NEST_AXES] = ARENA_PUSH(nest->arena, nest->strides, count, nest->capacity);
  nest->count = (int)count;
  for (int i = 0; i < NEST_AXES; i++) (*added)[i] = i < nest->rank ? strides[i] : extent_static(0);
  return nest->count - 1;
}

// An open axis of size 1 is no broadcast where the domain's is one too: other calls have more of both.
bool nest_broadcasts(const Nest *nest, const TensorDesc *desc, int axis, int to) {
  return desc->dims[axis] == 1 && !(desc_extent(desc, axis).open && nest->extents[to].open && nest->extents[to].now == 1);
}

int nest_add(Nest *nest, const TensorDesc *desc) {
  Extent strides[NEST_AXES] = {0};
  int lead = nest->rank - desc->rank;
  for (int i = 0; i < desc->rank; i++)
    if (i + lead >= 0 && !nest_broadcasts(nest, desc, i, i + lead))
      strides[i + lead] = nest->table ? desc_stride(desc, i) : extent_static(desc->strides[i]);
  return nest_add_strides(nest, strides);
}

int nest_add_index(Nest *nest, int axis) {
  Extent strides[NEST_AXES] = {0};
  strides[axis] = extent_static(1);
  return nest_add_strides(nest, strides);
}

bool nest_is_open(const Nest *nest) {
  for (int i = 0; i < nest->rank; i++) {
    if (nest->extents[i].open) return true;
    for (int t = 0; t < nest->count; t++)
      if (nest->strides[t][i].open) return true;
  }
  return false;
}

static void nest_swap(Nest *nest, int a, int b) {
  Extent extent = nest->extents[a];
  nest->extents[a] = nest->extents[b];
  nest->extents[b] = extent;
  for (int t = 0; t < nest->count; t++) {
    Extent stride = nest->strides[t][a];
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
  nest->extents[last] = extent_static(1);
  for (int t = 0; t < nest->count; t++) nest->strides[t][last] = extent_static(0);
  for (int i = last; i > axis; i--) nest_swap(nest, i, i - 1);
}

static bool mergeable(const Nest *nest, int axis) {
  for (int t = 0; t < nest->count; t++)
    if (!extent_equal(nest->strides[t][axis], extent_mul(nest->table, nest->strides[t][axis + 1], nest->extents[axis + 1])))
      return false;
  return true;
}

static int64_t reach(const Nest *nest, int tensor, int axis) {
  return llabs(extent_typical(nest->table, nest->strides[tensor][axis]));
}

// An axis the tensor does not move along (broadcast) goes by what the next tensors do, so that they still merge.
static bool comes_before(const Nest *nest, int tensor, int a, int b) {
  int64_t at_a = reach(nest, tensor, a), at_b = reach(nest, tensor, b);
  if (at_a != at_b) return at_a > at_b;
  for (int t = 0; t < nest->count; t++) {
    at_a = reach(nest, t, a), at_b = reach(nest, t, b);
    if (at_a != at_b) return at_a > at_b;
  }
  return false;
}

// Sorts and merges axes [first, end); returns the new end.
static int collapse_part(Nest *nest, int tensor, int first, int end) {
  for (int i = first; i < end;) {
    if (!extent_is(nest->extents[i], 1)) {
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
    nest->extents[i + 1] = extent_mul(nest->table, nest->extents[i + 1], nest->extents[i]);
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
  for (int i = 0; i < nest->rank; i++) points *= (double)nest->extents[i].now;
  if (points > limit) return false;
  for (int t = 0; t < nest->count; t++) {
    double span = 0;
    for (int i = 0; i < nest->rank; i++)
      span += (double)MAX(nest->extents[i].now - 1, 0) * (double)llabs(nest->strides[t][i].now);
    if (span > limit) return false;
  }
  return true;
}

// Each axis from the whole index: the compiler multiplies instead of dividing by constants, and one axis does not wait for the next.
static void emit_static_coordinates(Text *text, const Nest *nest, int first, int count, const char *index,
                                    int64_t inner_scale) {
  const char *type = nest_is_small(nest) ? "int" : "i64";
  int64_t inner = 1;
  for (int i = first + count - 1; i >= first; i--) {
    int64_t extent = nest->extents[i].now, scale = i == first + count - 1 ? MAX(inner_scale, 1) : 1;
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

// Axis by axis, of what the ones inside left.
static void emit_open_coordinates(Text *text, const Nest *nest, int first, int count, const char *index, int64_t inner_scale) {
  bool wide = !nest_is_small(nest);
  const char *type = wide ? "i64" : "int", *rest = index;
  for (int i = first + count - 1; i >= first; i--) {
    int64_t scale = i == first + count - 1 ? MAX(inner_scale, 1) : 1;
    Extent steps = extent_ceil_div(nest->table, nest->extents[i], scale);
    const char *at = rest;
    if (i > first) {
      rest = arena_printf(nest->arena, "rest%d", i);
      text_add(text, "  const %s %s = %s;\n", wide ? "u64" : "u32", rest, extent_divide(nest->arguments, at, steps, wide));
      at = arena_printf(nest->arena, "%s - %s * (%s)%s", at, rest, wide ? "u64" : "u32",
                        extent_text(nest->arguments, steps, wide));
    }
    text_add(text, "  const %s c%d = (%s)(%s)", type, i, type, at);
    if (scale > 1) text_add(text, " * %lld", (long long)scale);
    text_add(text, ";\n");
  }
}

void nest_emit_coordinates(Text *text, const Nest *nest, int first, int count, const char *index, int64_t inner_scale) {
  bool open = false;
  for (int i = first; i < first + count; i++) open |= nest->extents[i].open;
  (open ? emit_open_coordinates : emit_static_coordinates)(text, nest, first, count, index, inner_scale);
}

char *nest_offset(const Nest *nest, int tensor, int first, int count) {
  Text text = text_new(nest->arena);
  bool wide = !nest_is_small(nest);
  for (int i = first; i < first + count; i++) {
    Extent stride = nest->strides[tensor][i];
    if (extent_is(stride, 0)) continue;
    text_add(&text, "%sc%d", text.length ? " + " : "", i);
    if (extent_is(stride, 1)) continue;
    text_add(&text, !stride.open && stride.now < 0 ? " * (%s)" : " * %s", extent_text(nest->arguments, stride, wide));
  }
  return arena_string(nest->arena, text.length ? text_get(&text) : "0");
}

int nest_alignment(const Nest *nest, int tensor, int axis, int64_t base, int most) {
  int64_t alignment = extent_factor(nest->table, extent_static(base), most);
  for (int i = 0; i < nest->rank; i++)
    if (i != axis && !extent_is(nest->extents[i], 1))
      alignment = extent_factor(nest->table, nest->strides[tensor][i], alignment);
  return (int)alignment;
}
