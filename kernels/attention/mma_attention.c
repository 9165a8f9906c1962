// The implementation of attention on tensor cores (attention.cuh): f16 and bf16, heads of up to 256, any score that is a scalar program over operands which broadcast.
#include <stdio.h>
#include <string.h>

#include "kernels/attention/attention.h"
#include "kernels/common/mma_config.h"
#include "kernels/control/region.h"
#include "kernels/matmul/matmul_problem.h"
#include "kernels/program/generate.h"

enum { LARGEST_HEAD = 256 };
enum { WARPS, FRAGMENTS, KEYS };  // of a way: warps of a block, sixteen rows each so many times, keys of a tile

// A matrix for each of a batch, as it is copied to shared memory.
typedef struct Operand {
  int input;  // of the site
  int64_t batch[MAX_RANK], outer;
  bool fast;  // along what is summed over
  int copy;   // bytes
} Operand;

typedef struct MmaAttention {
  Attention a;
  DType dtype;
  int64_t m, n, d, dv, batch;
  Operand q, k, v;
  Walk scores_batch;
  OutputWalk output;
  Site product;                        // the second: what its epilogue is written from
  int score_inputs[ATTENTION_INPUTS];  // the site's input for each of score's
} MmaAttention;

static int input_of(const Graph *body, const Value *value) {
  for (int i = 0; i < body->input_count; i++)
    if (body->inputs[i] == value) return i;
  return -1;
}

static bool batch_walk(const Value *value, Walk *walk, int64_t *dims) {
  if (!value_get_dims(value, dims)) return false;
  for (int i = 0; i < value->rank - 2; i++) walk_add(walk, i, dims[i], 1);
  return true;
}

// The operands of one of the two products; what the other one makes has no site, and is not asked for.
static bool read_product(const Site *site, const Graph *body, const Node *node, int64_t k, const TensorDesc *result, Operand *a,
                         Operand *b) {
  TensorDesc inputs[2] = {{.absent = true}, {.absent = true}};
  Operand *operands[2] = {a, b};
  for (int i = 0; i < 2; i++) {
    if (!operands[i]) continue;
    operands[i]->input = input_of(body, node->inputs[i]);
    if (operands[i]->input < 0) return false;
    inputs[i] = site->inputs[operands[i]->input];
    broadcast_strides(&inputs[i], result->rank, operands[i]->batch);
  }
  const Site product = {.node = node, .inputs = inputs, .outputs = result, .device = site->device};
  MatmulProblem p = {.m = result->dims[result->rank - 2], .n = result->dims[result->rank - 1], .k = k};
  if (a) {
    p.a_m = inputs[0].strides[inputs[0].rank - 2], p.a_k = inputs[0].strides[inputs[0].rank - 1];
    memcpy(p.a_batch, a->batch, sizeof p.a_batch);
    a->copy = matmul_a_vector(&product, &p, &a->fast) * (int)dtype_size(inputs[0].dtype);
    a->outer = a->fast ? p.a_m : p.a_k;
  }
  p.b_k = inputs[1].strides[inputs[1].rank - 2], p.b_n = inputs[1].strides[inputs[1].rank - 1];
  memcpy(p.b_batch, b->batch, sizeof p.b_batch);
  b->copy = matmul_b_vector(&product, &p, &b->fast) * (int)dtype_size(inputs[1].dtype);
  b->outer = b->fast ? p.b_n : p.b_k;
  return b->copy && (!a || a->copy);
}

// The second product as if it were alone: of its operands only what its epilogue reads is described.
static bool read_epilogue(const Site *site, const Graph *body, Arena *arena, MmaAttention *out) {
  const Node *node = out->a.product;
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)node->input_count);
  for (int i = node_operand_count(node); i < node->input_count; i++) {
    int input = input_of(body, node->inputs[i]);
    if (input < 0) return false;
    inputs[i] = site->inputs[input];
  }
  out->product = (Site){.node = node, .inputs = inputs, .outputs = site->outputs, .device = site->device};
  return true;
}

static bool read_sizes(const Site *site, MmaAttention *out, TensorDesc *scores) {
  const TensorDesc *y = &site->outputs[0];
  const Value *sums = out->a.scores->outputs[0], *q = out->a.scores->inputs[0];
  int64_t dims[MAX_RANK];
  *scores = (TensorDesc){.dtype = DTYPE_F32, .rank = sums->rank};
  if (!batch_walk(sums, &out->scores_batch, scores->dims) || !value_get_dims(q, dims)) return false;
  out->m = scores->dims[sums->rank - 2], out->n = scores->dims[sums->rank - 1];
  out->d = dims[q->rank - 1], out->dv = y->dims[y->rank - 1];
  for (int i = 0; i < y->rank - 2; i++) walk_add(&out->output.batch, i, y->dims[i], 1);
  walk_add(&out->output.row, y->rank - 2, out->m, 1);
  walk_add(&out->output.column, y->rank - 1, out->dv, 1);
  out->batch = walk_count(&out->output.batch);
  return out->m > 0 && out->n > 0 && out->d > 0 && out->dv > 0 && out->batch > 0 && out->d <= LARGEST_HEAD &&
         out->dv <= LARGEST_HEAD && out->m <= INT32_MAX && out->n <= INT32_MAX / 2 &&
         out->batch == walk_count(&out->scores_batch) && out->batch <= INT32_MAX / ceil_div(out->m, 16);
}

