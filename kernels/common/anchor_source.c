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

void walk_add(Walk *walk, int axis, int64_t extent, int64_t scale) {
  if (extent != 1) walk->axes[walk->count++] = (WalkAxis){axis, extent, scale};
}

int64_t walk_count(const Walk *walk) {
  int64_t count = 1;
  for (int i = 0; i < walk->count; i++) count *= walk->axes[i].extent;
  return count;
}

typedef struct Run {
  int64_t extent, stride;
} Run;

// Joins neighbouring axes that advance as one.
static int find_runs(const Walk *walk, const int64_t *strides, Run *runs) {
  int count = 0;
  for (int i = 0; i < walk->count; i++) {
    Run run = {walk->axes[i].extent, strides[walk->axes[i].axis] * walk->axes[i].scale};
    if (count && runs[count - 1].stride == run.stride * run.extent)
      runs[count - 1] = (Run){runs[count - 1].extent * run.extent, run.stride};
    else runs[count++] = run;
  }
  return count;
}

int walk_runs(const Walk *walk, const int64_t *strides) {
  Run runs[MAX_RANK + 1];
  return find_runs(walk, strides, runs);
}

void walk_emit(Text *text, const char *name, const Walk *walk, const int64_t *strides) {
  Run runs[MAX_RANK + 1];
  int count = find_runs(walk, strides, runs);
  text_add(text, "DEVICE i64 %s(u32 index) { return 0", name);
  int64_t inner = walk_count(walk);
  for (int i = 0; i < count; i++) {
    inner /= MAX(runs[i].extent, 1);
    if (runs[i].stride == 0) continue;
    text_add(text, " + (i64)(index");
    if (inner > 1) text_add(text, " / %lluu", (unsigned long long)inner);
    if (i > 0) text_add(text, " %% %lluu", (unsigned long long)runs[i].extent);
    text_add(text, ") * %lldll", (long long)runs[i].stride);
  }
  text_add(text, "; }\n");
}

void broadcast_strides(const TensorDesc *desc, int rank, int64_t *strides) {
  for (int i = 0; i < rank; i++) {
    int own = i - (rank - desc->rank);
    strides[i] = own < 0 || desc->dims[own] == 1 ? 0 : desc->strides[own];
  }
}

int desc_vector(const TensorDesc *desc, int rank, int axis, int bytes) {
  int64_t strides[MAX_RANK];
  broadcast_strides(desc, rank, strides);
  int vector = 1;
  if (strides[axis] != 1) return vector;
  while (vector * 2 * (int)dtype_size(desc->dtype) <= bytes) {
    int next = vector * 2;
    if (desc->offset % next) return vector;
    for (int i = 0; i < rank; i++)
      if (i != axis && strides[i] % next) return vector;
    vector = next;
  }
  return vector;
}

// --- Output

static int operand_count(const Site *site) { return site->epilogue ? site->epilogue->input_count - 1 : 0; }
static const TensorDesc *operand_desc(const Site *site, int operand) {
  return &site->inputs[site->node->input_count + operand - 1];
}

// The coordinate along a logical axis, from all walk axes that add to it.
static void emit_coordinate(Text *text, const OutputWalk *walk, int axis, const char *column) {
  const Walk *walks[3] = {&walk->batch, &walk->row, &walk->column};
  const char *const indices[3] = {"batch", "row", column};
  text_add(text, "(0");
  for (int w = 0; w < 3; w++) {
    int64_t inner = walk_count(walks[w]);
    for (int i = 0; i < walks[w]->count; i++) {
      const WalkAxis *a = &walks[w]->axes[i];
      inner /= MAX(a->extent, 1);
      if (a->axis == axis)
        text_add(text, " + (i64)(%s / %lluu %% %lluu) * %lldll", indices[w], (unsigned long long)MAX(inner, 1),
                 (unsigned long long)MAX(a->extent, 1), (long long)a->scale);
    }
  }
  text_add(text, ")");
}

static void emit_walks(Text *text, const char *name, const OutputWalk *walk, const int64_t *strides) {
  const Walk *walks[3] = {&walk->batch, &walk->row, &walk->column};
  static const char *const parts[3] = {"batch", "row", "column"};
  for (int i = 0; i < 3; i++) {
    char *function = arena_printf(text->arena, "%s_%s", name, parts[i]);
    walk_emit(text, function, walks[i], strides);
  }
}

// The walk's axis that neighbouring columns differ in; they are of one line of it. NULL: one column, which no axis stands for.
static const WalkAxis *column_axis(const Walk *column) { return column->count ? &column->axes[column->count - 1] : NULL; }

// How many neighbouring columns of a tensor may be moved at once; 1 where its columns are not neighbours.
static int column_vector(const TensorDesc *desc, int rank, const Walk *column) {
  const WalkAxis *axis = column_axis(column);
  if (!axis || axis->scale != 1) return 1;
  int vector = desc_vector(desc, rank, axis->axis, 16);
  while (axis->extent % vector) vector /= 2;
  return vector;
}

// Walks may run past the end of an axis: one phase of a transposed convolution can have one output fewer than another.
static bool runs_past(const OutputWalk *walk, int axis, int64_t dim) {
  const Walk *walks[3] = {&walk->batch, &walk->row, &walk->column};
  int64_t last = 0;
  for (int w = 0; w < 3; w++)
    for (int i = 0; i < walks[w]->count; i++)
      if (walks[w]->axes[i].axis == axis) last += (walks[w]->axes[i].extent - 1) * walks[w]->axes[i].scale;
  return last >= dim;
}

