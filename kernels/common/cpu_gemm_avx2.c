// The loops of cpu_gemm.h for processors with AVX2 and FMA, built with the flags that cmake/folders.cmake gives this file.
#ifdef __AVX2__
#define GEMM_TABLE table_avx2
#define GEMM_LINKAGE static
#define GEMM_NAME "avx2"
#define GEMM_VECTOR 32
#define GEMM_ROWS 6
#include "kernels/common/cpu_gemm_loops.inc"
const GemmTable *const gemm_table_avx2 = &table_avx2;
#else
#include "kernels/common/cpu_gemm.h"
const GemmTable *const gemm_table_avx2 = NULL;
#endif
