// See anchor_source.h.
#include "kernels/common/anchor_source.h"
#include "kernels/program/generate.h"

const char *device_type(DType dtype) {
  // Types that types.cuh has no struct for are stored as plain integers.
  switch (dtype) {
    case DTYPE_BOOL:
    case DTYPE_U4:
    case DTYPE_U2: return "u8";
    case DTYPE_I4:
    case DTYPE_I2: return "i8";
    default: return dtype_name(dtype);
  }
}

// --- Walks

void walk_add_extent(Walk *walk, int axis, Extent extent, int64_t scale) {
  if (!extent_is(extent, 1)) walk->axes[walk->count++] = (WalkAxis){axis, extent, scale};
}
void walk_add(Walk *walk, int axis, int64_t extent, int64_t scale) {
  walk_add_extent(walk, axis, extent_static(extent), scale);
}

Extent walk_extent(DimTable *table, const Walk *walk) {
  Extent count = extent_static(1);
  for (int i = 0; i < walk->count; i++) count = extent_mul(table, count, walk->axes[i].extent);
  return count;
}

int64_t walk_count(const Walk *walk) {
  int64_t count = 1;
  for (int i = 0; i < walk->count; i++) count *= walk->axes[i].extent.now;
  return count;
}

const char *arguments_passed(const KernelArguments *arguments) { return arguments->table ? ", dims" : ""; }
const char *stride_constant(Arena *arena, Extent stride) {
  return stride.open ? "OPEN_STRIDE" : arena_printf(arena, "%lldll", (long long)stride.now);
}
typedef struct Run {
  Extent extent, stride;
} Run;

// Joins neighbouring axes that advance as one.
static int find_runs(DimTable *table, const Walk *walk, const Extent *strides, Run *runs) {
  int count = 0;
  for (int i = 0; i < walk->count; i++) {
    const WalkAxis *axis = &walk->axes[i];
    Run run = {axis->extent, extent_mul(table, strides[axis->axis], extent_static(axis->scale))};
    if (count && extent_equal(runs[count - 1].stride, extent_mul(table, run.stride, run.extent)))
      runs[count - 1] = (Run){extent_mul(table, runs[count - 1].extent, run.extent), run.stride};
    else runs[count++] = run;
  }
  return count;
}

static bool is_open(const Run *runs, int count) {
  bool open = false;
  for (int i = 0; i < count; i++) open |= runs[i].stride.open || (i > 0 && runs[i].extent.open);
  return open;
}

static void emit_static_runs(Text *text, const Run *runs, int count) {
  int64_t inner = 1;
  for (int i = 1; i < count; i++) inner *= runs[i].extent.now;
  text_add(text, " return 0");
  for (int i = 0; i < count; i++) {
    if (i > 0) inner /= MAX(runs[i].extent.now, 1);
    if (runs[i].stride.now == 0) continue;
    text_add(text, " + (i64)(index");
    if (inner > 1) text_add(text, " / %lluu", (unsigned long long)inner);
    if (i > 0) text_add(text, " %% %lluu", (unsigned long long)runs[i].extent.now);
    text_add(text, ") * %lldll", (long long)runs[i].stride.now);
  }
  text_add(text, ";");
}

// Run by run from the innermost, of what the ones inside left.
static void emit_open_runs(Text *text, const Run *runs, int count, KernelArguments *arguments) {
  const char *rest = "index";
  text_add(text, "\n  i64 at = 0;\n");
  for (int i = count - 1; i >= 0; i--) {
    const char *place = rest;
    if (i > 0) {
      rest = arena_printf(text->arena, "rest%d", i);
      text_add(text, "  const u32 %s = %s;\n", rest, extent_divide(arguments, place, runs[i].extent, false));
      place = arena_printf(text->arena, "%s - %s * %s", place, rest, extent_text(arguments, runs[i].extent, false));
    }
    if (!extent_is(runs[i].stride, 0))
      text_add(text, "  at += (i64)(%s) * %s;\n", place, extent_text(arguments, runs[i].stride, true));
  }
  text_add(text, "  return at;\n");
}

