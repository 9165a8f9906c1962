// How a GPU computes matrix products on tensor cores (mma_matmul.cuh): f16, bf16, and f32 where tf32 is allowed. Each operand is contiguous
// along k or along its rows; an unlucky alignment costs narrower copies, not the implementation. A program in front of the first operand is done as
// that arrives (kernels/tile/prologue.cuh), where k runs fastest.
#include "kernels/tile/mma_config.h"
#include "kernels/tile/prologue_source.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/matmul_problem.h"

typedef struct MmaMatmul {
  MatmulProblem p;
  DType dtype;
  bool a_k_fast, b_k_fast;
  int copy_a, copy_b;  // bytes
} MmaMatmul;

static bool prologue_fits(const Site *site, const MmaMatmul *m) {
  return !site->prologue ||
         (m->a_k_fast && prologue_supported(site, site->inputs[0].rank - 1, m->p.m.now * m->p.batch.now, m->p.n.now));
}

static bool copies(const Site *site, MmaMatmul *out) {
  int size = (int)dtype_size(out->dtype);
  out->copy_a = matmul_a_vector(site, &out->p, &out->a_k_fast) * size;
  out->copy_b = matmul_b_vector(site, &out->p, &out->b_k_fast) * size;
  REQUIRE(site, out->copy_a && out->copy_b, "an operand is contiguous along neither of its matrices' axes");
  REQUIRE(site, prologue_fits(site, out),
          "the program in front wants f16 or bf16 with k fastest, operands along k alone, and sizes that pay");
  return true;
}

static bool describe(const Site *site, MmaMatmul *out) {
  if (!matmul_problem(site, &out->p)) return false;
  out->dtype = site->inputs[0].dtype;
  REQUIRE(site, site->inputs[1].dtype == out->dtype && mma_dtype_supported(site, out->dtype), MMA_TYPES);
  REQUIRE(site, out->p.accumulator == DTYPE_F32, "its sums are not in f32");
  REQUIRE(site, out->p.k.now > 0, "there is nothing to sum");
  // An operand of one line now may be contiguous in no other call.
  return copies(site, out) || (out->p.table && matmul_problem_static(site, &out->p) && copies(site, out));
}

static bool supports(const Site *site) {
  MmaMatmul m;
  return describe(site, &m);
}

static int ways_at(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const MmaMatmul *m = context;
  TiledProduct product = matmul_product(&m->p, m->dtype, rung);
  return mma_ways(site, &product, 1, only, out, limit);
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  MmaMatmul m;
  return describe(site, &m) ? ways_of_sizes(site, m.p.table, ways_at, &m, out, limit) : 0;
}

static void bind(Emission *emission, Launch *launch, const void *context) {
  emit_buffer(emission, launch, BUFFER_INPUT, 0);
  emit_buffer(emission, launch, BUFFER_INPUT, 1);
  prologue_arguments(emission, launch, context);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  MmaMatmul m;
  if (!describe(site, &m)) FAIL(ERROR_UNSUPPORTED, "mma_matmul does not take this product");
  const MatmulProblem *p = &m.p;
  const int *config = way->config;
  if (p->m.now * p->n.now * p->batch.now == 0) return OK;
  const char *type = device_type(m.dtype);

  KernelArguments arguments = {.arena = out->arena, .table = p->table};
  Extent a_outer = m.a_k_fast ? p->a_m : p->a_k, b_outer = m.b_k_fast ? p->b_n : p->b_k;
  Text text = text_new(out->arena);
  mma_emit_includes(&text, way);
  text_add(&text, "struct Problem {\n  static constexpr int M = %lld, N = %lld, COPY_A = %d, COPY_B = %d;\n",
           (long long)extent_constant(p->table, p->m), (long long)extent_constant(p->table, p->n), m.copy_a, m.copy_b);
  mma_emit_tile(&text, way, m.dtype);
  text_add(&text, "  static constexpr bool A_K_FAST = %d, B_K_FAST = %d, WHOLE_K = %d;\n", m.a_k_fast, m.b_k_fast,
           extent_factor(p->table, p->k, config[MMA_BK]) == config[MMA_BK]);
  text_add(&text, "  static constexpr i64 A_OUTER = %s, B_OUTER = %s;\n};\n", stride_constant(out->arena, a_outer),
           stride_constant(out->arena, b_outer));
  size_t tile_bytes = (size_t)mma_shared_bytes(way, m.dtype);
  TRY(prologue_emit(&text, site, site->inputs[0].rank - 1, split_depth(p->k.now, config[MMA_BK], config[MMA_SPLITS]),
                    tile_bytes));
  walk_emit(&text, "a_batch", &p->output.batch, p->a_batch, &arguments);
  walk_emit(&text, "b_batch", &p->output.batch, p->b_batch, &arguments);
  Text operands = text_new(out->arena), body = text_new(out->arena);
  text_add(&operands, "const %s *a, const %s *b", type, type);
  prologue_parameters(&operands, site);
  const char *dims = arguments_passed(&arguments);
  text_add(&body, "  mma_matmul<Problem, %s>(a + a_batch(batch%s), b + b_batch(batch%s), tile, k_begin, k_end, output, ",
           mma_tile_type(out->arena, way, m.dtype), dims, dims);
  prologue_construct(&body, site);
  if (arguments.table)
    text_add(&body, ", %s, %s, %s, %s", extent_text(&arguments, p->m, false), extent_text(&arguments, p->n, false),
             extent_text(&arguments, a_outer, true), extent_text(&arguments, b_outer, true));
  text_add(&body, ");\n");
  TiledKernel kernel = {.name = "mma_matmul",
                        .operands = text_get(&operands),
                        .body = text_get(&body),
                        .output = &p->output,
                        .accumulator = DTYPE_F32,
                        .threads = mma_threads(way),
                        .bm = config[MMA_BM],
                        .bn = config[MMA_BN],
                        .bk = config[MMA_BK],
                        .splits = config[MMA_SPLITS],
                        .k = p->k,
                        .shared_bytes = (unsigned)tile_bytes,
                        .arguments = &arguments};
  return tiled_kernel_emit(&kernel, site, &text, "kernels/matmul/mma_matmul.cuh", bind, site, out);
}

const Implementation cuda_mma_matmul = {
    .name = "mma_matmul",
    .backend = BACKEND_CUDA,
    .op = &op_matmul,
    .writes_anywhere = true,
    .takes_prologue = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
