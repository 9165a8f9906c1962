// See plugin.h.
#include "passes/plugin.h"

#include <dlfcn.h>
#include <string.h>

enum { MAX_PLUGINS = 16 };
static const PassPlugin *plugins[MAX_PLUGINS + 1];

static bool is_taken(const char *name) {
  for (int i = 0; pass_pipeline[i]; i++)
    if (!strcmp(pass_pipeline[i]->name, name)) return true;
  for (int i = 0; plugins[i]; i++)
    if (!strcmp(plugins[i]->pass->name, name)) return true;
  return false;
}

static bool is_built_in(const char *name) {
  for (int i = 0; pass_pipeline[i]; i++)
    if (!strcmp(pass_pipeline[i]->name, name)) return true;
  return false;
}

static Status check(const char *path, const PassPlugin *plugin) {
  if (!plugin->version || strcmp(plugin->version, INGOT_VERSION))
    FAIL(ERROR_INVALID_ARGUMENT, "%s was built for Ingot %s, and this is %s", path, plugin->version ? plugin->version : "?",
         INGOT_VERSION);
  if (!plugin->pass || !plugin->pass->name || !plugin->pass->rules || !plugin->before)
    FAIL(ERROR_INVALID_ARGUMENT, "%s holds no pass of rules", path);
  if (!is_built_in(plugin->before))
    FAIL(ERROR_INVALID_ARGUMENT, "%s wants to run before '%s', which is no pass", path, plugin->before);
  if (is_taken(plugin->pass->name)) FAIL(ERROR_INVALID_ARGUMENT, "%s: there is a pass '%s' already", path, plugin->pass->name);
  return OK;
}

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
  if (!plugin) FAIL(ERROR_INVALID_ARGUMENT, "%s exports no ingot_plugin", path);
  TRY(check(path, plugin));
  plugins[count] = plugin;
  return OK;
}

const PassPlugin *plugin_at(int index) { return index >= 0 && index < MAX_PLUGINS ? plugins[index] : NULL; }
