// See mma_attention.h: the part of the kernel's text that the device code (attention.cuh, wgmma_attention.cuh) is specialised by.
#include "kernels/attention/mma_attention.h"
#include "kernels/program/generate.h"

static void emit_operand(Text *text, char upper, const Operand *operand) {
  const char *along = upper == 'V' ? "N" : "D";
  text_add(text,
           "  static constexpr bool %c_%s_FAST = %d;\n  static constexpr int %c_COPY = %d;\n  static constexpr i64 %c_OUTER = "
           "%lldll;\n",
           upper, along, operand->fast, upper, operand->copy, upper, (long long)operand->outer);
}

static void emit_problem(Text *text, const MmaAttention *m, const int *config) {
  text_add(text,
           "struct Problem {\n  static constexpr int M = %lld, N = %lld, D = %lld, DV = %lld, D_PADDED = %d, DV_PADDED = %d, "
           "WARPS = %d, "
           "FRAGMENTS = %d, BN = %d;\n  static constexpr bool ZERO_NAN = %d;\n",
           (long long)m->m, (long long)m->n, (long long)m->d, (long long)m->dv, mma_attention_padded(m->d),
           mma_attention_padded(m->dv), config[WARPS], config[FRAGMENTS], config[KEYS], m->a.zero_nan);
  emit_operand(text, 'Q', &m->q);
  emit_operand(text, 'K', &m->k);
  emit_operand(text, 'V', &m->v);
  text_add(text, "};\n");
  walk_emit(text, "q_batch", &m->scores_batch, m->q.batch);
  walk_emit(text, "k_batch", &m->scores_batch, m->k.batch);
  walk_emit(text, "v_batch", &m->output.batch, m->v.batch);
}

// One input of the score: two neighbours of it, x<i>[0] and x<i>[1]. Columns behind the last read the last.
static void emit_load(Text *text, const TensorDesc *desc, int rank, int i, int64_t n, bool clamp) {
  int64_t strides[MAX_RANK];
  const char *type = device_type(desc->dtype);
  broadcast_strides(desc, rank, strides);
  int64_t row = strides[rank - 2], column = strides[rank - 1];
  text_add(text, "    %s x%d[2];\n    const %s *from%d = s%d + (i64)row * %lldll;\n", type, i, type, i, i, (long long)row);
  if (column == 0) {
    text_add(text, "    x%d[0] = x%d[1] = *from%d;\n", i, i, i);
  } else if (column == 1 && n % 2 == 0) {
    const char *at = clamp ? arena_printf(text->arena, "min(column, %lldu)", (long long)n - 2) : "column";
    int bytes = MIN(desc_vector(desc, rank, rank - 1, 16), 2) * (int)dtype_size(desc->dtype);
    text_add(text, "    load_elements<2, %d>(from%d + %s, x%d);\n", bytes, i, at, i);
  } else {
    for (int c = 0; c < 2; c++)
      text_add(text, "    x%d[%d] = from%d[(i64)min(column + %d, %lldu) * %lldll];\n", i, c, i, c, (long long)n - 1,
               (long long)column);
  }
}

static void emit_function(Text *text, const Site *site, const MmaAttention *m) {
  const Program *score = m->a.score;
  Arena *arena = text->arena;
  const Value *taken = m->a.softmax->outputs[0];
  const char *inputs[ATTENTION_INPUTS] = {0}, *indices[MAX_RANK] = {0}, *result;
  DType dtypes[ATTENTION_INPUTS];
  int64_t extents[MAX_RANK];
  value_get_dims(taken, extents);
  indices[taken->rank - 2] = "row", indices[taken->rank - 1] = "column";
  text_add(text, "  static __device__ __forceinline__ float of(float sum, i64 row, i64 column");
  for (int i = 0; i < score->input_count; i++) {
    inputs[i] = "sum", dtypes[i] = DTYPE_F32;
    if (!m->a.inputs[i].value) continue;
    dtypes[i] = site->inputs[m->score_inputs[i]].dtype;
    text_add(text, ", Element_%s::Stored x%d", dtype_name(dtypes[i]), i);
    inputs[i] = arena_printf(arena, "Element_%s::get(x%d)", dtype_name(dtypes[i]), i);
  }
  text_add(text, ") {\n");
  ProgramNames names = {inputs, dtypes, indices, extent_texts(arena, taken->rank, extents), m->n, "v"};
  program_emit_cuda(text, score, &names, &result);
  text_add(text, "    return %s;\n  }\n", result);
}

