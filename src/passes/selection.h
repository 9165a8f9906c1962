// Which passes and rules take part: lists of names, with commas between, as in PassOptions.
#pragma once
#include "passes/rule.h"

bool pass_left_out(const PassOptions *options, const Pass *pass);
// Whether the rule is left out wherever it might apply; and whether it, or its pass, is left out where it would rewrite these nodes.
bool rule_left_out(const PassOptions *options, const Pass *pass, const Rule *rule);
bool rule_left_out_at(const PassOptions *options, const Pass *pass, const Rule *rule, Node *const *nodes, uint32_t count);
const Pass *pass_that_has(const char *rule, size_t length);  // the first one; NULL: none
// The pass that a PASS or RULE to stop after is or belongs to; NULL for NULL. Refuses all else, and says which there are.
MUST_CHECK Status passes_last(const char *stop_after, const Pass **out);
// Refuses a list with a name that is neither a pass nor a rule, and says which there are; with nothing between two commas, or nothing at all; with a place for a
// pass that is no list of rules.
MUST_CHECK Status passes_check_list(const char *names);
MUST_CHECK Status passes_check_disabled(const char *disabled);  // ... with a pass that is needed, too
// Why the import of a model left nothing of one of its nodes; NULL: it has none of this name.
typedef const char *WhyAbsent(const void *model, const char *name);
// Refuses a list with a place that the graph of the model has not: no rule is ever applied there.
MUST_CHECK Status passes_check_places(const char *names, const Graph *graph, WhyAbsent *why_absent, const void *model);
// Refuses where something is asked to be left out that is not, with this list of what is.
MUST_CHECK Status passes_check_left_out(const char *disabled, const char *asked);