// What lies past the end is neither read nor stored.
static void emit_bounds(Text *text, const TensorDesc *y, const OutputWalk *walk) {
  text_add(text, "  __device__ __forceinline__ bool inside(u32 row, u32 column) const {\n    return true");
  for (int axis = 0; axis < y->rank; axis++) {
    if (!runs_past(walk, axis, y->dims[axis])) continue;
    text_add(text, " && ");
    emit_coordinate(text, walk, axis, "column");
    text_add(text, " < %lldll", (long long)y->dims[axis]);
  }
  text_add(text, ";\n  }\n");
}

static void emit_operand_load(Text *text, const Site *site, const OutputWalk *walk, int operand) {
  const TensorDesc *desc = operand_desc(site, operand);
  const char *type = device_type(desc->dtype);
  int rank = site->outputs[0].rank;
  int64_t strides[MAX_RANK];
  const WalkAxis *axis = column_axis(&walk->column);
  broadcast_strides(desc, rank, strides);
  int64_t stride = axis ? strides[axis->axis] * axis->scale : 0;
  text_add(text, "    {\n      const %s *from = e%d + e%d_row(row) + e%d_column(column);\n", type, operand, operand, operand);
  if (stride == 0) {
    text_add(text, "      %s same = *from;\n#pragma unroll\n      for (int i = 0; i < V; i++) to.x%d[i] = same;\n", type,
             operand);
  } else if (stride == 1) {
    text_add(text, "      load_elements<V, %d>(from, to.x%d);\n",
             column_vector(desc, rank, &walk->column) * (int)dtype_size(desc->dtype), operand);
  } else {
    text_add(text,
             "#pragma unroll\n      for (int i = 0; i < V; i++) to.x%d[i] = e%d[e%d_row(row) + e%d_column(column + i)];\n",
             operand, operand, operand, operand);
  }
  text_add(text, "    }\n");
}

bool output_rows_are_plain(const Site *site, const OutputWalk *walk) {
  const TensorDesc *y = &site->outputs[0];
  if (site->epilogue && program_uses_index(site->epilogue)) return false;
  for (int k = 0; k <= operand_count(site); k++) {
    int64_t strides[MAX_RANK];
    broadcast_strides(k ? operand_desc(site, k) : y, y->rank, strides);
    if (walk_runs(&walk->row, strides) > 1) return false;
  }
  return true;
}

Status output_emit(Text *text, const Site *site, const OutputWalk *walk, DType accumulator) {
  const TensorDesc *y = &site->outputs[0];
  const Program *program = site->epilogue;
  const char *type = device_type(y->dtype);
  int64_t strides[MAX_RANK];
  if (program) {
    text_add(text, GENERATED_INCLUDES);
    TRY(epilogue_program_emit(text, site, accumulator));
  }
  broadcast_strides(y, y->rank, strides);
  emit_walks(text, "y", walk, strides);
  for (int k = 1; k <= operand_count(site); k++) {
    broadcast_strides(operand_desc(site, k), y->rank, strides);
    emit_walks(text, arena_printf(text->arena, "e%d", k), walk, strides);
  }
  const WalkAxis *columns = column_axis(&walk->column);
  int vector = columns && runs_past(walk, columns->axis, y->dims[columns->axis]) ? 1 : column_vector(y, y->rank, &walk->column);

  text_add(text, "struct Output {\n  static constexpr int VECTOR = %d;\n  %s *__restrict__ y;\n", vector, type);
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "  const %s *__restrict__ e%d;\n", device_type(operand_desc(site, k)->dtype), k);
  text_add(
      text,
      "  u32 batch;\n  __device__ __forceinline__ void begin(u32 index) {\n    batch = index;\n    y += y_batch(index);\n");
  for (int k = 1; k <= operand_count(site); k++) text_add(text, "    e%d += e%d_batch(index);\n", k, k);
  text_add(text, "  }\n");
  emit_bounds(text, y, walk);
  text_add(text, "  template <int V> struct Operands {\n");
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "    %s x%d[V];\n", device_type(operand_desc(site, k)->dtype), k);
  text_add(text,
           "  };\n  template <int V> __device__ __forceinline__ void load(u32 row, u32 column, Operands<V> &to) const {\n");
  for (int k = 1; k <= operand_count(site); k++) emit_operand_load(text, site, walk, k);
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
    for (int axis = 0; axis < y->rank && program_uses_index(program); axis++) {
      text_add(text, ", ");
      emit_coordinate(text, walk, axis, "(column + i)");
    }
    text_add(text, ")");
  }
  text_add(text, ";\n    store_elements<V, %d>(y + y_row(row) + y_column(column), result);\n  }\n};\n",
           vector * (int)dtype_size(y->dtype));
  return OK;
}

void output_parameters(Text *text, const Site *site) {
  text_add(text, "%s *y", device_type(site->outputs[0].dtype));
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, ", const %s *e%d", device_type(operand_desc(site, k)->dtype), k);
}

void output_construct(Text *text, const Site *site) {
  text_add(text, "Output{y");
  for (int k = 1; k <= operand_count(site); k++) text_add(text, ", e%d", k);
  text_add(text, ", 0}");
}

void output_arguments(Emission *emission, Launch *launch, const Site *site) {
  emit_buffer(emission, launch, BUFFER_OUTPUT, 0);
  for (int k = 1; k <= operand_count(site); k++) emit_buffer(emission, launch, BUFFER_INPUT, site->node->input_count + k - 1);
}
