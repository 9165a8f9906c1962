// A cuBLASLt that multiplies on the host, exactly as the real one's documentation defines the call: column-major matrices, transposes, batches,
// a bias along the rows. Part of the unit test of the tactic, and a library that the emulated GPU's sessions open.
#include "tests/fakes/cublaslt.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cublaslt.h"
#include "ir/tensor.h"

#pragma GCC visibility push(default)  // these are a library's

struct CublasLtLayout {
  int type;
  int64_t rows, columns, leading, stride;
  int batch;
};
struct CublasLtMatmulDesc {
  int compute, scale, transpose_a, transpose_b, epilogue;
  const char *bias;
};
int fake_live, fake_calls;

CublasResult cublasLtMatmulDescCreate(CublasLtMatmulDesc *desc, int compute, int scale) {
  *desc = calloc(1, sizeof **desc);
  **desc = (struct CublasLtMatmulDesc){.compute = compute, .scale = scale, .epilogue = CUBLAS_EPILOGUE_NONE};
  fake_live++;
  return 0;
}
CublasResult cublasLtMatmulDescDestroy(CublasLtMatmulDesc desc) {
  free(desc);
  fake_live--;
  return 0;
}
CublasResult cublasLtMatmulDescSetAttribute(CublasLtMatmulDesc desc, int attribute, const void *value, size_t size) {
  if (attribute == CUBLAS_MATMUL_BIAS_POINTER) memcpy(&desc->bias, value, size);
  if (attribute == CUBLAS_MATMUL_TRANSPOSE_A) memcpy(&desc->transpose_a, value, size);
  if (attribute == CUBLAS_MATMUL_TRANSPOSE_B) memcpy(&desc->transpose_b, value, size);
  if (attribute == CUBLAS_MATMUL_EPILOGUE) memcpy(&desc->epilogue, value, size);
  return 0;
}
CublasResult cublasLtMatrixLayoutCreate(CublasLtLayout *layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  if (leading < (int64_t)rows) return 7;
  *layout = calloc(1, sizeof **layout);
  **layout = (struct CublasLtLayout){type, (int64_t)rows, (int64_t)columns, leading, 0, 1};
  fake_live++;
  return 0;
}
CublasResult cublasLtMatrixLayoutDestroy(CublasLtLayout layout) {
  free(layout);
  fake_live--;
  return 0;
}
CublasResult cublasLtMatrixLayoutSetAttribute(CublasLtLayout layout, int attribute, const void *value, size_t size) {
  if (attribute == CUBLAS_LAYOUT_BATCH_COUNT) memcpy(&layout->batch, value, size);
  if (attribute == CUBLAS_LAYOUT_BATCH_STRIDE) memcpy(&layout->stride, value, size);
  return 0;
}
CublasResult cublasLtMatmulPreferenceCreate(CublasLtPreference *preference) {
  *preference = malloc(1);
  fake_live++;
  return 0;
}
CublasResult cublasLtMatmulPreferenceDestroy(CublasLtPreference preference) {
  free(preference);
  fake_live--;
  return 0;
}
CublasResult cublasLtMatmulPreferenceSetAttribute(CublasLtPreference preference, int attribute, const void *value,
                                                  size_t size) {
  return 0;
}
CublasResult cublasLtMatmulAlgoGetHeuristic(CublasLtHandle handle, CublasLtMatmulDesc desc, CublasLtLayout a, CublasLtLayout b,
                                            CublasLtLayout c, CublasLtLayout d, CublasLtPreference preference, int wanted,
                                            CublasLtHeuristic *results, int *count) {
  *count = wanted < 2 ? wanted : 2;
  if (wanted == 2 && getenv("FAKE_CUBLASLT_REFUSES")) *count = 0;  // as one asks that wants the second of the list
  for (int i = 0; i < *count; i++) results[i] = (CublasLtHeuristic){.algo = {{(uint64_t)i}}, .workspace_bytes = 100};
  return 0;
}
CublasResult cublasLtMatmulAlgoConfigGetAttribute(const CublasLtAlgo *algo, int attribute, void *value, size_t size,
                                                  size_t *written) {
  if (attribute == CUBLAS_ALGO_ID) memcpy(value, algo->opaque, size);
  return 0;
}

