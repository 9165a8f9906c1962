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
static void memory_order(const TensorDesc *desc, int *order) {
  for (int i = 0; i < desc->rank; i++) {
    int at = i;
    while (at > 0 && llabs(desc->strides[order[at - 1]]) < llabs(desc->strides[i])) {
      order[at] = order[at - 1];
      at--;
    }
    order[at] = i;
  }
}

int points_inner_axis(const TensorDesc *domain) {
  int order[MAX_RANK];
  memory_order(domain, order);
  for (int i = domain->rank - 1; i >= 0; i--)
    if (domain->dims[order[i]] != 1) return order[i];
  return -1;
}

static bool is_small(const TensorDesc *desc) {
  double span = 0;
  for (int i = 0; i < desc->rank; i++) span += (double)desc->dims[i] * (double)llabs(desc->strides[i]);
  return span < 2147483647.0;
}

// i0, i1 ... from `point`, of `items` points.
static void add_coordinates(Text *text, const TensorDesc *domain, int64_t items, int vector) {
  int order[MAX_RANK], inner_axis = points_inner_axis(domain);
  int64_t inner = 1;
  const char *suffix = items < INT32_MAX ? "u" : "ull";
  memory_order(domain, order);
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

static void add_opening(Text *text, const Site *site, const char *entry, const char *more, int threads) {
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", threads, entry);
  site_parameters(text, site);
  text_add(text, "%s) {\n  begin_kernel();\n", more);
}

void points_open(Text *text, const Site *site, const char *entry, const char *more, const TensorDesc *domain, int vector) {
  int64_t items = desc_count(domain) / vector;
  const char *type = items < INT32_MAX ? "u32" : "u64", *suffix = items < INT32_MAX ? "u" : "ull";
  add_opening(text, site, entry, more, POINT_THREADS);
  text_add(text, "  const %s point = (%s)blockIdx.x * %d + threadIdx.x;\n  if (point >= %lld%s) return;\n", type, type,
           POINT_THREADS, (long long)items, suffix);
  add_coordinates(text, domain, items, vector);
}

void points_open_blocks(Text *text, const Site *site, const char *entry, const char *more, const TensorDesc *domain,
                        int threads) {
  add_opening(text, site, entry, more, threads);
  text_add(text, "  const u32 point = blockIdx.x;\n");
  add_coordinates(text, domain, desc_count(domain), 1);
}

Launch *points_launch_blocks(Emission *emission, const Site *site, const char *source, const char *entry,
                             const TensorDesc *domain, int threads) {
  unsigned grid[3] = {(unsigned)desc_count(domain), 1, 1}, block[3] = {(unsigned)threads, 1, 1};
  Launch *launch = emit_kernel(emission, source, entry, grid, block);
  site_arguments(emission, launch, site);
  return launch;
}

Launch *points_launch(Emission *emission, const Site *site, const char *source, const char *entry, const TensorDesc *domain,
                      int vector) {
  unsigned grid[3] = {(unsigned)ceil_div(desc_count(domain) / vector, POINT_THREADS), 1, 1}, block[3] = {POINT_THREADS, 1, 1};
  Launch *launch = emit_kernel(emission, source, entry, grid, block);
  site_arguments(emission, launch, site);
  return launch;
}

static void add_term(Text *text, const TensorDesc *desc, int axis, const char *name) {
  if (desc->dims[axis] == 1 || desc->strides[axis] == 0) return;
  bool small = is_small(desc);
  text_add(text, "%s%s(%s)", text->length ? " + " : "", small ? "(int)" : "(i64)", name);
  if (desc->strides[axis] != 1) text_add(text, " * (%lld%s)", (long long)desc->strides[axis], small ? "" : "ll");
}

char *desc_offset(Arena *arena, const TensorDesc *desc, const char *const *names) {
  Text text = text_new(arena);
  for (int i = 0; i < desc->rank; i++) add_term(&text, desc, i, names && names[i] ? names[i] : arena_printf(arena, "i%d", i));
  return arena_string(arena, text.length ? text_get(&text) : "0");
}

char *desc_offset_broadcast(Arena *arena, const TensorDesc *desc, int rank) {
  Text text = text_new(arena);
  for (int i = 0; i < desc->rank; i++) add_term(&text, desc, i, arena_printf(arena, "i%d", i + rank - desc->rank));
  return arena_string(arena, text.length ? text_get(&text) : "0");
}

int desc_vector_width(const TensorDesc *desc, int axis, int most) {
  int vector = 1;
  if (axis < 0 || desc->strides[axis] != 1) return 1;
  while (vector < most) {
    int next = vector * 2;
    if (desc->offset % next || desc->dims[axis] % next) return vector;
    for (int i = 0; i < desc->rank; i++)
      if (i != axis && desc->dims[i] > 1 && desc->strides[i] % next) return vector;
    vector = next;
  }
  return vector;
}

char *site_epilogue(Arena *arena, const Site *site, DType accumulator, const char *acc) {
  const Program *program = site->epilogue;
  const TensorDesc *y = &site->outputs[0];
  Text text = text_new(arena);
  text_add(&text, "epilogue(%s", acc);
  for (int k = 1; program && k < program->input_count; k++) {
    int input = site->node->input_count + k - 1;
    text_add(&text, ", x%d[%s]", input, desc_offset_broadcast(arena, &site->inputs[input], y->rank));
  }
  for (int i = 0; i < y->rank && program_uses_index(program); i++) text_add(&text, ", i%d", i);
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
