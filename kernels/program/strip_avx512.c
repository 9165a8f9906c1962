// The loops of strip.h for processors with AVX-512 (F, BW, DQ, VL), built with the flags that cmake/folders.cmake gives this file.
#ifdef __AVX512F__
#define STRIP_TABLE table_avx512
#define STRIP_NAME "avx512"
#include "kernels/program/strip_loops.inc"
const StripTable *const strip_table_avx512 = &table_avx512;
#else
#include "kernels/program/strip.h"
const StripTable *const strip_table_avx512 = NULL;
#endif
