// Which passes and rules take part: lists of names, with commas between, as in PassOptions.
#pragma once
#include "passes/rule.h"

// Whether an entry of the list says so: its name, or "all".
bool passes_leave_out(const char *disabled, const char *entry);
bool pass_left_out(const PassOptions *options, const Pass *pass);
bool rule_left_out(const PassOptions *options, const Pass *pass, const Rule *rule);
// Whether the rule, or its pass, is left out at an ONNX node that one of these nodes comes from.
bool rule_left_out_at(const PassOptions *options, const Pass *pass, const Rule *rule, Node *const *nodes, uint32_t count);
// Refuses a list with a name that is neither a pass nor a rule, and says which there are; one with a place that the graph of a model does not have.
MUST_CHECK Status passes_check_list(const char *names);
MUST_CHECK Status passes_check_places(const char *names, const Graph *graph);
