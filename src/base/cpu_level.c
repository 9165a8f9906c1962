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

static const char *const names[] = {"generic", "avx2", "avx512", "vnni"};
enum { LEVELS = sizeof names / sizeof *names };

// LEVELS: it names none.
static int wanted_level(void) {
  const char *wanted = getenv("INGOT_CPU_LEVEL");
  int level = wanted && *wanted ? 0 : CPU_VNNI;
  while (wanted && *wanted && level < LEVELS && strcmp(wanted, names[level]) != 0) level++;
  return level;
}

static void look(void) {
  int wanted = wanted_level();
  found = built_in();
  if (wanted < (int)found) found = (CpuLevel)wanted;
}

Status cpu_level_check(void) {
  if (wanted_level() < LEVELS) return OK;
  FAIL(ERROR_INVALID_ARGUMENT, "$INGOT_CPU_LEVEL is '%s', which is none of %s, %s, %s and %s", getenv("INGOT_CPU_LEVEL"),
       names[0], names[1], names[2], names[3]);
}

CpuLevel cpu_level(void) {
  pthread_once(&once, look);
  return found;
}
