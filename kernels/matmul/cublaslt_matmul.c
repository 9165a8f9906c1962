// How a GPU computes matrix products by cuBLASLt (cublaslt_problem.h says how the library sees one): its heuristic proposes algorithms.
//
// A site's epilogue is given to the library where it has the form gelu(y + bias + residual) or less, else a generated kernel follows: also
// behind relu, since the library's makes zeros of NaN.
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/context.h"
#include "kernels/matmul/cublaslt_problem.h"
#include "kernels/matmul/matmul.h"

// Of the peak of tensor cores, which large products get: the chip's power is the limit.
#define PEAK_SHARE 0.7
enum { WORKSPACE_LIMIT = 32 << 20, HEURISTIC_LIMIT = 8, POINTER_ALIGNMENT = 256 };

static bool supports(const Site *site) {
  LtProblem p;
  REQUIRE(site, site->device->cublaslt, "cuBLASLt is not here");
  return cublaslt_problem(site, &p);
}

// --- The library's proposals.

typedef struct LtQuestion {
  LtProblem problem;
  LtDescriptors *made;
  CublasLtPreference preference;
} LtQuestion;

static void free_preference(void *context) {
  const LtQuestion *question = context;
  if (question->preference) question->made->lt->cublasLtMatmulPreferenceDestroy(question->preference);
}

// What every address of an operand is a multiple of, in bytes.
static uint32_t alignment_of(const TensorDesc *desc, const LtProblem *p, int operand) {
  uint64_t size = dtype_size(desc->dtype), bits = POINTER_ALIGNMENT | (uint64_t)desc->offset * size;
  for (int i = 0; i < p->loop_count; i++)
    bits |= (uint64_t)(operand == 0 ? p->loops[i].a : operand == 1 ? p->loops[i].b : p->loops[i].y) * size;
  return (uint32_t)(bits & -bits);
}

static Status set_preference(const LtQuestion *question, int attribute, const void *value, size_t size) {
  CUBLASLT_TRY(question->made->lt, cublasLtMatmulPreferenceSetAttribute(question->preference, attribute, value, size));
  return OK;
}

static Status make_preference(const Site *site, LtQuestion *question) {
  const LtProblem *p = &question->problem;
  // Partial sums of a split are kept in the type of the computation; for f32 that of the output is the same.
  enum { REDUCE_IN_PLACE = 1, REDUCE_COMPUTE_TYPE = 2 };
  size_t limit = WORKSPACE_LIMIT;
  uint32_t reductions = p->natural == DTYPE_F32 ? REDUCE_IN_PLACE | REDUCE_COMPUTE_TYPE : REDUCE_COMPUTE_TYPE;
  uint32_t first = alignment_of(&site->inputs[p->first_input], p, 0);
  uint32_t second = alignment_of(&site->inputs[p->second_input], p, 1);
  LibraryResult target = library_result(site, p->natural, 0);
  uint32_t result = alignment_of(&target.desc, p, 2), added = result;
  if (p->epilogue.residual >= 0) added = alignment_of(&site->inputs[p->epilogue.residual], p, 2);
  CUBLASLT_TRY(question->made->lt, cublasLtMatmulPreferenceCreate(&question->preference));
  TRY(set_preference(question, CUBLAS_PREFERENCE_WORKSPACE, &limit, sizeof limit));
  TRY(set_preference(question, CUBLAS_PREFERENCE_REDUCTIONS, &reductions, sizeof reductions));
  TRY(set_preference(question, CUBLAS_PREFERENCE_ALIGNMENT_A, &first, sizeof first));
  TRY(set_preference(question, CUBLAS_PREFERENCE_ALIGNMENT_B, &second, sizeof second));
  TRY(set_preference(question, CUBLAS_PREFERENCE_ALIGNMENT_C, &added, sizeof added));
  TRY(set_preference(question, CUBLAS_PREFERENCE_ALIGNMENT_D, &result, sizeof result));
  return OK;
}

static Status make_question(const Site *site, CudaContext *cuda, Arena *arena, LtQuestion **out) {
  LtQuestion *question = arena_new_of(arena, LtQuestion);
  if (!cublaslt_problem(site, &question->problem)) FAIL(ERROR_UNSUPPORTED, "cuBLASLt does not take this product");
  TRY(cublaslt_describe(&question->problem, cuda, arena, &question->made));
  arena_on_free(arena, free_preference, question);
  TRY(make_preference(site, question));
  *out = question;
  return OK;
}

// wanted: so many proposals, HEURISTIC_LIMIT at most.
static Status ask_heuristic(const Site *site, const LtQuestion *question, int wanted, CublasLtHeuristic *results, int *count) {
  const LtDescriptors *made = question->made;
  const CublasLt *lt = made->lt;
  CublasLtMatmulDesc desc;
  const void *bias = NULL;
  *count = 0;
  // Only the alignment of a bias is looked at here.
  if (question->problem.epilogue.bias >= 0) {
    const TensorDesc *vector = &site->inputs[question->problem.epilogue.bias];
    bias = (const void *)(uintptr_t)(POINTER_ALIGNMENT + (uint64_t)vector->offset * dtype_size(vector->dtype));
  }
  TRY(cublaslt_matmul_desc(&question->problem, lt, bias, &desc));
  CublasResult result =
      lt->cublasLtMatmulAlgoGetHeuristic(lt->handle, desc, made->first, made->second, made->result, made->result,
                                         question->preference, MIN(wanted, HEURISTIC_LIMIT), results, count);
  lt->cublasLtMatmulDescDestroy(desc);
  if (result) return cublaslt_error(lt, result, "cublasLtMatmulAlgoGetHeuristic");
  int valid = 0;
  for (int i = 0; i < *count; i++)
    if (results[i].state == 0) results[valid++] = results[i];
  *count = valid;
  if (valid == 0) FAIL(ERROR_UNSUPPORTED, "cuBLASLt has no algorithm for this product");
  return OK;
}

