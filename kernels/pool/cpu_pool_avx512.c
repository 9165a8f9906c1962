// The loops of cpu_pool_loops.h for processors with AVX-512, built with the flags that cmake/folders.cmake gives this file.
#ifdef __AVX512F__
#define POOL_TABLE table_avx512
#define POOL_LINKAGE static
#define POOL_NAME "avx512"
#define POOL_VECTOR 64
#include "kernels/pool/cpu_pool_loops.inc"
const PoolTable *const pool_table_avx512 = &table_avx512;
#else
#include "kernels/pool/cpu_pool_loops.h"
const PoolTable *const pool_table_avx512 = NULL;
#endif
