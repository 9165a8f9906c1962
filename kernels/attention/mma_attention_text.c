// See mma_attention.h: the part of the kernel's text that the device code (attention.cuh, wgmma_attention.cuh, piped_attention.cuh) is specialised by.
#include "kernels/attention/mma_attention.h"
#include "kernels/program/generate.h"

static const struct {
  const char *file, *type;
} kernels[] = {[BY_WARPS] = {"attention", "Attention"},
               [BY_WARPGROUPS] = {"wgmma_attention", "WarpgroupAttention"},
               [PIPED] = {"piped_attention", "PipedAttention"}};

static void emit_operand(Text *text, char upper, const Operand *operand) {
  const char *along = upper == 'V' ? "N" : "D";
  text_add(text,
           "  static constexpr bool %c_%s_FAST = %d;\n  static constexpr int %c_COPY = %d;\n  static constexpr i64 %c_OUTER = "
           "%s;\n",
           upper, along, operand->fast, upper, operand->copy, upper, stride_constant(text->arena, operand->outer));
}

static void emit_problem(Text *text, const MmaAttention *m, const int *config, KernelArguments *arguments) {
  text_add(text,
           "struct Problem {\n  static constexpr int M = %lld, N = %lld, D = %lld, DV = %lld, D_PADDED = %d, DV_PADDED = %d, "
           "WARPS = %d, "
           "FRAGMENTS = %d, BN = %d;\n  static constexpr bool ZERO_NAN = %d;\n",
           (long long)extent_constant(m->table, m->m), (long long)extent_constant(m->table, m->n), (long long)m->d,
           (long long)m->dv, mma_attention_padded(m->d), mma_attention_padded(m->dv), config[WARPS], config[FRAGMENTS],
           config[KEYS], m->a.zero_nan);
  emit_operand(text, 'Q', &m->q);
  emit_operand(text, 'K', &m->k);
  emit_operand(text, 'V', &m->v);
  text_add(text, "};\n");
  walk_emit(text, "q_batch", &m->scores_batch, m->q.batch, arguments);
  walk_emit(text, "k_batch", &m->scores_batch, m->k.batch, arguments);
  walk_emit(text, "v_batch", &m->output.batch, m->v.batch, arguments);
}

// What an input of the score broadcasts to, and the walk over its batch.
static TensorDesc read_over(const MmaAttention *m, Arena *arena, int i, Walk *batch) {
  TensorDesc over;
  *batch = (Walk){0};
  mma_attention_batch(m->table, arena, m->a.inputs[i].over, batch, &over);
  return over;
}

// The last column but so many.
static const char *column_limit(Arena *arena, const MmaAttention *m, int before, KernelArguments *arguments) {
  if (!m->n.open) return arena_printf(arena, "%lldu", (long long)m->n.now - before);
  return arena_printf(arena, "(u32)%s - %du", extent_text(arguments, m->n, false), before);
}

// One input of the score: two neighbours of it, x<i>[0] and x<i>[1]. Columns behind the last read the last.
static void emit_load(Text *text, const MmaAttention *m, const TensorDesc *desc, int i, bool clamp,
                      KernelArguments *arguments) {
  Extent strides[MAX_RANK];
  Walk batch;
  const char *type = device_type(desc->dtype);
  TensorDesc over = read_over(m, text->arena, i, &batch);
  broadcast_strides(m->table, desc, &over, strides);
  Extent row = strides[over.rank - 2], column = strides[over.rank - 1];
  text_add(text, "    %s x%d[2];\n    const %s *from%d = s%d + (i64)row * %s;\n", type, i, type, i, i,
           extent_text(arguments, row, true));
  if (extent_is(column, 0)) {
    text_add(text, "    x%d[0] = x%d[1] = *from%d;\n", i, i, i);
  } else if (extent_is(column, 1) && extent_factor(m->table, m->n, 2) == 2) {
    const char *at =
        clamp ? arena_printf(text->arena, "min(column, %s)", column_limit(text->arena, m, 2, arguments)) : "column";
    int bytes = MIN(desc_vector(m->table, desc, &over, over.rank - 1, 16), 2) * (int)dtype_size(desc->dtype);
    text_add(text, "    load_elements<2, %d>(from%d + %s, x%d);\n", bytes, i, at, i);
  } else {
    for (int c = 0; c < 2; c++)
      text_add(text, "    x%d[%d] = from%d[(i64)min(column + %d, %s) * %s];\n", i, c, i, c,
               column_limit(text->arena, m, 1, arguments), extent_text(arguments, column, true));
  }
}