// Coordinates and sizes are known of rows and columns: batch axes may be regrouped on the way.
static bool score_is_emitted(const MmaAttention *m) {
  const Program *score = m->a.score;
  int rank = m->a.softmax->outputs[0]->rank;
  for (int i = 0; i < score->count; i++)
    if ((score->code[i].op == OP_index || score->code[i].op == OP_extent) && score->code[i].args[0] < rank - 2) return false;
  return true;
}

static bool describe(const Site *site, Arena *arena, MmaAttention *out) {
  const Graph *body = region_body(site->node);
  if (body->output_count != 1 || !body->outputs[0]->producer) return false;
  *out = (MmaAttention){0};
  if (attention_read(body->outputs[0]->producer, arena, &out->a)) return false;
  int inside = 0;
  FOR_NODES(node, body) inside++;
  TensorDesc scores;
  out->dtype = out->a.product->inputs[1]->dtype;
  if (inside != out->a.node_count || dtype_size(out->dtype) != 2 || !mma_dtype_supported(site, out->dtype) ||
      !score_is_emitted(out) || !read_sizes(site, out, &scores))
    return false;
  for (int i = 0; i < out->a.score->input_count; i++) {
    if (!out->a.inputs[i].value) continue;
    out->score_inputs[i] = input_of(body, out->a.inputs[i].value);
    if (out->score_inputs[i] < 0) return false;
  }
  return read_product(site, body, out->a.scores, out->d, &scores, &out->q, &out->k) &&
         read_product(site, body, out->a.product, out->n, &site->outputs[0], NULL, &out->v) &&
         read_epilogue(site, body, arena, out);
}

// ---- Ways

static int padded(int64_t size) {
  int to = 16;
  while (to < size) to *= 2;
  return to;
}

static int shared_bytes(const MmaAttention *m, const int *config) {
  int d = padded(m->d), dv = padded(m->dv), rows = config[WARPS] * config[FRAGMENTS] * 16;
  int tiles = (rows * d + 2 * config[KEYS] * (d + dv)) * 2, corners = config[WARPS] * 16 * (dv + 8) * 4;
  return MAX(tiles, corners);
}

// Of a thread: sums, scores, queries, and the rest.
static int registers(const MmaAttention *m, const int *config) {
  int steps = padded(m->d) / 16, kept = config[FRAGMENTS] * steps <= 8 ? steps : 1;
  return config[FRAGMENTS] * (padded(m->dv) / 2 + config[KEYS] / 2 + kept * 4) + 56;
}

// In clocks: multiply-adds at the rate that shared memory feeds mma.sync with, when eight warps share a multiprocessor or more, and what a block takes to start.
static double cost(const Site *site, const MmaAttention *m, const int *config) {
  const double start = 3000, rate = config[FRAGMENTS] > 1 ? 1500 : 1000, full_warps = 8;
  double rows = config[WARPS] * config[FRAGMENTS] * 16, tiles = (double)ceil_div(m->n, config[KEYS]);
  double work = rows * tiles * config[KEYS] * (padded(m->d) + padded(m->dv));
  double blocks = (double)ceil_div(m->m, (int64_t)rows) * (double)m->batch, each = blocks / site->device->multiprocessors;
  double alone = full_warps / config[WARPS];
  return work / rate * MAX(each < 1 ? 1 : each, alone) + start * (each < 1 ? 1 : each) * config[WARPS] / full_warps + start;
}

static const int configs[][3] = {{4, 2, 64}, {4, 2, 128}, {8, 1, 64}, {4, 1, 64}, {4, 1, 128}, {2, 2, 64},
                                 {2, 1, 64}, {8, 2, 64},  {4, 1, 32}, {2, 1, 32}, {4, 2, 32}};

