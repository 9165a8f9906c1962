// The tactic for matrix products by cuBLASLt. The library is column-major: a row-major y[m, n] is to it the n x m matrix whose
// columns are y's rows, so it computes y' = b' a' with b as its first operand. Transposed operands cost nothing: each is named by
// which of its two strides is 1. Batch axes of a that continue its rows become rows where b has none; axes that walk together
// become one; one of what is left is the library's batch, and the rest is a loop of calls.
//
// A site's epilogue is given to the library where it has the form gelu(y + bias + residual) or less, else a generated kernel follows: also
// behind relu, since the library's makes zeros of NaN.
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/context.h"
#include "cuda/cublaslt.h"
#include "kernels/common/library_epilogue.h"
#include "kernels/matmul/matmul.h"

enum { WORKSPACE_LIMIT = 32 << 20, LOOP_LIMIT = 64, HEURISTIC_LIMIT = 8, POINTER_ALIGNMENT = 256 };

// A column-major matrix as the library sees it: before it transposes it, if it does.
typedef struct LtMatrix {
  int64_t rows, columns, leading, batch_stride;
  bool transposed;
} LtMatrix;

typedef struct LoopAxis {
  int64_t extent, a, b, y;  // strides in elements
} LoopAxis;

typedef struct LtProblem {
  LtMatrix first, second, result;  // result = first * second
  int first_input, second_input;   // the site's input numbers: 1 and 0, or 0 and 1 where y itself is transposed
  int64_t batch;
  LoopAxis loops[MAX_RANK];  // calls beyond the library's batch; strides of first, second, result in a, b, y
  int loop_count;
  int64_t calls;
  DType input, natural;  // element types
  CublasType input_type, result_type, scale_type;
  CublasCompute compute;
  LibraryEpilogue epilogue;
  bool fused;  // the library does the epilogue
} LtProblem;

// --- Types.

static bool set_types(const Site *site, LtProblem *p) {
  static const struct {
    DType input, natural;
    CublasType input_type, result_type, scale_type;
    CublasCompute compute;
  } rows[] = {
      {DTYPE_F32, DTYPE_F32, CUBLAS_F32, CUBLAS_F32, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_F16, DTYPE_F16, CUBLAS_F16, CUBLAS_F16, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_F16, DTYPE_F32, CUBLAS_F16, CUBLAS_F32, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_BF16, DTYPE_BF16, CUBLAS_BF16, CUBLAS_BF16, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_BF16, DTYPE_F32, CUBLAS_BF16, CUBLAS_F32, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_F64, DTYPE_F64, CUBLAS_F64, CUBLAS_F64, CUBLAS_F64, CUBLAS_COMPUTE_F64},
      {DTYPE_I8, DTYPE_I32, CUBLAS_I8, CUBLAS_I32, CUBLAS_I32, CUBLAS_COMPUTE_I32},
  };
  DType input = site->inputs[0].dtype;
  if (site->inputs[1].dtype != input) return false;
  DType natural = (DType)node_int(site->node, "dtype", input == DTYPE_I8 ? DTYPE_I32 : input);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    if (rows[i].input != input || rows[i].natural != natural) continue;
    p->input = input, p->natural = natural;
    p->input_type = rows[i].input_type, p->result_type = rows[i].result_type, p->scale_type = rows[i].scale_type;
    p->compute = input == DTYPE_F32 && site->tf32 ? CUBLAS_COMPUTE_TF32 : rows[i].compute;
    return true;
  }
  return false;
}

// --- Shapes.

// A matrix x[outer, inner] of which the library wants `inner` along its columns' length, as it stands or transposed.
static bool set_matrix(LtMatrix *matrix, int64_t outer, int64_t inner, int64_t outer_stride, int64_t inner_stride) {
  if ((inner_stride == 1 || inner == 1) && (outer_stride >= inner || outer == 1)) {
    *matrix = (LtMatrix){inner, outer, outer == 1 ? inner : outer_stride, 0, false};
    return true;
  }
  if ((outer_stride == 1 || outer == 1) && (inner_stride >= outer || inner == 1)) {
    *matrix = (LtMatrix){outer, inner, inner == 1 ? outer : inner_stride, 0, true};
    return true;
  }
  return false;
}

