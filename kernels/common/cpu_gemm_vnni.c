// The loops of cpu_gemm.h for processors with AVX-512 and its VNNI instructions, built with the flags that cmake/folders.cmake gives this file.
#ifdef __AVX512VNNI__
#define GEMM_TABLE table_vnni
#define GEMM_LINKAGE static
#define GEMM_NAME "vnni"
#define GEMM_VECTOR 64
#define GEMM_ROWS 12
#include "kernels/common/cpu_gemm_loops.inc"
const GemmTable *const gemm_table_vnni = &table_vnni;
#else
#include "kernels/common/cpu_gemm.h"
const GemmTable *const gemm_table_vnni = NULL;
#endif
