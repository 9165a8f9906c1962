// How a GPU computes matrix products without tensor cores (simt_matmul.cuh): every element type and every stride, so it is the
// general way; and the only exact one for f32.
#include "kernels/tile/simt_config.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/matmul_problem.h"

static bool supports(const Site *site) {
  MatmulProblem p;
  return matmul_problem(site, &p);
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  MatmulProblem p;
  if (!matmul_problem(site, &p)) return 0;
  TiledProduct product = {.m = p.m, .n = p.n, .k = p.k, .batch = p.batch, .dtype = site->inputs[0].dtype};
  return simt_ways(site, &product, p.accumulator, out, limit);
}

static void bind(Emission *emission, Launch *launch, const void *context) {
  (void)context;
  emit_buffer(emission, launch, BUFFER_INPUT, 0);
  emit_buffer(emission, launch, BUFFER_INPUT, 1);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  MatmulProblem p;
  if (!matmul_problem(site, &p)) FAIL(ERROR_UNSUPPORTED, "simt_matmul does not take this product");
  if (p.m * p.n * p.batch == 0) return OK;
  const SimtTile *t = &simt_tiles[way->config[0]];
  bool a_k_fast, b_k_fast;
  int va = matmul_a_vector(site, &p, &a_k_fast), vb = matmul_b_vector(site, &p, &b_k_fast);
  va = simt_vector(va, a_k_fast, p.m, p.k, t, t->bm);
  vb = simt_vector(vb, b_k_fast, p.n, p.k, t, t->bn);
  const char *a = device_type(site->inputs[0].dtype), *b = device_type(site->inputs[1].dtype),
             *sum = device_type(p.accumulator);

  Text text = text_new(out->arena);
  text_add(&text, "#include \"kernels/common/output.cuh\"\nstruct Problem {\n");
  text_add(&text, "  static constexpr int M = %lld, N = %lld;\n", (long long)p.m, (long long)p.n);
  text_add(&text, "  static constexpr int BM = %d, BN = %d, BK = %d, TM = %d, TN = %d, VA = %d, VB = %d;\n", t->bm, t->bn,
           t->bk, t->tm, t->tn, va, vb);
  text_add(&text, "  static constexpr i64 A_M = %lldll, A_K = %lldll, B_K = %lldll, B_N = %lldll;\n", (long long)p.a_m,
           (long long)p.a_k, (long long)p.b_k, (long long)p.b_n);
  text_add(&text, "  static constexpr bool A_K_FAST = %d, B_K_FAST = %d;\n};\n", a_k_fast, b_k_fast);
  walk_emit(&text, "a_batch", &p.output.batch, p.a_batch);
  walk_emit(&text, "b_batch", &p.output.batch, p.b_batch);
  Text body = text_new(out->arena);
  text_add(&body, "  const int m0 = simt_tile_m<Problem>(tile), n0 = simt_tile_n<Problem>(tile);\n");
  text_add(&body, "  simt_matmul<Problem, %s>(SimtMatrixA<Problem, %s, %s>(a + a_batch(batch), m0), ", sum, a, sum);
  text_add(&body, "SimtMatrixB<Problem, %s, %s>(b + b_batch(batch), n0), m0, n0, k_begin, k_end, output);\n", b, sum);
  TiledKernel kernel = {.name = "simt_matmul",
                        .operands = arena_printf(out->arena, "const %s *a, const %s *b", a, b),
                        .body = text_get(&body),
                        .output = &p.output,
                        .accumulator = p.accumulator,
                        .threads = simt_threads(t),
                        .bm = t->bm,
                        .bn = t->bn,
                        .bk = t->bk,
                        .splits = way->config[1],
                        .k = p.k};
  return tiled_kernel_emit(&kernel, site, &text, "kernels/matmul/simt_matmul.cuh", bind, NULL, out);
}

const Implementation cuda_simt_matmul = {
    .name = "simt_matmul",
    .backend = BACKEND_CUDA,
    .op = &op_matmul,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
