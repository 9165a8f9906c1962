// Elementwise kernels as text. The domain is walked in the output's memory order with adjacent axes merged. Where the output's
// last axis is contiguous a thread computes a vector of neighbours: operands that are contiguous too move in accesses of up
// to 16 bytes, those that stand still are read once, others element by element. An operand that is contiguous along another axis (a
// transposed view) would touch a new cache line for each element; such sites are computed tile by tile, the operand passing
// through shared memory, so that both sides are read and written along their own contiguous axis.
// Traffic: every operand once. Limit on the chip: memory bandwidth.
#include <string.h>
#include "base/checked.h"
#include "kernels/program/generate.h"
#include "kernels/program/nest.h"

enum { THREADS = 256, TILE_ROWS = 8, MAX_TILED = 5 };

typedef struct Generator {
  const Program *program;
  int input_count, output_count;
  const TensorDesc *inputs, *outputs;
  Arena *arena;
  Nest nest;                      // inputs, then outputs, then the indices of the domain's axes
  int index_tensor[MAX_RANK];     // number in the nest, or -1
  const char *extents[MAX_RANK];  // of the domain, as text
  bool *used;                     // of each input, whether the program reads it
  const Extent *bases;            // of each tensor, elements from its pointer to element 0; NULL: none
  int inner;                      // the innermost axis of the nest
  int vector;
  bool open;  // the kernel takes sizes as arguments
  KernelArguments *arguments;
  DimTable *dims;
  Extent blocks;
  size_t shared_bytes;
  const char *prefix;  // of the kernel's parameters, where it has several parts
  // Tiled: the axis along which the tiled operands are contiguous, or -1.
  int across;
  bool *tiled;
  int tile;
} Generator;

static const TensorDesc *operand(const Generator *g, int tensor) {
  return tensor < g->input_count ? &g->inputs[tensor] : &g->outputs[tensor - g->input_count];
}

static void make_nest(Generator *g) {
  const TensorDesc *y = &g->outputs[0];
  Extent domain[MAX_RANK];
  for (int i = 0; i < y->rank; i++) domain[i] = g->dims ? desc_extent(y, i) : extent_static(y->dims[i]);
  g->nest = nest_new(g->dims, g->arguments, y->rank, domain);
  for (int i = 0; i < g->input_count; i++) nest_add(&g->nest, &g->inputs[i]);
  for (int i = 0; i < g->output_count; i++) nest_add(&g->nest, &g->outputs[i]);
  for (int axis = 0; axis < MAX_RANK; axis++) {
    g->index_tensor[axis] = -1;
    for (int i = 0; i < g->program->count && axis < y->rank; i++) {
      const Instruction *instruction = &g->program->code[i];
      if (instruction->args[0] != axis) continue;
      if (g->index_tensor[axis] < 0 && instruction->op == OP_index) g->index_tensor[axis] = nest_add_index(&g->nest, axis);
      if (instruction->op == OP_extent) g->extents[axis] = extent_text(g->arguments, domain[axis], true);
    }
  }
  int outer = 0;
  nest_collapse(&g->nest, g->input_count, &outer);
  g->inner = g->nest.rank - 1;
  g->open = nest_is_open(&g->nest) || g->arguments->count;
  for (int t = 0; g->bases && t < g->input_count + g->output_count; t++) g->open |= g->bases[t].open;
}

static int alignment_of(const Generator *g, int tensor, int axis) {
  Extent offset = extent_static(operand(g, tensor)->offset);
  int64_t most = g->vector;
  if (g->bases) offset = extent_add(g->dims, offset, g->bases[tensor]);
  if (offset.open) most = extent_factor(g->dims, offset, most);
  return nest_alignment(&g->nest, tensor, axis, offset.now, (int)most);
}

