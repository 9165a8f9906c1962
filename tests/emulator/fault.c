// Calls that fail on purpose, for tests. The n-th call, or the n-th of one name, gives a code; a sticky one makes all later calls give it too, as
// after a fault of the device. Set through the environment (INGOT_EMULATOR_FAIL=N[:CODE][:sticky][:NAME]) or by the functions here,
// which a test finds with dlsym.
#include "fault.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  long calls, at;
  int code;
  bool sticky, fired;
  char name[64], fired_name[64];
} fault;
int live_objects;

// at 0: none. name "": any call.
EMULATED_API void emulator_fail(long at, int code, bool sticky, const char *name) {
  memset(&fault, 0, sizeof fault);
  fault.at = at;
  fault.code = code;
  fault.sticky = sticky;
  snprintf(fault.name, sizeof fault.name, "%s", name);
}
EMULATED_API long emulator_calls(void) { return fault.calls; }
EMULATED_API const char *emulator_failed_call(void) { return fault.fired ? fault.fired_name : NULL; }
// Contexts, memory, streams, events, modules and graphs that were made and not given back.
EMULATED_API int emulator_live_objects(void) { return live_objects + memory_live(); }
EMULATED_API int emulator_findings(void) { return emulator.findings; }

CudaResult fault_check(const char *call) {
  static bool read;
  if (!read) {
    read = true;
    const char *text = getenv("INGOT_EMULATOR_FAIL");
    if (text && *text) {
      char name[64] = "";
      long at = strtol(text, NULL, 10);
      const char *code = strchr(text, ':'), *last = strrchr(text, ':');
      bool sticky = strstr(text, ":sticky") != NULL;
      if (last && !strncmp(last, ":cu", 3)) snprintf(name, sizeof name, "%s", last + 1);
      emulator_fail(at, code ? atoi(code + 1) : 1, sticky, name);
    }
  }
  if (fault.sticky && fault.fired) return fault.code;
  if (emulator.failed) return emulator.finding_code;
  if (fault.name[0] && strncmp(fault.name, call, strlen(fault.name))) return CUDA_OK;
  if (++fault.calls != fault.at) return CUDA_OK;
  fault.fired = true;
  snprintf(fault.fired_name, sizeof fault.fired_name, "%s", call);
  return fault.code;
}