static void emit_function(Text *text, const Site *site, const MmaAttention *m, KernelArguments *arguments) {
  const Program *score = m->a.score;
  Arena *arena = text->arena;
  const Value *taken = m->a.softmax->outputs[0];
  const char *inputs[ATTENTION_INPUTS] = {0}, *indices[MAX_RANK] = {0}, *extents[MAX_RANK] = {0}, *result;
  DType dtypes[ATTENTION_INPUTS];
  int row = taken->rank - 2, column = taken->rank - 1;
  indices[row] = "row", indices[column] = "column";
  for (int i = 0; i < score->count; i++) {
    if (score->code[i].op != OP_extent) continue;
    int axis = score->code[i].args[0];
    extents[axis] = extent_text(arguments, axis == row ? m->m : m->n, true);
  }
  text_add(text, "  %s__device__ __forceinline__ float of(float sum, i64 row, i64 column", arguments->table ? "" : "static ");
  for (int i = 0; i < score->input_count; i++) {
    inputs[i] = "sum", dtypes[i] = DTYPE_F32;
    if (!m->a.inputs[i].value) continue;
    dtypes[i] = site->inputs[m->score_inputs[i]].dtype;
    text_add(text, ", Element_%s::Stored x%d", dtype_name(dtypes[i]), i);
    inputs[i] = arena_printf(arena, "Element_%s::get(x%d)", dtype_name(dtypes[i]), i);
  }
  text_add(text, ")%s {\n", arguments->table ? " const" : "");
  ProgramNames names = {inputs, dtypes, indices, extents, arena_printf(arena, "%lldll", (long long)m->n.now), "v"};
  program_emit_cuda(text, score, &names, &result);
  text_add(text, "    return %s;\n  }\n", result);
}

static void emit_score(Text *text, const Site *site, const MmaAttention *m, const int *config, KernelArguments *arguments) {
  const Program *score = m->a.score;
  const char *dims = arguments_passed(arguments);
  for (int i = 0; i < score->input_count; i++) {
    if (!m->a.inputs[i].value) continue;
    Extent strides[MAX_RANK];
    Walk batch;
    TensorDesc over = read_over(m, text->arena, i, &batch);
    broadcast_strides(m->table, &site->inputs[m->score_inputs[i]], &over, strides);
    walk_emit(text, arena_printf(text->arena, "s%d_batch", i), &batch, strides, arguments);
  }
  text_add(text, "struct Score {\n  static constexpr int BEHIND = %d, AHEAD = %d;\n  static constexpr float SCALE = %sf;\n",
           m->bounds.behind, m->bounds.ahead, arena_printf(text->arena, "%.9e", m->bounds.scale));
  for (int i = 0; i < score->input_count; i++)
    if (m->a.inputs[i].value)
      text_add(text, "  const %s *__restrict__ s%d;\n", device_type(site->inputs[m->score_inputs[i]].dtype), i);
  if (arguments->table) text_add(text, "  Dims dims;\n");
  emit_function(text, site, m, arguments);
  text_add(text, "  __device__ __forceinline__ void begin(u32 batch) {\n");
  for (int i = 0; i < score->input_count; i++)
    if (m->a.inputs[i].value) text_add(text, "    s%d += s%d_batch(batch%s);\n", i, i, dims);
  text_add(text, "  }\n  __device__ __forceinline__ void pair(float *sums, u32 row, u32 column) const {\n");
  bool clamp = extent_factor(m->table, m->n, config[KEYS]) < config[KEYS];
  for (int i = 0; i < score->input_count; i++)
    if (m->a.inputs[i].value) emit_load(text, m, &site->inputs[m->score_inputs[i]], i, clamp, arguments);
  for (int c = 0; c < 2; c++) {
    text_add(text, "    sums[%d] = of(sums[%d], row, column + %d", c, c, c);
    for (int i = 0; i < score->input_count; i++)
      if (m->a.inputs[i].value) text_add(text, ", x%d[%d]", i, c);
    text_add(text, ");\n");
  }
  text_add(text, "  }\n};\n");
}

