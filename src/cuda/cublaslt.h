// cuBLASLt, opened at run time: NVIDIA's matrix products. What Ingot uses of its interface is declared here; the functions are
// reached through one table with a handle that several threads may use at once.
#pragma once
#include "base/arena.h"
#include "cuda/driver.h"

typedef int CublasResult;
typedef struct cublasLtContext *CublasLtHandle;
typedef struct CublasLtMatmulDesc *CublasLtMatmulDesc;
typedef struct CublasLtLayout *CublasLtLayout;
typedef struct CublasLtPreference *CublasLtPreference;

// cudaDataType
typedef enum CublasType {
  CUBLAS_F32 = 0,
  CUBLAS_F64 = 1,
  CUBLAS_F16 = 2,
  CUBLAS_I8 = 3,
  CUBLAS_I32 = 10,
  CUBLAS_BF16 = 14,
} CublasType;
typedef enum CublasCompute {
  CUBLAS_COMPUTE_F32 = 68,
  CUBLAS_COMPUTE_F64 = 70,
  CUBLAS_COMPUTE_I32 = 72,
  CUBLAS_COMPUTE_TF32 = 77,
} CublasCompute;
typedef enum CublasLayoutAttribute { CUBLAS_LAYOUT_BATCH_COUNT = 5, CUBLAS_LAYOUT_BATCH_STRIDE = 6 } CublasLayoutAttribute;
typedef enum CublasMatmulAttribute {
  CUBLAS_MATMUL_TRANSPOSE_A = 3,
  CUBLAS_MATMUL_TRANSPOSE_B = 4,
  CUBLAS_MATMUL_EPILOGUE = 7,
  CUBLAS_MATMUL_BIAS_POINTER = 8,
} CublasMatmulAttribute;
typedef enum CublasPreferenceAttribute {
  CUBLAS_PREFERENCE_WORKSPACE = 1,
  CUBLAS_PREFERENCE_REDUCTIONS = 3,
  CUBLAS_PREFERENCE_ALIGNMENT_A = 5,
  CUBLAS_PREFERENCE_ALIGNMENT_B = 6,
  CUBLAS_PREFERENCE_ALIGNMENT_C = 7,
  CUBLAS_PREFERENCE_ALIGNMENT_D = 8,
} CublasPreferenceAttribute;
typedef enum CublasEpilogue {
  CUBLAS_EPILOGUE_NONE = 1,
  CUBLAS_EPILOGUE_BIAS = 4,
  CUBLAS_EPILOGUE_GELU = 32,  // the tanh form
  CUBLAS_EPILOGUE_GELU_BIAS = 36,
} CublasEpilogue;
typedef enum CublasAlgoAttribute {
  CUBLAS_ALGO_ID = 0,
  CUBLAS_ALGO_TILE = 1,
  CUBLAS_ALGO_SPLIT_K = 2,
  CUBLAS_ALGO_STAGES = 6,
  CUBLAS_ALGO_INNER_SHAPE = 7,  // 2 bytes, as the cluster shape that follows; those before have 4
} CublasAlgoAttribute;

typedef struct CublasLtAlgo {
  uint64_t opaque[8];
} CublasLtAlgo;
typedef struct CublasLtHeuristic {
  CublasLtAlgo algo;
  size_t workspace_bytes;
  CublasResult state;
  float waves;
  int reserved[4];
} CublasLtHeuristic;
_Static_assert(sizeof(CublasLtHeuristic) == 96, "as cublasLtMatmulHeuristicResult_t");

// clang-format off
#define CUBLASLT_TABLE(CALL)                                                                                                    \
  CALL(cublasLtGetVersion, size_t, (void))                                                                                      \
  CALL(cublasLtGetStatusName, const char *, (CublasResult result))                                                              \
  CALL(cublasLtCreate, CublasResult, (CublasLtHandle *handle))                                                                  \
  CALL(cublasLtDestroy, CublasResult, (CublasLtHandle handle))                                                                  \
  CALL(cublasLtMatmulDescCreate, CublasResult, (CublasLtMatmulDesc *desc, int compute, int scale))                              \
  CALL(cublasLtMatmulDescDestroy, CublasResult, (CublasLtMatmulDesc desc))                                                      \
  CALL(cublasLtMatmulDescSetAttribute, CublasResult, (CublasLtMatmulDesc desc, int attribute, const void *value, size_t size))  \
  CALL(cublasLtMatrixLayoutCreate, CublasResult,                                                                                \
       (CublasLtLayout *layout, int type, uint64_t rows, uint64_t columns, int64_t leading))                                    \
  CALL(cublasLtMatrixLayoutDestroy, CublasResult, (CublasLtLayout layout))                                                      \
  CALL(cublasLtMatrixLayoutSetAttribute, CublasResult, (CublasLtLayout layout, int attribute, const void *value, size_t size))  \
  CALL(cublasLtMatmulPreferenceCreate, CublasResult, (CublasLtPreference *preference))                                          \
  CALL(cublasLtMatmulPreferenceDestroy, CublasResult, (CublasLtPreference preference))                                          \
  CALL(cublasLtMatmulPreferenceSetAttribute, CublasResult,                                                                      \
       (CublasLtPreference preference, int attribute, const void *value, size_t size))                                          \
  CALL(cublasLtMatmulAlgoGetHeuristic, CublasResult,                                                                            \
       (CublasLtHandle handle, CublasLtMatmulDesc desc, CublasLtLayout a, CublasLtLayout b, CublasLtLayout c, CublasLtLayout d, \
        CublasLtPreference preference, int wanted, CublasLtHeuristic *results, int *count))                                     \
  CALL(cublasLtMatmulAlgoConfigGetAttribute, CublasResult,                                                                      \
       (const CublasLtAlgo *algo, int attribute, void *value, size_t size, size_t *written))                                    \
  CALL(cublasLtMatmul, CublasResult,                                                                                            \
       (CublasLtHandle handle, CublasLtMatmulDesc desc, const void *alpha, const void *a, CublasLtLayout a_layout,              \
        const void *b, CublasLtLayout b_layout, const void *beta, const void *c, CublasLtLayout c_layout, void *d,              \
        CublasLtLayout d_layout, const CublasLtAlgo *algo, void *workspace, size_t workspace_bytes, CudaStream stream))
// clang-format on

typedef struct CublasLt {
#define CUBLASLT_FIELD(name, result, parameters) result(*name) parameters;
  CUBLASLT_TABLE(CUBLASLT_FIELD)
#undef CUBLASLT_FIELD
  Arena *arena;
  CublasLtHandle handle;
  const char *path;
  size_t version;  // 130100 for 13.1.0
} CublasLt;

// Opens the library ($INGOT_CUBLASLT, libcublasLt.so.13, .12) and makes a handle for the current CUDA context.
MUST_CHECK Status cublaslt_open(CublasLt **out);
void cublaslt_close(CublasLt *lt);  // in the same context; NULL is fine
MUST_CHECK Status cublaslt_error(const CublasLt *lt, CublasResult result, const char *call);

// CUBLASLT_TRY(lt, cublasLtMatmul(...)) calls lt->cublasLtMatmul and forwards an error.
#define CUBLASLT_TRY(lt, call)                                              \
  do {                                                                      \
    CublasResult cublas_result_ = (lt)->call;                               \
    if (cublas_result_) return cublaslt_error((lt), cublas_result_, #call); \
  } while (0)
