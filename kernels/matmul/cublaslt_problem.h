// A matrix product as cuBLASLt sees it. The library is column-major: a row-major y[m, n] is to it the n x m matrix whose
// columns are y's rows, so it computes y' = b' a' with b as its first operand. Transposed operands cost nothing: each is named by
// which of its two strides is 1. Batch axes of a that continue its rows become rows where b has none; axes that walk together
// become one; one of what is left is the library's batch, and the rest is a loop of calls.
#pragma once
#include "cuda/cublaslt.h"
#include "kernels/common/library_epilogue.h"

// A column-major matrix as the library sees it: before it transposes it, if it does.
typedef struct LtMatrix {
  int64_t rows, columns, leading, batch_stride;
  int64_t transposed;  // 0 or 1; as wide as the others, so that equal ones have equal bytes
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

bool cublaslt_problem(const Site *site, LtProblem *out);

// What a call is, as parameters of the routine. Its arguments: first and second operand, result, then the bias and what is added where there
// are, then the workspace.
typedef struct LtCall {
  LtProblem problem;
  CublasLtAlgo algo;  // means something to the version that gave it
  size_t version, workspace_bytes;
} LtCall;
extern const LibraryRoutine cublaslt_routine;

// Descriptors that a heuristic and a call need, destroyed with the arena.
typedef struct LtDescriptors {
  const CublasLt *lt;
  CublasLtLayout first, second, result;
} LtDescriptors;
MUST_CHECK Status cublaslt_describe(const LtProblem *problem, CudaContext *cuda, Arena *arena, LtDescriptors **out);
// A descriptor for one call: it holds the bias pointer, so that two sessions may run one plan at once.
MUST_CHECK Status cublaslt_matmul_desc(const LtProblem *problem, const CublasLt *lt, const void *bias, CublasLtMatmulDesc *out);