static int64_t batch_stride(const TensorDesc *desc, int rank, int axis) {
  int own = axis - (rank - desc->rank);
  return own < 0 || desc->dims[own] == 1 ? 0 : desc->strides[own];
}

// Batch axes of more than one element, outermost first, those that all three tensors walk as one merged.
static int collect_axes(const Site *site, const TensorDesc *y, LoopAxis *axes) {
  int count = 0;
  for (int axis = 0; axis < y->rank - 2; axis++) {
    if (y->dims[axis] == 1) continue;
    LoopAxis next = {y->dims[axis], batch_stride(&site->inputs[0], y->rank, axis),
                     batch_stride(&site->inputs[1], y->rank, axis), y->strides[axis]};
    LoopAxis *last = count ? &axes[count - 1] : NULL;
    if (last && last->a == next.a * next.extent && last->b == next.b * next.extent && last->y == next.y * next.extent)
      *last = (LoopAxis){last->extent * next.extent, next.a, next.b, next.y};
    else axes[count++] = next;
  }
  return count;
}

// y's strides decide which way round the product is taken; the other way y' = (a b)' swaps the operands.
static bool set_matrices(const Site *site, const TensorDesc *y, LtProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1];
  int rank = y->rank;
  int64_t m = y->dims[rank - 2], n = y->dims[rank - 1], k = a->dims[a->rank - 1];
  int64_t a_m = a->strides[a->rank - 2], a_k = a->strides[a->rank - 1];
  int64_t b_k = b->strides[b->rank - 2], b_n = b->strides[b->rank - 1];
  int64_t y_m = y->strides[rank - 2], y_n = y->strides[rank - 1];
  p->loop_count = collect_axes(site, y, p->loops);
  while (p->loop_count) {
    LoopAxis *inner = &p->loops[p->loop_count - 1];
    bool extends = m == 1 || (inner->a == a_m * m && inner->y == y_m * m);
    if (inner->b != 0 || !extends) break;
    if (m == 1) a_m = inner->a, y_m = inner->y;
    m *= inner->extent;
    p->loop_count--;
  }
  LtMatrix result;
  if (!set_matrix(&result, m, n, y_m, y_n)) return false;
  bool swapped = result.transposed;
  LtMatrix *for_a = swapped ? &p->first : &p->second, *for_b = swapped ? &p->second : &p->first;
  // Not swapped: first is b' (n x k), second is a' (k x m). Swapped: first is a (m x k), second is b (k x n).
  bool fits = swapped ? set_matrix(for_a, k, m, a_k, a_m) && set_matrix(for_b, n, k, b_n, b_k)
                      : set_matrix(for_a, m, k, a_m, a_k) && set_matrix(for_b, k, n, b_k, b_n);
  if (!fits) return false;
  result.transposed = false;
  p->result = result;
  p->first_input = swapped ? 0 : 1;
  p->second_input = swapped ? 1 : 0;
  if (!swapped) {
    for (int i = 0; i < p->loop_count; i++) {
      int64_t stride = p->loops[i].a;
      p->loops[i].a = p->loops[i].b;
      p->loops[i].b = stride;
    }
  }
  return MAX(m, MAX(n, k)) <= INT32_MAX && m * n * k > 0;
}

// The largest axis becomes the library's batch.
static bool set_batch(LtProblem *p) {
  p->batch = p->calls = 1;
  int largest = 0;
  for (int i = 1; i < p->loop_count; i++)
    if (p->loops[i].extent > p->loops[largest].extent) largest = i;
  if (p->loop_count) {
    LoopAxis batch = p->loops[largest];
    if (batch.a < 0 || batch.b < 0 || batch.y < 0) return false;
    p->loops[largest] = p->loops[--p->loop_count];
    p->batch = batch.extent;
    p->first.batch_stride = batch.a;
    p->second.batch_stride = batch.b;
    p->result.batch_stride = batch.y;
  }
  for (int i = 0; i < p->loop_count; i++) p->calls *= p->loops[i].extent;
  return p->calls <= LOOP_LIMIT && p->batch <= INT32_MAX;
}

