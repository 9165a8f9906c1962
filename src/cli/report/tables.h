// The tables of a report's page.
#pragma once
#include "cli/report/facts.h"

// The rules that applied where a step came from, each once, in the order of their passes.
typedef struct StepRules {
  const char **names;
  uint32_t count, capacity;
} StepRules;
StepRules *tables_rules(const Report *report);

void tables_sites(Text *text, const Report *report);  // by time, against what the chip needs
void tables_fused(Text *text, const Report *report, const StepRules *rules);
void tables_rules_log(Text *text, const Report *report);  // by rule; what was refused, and why; every application