void walk_emit(Text *text, const char *name, const Walk *walk, const Extent *strides, KernelArguments *arguments) {
  Run runs[MAX_RANK + 1];
  int count = find_runs(arguments->table, walk, strides, runs);
  text_add(text, "DEVICE i64 %s(u32 index%s) {", name, arguments->table ? ", const Dims &dims" : "");
  if (is_open(runs, count)) emit_open_runs(text, runs, count, arguments);
  else emit_static_runs(text, runs, count);
  text_add(text, "%s}\n", is_open(runs, count) ? "" : " ");
}

// An open axis of size 1 is no broadcast where that of `to` is one too: other calls have more of both.
static bool broadcasts(const DimTable *table, const TensorDesc *desc, int own, const TensorDesc *to, int axis) {
  if (own < 0) return true;
  bool both = to->dims[axis] == 1 && desc_extent_in(table, to, axis).open && desc_extent_in(table, desc, own).open;
  return desc->dims[own] == 1 && !both;
}

void broadcast_strides(const DimTable *table, const TensorDesc *desc, const TensorDesc *to, Extent *strides) {
  for (int i = 0; i < to->rank; i++) {
    int own = i - (to->rank - desc->rank);
    strides[i] = broadcasts(table, desc, own, to, i) ? extent_static(0) : desc_stride_in(table, desc, own);
  }
}

int desc_vector(const DimTable *table, const TensorDesc *desc, const TensorDesc *to, int axis, int bytes) {
  Extent strides[MAX_RANK];
  broadcast_strides(table, desc, to, strides);
  int64_t vector = 1;
  if (!extent_is(strides[axis], 1)) return 1;
  while (vector * 2 * (int)dtype_size(desc->dtype) <= bytes) vector *= 2;
  vector = extent_factor(table, extent_static(desc->offset), vector);
  for (int i = 0; i < to->rank; i++)
    if (i != axis) vector = extent_factor(table, strides[i], vector);
  return (int)vector;
}

// --- Output

static int operand_count(const Site *site) { return site->epilogue ? site->epilogue->input_count - 1 : 0; }
static const TensorDesc *operand_desc(const Site *site, int operand) {
  return &site->inputs[site->node->input_count + operand - 1];
}

// The coordinate along a walk's axis, of a walk's index: `inner` places lie between neighbours.
static const char *walk_coordinate(KernelArguments *arguments, Arena *arena, const char *index, Extent inner, Extent extent) {
  if (!inner.open && !extent.open)
    return arena_printf(arena, "(%s / %lluu %% %lluu)", index, (unsigned long long)MAX(inner.now, 1),
                        (unsigned long long)MAX(extent.now, 1));
  const char *place = arena_printf(arena, "(%s)", extent_divide(arguments, index, inner, false));
  const char *above = extent_divide(arguments, place, extent, false);
  return arena_printf(arena, "(%s - %s * %s)", place, above, extent_text(arguments, extent, false));
}

// The coordinate along a logical axis, from all walk axes that add to it.
static void emit_coordinate(Text *text, const OutputWalk *walk, int axis, const char *column, KernelArguments *arguments) {
  const Walk *walks[3] = {&walk->batch, &walk->row, &walk->column};
  const char *const indices[3] = {"batch", "row", column};
  text_add(text, "(0");
  for (int w = 0; w < 3; w++) {
    for (int i = 0; i < walks[w]->count; i++) {
      const WalkAxis *a = &walks[w]->axes[i];
      Extent inner = extent_static(1);
      for (int k = i + 1; k < walks[w]->count; k++) inner = extent_mul(arguments->table, inner, walks[w]->axes[k].extent);
      if (a->axis == axis)
        text_add(text, " + (i64)%s * %lldll", walk_coordinate(arguments, text->arena, indices[w], inner, a->extent),
                 (long long)a->scale);
    }
  }
  text_add(text, ")");
}

static void emit_walks(Text *text, const char *name, const OutputWalk *walk, const Extent *strides,
                       KernelArguments *arguments) {
  const Walk *walks[3] = {&walk->batch, &walk->row, &walk->column};
  static const char *const parts[3] = {"batch", "row", "column"};
  for (int i = 0; i < 3; i++) {
    char *function = arena_printf(text->arena, "%s_%s", name, parts[i]);
    walk_emit(text, function, walks[i], strides, arguments);
  }
}