static bool make_problem(const Site *site, LtProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1], *y = &site->outputs[0];
  *p = (LtProblem){0};
  if (site_has_zero_points(site) || a->rank < 2 || b->rank < 2 || desc_count(y) == 0 || !set_types(site, p)) return false;
  LibraryResult result = library_result(site, p->natural, 0);
  if (!set_matrices(site, &result.desc, p) || !set_batch(p)) return false;
  // The library adds a bias along the rows of its result: y's columns, unless the product is swapped.
  bool swapped = p->first_input == 0;
  p->fused = library_epilogue(site, y->rank - 1, p->natural, &p->epilogue) && !(swapped && p->epilogue.bias >= 0) &&
             p->epilogue.activation != LIBRARY_RELU;
  if (!p->fused) p->epilogue = (LibraryEpilogue){LIBRARY_IDENTITY, -1, -1};
  // A bias alone may have another form than the output's floats: only f32 and the two halves have kernels with epilogues.
  if (p->fused && p->natural == DTYPE_F64 && (p->epilogue.bias >= 0 || p->epilogue.activation != LIBRARY_IDENTITY)) {
    p->fused = false;
    p->epilogue = (LibraryEpilogue){LIBRARY_IDENTITY, -1, -1};
  }
  if (p->input != DTYPE_I8) return true;
  // Integer tensor cores: first operand transposed, second not, all extents and leading dimensions multiples of 4.
  int64_t m = p->result.rows, k = p->second.rows;
  return p->first.transposed && !p->second.transposed && m % 4 == 0 && k % 4 == 0 && p->first.leading % 4 == 0 &&
         p->second.leading % 4 == 0;
}

static bool supports(const Site *site) {
  LtProblem p;
  return site->device->cublaslt && make_problem(site, &p);
}

// --- Descriptors. They live in an arena and are destroyed with it.

typedef struct LtPlan {
  LtProblem problem;
  const CublasLt *lt;
  CublasLtLayout first, second, result;
  CublasLtPreference preference;
  CublasLtAlgo algo;
  size_t workspace_bytes;
  LibraryResult target;
  size_t input_size, result_size;  // of elements
} LtPlan;

static void plan_free(void *context) {
  LtPlan *plan = context;
  if (plan->first) plan->lt->cublasLtMatrixLayoutDestroy(plan->first);
  if (plan->second) plan->lt->cublasLtMatrixLayoutDestroy(plan->second);
  if (plan->result) plan->lt->cublasLtMatrixLayoutDestroy(plan->result);
  if (plan->preference) plan->lt->cublasLtMatmulPreferenceDestroy(plan->preference);
}

static Status make_layout(const CublasLt *lt, CublasType type, const LtMatrix *matrix, int64_t batch, CublasLtLayout *out) {
  CUBLASLT_TRY(lt, cublasLtMatrixLayoutCreate(out, type, (uint64_t)matrix->rows, (uint64_t)matrix->columns, matrix->leading));
  if (batch == 1) return OK;
  int32_t count = (int32_t)batch;
  CUBLASLT_TRY(lt, cublasLtMatrixLayoutSetAttribute(*out, CUBLAS_LAYOUT_BATCH_COUNT, &count, sizeof count));
  CUBLASLT_TRY(lt, cublasLtMatrixLayoutSetAttribute(*out, CUBLAS_LAYOUT_BATCH_STRIDE, &matrix->batch_stride,
                                                    sizeof matrix->batch_stride));
  return OK;
}

static Status set_matmul(const CublasLt *lt, CublasLtMatmulDesc desc, int attribute, int32_t value) {
  CUBLASLT_TRY(lt, cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value));
  return OK;
}

