// Passes from files: what is loaded takes part, and what is refused says why and is not kept.
#include "passes/plugin.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <string.h>

#include "passes/selection.h"

static bool is_kept(const char *path) {
  void *object = dlopen(path, RTLD_NOLOAD | RTLD_NOW);
  if (object) dlclose(object);
  return object != NULL;
}

static void expect_refusal(const char *path, const char *why) {
  Status status = plugin_load(path);
  cr_assert_not_null(status, "%s is loaded", path);
  cr_expect_eq(status_code(status) == ERROR_INTERNAL, false);
  cr_expect_not_null(strstr(status_message(status), path), "%s", status_message(status));
  cr_expect_not_null(strstr(status_message(status), why), "%s: '%s' is not in: %s", path, why, status_message(status));
  cr_expect_null(strstr(status_message(status), "internal"), "%s", status_message(status));
  status_free(status);
}

Test(plugin, refused_for_a_reason) {
  static const struct {
    const char *path, *why;
  } rows[] = {
      {RULES "/misses_symbol.so", "exports no ingot_plugin"},
      {RULES "/other_version.so", "built for Ingot 0.0.1, and this is " INGOT_VERSION},
      {RULES "/pass_like_pass.so", "there is a pass 'layout' already"},
      {RULES "/pass_like_rule.so", "there is a rule 'compose_transposes' already, of the pass simplify_views"},
      {RULES "/pass_of_all.so", "'all' is no name"},
      {RULES "/rule_like_pass.so", "there is a pass 'precision' already"},
      {RULES "/rule_like_rule.so", "there is a rule 'times_one' already, of the pass simplify_programs"},
      {RULES "/rule_like_other.so", "two rules are called 'other_rule'"},
      {RULES "/rule_with_comma.so", "'a,b' is no name"},
      {RULES "/no_rules.so", "no pass of rules"},
      {RULES "/no_pattern.so", "rule refused_rule has no pattern"},
      {RULES "/no_function.so", "rule refused_rule has no function"},
      {RULES "/no_bound.so", "rule refused_rule is not exact and names no bound"},
      {RULES "/bad_pattern.so", "rule refused_rule: pattern 'conv(x, ...': ')' was expected"},
      {RULES "/unknown_operator.so", "rule refused_rule: pattern 'convolution(x)': an operator was expected"},
      {RULES "/deep_pattern.so", "too many terms"},
      {RULES "/many_places.so", "too many operands that may stand anywhere"},
      {RULES "/before_nothing.so", "before 'breakfast', which is no pass of the pipeline"},
      {"tests/rules/refused.c", "no pass could be loaded"},
      {"/nowhere/pass.so", "no pass could be loaded"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (int again = 0; again < 2; again++) expect_refusal(rows[i].path, rows[i].why);
    cr_expect(!is_kept(rows[i].path), "%s is kept", rows[i].path);
  }
  cr_expect_null(plugin_at(0));
}

Test(plugin, loaded_once) {
  Status status = plugin_load(RULES "/relu_pair.so");
  cr_assert_null(status, "%s", status_message(status));
  expect_refusal(RULES "/relu_pair.so", "there is a pass 'relu_pair' already");
  cr_expect(is_kept(RULES "/relu_pair.so"));
  cr_assert_not_null(plugin_at(0));
  cr_expect_null(plugin_at(1));
  cr_expect_eq(pass_named("relu_pair", strlen("relu_pair")), plugin_at(0)->pass);
  cr_expect_null(passes_check_list("relu_pair,layout"));
}
