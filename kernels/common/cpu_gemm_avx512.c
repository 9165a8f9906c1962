// The loops of cpu_gemm.h for processors with AVX-512, built with the flags that cmake/folders.cmake gives this file.
#ifdef __AVX512BW__
#define GEMM_TABLE table_avx512
#define GEMM_LINKAGE static
#define GEMM_NAME "avx512"
#define GEMM_VECTOR 64
#define GEMM_ROWS 12
#include "kernels/common/cpu_gemm_loops.inc"
const GemmTable *const gemm_table_avx512 = &table_avx512;
#else
#include "kernels/common/cpu_gemm.h"
const GemmTable *const gemm_table_avx512 = NULL;
#endif