// A descriptor for one call: it holds the bias pointer, so that two sessions may run one plan at once.
static Status fill_matmul_desc(const LtPlan *plan, const void *bias, CublasLtMatmulDesc desc) {
  const LtProblem *p = &plan->problem;
  TRY(set_matmul(plan->lt, desc, CUBLAS_MATMUL_TRANSPOSE_A, p->first.transposed));
  TRY(set_matmul(plan->lt, desc, CUBLAS_MATMUL_TRANSPOSE_B, p->second.transposed));
  static const CublasEpilogue epilogues[] = {
      [LIBRARY_IDENTITY] = CUBLAS_EPILOGUE_NONE, [LIBRARY_GELU_TANH] = CUBLAS_EPILOGUE_GELU};
  static const CublasEpilogue with_bias[] = {
      [LIBRARY_IDENTITY] = CUBLAS_EPILOGUE_BIAS, [LIBRARY_GELU_TANH] = CUBLAS_EPILOGUE_GELU_BIAS};
  TRY(set_matmul(plan->lt, desc, CUBLAS_MATMUL_EPILOGUE, (bias ? with_bias : epilogues)[p->epilogue.activation]));
  if (bias) CUBLASLT_TRY(plan->lt, cublasLtMatmulDescSetAttribute(desc, CUBLAS_MATMUL_BIAS_POINTER, &bias, sizeof bias));
  return OK;
}

static Status make_matmul_desc(const LtPlan *plan, const void *bias, CublasLtMatmulDesc *out) {
  CUBLASLT_TRY(plan->lt, cublasLtMatmulDescCreate(out, plan->problem.compute, plan->problem.scale_type));
  Status status = fill_matmul_desc(plan, bias, *out);
  if (status) plan->lt->cublasLtMatmulDescDestroy(*out);
  return status;
}

// What every address of an operand is a multiple of, in bytes.
static uint32_t alignment_of(const TensorDesc *desc, const LtProblem *p, int operand) {
  uint64_t size = dtype_size(desc->dtype), bits = POINTER_ALIGNMENT | (uint64_t)desc->offset * size;
  for (int i = 0; i < p->loop_count; i++)
    bits |= (uint64_t)(operand == 0 ? p->loops[i].a : operand == 1 ? p->loops[i].b : p->loops[i].y) * size;
  return (uint32_t)(bits & -bits);
}

static Status set_preference(LtPlan *plan, int attribute, const void *value, size_t size) {
  CUBLASLT_TRY(plan->lt, cublasLtMatmulPreferenceSetAttribute(plan->preference, attribute, value, size));
  return OK;
}

static Status make_preference(const Site *site, LtPlan *plan) {
  const LtProblem *p = &plan->problem;
  // Partial sums of a split are kept in the type of the computation; for f32 that of the output is the same.
  enum { REDUCE_IN_PLACE = 1, REDUCE_COMPUTE_TYPE = 2 };
  size_t limit = WORKSPACE_LIMIT;
  uint32_t reductions = p->natural == DTYPE_F32 ? REDUCE_IN_PLACE | REDUCE_COMPUTE_TYPE : REDUCE_COMPUTE_TYPE;
  uint32_t first = alignment_of(&site->inputs[p->first_input], p, 0);
  uint32_t second = alignment_of(&site->inputs[p->second_input], p, 1);
  uint32_t result = alignment_of(&plan->target.desc, p, 2), added = result;
  if (p->epilogue.residual >= 0) added = alignment_of(&site->inputs[p->epilogue.residual], p, 2);
  CUBLASLT_TRY(plan->lt, cublasLtMatmulPreferenceCreate(&plan->preference));
  TRY(set_preference(plan, CUBLAS_PREFERENCE_WORKSPACE, &limit, sizeof limit));
  TRY(set_preference(plan, CUBLAS_PREFERENCE_REDUCTIONS, &reductions, sizeof reductions));
  TRY(set_preference(plan, CUBLAS_PREFERENCE_ALIGNMENT_A, &first, sizeof first));
  TRY(set_preference(plan, CUBLAS_PREFERENCE_ALIGNMENT_B, &second, sizeof second));
  TRY(set_preference(plan, CUBLAS_PREFERENCE_ALIGNMENT_C, &added, sizeof added));
  TRY(set_preference(plan, CUBLAS_PREFERENCE_ALIGNMENT_D, &result, sizeof result));
  return OK;
}

