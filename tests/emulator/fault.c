// Calls that fail on purpose, for tests. The n-th call, or the n-th of one name, gives a code; a sticky one makes all later calls give it too, as
// after a fault of the device. A code that the driver has no words for makes the calls that name errors fail too. Set through the environment (INGOT_EMULATOR_FAIL=N[:CODE][:sticky][:NAME]) or by the functions here,
// which a test finds with dlsym.
#include "tests/emulator/fault.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  long calls, at;
  int code;
  bool sticky, fired;
  char name[64], fired_name[64];
} fault;
enum { NAMES = 1 << 14 };
static const char *names[NAMES];  // of the first calls since emulator_fail
_Atomic int live_objects;

// at 0: none. name "": any call.
EMULATED_API void emulator_fail(long at, int code, bool sticky, const char *name) {
  memset(&fault, 0, sizeof fault);
  fault.at = at;
  fault.code = code;
  fault.sticky = sticky;
  snprintf(fault.name, sizeof fault.name, "%s", name);
}
EMULATED_API long emulator_calls(void) { return fault.calls; }
// The name of a call among them, from 1 on; NULL where it was not noted.
EMULATED_API const char *emulator_call_name(long call) {
  return call > 0 && call <= fault.calls && call <= NAMES ? names[call - 1] : NULL;
}
EMULATED_API const char *emulator_failed_call(void) { return fault.fired ? fault.fired_name : NULL; }
// Contexts, memory, streams, events, modules and graphs that were made and not given back.
EMULATED_API int emulator_live_objects(void) { return live_objects + memory_live(); }
EMULATED_API int emulator_findings(void) { return emulator.findings; }

static void read_environment(void) {
  const char *text = getenv("INGOT_EMULATOR_FAIL");
  if (!text || !*text) return;
  long at = strtol(text, NULL, 10);
  const char *code = strchr(text, ':'), *last = strrchr(text, ':');
  bool named = last && (!strncmp(last, ":cu", 3) || !strncmp(last, ":nvrtc", 6));
  emulator_fail(at, code ? atoi(code + 1) : 1, strstr(text, ":sticky") != NULL, named ? last + 1 : "");
}

// Threads compile side by side: calls are counted under a lock of their own, since callers may hold the device's.
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t environment = PTHREAD_ONCE_INIT;

CudaResult fault_due(const char *call) {
  pthread_once(&environment, read_environment);
  pthread_mutex_lock(&counting);
  bool counts = !fault.name[0] || !strncmp(fault.name, call, strlen(fault.name));
  bool now = counts && ++fault.calls == fault.at;
  if (counts && fault.calls <= NAMES) names[fault.calls - 1] = call;
  if (now) {
    fault.fired = true;
    snprintf(fault.fired_name, sizeof fault.fired_name, "%s", call);
  }
  CudaResult result = now || (fault.sticky && fault.fired) ? fault.code : CUDA_OK;
  pthread_mutex_unlock(&counting);
  return result;
}

CudaResult fault_check(const char *call) {
  CudaResult result = fault_due(call);
  return result ? result : emulator.failed ? emulator.finding_code : CUDA_OK;
}
