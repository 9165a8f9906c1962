// See points.h.
#include "kernels/common/points.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

void site_parameters(Text *text, const Site *site) {
  const char *comma = "";
  for (int i = 0; i < site_input_count(site); i++) {
    if (site->inputs[i].absent) continue;
    text_add(text, "%sconst Element_%s::Stored *x%d", comma, dtype_name(site->inputs[i].dtype), i);
    comma = ", ";
  }
  for (int i = 0; i < site->node->output_count; i++) {
    text_add(text, "%sElement_%s::Stored *y%d", comma, dtype_name(site->outputs[i].dtype), i);
    comma = ", ";
  }
}

void site_arguments(Emission *emission, Launch *launch, const Site *site) {
  for (int i = 0; i < site_input_count(site); i++)
    if (!site->inputs[i].absent) emit_buffer(emission, launch, BUFFER_INPUT, i);
  for (int i = 0; i < site->node->output_count; i++) emit_buffer(emission, launch, BUFFER_OUTPUT, i);
}

// Axes from outermost to innermost in memory.
static void memory_order(const DimTable *table, const TensorDesc *desc, int *order) {
  int64_t reach[MAX_RANK];
  for (int i = 0; i < desc->rank; i++) {
    int at = i;
    reach[i] = llabs(extent_typical(table, desc_stride_in(table, desc, i)));
    while (at > 0 && reach[order[at - 1]] < reach[i]) {
      order[at] = order[at - 1];
      at--;
    }
    order[at] = i;
  }
}

int points_inner_axis(const DimTable *table, const TensorDesc *domain) {
  int order[MAX_RANK];
  memory_order(table, domain, order);
  for (int i = domain->rank - 1; i >= 0; i--)
    if (!extent_is(desc_extent_in(table, domain, order[i]), 1)) return order[i];
  return -1;
}

static bool is_small(const TensorDesc *desc) {
  double span = 0;
  for (int i = 0; i < desc->rank; i++) span += (double)desc->dims[i] * (double)llabs(desc->strides[i]);
  return span < 2147483647.0;
}

// i0, i1 ... from `point`, of `items` points.
static void add_coordinates(Text *text, const TensorDesc *domain, int64_t items, int vector) {
  int order[MAX_RANK], inner_axis = points_inner_axis(NULL, domain);
  int64_t inner = 1;
  const char *suffix = items < INT32_MAX ? "u" : "ull";
  memory_order(NULL, domain, order);
  for (int k = domain->rank - 1; k >= 0; k--) {
    int axis = order[k];
    int64_t extent = axis == inner_axis ? domain->dims[axis] / vector : domain->dims[axis];
    if (extent == 1) {
      text_add(text, "  const int i%d = 0;\n", axis);
      continue;
    }
    text_add(text, "  const int i%d = (int)(point", axis);
    if (inner > 1) text_add(text, " / %lld%s", (long long)inner, suffix);
    if (inner * extent < items) text_add(text, " %% %lld%s", (long long)extent, suffix);
    text_add(text, ")");
    if (axis == inner_axis && vector > 1) text_add(text, " * %d", vector);
    text_add(text, ";\n");
    inner *= extent;
  }
}

static void add_opening(Text *text, const Site *site, const char *entry, const KernelArguments *arguments, const char *more,
                        int threads) {
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", threads, entry);
  site_parameters(text, site);
  kernel_arguments_parameters(text, arguments);
  text_add(text, "%s) {\n  begin_kernel();\n", more);
}

// `limit`: how many points there are, as a text of `type`.
static void add_point(Text *text, const char *type, const char *limit) {
  text_add(text, "  const %s point = (%s)blockIdx.x * %d + threadIdx.x;\n  if (point >= %s) return;\n", type, type,
           POINT_THREADS, limit);
}
static const char *type_for(int64_t items) { return items < INT32_MAX ? "u32" : "u64"; }
static char *limit_of(Arena *arena, int64_t items) {
  return arena_printf(arena, items < INT32_MAX ? "%lldu" : "%lldull", (long long)items);
}

Points points_begin(const Site *site, Arena *arena, const char *entry, const char *more, const TensorDesc *domain, int vector) {
  return (Points){.site = site,
                  .entry = entry,
                  .more = more,
                  .domain = domain,
                  .vector = vector,
                  .threads = POINT_THREADS,
                  .arguments = {.arena = arena},
                  .before = text_new(arena),
                  .body = text_new(arena)};
}