// Neighbours a thread computes: limited by the row's length, by registers (32 bytes of the widest operand), and so
// that small tensors still spread over the chip. Of open sizes: of what they will be nothing is known.
static int choose_vector(const Generator *g) {
  Extent row = g->nest.extents[g->inner];
  double count = 1;
  for (int i = 0; i < g->nest.rank; i++) count *= (double)g->nest.extents[i].now;
  size_t least = 16, most = 1;
  for (int t = 0; t < g->input_count + g->output_count; t++) {
    bool contiguous = extent_is(g->nest.strides[t][g->inner], 1);
    if (t >= g->input_count && !contiguous) return 1;
    if (!contiguous || (t < g->input_count && !g->used[t])) continue;
    size_t size = dtype_size(operand(g, t)->dtype);
    least = MIN(least, size);
    most = MAX(most, size);
  }
  int vector = (int)(16 / least);
  while (vector > 1 && (size_t)vector * most > 32) vector /= 2;
  if (g->nest.rank > 1) vector = (int)extent_factor(g->dims, row, vector);
  while (vector > 1 && !g->open && count / vector < 16384) vector /= 2;
  return vector;
}

// --- Text

// The tensors' pointers, "x0, x1, y0", with types or without, their names with a prefix.
static void add_pointers(Text *text, const Generator *g, bool types, const char *prefix) {
  for (int t = 0, any = 0; t < g->input_count + g->output_count; t++) {
    bool input = t < g->input_count;
    if (input && operand(g, t)->absent) continue;
    text_add(text, any++ ? ", " : "");
    if (types) text_add(text, "%sElement_%s::Stored *", input ? "const " : "", dtype_name(operand(g, t)->dtype));
    text_add(text, input ? "%sx%d" : "%sy%d", prefix, input ? t : t - g->input_count);
  }
}
static void add_parameters(Text *text, const Generator *g, bool types) {
  add_pointers(text, g, types, "");
  if (g->open) text_add(text, types ? ", const Dims &dims" : ", dims");
}

static void add_bases(Text *text, const Generator *g) {
  for (int t = 0; g->bases && t < g->input_count + g->output_count; t++)
    if (!extent_is(g->bases[t], 0))
      text_add(text, "  %s%d += %s;\n", t < g->input_count ? "x" : "y", t < g->input_count ? t : t - g->input_count,
               extent_text(g->arguments, g->bases[t], true));
}

static void add_coordinate_parameters(Text *text, const Generator *g, bool types) {
  const char *type = nest_is_small(&g->nest) ? "int" : "i64";
  for (int i = 0; i < g->nest.rank; i++) text_add(text, ", %s%sc%d", types ? type : "", types ? " " : "", i);
}

// Loads of the V neighbours at the coordinates, one array an operand: a0[V], a1[V] ...
static void add_load(Text *text, const Generator *g, int t) {
  const char *dtype = dtype_name(operand(g, t)->dtype);
  Extent stride = g->nest.strides[t][g->inner];
  char *offset = nest_offset(&g->nest, t, 0, g->nest.rank);
  text_add(text, "  Element_%s::Value a%d[V];\n", dtype, t);
  if (extent_is(stride, 1)) {
    int alignment = alignment_of(g, t, g->inner);
    text_add(text, "  element_load<Element_%s, V, %d>(x%d + (%s), a%d);\n", dtype, alignment, t, offset, t);
  } else if (extent_is(stride, 0)) {
    text_add(text, "  const Element_%s::Value same%d = Element_%s::get(x%d[%s]);\n", dtype, t, dtype, t, offset);
    text_add(text, "#pragma unroll\n  for (int i = 0; i < V; i++) a%d[i] = same%d;\n", t, t);
  } else {
    text_add(text, "#pragma unroll\n  for (int i = 0; i < V; i++) a%d[i] = Element_%s::get(x%d[%s + i * (%s)]);\n", t, dtype, t,
             offset, extent_text(g->arguments, stride, true));
  }
}

