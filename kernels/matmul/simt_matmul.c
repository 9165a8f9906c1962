// The tactic for matrix products without tensor cores (simt_matmul.cuh): every element type and every stride, so it is the
// general way; and the only exact one for f32.
#include <stdio.h>
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/matmul_problem.h"

typedef struct SimtTile {
  int bm, bn, bk, tm, tn;
} SimtTile;

// The last is the one every type can afford.
static const SimtTile tiles[] = {{128, 128, 8, 8, 8}, {128, 64, 8, 8, 8}, {64, 128, 8, 8, 8},
                                 {64, 64, 16, 8, 8},  {32, 64, 16, 4, 8}, {32, 32, 16, 4, 4},
                                 {16, 128, 16, 4, 4}, {8, 128, 16, 2, 4}, {64, 64, 16, 4, 4}};

static int tile_threads(const SimtTile *t) { return t->bm / t->tm * (t->bn / t->tn); }

static bool supports(const Site *site) {
  MatmulProblem p;
  return matmul_problem(site, &p);
}

static int candidates(const Site *site, CudaContext *cuda, Candidate *out, int limit) {
  (void)cuda;
  MatmulProblem p;
  if (!matmul_problem(site, &p)) return 0;
  CandidateList list = {.items = out, .limit = limit};
  int first = p.accumulator == DTYPE_F32 ? 0 : (int)COUNT_OF(tiles) - 1;
  for (int i = first; i < (int)COUNT_OF(tiles); i++) {
    const SimtTile *t = &tiles[i];
    TileCost cost = {t->bm,
                     t->bn,
                     t->bk,
                     tile_threads(t),
                     2 * t->bk * (t->bm + t->bn + 8) * 4,
                     t->tm * t->tn + 60,
                     128.0 * t->tm * t->tn / (t->tm * t->tn + 4.0 * (t->tm + t->tn))};
    int splits[10],
        count = split_choices(site->device, &cost, p.m, p.n, p.k, p.batch, splits, p.accumulator == DTYPE_F32 ? 10 : 1);
    for (int s = 0; s < count; s++) {
      Candidate candidate = {.config = {i, splits[s]}};
      snprintf(candidate.name, sizeof candidate.name, "%dx%dx%d t%dx%d splitk%d", t->bm, t->bn, t->bk, t->tm, t->tn, splits[s]);
      candidate_offer(
          &list,
          tile_microseconds(site->device, &cost, p.m, p.n, p.k, p.batch, splits[s], (int)dtype_size(site->inputs[0].dtype)),
          &candidate);
    }
  }
  return list.count;
}

// Neighbouring elements a thread moves at once: the vector must divide the contiguous extent and leave every thread whole vectors.
static int useful_vector(int vector, bool k_fast, int64_t extent, int64_t k, const SimtTile *t, int rows) {
  int most = MIN(4, MAX(1, rows * t->bk / tile_threads(t)));
  vector = MAX(1, MIN(vector, most));
  while ((k_fast ? k : extent) % vector || (k_fast ? t->bk : rows) % vector) vector /= 2;
  return vector;
}

static Status emit(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out) {
  (void)cuda;
  MatmulProblem p;
  if (!matmul_problem(site, &p)) FAIL(ERROR_UNSUPPORTED, "simt_matmul does not take this product");
  if (p.m * p.n * p.batch == 0) return OK;
  const SimtTile *t = &tiles[candidate->config[0]];
  int splits = candidate->config[1], threads = tile_threads(t);
  bool a_k_fast, b_k_fast;
  int va = useful_vector(matmul_a_vector(site, &p, &a_k_fast), a_k_fast, p.m, p.k, t, t->bm);
  int vb = useful_vector(matmul_b_vector(site, &p, &b_k_fast), b_k_fast, p.n, p.k, t, t->bn);
  int64_t depth = split_depth(p.k, t->bk, splits), tile_count = ceil_div(p.m, t->bm) * ceil_div(p.n, t->bn);
  const char *a = device_type(site->inputs[0].dtype), *b = device_type(site->inputs[1].dtype),
             *sum = device_type(p.accumulator);

  Text text = text_new(out->arena);
  text_add(&text, "#include \"kernels/common/output.cuh\"\nstruct Problem {\n");
  text_add(&text, "  static constexpr int M = %lld, N = %lld, K = %lld, DEPTH = %lld;\n", (long long)p.m, (long long)p.n,
           (long long)p.k, (long long)depth);
  text_add(&text, "  static constexpr int BM = %d, BN = %d, BK = %d, TM = %d, TN = %d, VA = %d, VB = %d;\n", t->bm, t->bn,
           t->bk, t->tm, t->tn, va, vb);
  text_add(&text, "  static constexpr i64 A_M = %lldll, A_K = %lldll, B_K = %lldll, B_N = %lldll;\n", (long long)p.a_m,
           (long long)p.a_k, (long long)p.b_k, (long long)p.b_n);
  text_add(&text, "  static constexpr bool A_K_FAST = %d, B_K_FAST = %d;\n};\n", a_k_fast, b_k_fast);
  walk_emit(&text, "a_batch", &p.output.batch, p.a_batch);
  walk_emit(&text, "b_batch", &p.output.batch, p.b_batch);
  if (splits == 1) TRY(output_emit(&text, site, &p.output, p.accumulator));
  else
    text_add(&text, "typedef Partial<%s, %lld, %lld, %lld> Output;\n", sum, (long long)p.m, (long long)p.n, (long long)p.batch);
  text_add(&text, "#include \"kernels/matmul/simt_matmul.cuh\"\n");
  text_add(&text, "extern \"C\" __global__ void __launch_bounds__(%d) simt_matmul_kernel(const %s *a, const %s *b, ", threads,
           a, b);
  if (splits == 1) output_parameters(&text, site);
  else text_add(&text, "%s *sums", sum);
  text_add(&text, ") {\n  const u32 batch = " BATCH_INDEX ", tile = blockIdx.x %% %lldu, split = blockIdx.x / %lldu;\n",
           (long long)tile_count, (long long)tile_count);
  text_add(&text, "  if (batch >= %lldu) return;\n  Output output = ", (long long)p.batch);
  if (splits == 1) output_construct(&text, site);
  else text_add(&text, "{sums}");
  text_add(&text,
           ";\n  output.begin(%sbatch);\n  const int k_begin = (int)split * Problem::DEPTH, k_end = min(Problem::K, k_begin + "
           "Problem::DEPTH);\n",
           splits == 1 ? "" : "split, ");
  text_add(&text,
           "  simt_matmul<Problem, %s, %s, %s>(a + a_batch(batch), b + b_batch(batch), tile, k_begin, k_end, output);\n}\n", a,
           b, sum);

  unsigned grid[3], block[3] = {(unsigned)threads, 1, 1};
  batch_grid(tile_count * splits, p.batch, grid);
  Launch *launch = emit_kernel(out, text_get(&text), "simt_matmul_kernel", grid, block);
  launch->label = "simt_matmul";
  emit_buffer(out, launch, BUFFER_INPUT, 0);
  emit_buffer(out, launch, BUFFER_INPUT, 1);
  if (splits == 1) {
    output_arguments(out, launch, site);
    return OK;
  }
  emit_workspace(out, launch, 0);
  out->workspace_bytes = MAX(out->workspace_bytes, (size_t)splits * (size_t)(p.batch * p.m * p.n) * dtype_size(p.accumulator));
  return emit_split_reduce(out, site, &p.output, p.accumulator, splits);
}

const Tactic simt_matmul_tactic = {"simt_matmul", &op_matmul, true, supports, candidates, emit};
