// See plugin.h.
#include "passes/plugin.h"

#include <dlfcn.h>
#include <string.h>

#include "kernels/ops.h"
#include "passes/pattern.h"
#include "passes/selection.h"

enum { MAX_PLUGINS = 16 };
static const PassPlugin *plugins[MAX_PLUGINS + 1];

// --- What a file may hold.

// Lists of passes and rules are told apart by their commas, and places by their @.
static Status check_name(const char *name) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  if (!name || !*name || name[strspn(name, allowed)] || !strcmp(name, "all"))
    FAIL(ERROR_INVALID_ARGUMENT, "'%s' is no name for a pass or rule", name ? name : "");
  const Pass *taken = pass_named(name, strlen(name)), *having = pass_that_has(name, strlen(name));
  if (taken) FAIL(ERROR_INVALID_ARGUMENT, "there is a pass '%s' already", name);
  if (having) FAIL(ERROR_INVALID_ARGUMENT, "there is a rule '%s' already, of the pass %s", name, having->name);
  return OK;
}

static bool is_in_pipeline(const char *name) {
  for (int i = 0; pass_pipeline[i]; i++)
    if (!strcmp(pass_pipeline[i]->name, name)) return true;
  return false;
}

static Status check_rule(const Pass *pass, int index) {
  const Rule *rule = pass->rules[index];
  Pattern pattern;
  TRY(check_name(rule->name));
  for (int i = 0; i < index; i++)
    if (!strcmp(pass->rules[i]->name, rule->name)) FAIL(ERROR_INVALID_ARGUMENT, "two rules are called '%s'", rule->name);
  if (!rule->help || !rule->pattern || !rule->apply)
    FAIL(ERROR_INVALID_ARGUMENT, "rule %s has no %s", rule->name,
         !rule->help      ? "line of help"
         : !rule->pattern ? "pattern"
                          : "function that applies it");
  if (rule->exactness != EXACT && !rule->bound)
    FAIL(ERROR_INVALID_ARGUMENT, "rule %s is not exact and names no bound", rule->name);
  return status_context(pattern_compile(rule->pattern, core_ops, &pattern), "rule %s", rule->name);
}

static Status check(const PassPlugin *plugin) {
  if (!plugin->version || strcmp(plugin->version, INGOT_VERSION))
    FAIL(ERROR_INVALID_ARGUMENT, "it was built for Ingot %s, and this is %s", plugin->version ? plugin->version : "?",
         INGOT_VERSION);
  const Pass *pass = plugin->pass;
  if (!pass || !pass->help || !pass->rules || !pass->rules[0])
    FAIL(ERROR_INVALID_ARGUMENT, "it holds no pass of rules with a line of help");
  TRY(check_name(pass->name));
  if (!plugin->before || !is_in_pipeline(plugin->before))
    FAIL(ERROR_INVALID_ARGUMENT, "it wants to run before '%s', which is no pass of the pipeline",
         plugin->before ? plugin->before : "");
  for (int i = 0; pass->rules[i]; i++) TRY(check_rule(pass, i));
  return OK;
}

// --- Loading.

Status plugin_load(const char *path) {
  int count = 0;
  while (plugins[count]) count++;
  if (count == MAX_PLUGINS) FAIL(ERROR_INVALID_ARGUMENT, "%s: %d files of passes are the most", path, MAX_PLUGINS);
  Arena *scratch = arena_scratch();
  // A name without a slash would be looked for in the system's folders.
  void *object = dlopen(strchr(path, '/') ? path : arena_printf(scratch, "./%s", path), RTLD_NOW | RTLD_LOCAL);
  arena_free(scratch);
  if (!object) FAIL(ERROR_IO, "no pass could be loaded: %s", dlerror());
  const PassPlugin *plugin = dlsym(object, "ingot_plugin");
  Status status = plugin ? check(plugin) : status_make(ERROR_INVALID_ARGUMENT, "it exports no ingot_plugin");
  status = status_context(status, "%s", path);
  if (status) dlclose(object);
  else plugins[count] = plugin;
  return status;
}

const PassPlugin *plugin_at(int index) { return index >= 0 && index < MAX_PLUGINS ? plugins[index] : NULL; }
