// How a GPU computes matrix products without tensor cores (simt_matmul.cuh): every element type and every stride, so it is the
// general way; and the only exact one for f32.
#include "kernels/tile/simt_config.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/matmul_problem.h"

static bool supports(const Site *site) {
  MatmulProblem p;
  return matmul_problem(site, &p);
}

static int ways_at(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const MatmulProblem *p = context;
  TiledProduct product = matmul_product(p, site->inputs[0].dtype, rung);
  return simt_ways(site, &product, p->accumulator, only, out, limit);
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  MatmulProblem p;
  return matmul_problem(site, &p) ? ways_of_sizes(site, p.table, ways_at, &p, out, limit) : 0;
}

static void bind(Emission *emission, Launch *launch, const void *context) {
  (void)context;
  emit_buffer(emission, launch, BUFFER_INPUT, 0);
  emit_buffer(emission, launch, BUFFER_INPUT, 1);
}

// types_a, types_b: of the operands' elements and of their sums.
static void emit_body(Text *text, const MatmulProblem *p, const char *types_a, const char *types_b, const char *sum,
                      KernelArguments *arguments) {
  const char *dims = arguments_passed(arguments), *of_a = "", *of_b = "", *sizes = "";
  if (arguments->table) {
    Arena *arena = text->arena;
    const char *rows = extent_text(arguments, p->m, false), *columns = extent_text(arguments, p->n, false);
    of_a =
        arena_printf(arena, ", %s, %s, %s", rows, extent_text(arguments, p->a_m, true), extent_text(arguments, p->a_k, true));
    of_b = arena_printf(arena, ", %s, %s, %s", columns, extent_text(arguments, p->b_n, true),
                        extent_text(arguments, p->b_k, true));
    sizes = arena_printf(arena, ", %s, %s", rows, columns);
    text_add(text, "  const int m0 = simt_tile_m<Problem>(tile, %s), n0 = simt_tile_n<Problem>(tile, %s);\n", columns, columns);
  } else {
    text_add(text, "  const int m0 = simt_tile_m<Problem>(tile), n0 = simt_tile_n<Problem>(tile);\n");
  }
  text_add(text, "  simt_matmul<Problem, %s>(SimtMatrixA<Problem, %s>(a + a_batch(batch%s), m0%s), ", sum, types_a, dims, of_a);
  text_add(text, "SimtMatrixB<Problem, %s>(b + b_batch(batch%s), n0%s), m0, n0, k_begin, k_end, output%s);\n", types_b, dims,
           of_b, sizes);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  MatmulProblem p;
  if (!matmul_problem(site, &p)) FAIL(ERROR_UNSUPPORTED, "simt_matmul does not take this product");
  if (p.m.now * p.n.now * p.batch.now == 0) return OK;
  const SimtTile *t = &simt_tiles[way->config[0]];
  bool a_k_fast, b_k_fast;
  int va = matmul_a_vector(site, &p, &a_k_fast), vb = matmul_b_vector(site, &p, &b_k_fast);
  va = simt_vector(va, a_k_fast, p.m.now, p.k.now, t, t->bm);
  vb = simt_vector(vb, b_k_fast, p.n.now, p.k.now, t, t->bn);
  const char *a = device_type(site->inputs[0].dtype), *b = device_type(site->inputs[1].dtype),
             *sum = device_type(p.accumulator);

  Arena *arena = out->arena;
  KernelArguments arguments = {.arena = arena, .table = p.table};
  Text text = text_new(arena);
  text_add(&text, "#include \"kernels/common/output.cuh\"\nstruct Problem {\n");
  text_add(&text, "  static constexpr int M = %lld, N = %lld;\n", (long long)extent_constant(p.table, p.m),
           (long long)extent_constant(p.table, p.n));
  text_add(&text, "  static constexpr int BM = %d, BN = %d, BK = %d, TM = %d, TN = %d, VA = %d, VB = %d;\n", t->bm, t->bn,
           t->bk, t->tm, t->tn, va, vb);
  text_add(&text, "  static constexpr i64 A_M = %s, A_K = %s, B_K = %s, B_N = %s;\n", stride_constant(arena, p.a_m),
           stride_constant(arena, p.a_k), stride_constant(arena, p.b_k), stride_constant(arena, p.b_n));
  text_add(&text, "  static constexpr bool A_K_FAST = %d, B_K_FAST = %d;\n};\n", a_k_fast, b_k_fast);
  walk_emit(&text, "a_batch", &p.output.batch, p.a_batch, &arguments);
  walk_emit(&text, "b_batch", &p.output.batch, p.b_batch, &arguments);
  Text body = text_new(arena);
  emit_body(&body, &p, arena_printf(arena, "%s, %s", a, sum), arena_printf(arena, "%s, %s", b, sum), sum, &arguments);
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
                        .k = p.k,
                        .arguments = &arguments};
  return tiled_kernel_emit(&kernel, site, &text, "kernels/matmul/simt_matmul.cuh", bind, NULL, out);
}

const Implementation cuda_simt_matmul = {
    .name = "simt_matmul",
    .backend = BACKEND_CUDA,
    .op = &op_matmul,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