// From arrays a0, a1 ... to memory.
static void add_compute_and_store(Text *text, const Generator *g) {
  const Program *program = g->program;
  Arena *arena = g->arena;
  const char **inputs = arena_array(arena, const char *, (size_t)g->input_count);
  DType *dtypes = arena_array(arena, DType, (size_t)g->input_count);
  const char **results = arena_array(arena, const char *, (size_t)program->output_count);
  const char *indices[MAX_RANK] = {0};
  for (int t = 0; t < g->input_count; t++) {
    inputs[t] = arena_printf(arena, "a%d[i]", t);
    dtypes[t] = g->inputs[t].dtype;
  }
  for (int axis = 0; axis < MAX_RANK; axis++) {
    int t = g->index_tensor[axis];
    if (t < 0) continue;
    char *offset = nest_offset(&g->nest, t, 0, g->nest.rank);
    indices[axis] = arena_printf(arena, "(%s + i * %s)", offset,
                                 extent_text(g->arguments, g->nest.strides[t][g->inner], !nest_is_small(&g->nest)));
  }
  for (int o = 0; o < g->output_count; o++)
    text_add(text, "  Element_%s::Stored r%d[V];\n", dtype_name(g->outputs[o].dtype), o);
  text_add(text, "#pragma unroll\n  for (int i = 0; i < V; i++) {\n");
  ProgramNames names = {
      inputs, dtypes, indices, g->extents, "1ll", "v", program_is_narrow(program, g->output_count, g->outputs)};
  program_emit_cuda(text, program, &names, results);
  for (int o = 0; o < g->output_count; o++) {
    DType from = program->code[program->outputs[o]].dtype;
    text_add(text, "  r%d[i] = %s;\n", o, stored_expression(arena, g->outputs[o].dtype, from, results[o]));
  }
  text_add(text, "  }\n");
  for (int o = 0; o < g->output_count; o++) {
    int t = g->input_count + o;
    char *offset = nest_offset(&g->nest, t, 0, g->nest.rank);
    int alignment = alignment_of(g, t, g->inner);
    if (extent_is(g->nest.strides[t][g->inner], 1))
      text_add(text, "  element_store<Element_%s, V, %d>(y%d + (%s), r%d);\n", dtype_name(g->outputs[o].dtype), alignment, o,
               offset, o);
    else text_add(text, "  y%d[%s] = r%d[0];\n", o, offset, o);
  }
}

static void emit_linear(Text *text, Generator *g) {
  text_add(text, "template <int V> DEVICE void elements(");
  add_parameters(text, g, true);
  add_coordinate_parameters(text, g, true);
  text_add(text, ") {\n");
  for (int t = 0; t < g->input_count; t++)
    if (g->used[t]) add_load(text, g, t);
  add_compute_and_store(text, g);
  text_add(text, "}\n");

  Extent row = g->nest.extents[g->inner], items = extent_static(1);
  for (int i = 0; i < g->nest.rank; i++)
    items = extent_mul(g->dims, items, i == g->inner ? extent_ceil_div(g->dims, row, g->vector) : g->nest.extents[i]);
  bool wide = !nest_is_small(&g->nest);
  const char *type = wide ? "u64" : "u32";
  text_add(text, "DEVICE void run(");
  add_parameters(text, g, true);
  text_add(text, ", u32 block, char *) {\n  const %s item = (%s)block * %d + threadIdx.x;\n  if (item >= (%s)%s) return;\n",
           type, type, THREADS, type, extent_text(g->arguments, items, wide));
  add_bases(text, g);
  nest_emit_coordinates(text, &g->nest, 0, g->nest.rank, "item", g->vector);
  if (extent_factor(g->dims, row, g->vector) < g->vector) {
    const char *end = extent_text(g->arguments, row, wide);
    text_add(text, "  if (c%d + %d > %s) {\n    for (auto c = c%d; c < %s; c++) elements<1>(", g->inner, g->vector, end,
             g->inner, end);
    add_parameters(text, g, false);
    text_add(text, ", c);\n    return;\n  }\n");
  }
  text_add(text, "  elements<%d>(", g->vector);
  add_parameters(text, g, false);
  add_coordinate_parameters(text, g, false);
  text_add(text, ");\n}\n");
  g->blocks = extent_ceil_div(g->dims, items, THREADS);
}

// --- Tiles

// Worth a tile. An open axis will be.
static bool is_long(Extent extent) { return extent.open || extent.now >= 8; }

