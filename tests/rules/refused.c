// A pass of two rules that is refused when it is loaded, for the one reason that the build defines. See tests/unit/plugin.c.
#include "passes/plugin.h"

#define SYMBOL ingot_plugin
#define VERSION INGOT_VERSION
#define PASS "refused"
#define RULE "refused_rule"
#define PATTERN "conv(x)"
#define BEFORE "layout"
#define EXACTNESS EXACT
#define APPLY apply
#define RULES rules
#define FOUR(text) text text text text

#if defined(misses_symbol)
#undef SYMBOL
#define SYMBOL ingot_plug
#elif defined(other_version)
#undef VERSION
#define VERSION "0.0.1"
#elif defined(pass_like_pass)
#undef PASS
#define PASS "layout"
#elif defined(pass_like_rule)
#undef PASS
#define PASS "compose_transposes"
#elif defined(pass_of_all)
#undef PASS
#define PASS "all"
#elif defined(rule_like_pass)
#undef RULE
#define RULE "precision"
#elif defined(rule_like_rule)
#undef RULE
#define RULE "times_one"
#elif defined(rule_like_other)
#undef RULE
#define RULE "other_rule"
#elif defined(rule_with_comma)
#undef RULE
#define RULE "a,b"
#elif defined(no_rules)
#undef RULES
#define RULES (rules + 2)
#elif defined(no_pattern)
#undef PATTERN
#define PATTERN NULL
#elif defined(no_function)
#undef APPLY
#define APPLY NULL
#elif defined(no_bound)
#undef EXACTNESS
#define EXACTNESS ROUNDED
#elif defined(bad_pattern)
#undef PATTERN
#define PATTERN "conv(x, ..."
#elif defined(unknown_operator)
#undef PATTERN
#define PATTERN "convolution(x)"
#elif defined(deep_pattern)
#undef PATTERN
#define PATTERN FOUR(FOUR(FOUR("conv("))) "x"
#elif defined(many_places)
#undef PATTERN
#define PATTERN FOUR("concat(..., ") "concat(..., x, ...)" FOUR(", ...)")
#elif defined(before_nothing)
#undef BEFORE
#define BEFORE "breakfast"
#else
#error "no reason is defined"
#endif

static Status apply(Rewrite *r) { return OK; }
static const Rule other = {.name = "other_rule", .help = "is refused", .pattern = "conv(x)", .apply = apply};
static const Rule rule = {.name = RULE, .help = "is refused", .pattern = PATTERN, .exactness = EXACTNESS, .apply = APPLY};
static const Rule *const rules[] = {&other, &rule, NULL};
static const Pass pass = {PASS, "is refused", RULES};
const PassPlugin SYMBOL = {VERSION, &pass, BEFORE};