static Status make_plan(const Site *site, CudaContext *cuda, Arena *arena, LtPlan **out) {
  LtPlan *plan = arena_new_of(arena, LtPlan);
  if (!make_problem(site, &plan->problem)) FAIL(ERROR_UNSUPPORTED, "cuBLASLt does not take this product");
  TRY(cuda_cublaslt(cuda, &plan->lt));
  arena_on_free(arena, plan_free, plan);
  const LtProblem *p = &plan->problem;
  plan->target = library_result(site, p->natural, 0);
  plan->input_size = dtype_size(p->input);
  plan->result_size = dtype_size(p->natural);
  TRY(make_layout(plan->lt, p->input_type, &p->first, p->batch, &plan->first));
  TRY(make_layout(plan->lt, p->input_type, &p->second, p->batch, &plan->second));
  TRY(make_layout(plan->lt, p->result_type, &p->result, p->batch, &plan->result));
  TRY(make_preference(site, plan));
  *out = plan;
  return OK;
}

static Status ask_heuristic(const Site *site, const LtPlan *plan, CublasLtHeuristic *results, int *count) {
  CublasLtMatmulDesc desc;
  const void *bias = NULL;
  *count = 0;
  // Only the alignment of a bias is looked at here.
  if (plan->problem.epilogue.bias >= 0) {
    const TensorDesc *vector = &site->inputs[plan->problem.epilogue.bias];
    bias = (const void *)(uintptr_t)(POINTER_ALIGNMENT + (uint64_t)vector->offset * dtype_size(vector->dtype));
  }
  TRY(make_matmul_desc(plan, bias, &desc));
  const CublasLt *lt = plan->lt;
  CublasResult result = lt->cublasLtMatmulAlgoGetHeuristic(lt->handle, desc, plan->first, plan->second, plan->result,
                                                           plan->result, plan->preference, HEURISTIC_LIMIT, results, count);
  lt->cublasLtMatmulDescDestroy(desc);
  if (result) return cublaslt_error(lt, result, "cublasLtMatmulAlgoGetHeuristic");
  int valid = 0;
  for (int i = 0; i < *count; i++)
    if (results[i].state == 0) results[valid++] = results[i];
  *count = valid;
  if (valid == 0) FAIL(ERROR_UNSUPPORTED, "cuBLASLt has no algorithm for this product");
  return OK;
}

// --- Candidates. An algorithm is remembered by its place in the heuristic's list and by what it is, so that a plan made with one
// version of the library finds it again in another's list.

enum { ALGO_FACTS = 9 };
static void algo_facts(const CublasLt *lt, const CublasLtAlgo *algo, int facts[ALGO_FACTS]) {
  memset(facts, 0, ALGO_FACTS * sizeof *facts);
  for (int i = 0; i < ALGO_FACTS; i++) {
    size_t written;
    lt->cublasLtMatmulAlgoConfigGetAttribute(algo, i, &facts[i], i < CUBLAS_ALGO_INNER_SHAPE ? 4 : 2, &written);
  }
}

static int candidates(const Site *site, CudaContext *cuda, Candidate *out, int limit) {
  if (!cuda) return 0;
  Arena *scratch = arena_scratch();
  CublasLtHeuristic results[HEURISTIC_LIMIT];
  LtPlan *plan;
  int count = 0;
  Status status = make_plan(site, cuda, scratch, &plan);
  if (!status) status = ask_heuristic(site, plan, results, &count);
  for (int i = 0; i < MIN(count, limit); i++) {
    int facts[ALGO_FACTS];
    algo_facts(plan->lt, &results[i].algo, facts);
    out[i] = (Candidate){.config = {i}};
    memcpy(out[i].config + 1, facts, sizeof facts);
    snprintf(out[i].name, sizeof out[i].name, "algo %d tile %d stages %d splitk %d", facts[CUBLAS_ALGO_ID],
             facts[CUBLAS_ALGO_TILE], facts[CUBLAS_ALGO_STAGES], facts[CUBLAS_ALGO_SPLIT_K]);
  }
  status_free(status);
  arena_free(scratch);
  return MIN(count, limit);
}