// Finds the axis along which inputs are contiguous that are not along the output's innermost.
static void choose_tiles(Generator *g) {
  g->across = -1;
  g->tiled = arena_array(g->arena, bool, (size_t)g->input_count);
  const Nest *nest = &g->nest;
  if (!extent_is(nest->strides[g->input_count][g->inner], 1) || !is_long(nest->extents[g->inner])) return;
  int count = 0;
  size_t size = 1;
  for (int t = 0; t < g->input_count; t++) {
    Extent stride = nest->strides[t][g->inner];
    if (!g->used[t] || extent_is(stride, 0) || extent_is(stride, 1) || count == MAX_TILED) continue;
    for (int axis = 0; axis < nest->rank - 1; axis++) {
      if (!extent_is(nest->strides[t][axis], 1) || !is_long(nest->extents[axis]) || (g->across >= 0 && axis != g->across))
        continue;
      g->across = axis;
      g->tiled[t] = true;
      size = MAX(size, dtype_size(g->inputs[t].dtype));
      count++;
      break;
    }
  }
  if (g->across < 0) return;
  g->tile = size <= 2 ? 64 : 32;
  g->vector = g->tile / 32;
  for (int o = 0; o < g->output_count; o++)
    if (!extent_is(nest->strides[g->input_count + o][g->inner], 1)) g->vector = 1;
  if (extent_factor(g->dims, nest->extents[g->inner], g->vector) < g->vector ||
      extent_factor(g->dims, nest->extents[g->across], g->vector) < g->vector)
    g->vector = 1;
}

// Where the block's tile is: the first column and row of it, and the coordinates of all other axes.
static void emit_tile_place(Text *text, Generator *g, const char *type) {
  const Nest *nest = &g->nest;
  int64_t inner = nest->extents[g->inner].now, rows = nest->extents[g->across].now;
  int64_t column_tiles = ceil_div(inner, g->tile), row_tiles = ceil_div(rows, g->tile);
  text_add(text, "  const %s column0 = (%s)(block %% %lldu) * TILE, row0 = (%s)(block / %lldu %% %lldu) * TILE;\n", type, type,
           (long long)column_tiles, type, (long long)column_tiles, (long long)row_tiles);
  inner = column_tiles * row_tiles;
  for (int i = g->inner - 1; i >= 0; i--) {
    if (i == g->across) continue;
    text_add(text, "  const %s c%d = (%s)(block / %lldu %% %lldu);\n", type, i, type, (long long)inner,
             (long long)nest->extents[i].now);
    inner *= nest->extents[i].now;
  }
}

// The same where sizes are open: axis by axis, of what the ones before left. There are less than 2^31 blocks.
static void emit_open_tile_place(Text *text, Generator *g, const char *type) {
  const Nest *nest = &g->nest;
  const char *rest = "block";
  for (int k = -2, number = 0; k < g->inner; k++) {  // columns, rows, then the others, innermost first
    int axis = k == -2 ? g->inner : k == -1 ? g->across : g->inner - 1 - k;
    if (k >= 0 && axis == g->across) continue;
    Extent steps = k < 0 ? extent_ceil_div(g->dims, nest->extents[axis], g->tile) : nest->extents[axis];
    char *next = arena_printf(g->arena, "block%d", number++);
    text_add(text, "  const u32 %s = %s;\n", next, extent_divide(g->arguments, rest, steps, false));
    char *name = k == -2 ? "column0" : k == -1 ? "row0" : arena_printf(g->arena, "c%d", axis);
    text_add(text, "  const %s %s = (%s)(%s - %s * (u32)%s)%s;\n", type, name, type, rest, next,
             extent_text(g->arguments, steps, false), k < 0 ? " * TILE" : "");
    rest = next;
  }
}

