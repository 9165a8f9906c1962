// The tactic for matrix products on tensor cores (mma_matmul.cuh): f16, bf16, and f32 where tf32 is allowed. Each operand is contiguous
// along k or along its rows; an unlucky alignment costs narrower copies, not the tactic.
#include "kernels/common/mma_config.h"
#include "kernels/matmul/matmul.h"

typedef struct MmaMatmul {
  MatmulProblem p;
  DType dtype;
  bool a_k_fast, b_k_fast;
  int copy_a, copy_b;  // bytes
} MmaMatmul;

static bool describe(const Site *site, MmaMatmul *out) {
  if (!matmul_problem(site, &out->p)) return false;
  out->dtype = site->inputs[0].dtype;
  if (site->inputs[1].dtype != out->dtype || !mma_dtype_supported(site, out->dtype) || out->p.accumulator != DTYPE_F32)
    return false;
  int size = (int)dtype_size(out->dtype);
  out->copy_a = matmul_a_vector(site, &out->p, &out->a_k_fast) * size;
  out->copy_b = matmul_b_vector(site, &out->p, &out->b_k_fast) * size;
  return out->copy_a && out->copy_b && out->p.k > 0;
}

static bool supports(const Site *site) {
  MmaMatmul m;
  return describe(site, &m);
}

static int candidates(const Site *site, CudaContext *cuda, Candidate *out, int limit) {
  (void)cuda;
  MmaMatmul m;
  if (!describe(site, &m)) return 0;
  MmaProduct product = {m.p.m, m.p.n, m.p.k, m.p.batch, m.dtype};
  return mma_candidates(site, &product, false, out, limit);
}

static void emit_problem(Text *text, const MmaMatmul *m, const Candidate *c) {
  const MatmulProblem *p = &m->p;
  const int *config = c->config;
  text_add(text, "struct Problem {\n  static constexpr int M = %lld, N = %lld, K = %lld, DEPTH = %lld;\n", (long long)p->m,
           (long long)p->n, (long long)p->k, (long long)split_depth(p->k, config[MMA_BK], config[MMA_SPLITS]));
  text_add(text, "  static constexpr int BM = %d, BN = %d, BK = %d, WM = %d, WN = %d, STAGES = %d, COPY_A = %d, COPY_B = %d;\n",
           config[MMA_BM], config[MMA_BN], config[MMA_BK], config[MMA_WM], config[MMA_WN], config[MMA_STAGES], m->copy_a,
           m->copy_b);
  text_add(text, "  static constexpr bool A_K_FAST = %d, B_K_FAST = %d, WHOLE_K = %d;\n", m->a_k_fast, m->b_k_fast,
           p->k % config[MMA_BK] == 0);
  text_add(text, "  static constexpr i64 A_OUTER = %lldll, B_OUTER = %lldll;\n};\n", (long long)(m->a_k_fast ? p->a_m : p->a_k),
           (long long)(m->b_k_fast ? p->b_n : p->b_k));
}

static Status emit(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out) {
  (void)cuda;
  MmaMatmul m;
  if (!describe(site, &m)) FAIL(ERROR_UNSUPPORTED, "mma_matmul does not take this product");
  const MatmulProblem *p = &m.p;
  if (p->m * p->n * p->batch == 0) return OK;
  int splits = candidate->config[MMA_SPLITS], threads = mma_threads(candidate);
  int64_t tiles = ceil_div(p->m, candidate->config[MMA_BM]) * ceil_div(p->n, candidate->config[MMA_BN]);
  const char *type = device_type(m.dtype);

  Text text = text_new(out->arena);
  text_add(&text, "#include \"kernels/common/output.cuh\"\n");
  emit_problem(&text, &m, candidate);
  walk_emit(&text, "a_batch", &p->output.batch, p->a_batch);
  walk_emit(&text, "b_batch", &p->output.batch, p->b_batch);
  if (splits == 1) TRY(output_emit(&text, site, &p->output, DTYPE_F32));
  else
    text_add(&text, "typedef Partial<f32, %lld, %lld, %lld> Output;\n", (long long)p->m, (long long)p->n, (long long)p->batch);
  text_add(&text, "#include \"kernels/matmul/mma_matmul.cuh\"\n");
  text_add(&text, "extern \"C\" __global__ void __launch_bounds__(%d) mma_matmul_kernel(const %s *a, const %s *b, ", threads,
           type, type);
  if (splits == 1) output_parameters(&text, site);
  else text_add(&text, "f32 *sums");
  text_add(&text, ") {\n  const u32 batch = " BATCH_INDEX ", tile = blockIdx.x %% %lldu, split = blockIdx.x / %lldu;\n",
           (long long)tiles, (long long)tiles);
  text_add(&text, "  if (batch >= %lldu) return;\n  Output output = ", (long long)p->batch);
  if (splits == 1) output_construct(&text, site);
  else text_add(&text, "{sums}");
  text_add(&text,
           ";\n  output.begin(%sbatch);\n  const int k_begin = (int)split * Problem::DEPTH, k_end = min(Problem::K, k_begin + "
           "Problem::DEPTH);\n",
           splits == 1 ? "" : "split, ");
  text_add(&text, "  mma_matmul<Problem, %s>(a + a_batch(batch), b + b_batch(batch), tile, k_begin, k_end, output);\n}\n",
           mma_instruction(m.dtype));

  unsigned grid[3], block[3] = {(unsigned)threads, 1, 1};
  batch_grid(tiles * splits, p->batch, grid);
  Launch *launch = emit_kernel(out, text_get(&text), "mma_matmul_kernel", grid, block);
  launch->label = "mma_matmul";
  launch->shared_bytes = (unsigned)mma_shared_bytes(candidate, (int)dtype_size(m.dtype));
  emit_buffer(out, launch, BUFFER_INPUT, 0);
  emit_buffer(out, launch, BUFFER_INPUT, 1);
  if (splits == 1) {
    output_arguments(out, launch, site);
    return OK;
  }
  emit_workspace(out, launch, 0);
  out->workspace_bytes = MAX(out->workspace_bytes, (size_t)splits * (size_t)(p->batch * p->m * p->n) * sizeof(float));
  return emit_split_reduce(out, site, &p->output, DTYPE_F32, splits);
}

const Tactic mma_matmul_tactic = {"mma_matmul", &op_matmul, false, supports, candidates, emit};