// The candidate's algorithm in the list; the list's first where a new version of the library no longer offers it.
static int choose(const LtPlan *plan, const Candidate *candidate, const CublasLtHeuristic *results, int count) {
  for (int offset = 0; offset < count; offset++) {
    int i = (candidate->config[0] + offset) % count, facts[ALGO_FACTS];
    algo_facts(plan->lt, &results[i].algo, facts);
    if (memcmp(facts, candidate->config + 1, sizeof facts) == 0) return i;
  }
  return 0;
}

// --- Running.

static const void *element(const void *base, int64_t offset, size_t size) {
  return (const char *)base + offset * (int64_t)size;
}

static Status run(void *state, const CallContext *context) {
  const LtPlan *plan = state;
  const LtProblem *p = &plan->problem;
  const CublasLt *lt = plan->lt;
  const void *bias = p->epilogue.bias >= 0 ? context->inputs[p->epilogue.bias] : NULL;
  void *result = plan->target.kind == BUFFER_OUTPUT ? context->outputs[0] : (char *)context->workspace + plan->target.offset;
  const void *added = p->epilogue.residual >= 0 ? context->inputs[p->epilogue.residual] : result;
  const bool adds = p->epilogue.residual >= 0;
  // In the type of the computation.
  const float one_f32 = 1, beta_f32 = adds;
  const double one_f64 = 1, beta_f64 = adds;
  const int32_t one_i32 = 1, beta_i32 = adds;
  const void *alpha = p->scale_type == CUBLAS_F64   ? (const void *)&one_f64
                      : p->scale_type == CUBLAS_I32 ? &one_i32
                                                    : (const void *)&one_f32;
  const void *beta = p->scale_type == CUBLAS_F64   ? (const void *)&beta_f64
                     : p->scale_type == CUBLAS_I32 ? &beta_i32
                                                   : (const void *)&beta_f32;
  CublasLtMatmulDesc desc;
  TRY(make_matmul_desc(plan, bias, &desc));
  Status status = OK;
  for (int64_t call = 0; call < p->calls && !status; call++) {
    int64_t first = 0, second = 0, y = 0, rest = call;
    for (int i = 0; i < p->loop_count; i++) {
      int64_t at = rest % p->loops[i].extent;
      rest /= p->loops[i].extent;
      first += at * p->loops[i].a, second += at * p->loops[i].b, y += at * p->loops[i].y;
    }
    CublasResult outcome =
        lt->cublasLtMatmul(lt->handle, desc, alpha, element(context->inputs[p->first_input], first, plan->input_size),
                           plan->first, element(context->inputs[p->second_input], second, plan->input_size), plan->second, beta,
                           element(added, y, plan->result_size), plan->result, (void *)element(result, y, plan->result_size),
                           plan->result, &plan->algo, context->workspace, plan->workspace_bytes, context->stream);
    if (outcome) status = cublaslt_error(lt, outcome, "cublasLtMatmul");
  }
  lt->cublasLtMatmulDescDestroy(desc);
  return status;
}

static Status emit(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out) {
  if (!cuda) FAIL(ERROR_UNSUPPORTED, "cuBLASLt needs the GPU that the plan is for");
  CublasLtHeuristic results[HEURISTIC_LIMIT];
  LtPlan *plan;
  int count;
  TRY(make_plan(site, cuda, out->arena, &plan));
  TRY(ask_heuristic(site, plan, results, &count));
  int chosen = choose(plan, candidate, results, count);
  plan->algo = results[chosen].algo;
  plan->workspace_bytes = results[chosen].workspace_bytes;
  plan->target = library_result(site, plan->problem.natural, plan->workspace_bytes);
  emit_call(out, run, plan, "cublaslt");
  out->workspace_bytes = MAX(out->workspace_bytes, MAX(plan->workspace_bytes, plan->target.offset + plan->target.bytes));
  return plan->problem.fused || !site->node->epilogue ? OK : library_emit_epilogue(out, site, &plan->target);
}

const Tactic cublaslt_matmul_tactic = {"cublaslt", &op_matmul, false, supports, candidates, emit, true};