// --- Ways. An algorithm is remembered by its place in the heuristic's list and by what it is, so that a plan made with one
// version of the library finds it again in another's list.

enum { ALGO_FACTS = 9 };
static void algo_facts(const CublasLt *lt, const CublasLtAlgo *algo, int facts[ALGO_FACTS]) {
  memset(facts, 0, ALGO_FACTS * sizeof *facts);
  for (int i = 0; i < ALGO_FACTS; i++) {
    size_t written;
    lt->cublasLtMatmulAlgoConfigGetAttribute(algo, i, &facts[i], i < CUBLAS_ALGO_INNER_SHAPE ? 4 : 2, &written);
  }
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  CudaContext *cuda = machine->cuda;
  if (!cuda) return 0;
  Arena *scratch = arena_scratch();
  CublasLtHeuristic results[HEURISTIC_LIMIT];
  LtQuestion *question;
  int count = 0;
  Status status = make_question(site, cuda, scratch, &question);
  if (!status) status = ask_heuristic(site, question, limit, results, &count);
  for (int i = 0; i < MIN(count, limit); i++) {
    int facts[ALGO_FACTS];
    algo_facts(question->made->lt, &results[i].algo, facts);
    out[i] = (Way){.config = {i}};
    memcpy(out[i].config + 1, facts, sizeof facts);
    snprintf(out[i].name, sizeof out[i].name, "algo %d tile %d stages %d splitk %d", facts[CUBLAS_ALGO_ID],
             facts[CUBLAS_ALGO_TILE], facts[CUBLAS_ALGO_STAGES], facts[CUBLAS_ALGO_SPLIT_K]);
  }
  status_free(status);
  arena_free(scratch);
  return MIN(count, limit);
}

static double cost(const Site *site) {
  LtProblem p;
  return cost_of_library(site, PEAK_SHARE, cublaslt_problem(site, &p) && p.fused);
}

static bool is_way(const CublasLt *lt, const Way *way, const CublasLtHeuristic *result) {
  int facts[ALGO_FACTS];
  algo_facts(lt, &result->algo, facts);
  return memcmp(facts, way->config + 1, sizeof facts) == 0;
}

// The way's algorithm in the list; the list's first where a new version of the library no longer offers it.
static int choose(const CublasLt *lt, const Way *way, const CublasLtHeuristic *results, int count) {
  for (int offset = 0; offset < count; offset++) {
    int i = (way->config[0] + offset) % count;
    if (is_way(lt, way, &results[i])) return i;
  }
  return 0;
}

static void emit_call(const LtCall *call, const LibraryResult *target, Emission *out) {
  const LtProblem *p = &call->problem;
  Launch *launch = emit_library(out, &cublaslt_routine, call, "cublaslt");
  emit_buffer(out, launch, BUFFER_INPUT, p->first_input);
  emit_buffer(out, launch, BUFFER_INPUT, p->second_input);
  library_emit_target(out, launch, target);
  if (p->epilogue.bias >= 0) emit_buffer(out, launch, BUFFER_INPUT, p->epilogue.bias);
  if (p->epilogue.residual >= 0) emit_buffer(out, launch, BUFFER_INPUT, p->epilogue.residual);
  emit_workspace(out, launch, 0);
}

static Status ask(const Site *site, const Way *way, CudaContext *cuda, Arena *scratch, LtCall *out) {
  CublasLtHeuristic results[HEURISTIC_LIMIT] = {0};  // of an algorithm all bytes count
  LtQuestion *question;
  int count;
  TRY(make_question(site, cuda, scratch, &question));
  const CublasLt *lt = question->made->lt;
  TRY(ask_heuristic(site, question, way->config[0] + 1, results, &count));
  if (!is_way(lt, way, &results[count - 1])) TRY(ask_heuristic(site, question, HEURISTIC_LIMIT, results, &count));
  int chosen = choose(lt, way, results, count);
  out->problem = question->problem;
  out->algo = results[chosen].algo;
  out->version = lt->version;
  out->workspace_bytes = results[chosen].workspace_bytes;
  return OK;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  CudaContext *cuda = machine->cuda;
  if (!cuda) FAIL(ERROR_UNSUPPORTED, "cuBLASLt needs the GPU that the plan is for");
  LtCall *call = arena_new_of(out->arena, LtCall);
  Arena *scratch = arena_scratch();
  Status status = ask(site, way, cuda, scratch, call);
  arena_free(scratch);
  TRY(status);
  LibraryResult target = library_result(site, call->problem.natural, call->workspace_bytes);
  emit_call(call, &target, out);
  out->workspace_bytes = MAX(out->workspace_bytes, MAX(call->workspace_bytes, target.offset + target.bytes));
  return call->problem.fused || !site->epilogue ? OK : library_emit_epilogue(out, site, &target);
}

const Implementation cuda_cublaslt_matmul = {
    .name = "cublaslt",
    .backend = BACKEND_CUDA,
    .op = &op_matmul,
    .library = LIBRARY_CUBLASLT,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower,
};