Points points_begin_blocks(const Site *site, Arena *arena, const char *entry, const char *more, const TensorDesc *domain,
                           int threads) {
  Points points = points_begin(site, arena, entry, more, domain, 1);
  points.threads = threads;
  points.blocks = true;
  return points;
}

// Points, where a thread has `vector` of them, along the axis; their number.
static Extent steps_along(const Points *points, int axis, int inner_axis) {
  Extent extent = desc_extent_in(points->site->dims, points->domain, axis);
  return axis == inner_axis ? extent_ceil_div(points->site->dims, extent, points->vector) : extent;
}
static Extent items_of(const Points *points) {
  Extent items = extent_static(1);
  int inner_axis = points_inner_axis(points->site->dims, points->domain);
  for (int i = 0; i < points->domain->rank; i++)
    items = extent_mul(points->site->dims, items, steps_along(points, i, inner_axis));
  return items;
}

// As add_coordinates, but axis by axis, of what the ones inside left.
static void add_open_coordinates(Text *text, Points *points, bool wide) {
  DimTable *table = points->site->dims;
  int order[MAX_RANK], outermost = 0, inner_axis = points_inner_axis(table, points->domain);
  const char *type = wide ? "u64" : "u32", *rest = "point";
  memory_order(table, points->domain, order);
  while (extent_is(steps_along(points, order[outermost], inner_axis), 1)) outermost++;
  for (int k = points->domain->rank - 1; k >= 0; k--) {
    int axis = order[k];
    Extent steps = steps_along(points, axis, inner_axis);
    const char *at = rest;
    if (extent_is(steps, 1)) {
      text_add(text, "  const int i%d = 0;\n", axis);
      continue;
    }
    if (k > outermost) {
      rest = arena_printf(text->arena, "rest%d", axis);
      text_add(text, "  const %s %s = %s;\n", type, rest, extent_divide(&points->arguments, at, steps, wide));
      at = arena_printf(text->arena, "%s - %s * (%s)%s", at, rest, type, extent_text(&points->arguments, steps, wide));
    }
    text_add(text, "  const int i%d = (int)(%s)", axis, at);
    if (axis == inner_axis && points->vector > 1) text_add(text, " * %d", points->vector);
    text_add(text, ";\n");
  }
}

static bool is_open(const Points *points) {
  for (int i = 0; i < points->domain->rank; i++)
    if (desc_extent_in(points->site->dims, points->domain, i).open) return true;
  return false;
}

// The coordinates first: they ask for arguments too.
static Text finish_body(Points *points) {
  Extent items = items_of(points);
  Arena *arena = points->arguments.arena;
  Text text = text_new(arena);
  const char *type = type_for(items.now);
  bool wide = items.now >= INT32_MAX;
  if (points->blocks) text_add(&text, "  const u32 point = blockIdx.x;\n");
  else if (!items.open) add_point(&text, type, limit_of(arena, items.now));
  else add_point(&text, type, arena_printf(arena, "(%s)%s", type, extent_text(&points->arguments, items, wide)));
  if (is_open(points)) add_open_coordinates(&text, points, wide);
  else add_coordinates(&text, points->domain, items.now, points->vector);
  text_add(&text, "%s}\n", text_get(&points->body));
  return text;
}

const char *points_source(Points *points) {
  Text text = text_new(points->arguments.arena), body = finish_body(points);
  const KernelArguments *arguments = &points->arguments;
  if (arguments->count) kernel_arguments_struct(&text, arguments);
  text_add(&text, "%s", text_get(&points->before));
  add_opening(&text, points->site, points->entry, arguments, points->more, points->threads);
  if (arguments->count) kernel_arguments_gather(&text, arguments);
  text_add(&text, "%s", text_get(&body));
  return text_get(&text);
}

Launch *points_launch(const Points *points, const char *source, Emission *emission) {
  int64_t items = items_of(points).now;
  unsigned grid[3] = {(unsigned)(points->blocks ? items : ceil_div(items, POINT_THREADS)), 1, 1};
  Launch *launch = emit_kernel(emission, source, points->entry, grid, (unsigned[]){(unsigned)points->threads, 1, 1});
  site_arguments(emission, launch, points->site);
  emit_arguments(emission, launch, &points->arguments);
  return launch;
}

Launch *points_end(Points *points, Emission *emission) { return points_launch(points, points_source(points), emission); }

const char *points_size(Points *points, Extent extent, bool wide) { return extent_text(&points->arguments, extent, wide); }

const char *points_limit(Points *points, Extent extent) {
  const char *size = points_size(points, extent, false);
  return arena_printf(points->arguments.arena, extent.open ? "(u32)%s" : "%su", size);
}

