// See selection.h.
#include "passes/selection.h"

#include <string.h>

#include "passes/plugin.h"

// The next entry of a list: its length, and how much of that is the name before "@node".
static bool next_entry(const char **list, const char **entry, size_t *length, size_t *name) {
  if (!*list || !**list) return false;
  *entry = *list;
  *length = strcspn(*list, ",");
  const char *at = memchr(*entry, '@', *length);
  *name = at ? (size_t)(at - *entry) : *length;
  *list += *length + ((*list)[*length] == ',');
  return true;
}

static bool is(const char *text, size_t length, const char *name) {
  return strlen(name) == length && !memcmp(text, name, length);
}

bool passes_leave_out(const char *disabled, const char *wanted) {
  const char *entry;
  for (size_t length, name; next_entry(&disabled, &entry, &length, &name);)
    if (is(entry, length, wanted) || is(entry, length, "all")) return true;
  return false;
}

static bool has_rule(const Pass *pass, const char *text, size_t length) {
  for (int i = 0; pass->rules && pass->rules[i]; i++)
    if (is(text, length, pass->rules[i]->name)) return true;
  return false;
}

bool pass_left_out(const PassOptions *options, const Pass *pass) {
  if (passes_leave_out(options->disabled, pass->name)) return true;
  const char *list = options->only, *entry;
  for (size_t length, name; next_entry(&list, &entry, &length, &name);)
    if (is(entry, length, pass->name) || has_rule(pass, entry, length)) return false;
  return options->only != NULL;
}

bool rule_left_out(const PassOptions *options, const Pass *pass, const Rule *rule) {
  if (passes_leave_out(options->disabled, rule->name)) return true;
  const char *list = options->only, *entry;
  for (size_t length, name; next_entry(&list, &entry, &length, &name);)
    if (is(entry, length, pass->name) || is(entry, length, rule->name)) return false;
  return options->only != NULL;
}

static bool come_from(Node *const *nodes, uint32_t count, const char *origin, size_t length) {
  for (uint32_t i = 0; i < count; i++)
    for (int k = 0; k < nodes[i]->origin_count; k++)
      if (is(origin, length, nodes[i]->origins[k].name)) return true;
  return false;
}

bool rule_left_out_at(const PassOptions *options, const Pass *pass, const Rule *rule, Node *const *nodes, uint32_t count) {
  const char *list = options->disabled, *entry;
  for (size_t length, name; next_entry(&list, &entry, &length, &name);) {
    if (name == length || !(is(entry, name, rule->name) || is(entry, name, pass->name))) continue;
    if (come_from(nodes, count, entry + name + 1, length - name - 1)) return true;
  }
  return false;
}

// Those of the pipeline, each once, then loaded ones. NULL behind the last.
static const Pass *pass_at(int index) {
  for (int i = 0; pass_pipeline[i]; i++) {
    bool met = false;
    for (int k = 0; k < i; k++) met |= pass_pipeline[k] == pass_pipeline[i];
    if (!met && index-- == 0) return pass_pipeline[i];
  }
  const PassPlugin *plugin = plugin_at(index);
  return plugin ? plugin->pass : NULL;
}

static bool is_known(const char *name, size_t length) {
  const Pass *pass;
  for (int i = 0; (pass = pass_at(i)); i++)
    if (is(name, length, pass->name) || has_rule(pass, name, length)) return true;
  return false;
}

// "fold_constants, simplify_views (compose_views, remove_view), ...": with those of a pass's rules that have other names.
static const char *list_known(Arena *arena) {
  Text text = text_new(arena);
  const Pass *pass;
  for (int i = 0; (pass = pass_at(i)); i++) {
    text_add(&text, "%s%s", i ? ", " : "", pass->name);
    bool any = false;
    for (int k = 0; pass->rules && pass->rules[k]; k++) {
      if (!strcmp(pass->rules[k]->name, pass->name)) continue;
      text_add(&text, "%s%s", any ? ", " : " (", pass->rules[k]->name);
      any = true;
    }
    if (any) text_add(&text, ")");
  }
  return text_get(&text);
}

static Status unknown(const char *name, size_t length) {
  Arena *arena = arena_scratch();
  Status status = status_make(ERROR_INVALID_ARGUMENT, "there is no pass or rule '%.*s'; there are, with their rules: %s",
                              (int)length, name, list_known(arena));
  arena_free(arena);
  return status;
}

Status passes_check_list(const char *names) {
  const char *list = names, *entry;
  for (size_t length, name; next_entry(&list, &entry, &length, &name);)
    if (!is(entry, length, "all") && !is_known(entry, name)) return unknown(entry, name);
  return OK;
}

static bool comes_from(const Graph *graph, const char *origin, size_t length) {
  FOR_NODES(node, graph) {
    if (come_from(&node, 1, origin, length)) return true;
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH && comes_from(node->attributes[i].graph, origin, length)) return true;
  }
  return false;
}

Status passes_check_places(const char *names, const Graph *graph) {
  const char *list = names, *entry;
  for (size_t length, name; next_entry(&list, &entry, &length, &name);)
    if (name < length && !comes_from(graph, entry + name + 1, length - name - 1))
      FAIL(ERROR_INVALID_ARGUMENT, "the model has no node '%.*s', at which %.*s would be left out", (int)(length - name - 1),
           entry + name + 1, (int)name, entry);
  return OK;
}
