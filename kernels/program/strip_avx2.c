// The loops of strip.h for processors with AVX2, FMA and F16C, built with the flags that cmake/folders.cmake gives this file.
#ifdef __AVX2__
#define STRIP_TABLE table_avx2
#define STRIP_NAME "avx2"
#include "kernels/program/strip_loops.inc"
const StripTable *const strip_table_avx2 = &table_avx2;
#else
#include "kernels/program/strip.h"
const StripTable *const strip_table_avx2 = NULL;
#endif