static void emit_tiled(Text *text, Generator *g) {
  const Nest *nest = &g->nest;
  bool wide = !nest_is_small(nest);
  const char *type = wide ? "i64" : "int";
  const char *columns = extent_text(g->arguments, nest->extents[g->inner], wide);
  const char *rows = extent_text(g->arguments, nest->extents[g->across], wide);
  text_add(text, "DEVICE void run(");
  add_parameters(text, g, true);
  text_add(text, ", u32 block, char *shared) {\n  constexpr int TILE = %d, V = %d;\n", g->tile, g->vector);
  text_add(text, "  const int x = threadIdx.x %% 32, y = threadIdx.x / 32;\n");
  g->shared_bytes = 0;
  for (int t = 0; t < g->input_count; t++) {
    if (!g->tiled[t]) continue;
    text_add(text, "  auto tile%d = (Element_%s::Stored(*)[TILE + V])(shared + %zu);\n", t, dtype_name(g->inputs[t].dtype),
             g->shared_bytes);
    g->shared_bytes += align_up((size_t)(g->tile * (g->tile + g->vector)) * dtype_size(g->inputs[t].dtype), 16);
  }
  add_bases(text, g);
  (g->open ? emit_open_tile_place : emit_tile_place)(text, g, type);
  // In: rows of the tile are the output's columns; threads run along the operand's contiguous axis.
  text_add(text, "#pragma unroll\n  for (int r = y; r < TILE; r += %d) {\n", TILE_ROWS);
  text_add(text, "  const %s c%d = column0 + r, c%d = row0 + x * V;\n", type, g->inner, g->across);
  for (int j = 0; j < g->tile / (32 * g->vector); j++) {
    text_add(text, "  if (c%d < %s && c%d + %d < %s) {\n", g->inner, columns, g->across, j * 32, rows);
    for (int t = 0; t < g->input_count; t++) {
      if (!g->tiled[t]) continue;
      int alignment = alignment_of(g, t, g->across);
      text_add(
          text,
          "    { const Element_%s::Stored *from = x%d + (%s) + %d;\n#pragma unroll\n      for (int i = 0; i < V; i += %d) {\n"
          "        const auto part = load_vector<%d>(from + i);\n#pragma unroll\n"
          "        for (int k = 0; k < %d; k++) tile%d[r][x * V + %d + i + k] = part[k];\n      } }\n",
          dtype_name(g->inputs[t].dtype), t, nest_offset(nest, t, 0, nest->rank), j * 32, alignment, alignment, alignment, t,
          j * 32);
    }
    text_add(text, "  }\n");
  }
  text_add(text, "  }\n  __syncthreads();\n#pragma unroll\n  for (int r = y; r < TILE; r += %d)\n", TILE_ROWS);
  text_add(text, "#pragma unroll\n  for (int column = x * V; column < TILE; column += 32 * V) {\n");
  text_add(text, "  const %s c%d = row0 + r, c%d = column0 + column;\n", type, g->across, g->inner);
  text_add(text, "  if (c%d >= %s || c%d >= %s) continue;\n", g->across, rows, g->inner, columns);
  for (int t = 0; t < g->input_count; t++) {
    if (!g->used[t]) continue;
    const char *dtype = dtype_name(g->inputs[t].dtype);
    if (!g->tiled[t]) add_load(text, g, t);
    else
      text_add(text,
               "  Element_%s::Value a%d[V];\n#pragma unroll\n  for (int i = 0; i < V; i++) a%d[i] = "
               "Element_%s::get(tile%d[column + i][r]);\n",
               dtype, t, t, dtype, t);
  }
  add_compute_and_store(text, g);
  text_add(text, "  }\n}\n");
  g->blocks = extent_static(1);
  for (int i = 0; i < nest->rank; i++) {
    bool cut = i == g->inner || i == g->across;
    Extent steps = cut ? extent_ceil_div(g->dims, nest->extents[i], g->tile) : nest->extents[i];
    g->blocks = extent_mul(g->dims, g->blocks, steps);
  }
}

static Status check_part(const ElementwisePart *part) {
  const Program *program = part->program;
  if (program_has_reduction(program)) FAIL(ERROR_INTERNAL, "an elementwise program has a reduction");
  if (part->output_count != program->output_count || part->input_count < program->input_count)
    FAIL(ERROR_INTERNAL, "a program of %d inputs and %d outputs is given %d and %d tensors", program->input_count,
         program->output_count, part->input_count, part->output_count);
  return OK;
}

// Adds the part as `namespace part<number>` with a function run(pointers, block).
static void emit_part(Text *text, Generator *g, int number) {
  g->used = arena_array(g->arena, bool, (size_t)MAX(g->input_count, 1));
  bool *needed = arena_array(g->arena, bool, (size_t)g->program->count);
  program_needed(g->program, needed);
  for (int i = 0; i < g->program->count; i++)
    if (needed[i] && g->program->code[i].op == OP_input) g->used[g->program->code[i].args[0]] = true;
  make_nest(g);
  choose_tiles(g);
  text_add(text, "namespace part%d {\n", number);
  if (g->across >= 0) {
    emit_tiled(text, g);
  } else {
    g->vector = choose_vector(g);
    emit_linear(text, g);
  }
  text_add(text, "}  // namespace part%d\n", number);
}

