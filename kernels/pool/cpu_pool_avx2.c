// The loops of cpu_pool_loops.h for processors with AVX2, built with the flags that cmake/folders.cmake gives this file.
#ifdef __AVX2__
#define POOL_TABLE table_avx2
#define POOL_LINKAGE static
#define POOL_NAME "avx2"
#define POOL_VECTOR 32
#include "kernels/pool/cpu_pool_loops.inc"
const PoolTable *const pool_table_avx2 = &table_avx2;
#else
#include "kernels/pool/cpu_pool_loops.h"
const PoolTable *const pool_table_avx2 = NULL;
#endif
