// Which instructions this processor has, as far as loops are built for them. $INGOT_CPU_LEVEL ("generic", "avx2", "avx512", "vnni") lowers it: so the
// loops for lesser processors are tested on a greater one.
#pragma once
#include "base/status.h"

typedef enum CpuLevel {
  CPU_GENERIC,
  CPU_AVX2,    // and FMA
  CPU_AVX512,  // F, BW, DQ and VL
  CPU_VNNI,    // and AVX-512's products of bytes
} CpuLevel;
CpuLevel cpu_level(void);
MUST_CHECK Status cpu_level_check(void);  // an error where the variable names no level
