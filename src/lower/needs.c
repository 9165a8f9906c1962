// What a plan depends on beyond its text, as a text of its own: equal texts, and the plan runs as it was made. Versions of cuBLASLt and cuDNN are
// among the parameters of their calls, which refuse others when they are opened.
#include <string.h>

#include "base/cpu_level.h"
#include "kernels/common/onednn_library.h"
#include "lower/plan.h"

// Of what plans say, and of what running them takes for granted of the kernels that they bring (launch.cuh): another meaning is another version.
enum { PLAN_VERSION = 4 };

static bool uses_library(const Plan *plan) {
  for (uint32_t s = 0; s < plan->step_count; s++)
    if (plan->steps[s].selection.implementation->library) return true;
  return false;
}

static void add_cpu(Text *text, const Plan *plan) {
  static const char *const levels[] = {"generic", "avx2", "avx512", "vnni"};
  const char *library = onednn_library_text();
  text_add(text, ", CPU %s, %d threads", levels[cpu_level()], plan->device->multiprocessors);
  if (uses_library(plan)) text_add(text, ", %.*s", (int)strcspn(library, ","), library);
}

const char *plan_needs(const Plan *plan, Arena *arena) {
  Text text = text_new(arena);
  text_add(&text, "plan version %d", PLAN_VERSION);
  if (plan->device->kind == DEVICE_CPU) add_cpu(&text, plan);
  else text_add(&text, ", sm_%d", plan->device->sm);
  // What a library chooses for one GPU is not what it chooses for another of the architecture.
  if (plan->device->kind != DEVICE_CPU && uses_library(plan)) text_add(&text, ", libraries on %s", plan->device->name);
  return text_get(&text);
}