static void emit_score(Text *text, const Site *site, const MmaAttention *m, const int *config) {
  const Program *score = m->a.score;
  for (int i = 0; i < score->input_count; i++) {
    if (!m->a.inputs[i].value) continue;
    int64_t strides[MAX_RANK], dims[MAX_RANK];
    Walk batch = {0};
    mma_attention_batch(m->a.inputs[i].over, &batch, dims);
    broadcast_strides(&site->inputs[m->score_inputs[i]], m->a.inputs[i].over->rank, strides);
    walk_emit(text, arena_printf(text->arena, "s%d_batch", i), &batch, strides);
  }
  text_add(text, "struct Score {\n");
  for (int i = 0; i < score->input_count; i++)
    if (m->a.inputs[i].value)
      text_add(text, "  const %s *__restrict__ s%d;\n", device_type(site->inputs[m->score_inputs[i]].dtype), i);
  emit_function(text, site, m);
  text_add(text, "  __device__ __forceinline__ void begin(u32 batch) {\n");
  for (int i = 0; i < score->input_count; i++)
    if (m->a.inputs[i].value) text_add(text, "    s%d += s%d_batch(batch);\n", i, i);
  text_add(text, "  }\n  __device__ __forceinline__ void pair(float *sums, u32 row, u32 column) const {\n");
  for (int i = 0; i < score->input_count; i++) {
    const AttentionInput *input = &m->a.inputs[i];
    if (!input->value) continue;
    emit_load(text, &site->inputs[m->score_inputs[i]], input->over->rank, i, m->n, m->n % config[KEYS] != 0);
  }
  for (int c = 0; c < 2; c++) {
    text_add(text, "    sums[%d] = of(sums[%d], row, column + %d", c, c, c);
    for (int i = 0; i < score->input_count; i++)
      if (m->a.inputs[i].value) text_add(text, ", x%d[%d]", i, c);
    text_add(text, ");\n");
  }
  text_add(text, "  }\n};\n");
}

static void emit_entry(Text *text, const Site *site, const MmaAttention *m, const int *config) {
  const char *type = device_type(m->dtype);
  int rows = config[WARPS] * config[FRAGMENTS] * 16;
  text_add(text,
           "#include \"kernels/attention/%s.cuh\"\nextern \"C\" __global__ void __launch_bounds__(%d, %d) "
           "mma_attention_kernel(const %s *q, "
           "const %s *k, const %s *v, ",
           config[WARPGROUPS] ? "wgmma_attention" : "attention", config[WARPS] * 32, mma_attention_blocks(m, config), type,
           type, type);
  for (int i = 0; i < m->a.score->input_count; i++)
    if (m->a.inputs[i].value) text_add(text, "const %s *s%d, ", device_type(site->inputs[m->score_inputs[i]].dtype), i);
  output_parameters(text, &m->product);
  text_add(text,
           ") {\n  begin_kernel();\n  const u32 batch = blockIdx.x / %lldu, tile = blockIdx.x %% %lldu;\n  Score score = {",
           (long long)ceil_div(m->m, rows), (long long)ceil_div(m->m, rows));
  const char *separator = "";
  for (int i = 0; i < m->a.score->input_count; i++) {
    if (!m->a.inputs[i].value) continue;
    text_add(text, "%ss%d", separator, i);
    separator = ", ";
  }
  text_add(text, "};\n  score.begin(batch);\n  Output output = ");
  output_construct(text, &m->product);
  text_add(text,
           ";\n  output.begin(batch);\n  %s<Problem, %s> attention;\n  attention.run(q + q_batch(batch), k + "
           "k_batch(batch), v + "
           "v_batch(batch), (int)tile * %d, score, output);\n}\n",
           config[WARPGROUPS] ? "WarpgroupAttention" : "Attention", m->dtype == DTYPE_F16 ? "MmaF16" : "MmaBf16", rows);
}

Status mma_attention_text(Text *text, const Site *site, const MmaAttention *m, const int *config) {
  text_add(text, "#include \"kernels/tile/mma_tile.cuh\"\n" GENERATED_INCLUDES);
  emit_problem(text, m, config);
  emit_score(text, site, m, config);
  TRY(output_emit(text, &m->product, &m->output, DTYPE_F32));
  emit_entry(text, site, m, config);
  return OK;
}