// The walk's axis that neighbouring columns differ in; they are of one line of it. NULL: one column, which no axis stands for.
static const WalkAxis *column_axis(const Walk *column) { return column->count ? &column->axes[column->count - 1] : NULL; }

// How many neighbouring columns of a tensor may be moved at once; 1 where its columns are not neighbours.
static int column_vector(const DimTable *table, const TensorDesc *desc, const TensorDesc *y, const Walk *column) {
  const WalkAxis *axis = column_axis(column);
  if (!axis || axis->scale != 1) return 1;
  return (int)extent_factor(table, axis->extent, desc_vector(table, desc, y, axis->axis, 16));
}

// Walks may run past the end of an axis: one phase of a transposed convolution can have one output fewer than another.
// Of an open axis what is known of every call counts.
static bool runs_past(const DimTable *table, const OutputWalk *walk, int axis, Extent dim) {
  const Walk *walks[3] = {&walk->batch, &walk->row, &walk->column};
  int64_t last = 0;
  bool ends_apart = false;
  for (int w = 0; w < 3; w++)
    for (int i = 0; i < walks[w]->count; i++) {
      const WalkAxis *a = &walks[w]->axes[i];
      if (a->axis != axis) continue;
      last += (a->extent.now - 1) * a->scale;
      ends_apart |= a->extent.open && extent_factor(table, dim, a->scale) != a->scale;
    }
  return last >= dim.now || ends_apart;
}

// What lies past the end is neither read nor stored.
static void emit_bounds(Text *text, const TensorDesc *y, const OutputWalk *walk, KernelArguments *arguments) {
  text_add(text, "  __device__ __forceinline__ bool inside(u32 row, u32 column) const {\n    return true");
  for (int axis = 0; axis < y->rank; axis++) {
    Extent dim = desc_extent_in(arguments->table, y, axis);
    if (!runs_past(arguments->table, walk, axis, dim)) continue;
    text_add(text, " && ");
    emit_coordinate(text, walk, axis, "column", arguments);
    text_add(text, " < %s", extent_text(arguments, dim, true));
  }
  text_add(text, ";\n  }\n");
}

static void emit_operand_load(Text *text, const Site *site, const OutputWalk *walk, int operand, KernelArguments *arguments) {
  const TensorDesc *desc = operand_desc(site, operand), *y = &site->outputs[0];
  const char *type = device_type(desc->dtype), *dims = arguments_passed(arguments);
  Extent strides[MAX_RANK], stride = extent_static(0);
  const WalkAxis *axis = column_axis(&walk->column);
  broadcast_strides(arguments->table, desc, y, strides);
  if (axis) stride = extent_mul(arguments->table, strides[axis->axis], extent_static(axis->scale));
  text_add(text, "    {\n      const %s *from = e%d + e%d_row(row%s) + e%d_column(column%s);\n", type, operand, operand, dims,
           operand, dims);
  if (extent_is(stride, 0)) {
    text_add(text, "      %s same = *from;\n#pragma unroll\n      for (int i = 0; i < V; i++) to.x%d[i] = same;\n", type,
             operand);
  } else if (extent_is(stride, 1)) {
    text_add(text, "      load_elements<V, %d>(from, to.x%d);\n",
             column_vector(arguments->table, desc, y, &walk->column) * (int)dtype_size(desc->dtype), operand);
  } else {
    text_add(text,
             "#pragma unroll\n      for (int i = 0; i < V; i++) to.x%d[i] = e%d[e%d_row(row%s) + e%d_column(column + i%s)];\n",
             operand, operand, operand, dims, operand, dims);
  }
  text_add(text, "    }\n");
}

bool output_rows_are_plain(const Site *site, const OutputWalk *walk) {
  const TensorDesc *y = &site->outputs[0];
  if (site->epilogue && program_has(site->epilogue, OP_index)) return false;
  for (int k = 0; k <= operand_count(site); k++) {
    Extent strides[MAX_RANK];
    Run runs[MAX_RANK + 1];
    broadcast_strides(NULL, k ? operand_desc(site, k) : y, y, strides);
    if (find_runs(NULL, &walk->row, strides, runs) > 1) return false;
  }
  return true;
}