// Which rows of which of the batch a block has: `batch`, `tile`. Where later rows have more keys, they begin.
static void emit_place(Text *text, const MmaAttention *m, int rows, KernelArguments *arguments) {
  Extent tiles = extent_ceil_div(m->table, m->m, rows);
  const char *count = extent_text(arguments, tiles, false);
  text_add(text, "  const u32 batch = %s, place = blockIdx.x - batch * %s, tile = %s;\n",
           extent_divide(arguments, "blockIdx.x", tiles, false), count,
           m->bounds.ahead < SCORE_FAR ? arena_printf(text->arena, "%s - 1u - place", count) : "place");
}

static void emit_body(Text *text, const MmaAttention *m, const int *config, KernelArguments *arguments) {
  int rows = config[WARPS] * config[FRAGMENTS] * 16;
  const char *separator = "", *dims = arguments_passed(arguments);
  emit_place(text, m, rows, arguments);
  text_add(text, "  Score score = {");
  for (int i = 0; i < m->a.score->input_count; i++) {
    if (!m->a.inputs[i].value) continue;
    text_add(text, "%ss%d", separator, i);
    separator = ", ";
  }
  if (arguments->table) text_add(text, "%sdims", separator);
  text_add(text, "};\n  score.begin(batch);\n  Output output = ");
  output_construct(text, &m->product, arguments);
  text_add(text,
           ";\n  output.begin(batch);\n  %s<Problem, %s> attention;\n  attention.run(q + q_batch(batch%s), k + "
           "k_batch(batch%s), v + "
           "v_batch(batch%s), (int)tile * %d, score, output",
           kernels[config[FORM]].type, m->dtype == DTYPE_F16 ? "MmaF16" : "MmaBf16", dims, dims, dims, rows);
  if (arguments->table)
    text_add(text, ", {%s, %s, %s, %s, %s}", extent_text(arguments, m->m, false), extent_text(arguments, m->n, false),
             extent_text(arguments, m->q.outer, true), extent_text(arguments, m->k.outer, true),
             extent_text(arguments, m->v.outer, true));
  text_add(text, ");\n}\n");
}

static void emit_entry(Text *text, const Site *site, const MmaAttention *m, const int *config, KernelArguments *arguments) {
  const char *type = device_type(m->dtype);
  Text body = text_new(text->arena);
  emit_body(&body, m, config, arguments);
  text_add(text,
           "#include \"kernels/attention/%s.cuh\"\nextern \"C\" __global__ void __launch_bounds__(%d, %d) "
           "mma_attention_kernel(const %s *q, "
           "const %s *k, const %s *v, ",
           kernels[config[FORM]].file, mma_attention_threads(config), mma_attention_blocks(m, config), type, type, type);
  for (int i = 0; i < m->a.score->input_count; i++)
    if (m->a.inputs[i].value) text_add(text, "const %s *s%d, ", device_type(site->inputs[m->score_inputs[i]].dtype), i);
  output_parameters(text, &m->product);
  if (arguments->table) kernel_arguments_parameters(text, arguments);
  text_add(text, ") {\n  begin_kernel();\n");
  if (arguments->table) kernel_arguments_gather(text, arguments);
  text_add(text, "%s", text_get(&body));
}

Status mma_attention_text(Text *text, const Site *site, const MmaAttention *m, const int *config, KernelArguments *arguments) {
  Text rest = text_new(text->arena);
  emit_problem(&rest, m, config, arguments);
  emit_score(&rest, site, m, config, arguments);
  TRY(output_emit(&rest, &m->product, &m->output, DTYPE_F32, arguments));
  emit_entry(&rest, site, m, config, arguments);
  text_add(text, "#include \"kernels/tile/mma_tile.cuh\"\n" GENERATED_INCLUDES);
  if (arguments->table) kernel_arguments_struct(text, arguments);
  text_add(text, "%s", text_get(&rest));
  return OK;
}
