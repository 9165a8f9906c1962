// See cpu_level.h.
#include "base/cpu_level.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static CpuLevel found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static CpuLevel built_in(void) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CPU_GENERIC;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl"))
    return CPU_AVX2;
  return __builtin_cpu_supports("avx512vnni") ? CPU_VNNI : CPU_AVX512;
#else
  return CPU_GENERIC;
#endif
}

static void look(void) {
  static const char *const names[] = {"generic", "avx2", "avx512", "vnni"};
  const char *wanted = getenv("INGOT_CPU_LEVEL");
  found = built_in();
  for (int level = CPU_GENERIC; wanted && level < (int)found; level++)
    if (!strcmp(wanted, names[level])) found = (CpuLevel)level;
}

CpuLevel cpu_level(void) {
  pthread_once(&once, look);
  return found;
}