// --- Addresses

// arguments: NULL for the sizes of now.
static void add_term(Text *text, const DimTable *table, KernelArguments *arguments, const TensorDesc *desc, int axis,
                     const char *name) {
  Extent stride = desc_stride_in(table, desc, axis);
  if (extent_is(desc_extent_in(table, desc, axis), 1) || extent_is(stride, 0)) return;
  bool small = is_small(desc);
  text_add(text, "%s%s(%s)", text->length ? " + " : "", small ? "(int)" : "(i64)", name);
  if (stride.open) text_add(text, " * %s", extent_text(arguments, stride, !small));
  else if (stride.now != 1) text_add(text, " * (%lld%s)", (long long)stride.now, small ? "" : "ll");
}

char *desc_open_offset(Arena *arena, const DimTable *table, KernelArguments *arguments, const TensorDesc *desc,
                       const char *const *names) {
  Text text = text_new(arena);
  for (int i = 0; i < desc->rank; i++)
    add_term(&text, table, arguments, desc, i, names && names[i] ? names[i] : arena_printf(arena, "i%d", i));
  return arena_string(arena, text.length ? text_get(&text) : "0");
}

char *desc_offset(Arena *arena, const TensorDesc *desc, const char *const *names) {
  return desc_open_offset(arena, NULL, NULL, desc, names);
}
char *points_offset(Points *points, const TensorDesc *desc, const char *const *names) {
  return desc_open_offset(points->arguments.arena, points->site->dims, &points->arguments, desc, names);
}

// An open axis of size 1 is no broadcast where the domain's is of size 1 too: other calls have more of both.
char *points_offset_broadcast(Points *points, const TensorDesc *desc) {
  Arena *arena = points->arguments.arena;
  Text text = text_new(arena);
  int lead = points->domain->rank - desc->rank;
  for (int i = 0; i < desc->rank; i++)
    if (desc->dims[i] != 1 || points->domain->dims[i + lead] == 1)
      add_term(&text, points->site->dims, &points->arguments, desc, i, arena_printf(arena, "i%d", i + lead));
  return arena_string(arena, text.length ? text_get(&text) : "0");
}

int desc_vector_width(const DimTable *table, const TensorDesc *desc, int axis, int most) {
  if (axis < 0 || !extent_is(desc_stride_in(table, desc, axis), 1)) return 1;
  int64_t vector = extent_factor(table, extent_static(desc->offset), most);
  vector = extent_factor(table, desc_extent_in(table, desc, axis), vector);
  for (int i = 0; i < desc->rank; i++)
    if (i != axis && !extent_is(desc_extent_in(table, desc, i), 1))
      vector = extent_factor(table, desc_stride_in(table, desc, i), vector);
  return (int)vector;
}

char *points_epilogue(Points *points, DType accumulator, const char *acc) {
  const Site *site = points->site;
  const Program *program = site->epilogue;
  const TensorDesc *y = &site->outputs[0];
  Arena *arena = points->arguments.arena;
  Text text = text_new(arena);
  text_add(&text, "epilogue(%s", acc);
  for (int k = 1; program && k < program->input_count; k++) {
    int input = site->node->input_count + k - 1;
    text_add(&text, ", x%d[%s]", input, points_offset_broadcast(points, &site->inputs[input]));
  }
  for (int i = 0; i < y->rank && program_has(program, OP_index); i++) text_add(&text, ", i%d", i);
  text_add(&text, ")");
  return arena_string(arena, text_get(&text));
}

DType accumulator_dtype(DType dtype) {
  switch (dtype_kind(dtype)) {
    case KIND_FLOAT: return dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
    case KIND_SIGNED: return DTYPE_I64;
    case KIND_UNSIGNED: return DTYPE_U64;
    default: return dtype;
  }
}

Status emit_copy(Emission *emission, const Site *site, int input, int output) {
  Program *program = program_new(emission->arena, 1);
  program_output(program, program_input(program, 0, site->inputs[input].dtype));
  GeneratedKernel kernel;
  TRY(generate_elementwise(program, 1, &site->inputs[input], 1, &site->outputs[output], site->dims, emission->arena, &kernel));
  if (kernel.grid[0] == 0) return OK;
  Launch *launch = emit_kernel(emission, kernel.source, kernel.entry, kernel.grid, kernel.block);
  emit_buffer(emission, launch, BUFFER_INPUT, input);
  emit_buffer(emission, launch, BUFFER_OUTPUT, output);
  emit_arguments(emission, launch, &kernel.arguments);
  return OK;
}
