// The loops of cpu_pool_loops.h for any processor.
#define POOL_TABLE pool_table_generic
#define POOL_LINKAGE
#define POOL_NAME "generic"
#define POOL_VECTOR 16
#include "kernels/pool/cpu_pool_loops.inc"
