// The loops of cpu_gemm.h for any processor.
#define GEMM_TABLE gemm_table_generic
#define GEMM_LINKAGE
#define GEMM_NAME "generic"
#define GEMM_VECTOR 16
#define GEMM_ROWS 4
#include "kernels/common/cpu_gemm_loops.inc"