Status output_emit(Text *text, const Site *site, const OutputWalk *walk, DType accumulator, KernelArguments *arguments) {
  const TensorDesc *y = &site->outputs[0];
  const Program *program = site->epilogue;
  const char *type = device_type(y->dtype), *dims = arguments_passed(arguments);
  DimTable *table = arguments->table;
  Extent strides[MAX_RANK];
  if (program) {
    text_add(text, GENERATED_INCLUDES);
    TRY(epilogue_program_emit(text, site, accumulator, arguments));
  }
  broadcast_strides(table, y, y, strides);
  emit_walks(text, "y", walk, strides, arguments);
  for (int k = 1; k <= operand_count(site); k++) {
    broadcast_strides(table, operand_desc(site, k), y, strides);
    emit_walks(text, arena_printf(text->arena, "e%d", k), walk, strides, arguments);
  }
  const WalkAxis *columns = column_axis(&walk->column);
  bool ragged = columns && runs_past(table, walk, columns->axis, desc_extent_in(table, y, columns->axis));
  int vector = ragged ? 1 : column_vector(table, y, y, &walk->column);

  text_add(text, "struct Output {\n  static constexpr int VECTOR = %d;\n  %s *__restrict__ y;\n", vector, type);
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "  const %s *__restrict__ e%d;\n", device_type(operand_desc(site, k)->dtype), k);
  text_add(text,
           "  u32 batch;\n%s  __device__ __forceinline__ void begin(u32 index) {\n    batch = index;\n    y += "
           "y_batch(index%s);\n",
           table ? "  Dims dims;\n" : "", dims);
  for (int k = 1; k <= operand_count(site); k++) text_add(text, "    e%d += e%d_batch(index%s);\n", k, k, dims);
  text_add(text, "  }\n");
  emit_bounds(text, y, walk, arguments);
  text_add(text, "  template <int V> struct Operands {\n");
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "    %s x%d[V];\n", device_type(operand_desc(site, k)->dtype), k);
  text_add(text,
           "  };\n  template <int V> __device__ __forceinline__ void load(u32 row, u32 column, Operands<V> &to) const {\n");
  for (int k = 1; k <= operand_count(site); k++) emit_operand_load(text, site, walk, k, arguments);
  text_add(text,
           "  }\n  template <int V> __device__ __forceinline__ void store(u32 row, u32 column, const %s *values, const "
           "Operands<V> &with) const {\n",
           device_type(accumulator));
  text_add(text, "    %s result[V];\n#pragma unroll\n    for (int i = 0; i < V; i++) result[i] = ", type);
  if (!program) {
    text_add(text, "narrow<%s>(values[i])", type);
  } else {
    text_add(text, "epilogue(values[i]");
    for (int k = 1; k <= operand_count(site); k++) text_add(text, ", with.x%d[i]", k);
    for (int axis = 0; axis < y->rank && program_has(program, OP_index); axis++) {
      text_add(text, ", ");
      emit_coordinate(text, walk, axis, "(column + i)", arguments);
    }
    text_add(text, "%s)", dims);
  }
  text_add(text, ";\n    store_elements<V, %d>(y + y_row(row%s) + y_column(column%s), result);\n  }\n};\n",
           vector * (int)dtype_size(y->dtype), dims, dims);
  return OK;
}

void output_parameters(Text *text, const Site *site) {
  text_add(text, "%s *y", device_type(site->outputs[0].dtype));
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, ", const %s *e%d", device_type(operand_desc(site, k)->dtype), k);
}

void output_construct(Text *text, const Site *site, const KernelArguments *arguments) {
  text_add(text, "Output{y");
  for (int k = 1; k <= operand_count(site); k++) text_add(text, ", e%d", k);
  text_add(text, ", 0%s}", arguments_passed(arguments));
}

void output_arguments(Emission *emission, Launch *launch, const Site *site) {
  emit_buffer(emission, launch, BUFFER_OUTPUT, 0);
  for (int k = 1; k <= operand_count(site); k++) emit_buffer(emission, launch, BUFFER_INPUT, site->node->input_count + k - 1);
}