// The kernel itself: consecutive blocks belong to consecutive parts. A block runs one part, so they share their shared memory.
static void emit_entry(Text *text, const Generator *parts, int count, bool open, KernelArguments *arguments, Extent *blocks) {
  size_t shared_bytes = 0;
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) elementwise(", THREADS);
  for (int p = 0; p < count; p++) {
    text_add(text, p ? ", " : "");
    add_pointers(text, &parts[p], true, parts[p].prefix);
    shared_bytes = MAX(shared_bytes, parts[p].shared_bytes);
  }
  const char **firsts = arena_array(text->arena, const char *, (size_t)count);  // where each part begins
  *blocks = extent_static(0);
  for (int p = 0; p < count; p++) {
    firsts[p] = extent_text(arguments, *blocks, false);
    *blocks = extent_add(parts[p].dims, *blocks, parts[p].blocks);
  }
  kernel_arguments_parameters(text, arguments);
  text_add(text, ") {\n  begin_kernel();\n");
  if (open) kernel_arguments_gather(text, arguments);
  if (shared_bytes)
    text_add(text, "  __shared__ uint4 words[%zu];\n  char *const shared = (char *)words;\n", shared_bytes / 16);
  else text_add(text, "  char *const shared = nullptr;\n");
  for (int p = 0; p < count; p++) {
    bool last = p + 1 == count;
    if (!last) text_add(text, "  if (blockIdx.x < (u32)%s) {\n  ", firsts[p + 1]);
    text_add(text, "  part%d::run(", p);
    add_pointers(text, &parts[p], false, parts[p].prefix);
    if (parts[p].open) text_add(text, ", dims");
    text_add(text, p ? ", blockIdx.x - (u32)%s, shared);\n" : ", blockIdx.x, shared);\n", firsts[p]);
    if (!last) text_add(text, "    return;\n  }\n");
  }
  text_add(text, "}\n");
}

Status generate_elementwise_parts(int count, const ElementwisePart *parts, Arena *arena, GeneratedKernel *out) {
  *out = (GeneratedKernel){.entry = "elementwise", .grid = {0, 1, 1}, .block = {THREADS, 1, 1}};
  Generator *generators = arena_array(arena, Generator, (size_t)count);
  Text text = text_new(arena), body = text_new(arena);
  Extent blocks;
  bool open = false;
  out->arguments.arena = arena;
  for (int p = 0; p < count; p++) {
    TRY(check_part(&parts[p]));
    Generator *g = &generators[p];
    *g = (Generator){.program = parts[p].program,
                     .input_count = parts[p].input_count,
                     .output_count = parts[p].output_count,
                     .inputs = parts[p].inputs,
                     .outputs = parts[p].outputs,
                     .bases = parts[p].bases,
                     .dims = parts[p].dims,
                     .arguments = &out->arguments,
                     .prefix = count > 1 ? arena_printf(arena, "p%d_", p) : "",
                     .arena = arena};
    if (desc_count(&g->outputs[0]) == 0 && !desc_is_open(&g->outputs[0]))
      FAIL(ERROR_INTERNAL, "an elementwise kernel over nothing");
    emit_part(&body, g, p);
    open |= g->open;
  }
  emit_entry(&body, generators, count, open, &out->arguments, &blocks);
  if (blocks.now > INT32_MAX) FAIL(ERROR_UNSUPPORTED, "an elementwise kernel of %lld blocks", (long long)blocks.now);
  text_add(&text, GENERATED_INCLUDES);
  if (open) kernel_arguments_struct(&text, &out->arguments);
  text_add(&text, "%s", text_get(&body));
  out->grid[0] = (unsigned)blocks.now;
  out->source = text_get(&text);
  return OK;
}

Status generate_elementwise(const Program *program, int input_count, const TensorDesc *inputs, int output_count,
                            const TensorDesc *outputs, DimTable *dims, Arena *arena, GeneratedKernel *out) {
  ElementwisePart part = {program, input_count, output_count, inputs, outputs, NULL, dims};
  *out = (GeneratedKernel){.entry = "elementwise", .grid = {0, 1, 1}, .block = {THREADS, 1, 1}};
  return desc_count(&outputs[0]) == 0 ? OK : generate_elementwise_parts(1, &part, arena, out);
}
