// Calls of cuBLASLt from their parameters: descriptors once, then any number of products.
#include <math.h>

#include "base/checked.h"
#include "cuda/context.h"
#include "kernels/matmul/cublaslt_problem.h"

static void descriptors_free(void *context) {
  LtDescriptors *made = context;
  if (made->first) made->lt->cublasLtMatrixLayoutDestroy(made->first);
  if (made->second) made->lt->cublasLtMatrixLayoutDestroy(made->second);
  if (made->result) made->lt->cublasLtMatrixLayoutDestroy(made->result);
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

Status cublaslt_describe(const LtProblem *p, CudaContext *cuda, Arena *arena, LtDescriptors **out) {
  LtDescriptors *made = arena_new_of(arena, LtDescriptors);
  TRY(cuda_cublaslt(cuda, &made->lt));
  arena_on_free(arena, descriptors_free, made);
  TRY(make_layout(made->lt, p->input_type, &p->first, p->batch, &made->first));
  TRY(make_layout(made->lt, p->input_type, &p->second, p->batch, &made->second));
  TRY(make_layout(made->lt, p->result_type, &p->result, p->batch, &made->result));
  *out = made;
  return OK;
}

static Status set_matmul(const CublasLt *lt, CublasLtMatmulDesc desc, int attribute, int32_t value) {
  CUBLASLT_TRY(lt, cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value));
  return OK;
}

static Status fill_matmul_desc(const LtProblem *p, const CublasLt *lt, const void *bias, CublasLtMatmulDesc desc) {
  TRY(set_matmul(lt, desc, CUBLAS_MATMUL_TRANSPOSE_A, (int32_t)p->first.transposed));
  TRY(set_matmul(lt, desc, CUBLAS_MATMUL_TRANSPOSE_B, (int32_t)p->second.transposed));
  static const CublasEpilogue epilogues[] = {
      [LIBRARY_IDENTITY] = CUBLAS_EPILOGUE_NONE, [LIBRARY_GELU_TANH] = CUBLAS_EPILOGUE_GELU};
  static const CublasEpilogue with_bias[] = {
      [LIBRARY_IDENTITY] = CUBLAS_EPILOGUE_BIAS, [LIBRARY_GELU_TANH] = CUBLAS_EPILOGUE_GELU_BIAS};
  TRY(set_matmul(lt, desc, CUBLAS_MATMUL_EPILOGUE, (bias ? with_bias : epilogues)[p->epilogue.activation]));
  if (bias) CUBLASLT_TRY(lt, cublasLtMatmulDescSetAttribute(desc, CUBLAS_MATMUL_BIAS_POINTER, &bias, sizeof bias));
  return OK;
}

Status cublaslt_matmul_desc(const LtProblem *p, const CublasLt *lt, const void *bias, CublasLtMatmulDesc *out) {
  CUBLASLT_TRY(lt, cublasLtMatmulDescCreate(out, p->compute, p->scale_type));
  Status status = fill_matmul_desc(p, lt, bias, *out);
  if (status) lt->cublasLtMatmulDescDestroy(*out);
  return status;
}

typedef struct LtState {
  LtCall call;
  LtDescriptors *made;
} LtState;

static int arguments(const void *parameters) {
  const LtProblem *p = &((const LtCall *)parameters)->problem;
  bool sound = isfinite(p->epilogue.scale) && (unsigned)p->epilogue.activation <= LIBRARY_GELU_TANH && p->loop_count >= 0 &&
               p->loop_count <= MAX_RANK && p->batch > 0 && p->batch <= INT32_MAX && (unsigned)p->input < DTYPE_COUNT &&
               (unsigned)p->natural < DTYPE_COUNT;
  for (int i = 0; sound && i < p->loop_count; i++) sound = p->loops[i].extent > 0;
  return sound ? 4 + (p->epilogue.bias >= 0) + (p->epilogue.residual >= 0) : -1;  // operands, result, workspace
}

static Status open(const void *parameters, CudaContext *cuda, Arena *arena, void **out) {
  LtState *state = arena_new_of(arena, LtState);
  state->call = *(const LtCall *)parameters;
  TRY(cublaslt_describe(&state->call.problem, cuda, arena, &state->made));
  size_t version = state->made->lt->version;
  if (version != state->call.version)
    FAIL(ERROR_UNSUPPORTED, "the call was made for cuBLASLt %zu, and here is %zu", state->call.version, version);
  *out = state;
  return OK;
}

static const void *element(const void *base, int64_t offset, size_t size) {
  return (const char *)base + offset * (int64_t)size;
}

static Status run(const void *opened, void *const *arguments, CudaStream stream) {
  const LtState *state = opened;
  const LtProblem *p = &state->call.problem;
  const LtDescriptors *made = state->made;
  const CublasLt *lt = made->lt;
  const bool adds = p->epilogue.residual >= 0;
  const void *first_operand = *arguments++, *second_operand = *arguments++;
  void *result = *arguments++;
  const void *bias = p->epilogue.bias >= 0 ? *arguments++ : NULL;
  const void *added = adds ? *arguments++ : result;
  void *workspace = *arguments;
  size_t input_size = dtype_size(p->input), result_size = dtype_size(p->natural);
  // In the type of the computation.
  const float scale_f32 = p->epilogue.scale, beta_f32 = adds;
  const double one_f64 = 1, beta_f64 = adds;
  const int32_t one_i32 = 1, beta_i32 = adds;
  const void *alpha = p->scale_type == CUBLAS_F64   ? (const void *)&one_f64
                      : p->scale_type == CUBLAS_I32 ? &one_i32
                                                    : (const void *)&scale_f32;
  const void *beta = p->scale_type == CUBLAS_F64   ? (const void *)&beta_f64
                     : p->scale_type == CUBLAS_I32 ? &beta_i32
                                                   : (const void *)&beta_f32;
  CublasLtMatmulDesc desc;
  TRY(cublaslt_matmul_desc(p, lt, bias, &desc));
  Status status = OK;
  for (int64_t call = 0; call < p->calls && !status; call++) {
    int64_t first = 0, second = 0, y = 0, rest = call;
    for (int i = 0; i < p->loop_count; i++) {
      int64_t at = rest % p->loops[i].extent;
      rest /= p->loops[i].extent;
      first += at * p->loops[i].a, second += at * p->loops[i].b, y += at * p->loops[i].y;
    }
    CublasResult outcome =
        lt->cublasLtMatmul(lt->handle, desc, alpha, element(first_operand, first, input_size), made->first,
                           element(second_operand, second, input_size), made->second, beta, element(added, y, result_size),
                           made->result, (void *)element(result, y, result_size), made->result, &state->call.algo, workspace,
                           state->call.workspace_bytes, stream);
    if (outcome) status = cublaslt_error(lt, outcome, "cublasLtMatmul");
  }
  lt->cublasLtMatmulDescDestroy(desc);
  return status;
}

const LibraryRoutine cublaslt_routine = {"cublaslt_matmul", sizeof(LtCall), arguments, open, run};