// What a compiler adds to shared memory counts as well: less than all of it.
static bool fits(const Site *site, const MmaAttention *m, const int *config) {
  return shared_bytes(m, config) < site->device->shared_per_block && registers(m, config) <= 255;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  Arena *scratch = arena_scratch();
  MmaAttention m;
  WayList list = {.items = out, .limit = limit};
  bool described = describe(site, scratch, &m);
  for (size_t i = 0; i < COUNT_OF(configs) && described; i++) {
    const int *c = configs[i];
    if (!fits(site, &m, c)) continue;
    Way way = {.config = {c[WARPS], c[FRAGMENTS], c[KEYS]}};
    snprintf(way.name, sizeof way.name, "%dx%d w%d", c[WARPS] * c[FRAGMENTS] * 16, c[KEYS], c[WARPS]);
    way_offer(&list, cost(site, &m, c), &way);
  }
  arena_free(scratch);
  return list.count;
}

// A region that no way has room for is taken apart.
static bool supports(const Site *site) {
  Arena *scratch = arena_scratch();
  MmaAttention m;
  bool supported = false, described = describe(site, scratch, &m);
  for (size_t i = 0; i < COUNT_OF(configs) && described && !supported; i++) supported = fits(site, &m, configs[i]);
  arena_free(scratch);
  return supported;
}

// ---- Text

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
           (long long)m->m, (long long)m->n, (long long)m->d, (long long)m->dv, padded(m->d), padded(m->dv), config[WARPS],
           config[FRAGMENTS], config[KEYS], m->a.zero_nan);
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
  ProgramNames names = {inputs, dtypes, indices, extents, m->n, "v"};
  program_emit_cuda(text, score, &names, &result);
  text_add(text, "    return %s;\n  }\n", result);
}

static void emit_score(Text *text, const Site *site, const MmaAttention *m, const int *config) {
  const Program *score = m->a.score;
  for (int i = 0; i < score->input_count; i++) {
    if (!m->a.inputs[i].value) continue;
    int64_t strides[MAX_RANK], dims[MAX_RANK];
    Walk batch = {0};
    batch_walk(m->a.inputs[i].over, &batch, dims);
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
           "#include \"kernels/attention/attention.cuh\"\nextern \"C\" __global__ void __launch_bounds__(%d) "
           "mma_attention_kernel(const %s *q, "
           "const %s *k, const %s *v, ",
           config[WARPS] * 32, type, type, type);
  for (int i = 0; i < m->a.score->input_count; i++)
    if (m->a.inputs[i].value) text_add(text, "const %s *s%d, ", device_type(site->inputs[m->score_inputs[i]].dtype), i);
  output_parameters(text, &m->product);
  text_add(text, ") {\n  const u32 batch = blockIdx.x / %lldu, tile = blockIdx.x %% %lldu;\n  Score score = {",
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
           ";\n  output.begin(batch);\n  Attention<Problem, %s> attention;\n  attention.run(q + q_batch(batch), k + "
           "k_batch(batch), v + "
           "v_batch(batch), (int)tile * %d, score, output);\n}\n",
           m->dtype == DTYPE_F16 ? "MmaF16" : "MmaBf16", rows);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  MmaAttention m;
  if (!describe(site, out->arena, &m)) FAIL(ERROR_UNSUPPORTED, "mma_attention does not take this region");
  const int *config = way->config;
  Text text = text_new(out->arena);
  text_add(&text, "#include \"kernels/common/mma_tile.cuh\"\n" GENERATED_INCLUDES);
  emit_problem(&text, &m, config);
  emit_score(&text, site, &m, config);
  TRY(output_emit(&text, &m.product, &m.output, DTYPE_F32));
  emit_entry(&text, site, &m, config);
  unsigned grid[3] = {(unsigned)(ceil_div(m.m, config[WARPS] * config[FRAGMENTS] * 16) * m.batch), 1, 1};
  unsigned block[3] = {(unsigned)config[WARPS] * 32, 1, 1};
  Launch *launch = emit_kernel(out, text_get(&text), "mma_attention_kernel", grid, block);
  launch->label = "mma_attention";
  launch->shared_bytes = (unsigned)shared_bytes(&m, config);
  emit_buffer(out, launch, BUFFER_INPUT, m.q.input);
  emit_buffer(out, launch, BUFFER_INPUT, m.k.input);
  emit_buffer(out, launch, BUFFER_INPUT, m.v.input);
  for (int i = 0; i < m.a.score->input_count; i++)
    if (m.a.inputs[i].value) emit_buffer(out, launch, BUFFER_INPUT, m.score_inputs[i]);
  emit_buffer(out, launch, BUFFER_OUTPUT, 0);
  for (int i = node_operand_count(m.a.product); i < m.a.product->input_count; i++)
    emit_buffer(out, launch, BUFFER_INPUT, input_of(region_body(site->node), m.a.product->inputs[i]));
  return OK;
}

const Implementation cuda_mma_attention = {
    .name = "mma_attention",
    .backend = BACKEND_CUDA,
    .op = &op_region,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
