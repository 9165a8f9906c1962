// What an engine's plan names, as far as its text alone says.
#include <string.h>

#include "engine/engine.h"
#include "ir/token.h"

static bool has_kernel(const Engine *engine, Hash128 key, int sm) {
  for (uint32_t i = 0; i < engine->kernel_count; i++) {
    const EngineKernel *kernel = &engine->kernels[i];
    if (kernel->hash.low == key.low && kernel->hash.high == key.high && kernel->sm == sm) return true;
  }
  return false;
}

// "  kernel NAME HASH grid ..."
static bool read_kernel(const char *line, Hash128 *key) {
  static const char word[] = "  kernel ";
  if (strncmp(line, word, sizeof word - 1)) return false;
  const char *at = line + sizeof word - 1;
  at += strcspn(at, " \n");
  at += *at == ' ';
  return token_parse_hash(&at, key);
}

EnginePlanCounts engine_plan_counts(const Engine *engine, const EnginePlan *plan) {
  EnginePlanCounts counts = {0};
  static const char gpu[] = "plan for sm_";
  int64_t sm = 0;
  const char *number = plan->text + sizeof gpu - 1;
  if (!strncmp(plan->text, gpu, sizeof gpu - 1)) token_parse_i64(&number, &sm);
  for (const char *line = plan->text; line; line = strchr(line, '\n')) {
    Hash128 key;
    line += *line == '\n';
    counts.steps += !strncmp(line, "step ", 5);
    if (!read_kernel(line, &key)) continue;
    counts.kernels++;
    counts.missing += !has_kernel(engine, key, (int)sm);
  }
  return counts;
}
