// See selection.h.
#include "passes/selection.h"

#include <string.h>

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

bool rule_left_out(const PassOptions *options, const Rule *rule) {
  const char *list = options->disabled, *entry;
  for (size_t length, name; next_entry(&list, &entry, &length, &name);)
    if (is(entry, length, rule->name)) return true;
  return false;
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

static bool can_be_left_out(const char *entry, size_t length) {
  for (int i = 0; pass_pipeline[i]; i++) {
    const Pass *pass = pass_pipeline[i];
    if (!pass->optional) continue;
    if (is(entry, length, pass->name)) return true;
    for (int k = 0; pass->rules && pass->rules[k]; k++)
      if (is(entry, length, pass->rules[k]->name)) return true;
  }
  return false;
}

static bool met_before(int at) {
  for (int i = 0; i < at; i++)
    if (pass_pipeline[i] == pass_pipeline[at]) return true;
  return false;
}

// "fold_constants, views (noop_view, transpose_of_transpose), ...": each optional pass once, with rules that have other names than it.
static const char *list_known(Arena *arena) {
  Text text = text_new(arena);
  for (int i = 0; pass_pipeline[i]; i++) {
    const Pass *pass = pass_pipeline[i];
    if (met_before(i) || !pass->optional) continue;
    text_add(&text, "%s%s", text.length ? ", " : "", pass->name);
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

Status passes_check_list(const char *disabled) {
  const char *list = disabled, *entry;
  for (size_t length, name; next_entry(&list, &entry, &length, &name);) {
    if (is(entry, length, "all") || can_be_left_out(entry, name)) continue;
    Arena *arena = arena_scratch();
    Status status = status_make(ERROR_INVALID_ARGUMENT,
                                "there is no pass or rule '%.*s' that can be left out; those that can, with their rules: %s",
                                (int)name, entry, list_known(arena));
    arena_free(arena);
    return status;
  }
  return OK;
}