static DType type_of(int type) {
  return type == CUBLAS_F32   ? DTYPE_F32
         : type == CUBLAS_F16 ? DTYPE_F16
         : type == CUBLAS_F64 ? DTYPE_F64
         : type == CUBLAS_I8  ? DTYPE_I8
         : type == CUBLAS_I32 ? DTYPE_I32
                              : DTYPE_BF16;
}
static double get(const CublasLtLayout layout, const void *data, int batch, int64_t row, int64_t column) {
  DType type = type_of(layout->type);
  int64_t at = batch * layout->stride + column * layout->leading + row;
  return element_get_f(type, (const char *)data + at * (int64_t)dtype_size(type));
}
static double scalar(int type, const void *value) { return element_get_f(type_of(type), value); }

// --- Memory: the emulated GPU's where there is one, which has to know of every byte that is written; else the host's.

static void *driver(void) {
  const char *path = getenv("INGOT_LIBCUDA");
  return path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
}

static bool wait_for(CudaStream stream) {
  void *library = driver();
  return !library || ((int (*)(CudaStream))dlsym(library, "cuStreamSynchronize"))(stream) == 0;
}

static void write_line(void *to, const void *from, size_t size, CudaStream stream) {
  void *library = driver();
  if (!library) {
    memcpy(to, from, size);
    return;
  }
  ((int (*)(CudaAddress, const void *, size_t, CudaStream))dlsym(library, "cuMemcpyHtoDAsync_v2"))((CudaAddress)(uintptr_t)to,
                                                                                                   from, size, stream);
  wait_for(stream);
}

CublasResult cublasLtMatmul(CublasLtHandle handle, CublasLtMatmulDesc desc, const void *alpha, const void *a, CublasLtLayout la,
                            const void *b, CublasLtLayout lb, const void *beta, const void *c, CublasLtLayout lc, void *d,
                            CublasLtLayout ld, const CublasLtAlgo *algo, void *workspace, size_t workspace_bytes,
                            CudaStream stream) {
  int64_t m = ld->rows, n = ld->columns, k = desc->transpose_a ? la->rows : la->columns;
  fake_calls++;
  if (!wait_for(stream)) return 8;
  if ((desc->transpose_a ? la->columns : la->rows) != m || (desc->transpose_b ? lb->rows : lb->columns) != n ||
      (desc->transpose_b ? lb->columns : lb->rows) != k)
    return 7;
  DType type = type_of(ld->type);
  for (int batch = 0; batch < ld->batch; batch++)
    for (int64_t column = 0; column < n; column++) {
      char *line = calloc((size_t)m, dtype_size(type));
      for (int64_t row = 0; row < m; row++) {
        double sum = 0;
        for (int64_t i = 0; i < k; i++)
          sum += (desc->transpose_a ? get(la, a, batch, i, row) : get(la, a, batch, row, i)) *
                 (desc->transpose_b ? get(lb, b, batch, column, i) : get(lb, b, batch, i, column));
        sum *= scalar(desc->scale, alpha);
        if (scalar(desc->scale, beta) != 0) sum += scalar(desc->scale, beta) * get(lc, c, batch, row, column);
        if (desc->epilogue & CUBLAS_EPILOGUE_BIAS) sum += element_get_f(type, desc->bias + row * (int64_t)dtype_size(type));
        if (desc->epilogue & CUBLAS_EPILOGUE_GELU) sum *= 0.5 * (1 + tanh(0.7978845608 * (sum + 0.044715 * sum * sum * sum)));
        element_set_f(type, line + row * (int64_t)dtype_size(type), sum);
      }
      int64_t at = batch * ld->stride + column * ld->leading;
      write_line((char *)d + at * (int64_t)dtype_size(type), line, (size_t)m * dtype_size(type), stream);
      free(line);
    }
  return 0;
}

size_t cublasLtGetVersion(void) {
  const char *version = getenv("FAKE_CUBLASLT_VERSION");
  return version ? (size_t)atoi(version) : 130100;
}
const char *cublasLtGetStatusName(CublasResult result) { return result == 7 ? "INVALID_VALUE" : "EXECUTION_FAILED"; }
CublasResult cublasLtCreate(CublasLtHandle *handle) {
  *handle = malloc(1);
  return 0;
}
CublasResult cublasLtDestroy(CublasLtHandle handle) {
  free(handle);
  return 0;
}
