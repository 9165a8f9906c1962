// See selection.h.
#include "passes/selection.h"

#include <string.h>

// "NAME" or "NAME@NODE".
typedef struct Entry {
  const char *text;
  size_t length, name;  // of all, and of what stands before "@NODE"
} Entry;

// Every list has an entry, though it be empty; behind the last one, the list is NULL.
static bool next_entry(const char **list, Entry *out) {
  if (!*list) return false;
  size_t length = strcspn(*list, ",");
  const char *at = memchr(*list, '@', length);
  *out = (Entry){.text = *list, .length = length, .name = at ? (size_t)(at - *list) : length};
  *list = (*list)[length] ? *list + length + 1 : NULL;
  return true;
}

static bool is(const char *text, size_t length, const char *name) {
  return strlen(name) == length && !memcmp(text, name, length);
}

static bool has_place(const Entry *e) { return e->name < e->length; }
static bool is_named(const Entry *e, const char *name) { return is(e->text, e->name, name); }

static bool has_rule(const Pass *pass, const char *text, size_t length) {
  for (int i = 0; pass->rules && pass->rules[i]; i++)
    if (is(text, length, pass->rules[i]->name)) return true;
  return false;
}

// --- What takes part.

// Whether the entry is about the rule, anywhere or at its place.
static bool is_about(const Entry *e, const Pass *pass, const Rule *rule) {
  return is_named(e, "all") || is_named(e, pass->name) || is_named(e, rule->name);
}

static bool disabled_everywhere(const char *disabled, const char *name) {
  for (Entry e; next_entry(&disabled, &e);)
    if (!has_place(&e) && (is_named(&e, name) || is_named(&e, "all"))) return true;
  return false;
}

bool pass_left_out(const PassOptions *options, const Pass *pass) {
  if (disabled_everywhere(options->disabled, pass->name)) return true;
  const char *list = options->only;
  for (Entry e; next_entry(&list, &e);) {
    bool met = is_named(&e, "all") || is_named(&e, pass->name) || has_rule(pass, e.text, e.name);
    if (met && (pass->rules || !has_place(&e))) return false;
  }
  return options->only != NULL;
}

bool rule_left_out(const PassOptions *options, const Pass *pass, const Rule *rule) {
  if (pass->needed) return false;
  if (disabled_everywhere(options->disabled, rule->name)) return true;
  const char *list = options->only;
  for (Entry e; next_entry(&list, &e);)
    if (is_about(&e, pass, rule)) return false;
  return options->only != NULL;
}

static bool come_from(Node *const *nodes, uint32_t count, const Entry *e) {
  for (uint32_t i = 0; i < count; i++)
    for (int k = 0; k < nodes[i]->origin_count; k++)
      if (is(e->text + e->name + 1, e->length - e->name - 1, nodes[i]->origins[k].name)) return true;
  return false;
}

bool rule_left_out_at(const PassOptions *options, const Pass *pass, const Rule *rule, Node *const *nodes, uint32_t count) {
  if (pass->needed) return false;
  const char *disabled = options->disabled, *only = options->only;
  for (Entry e; next_entry(&disabled, &e);)
    if (has_place(&e) && is_about(&e, pass, rule) && come_from(nodes, count, &e)) return true;
  for (Entry e; next_entry(&only, &e);)
    if (is_about(&e, pass, rule) && (!has_place(&e) || come_from(nodes, count, &e))) return false;
  return options->only != NULL;
}

// --- What may be asked for.

const Pass *pass_that_has(const char *rule, size_t length) {
  const Pass *pass;
  for (int i = 0; (pass = pass_at(i)); i++)
    if (has_rule(pass, rule, length)) return pass;
  return NULL;
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

static Status unknown(const char *what, const char *name, size_t length) {
  Arena *arena = arena_scratch();
  Status status = status_make(ERROR_INVALID_ARGUMENT, "%s '%.*s'; there are, with their rules: %s", what, (int)length, name,
                              list_known(arena));
  arena_free(arena);
  return status;
}

static Status check_entry(const char *names, const Entry *e) {
  const Pass *pass = pass_named(e->text, e->name);
  if (!e->length) FAIL(ERROR_INVALID_ARGUMENT, "the list '%s' is empty where a pass or rule is to be named", names);
  if (!is_named(e, "all") && !pass && !pass_that_has(e->text, e->name))
    return unknown("there is no pass or rule", e->text, e->name);
  if (has_place(e) && pass && !pass->rules)
    FAIL(ERROR_INVALID_ARGUMENT, "'%.*s': the pass %s has no rules that could be told by place", (int)e->length, e->text,
         pass->name);
  return OK;
}

Status passes_check_list(const char *names) {
  const char *list = names;
  for (Entry e; next_entry(&list, &e);) TRY(check_entry(names, &e));
  return OK;
}

Status passes_check_disabled(const char *disabled) {
  TRY(passes_check_list(disabled));
  for (Entry e; next_entry(&disabled, &e);) {
    const Pass *named = pass_named(e.text, e.name), *pass = named ? named : pass_that_has(e.text, e.name);
    if (pass && pass->needed)
      FAIL(ERROR_INVALID_ARGUMENT, "'%.*s' cannot be left out: what comes behind passes needs %s", (int)e.length, e.text,
           pass->name);
  }
  return OK;
}

static bool has_origin(const Graph *graph, const Entry *e) {
  FOR_NODES(node, graph) {
    if (come_from(&node, 1, e)) return true;
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH && has_origin(node->attributes[i].graph, e)) return true;
  }
  return false;
}

static Status no_place(const Entry *e, WhyAbsent *why_absent, const void *model) {
  Arena *scratch = arena_scratch();
  const char *node = arena_string_n(scratch, e->text + e->name + 1, e->length - e->name - 1);
  const char *entry = arena_string_n(scratch, e->text, e->length), *why = why_absent(model, node);
  Status status = why ? status_make(ERROR_INVALID_ARGUMENT, "the import left nothing of node '%s', which '%s' is about: %s",
                                    node, entry, why)
                      : status_make(ERROR_INVALID_ARGUMENT, "the model has no node '%s', which '%s' is about", node, entry);
  arena_free(scratch);
  return status;
}

Status passes_check_places(const char *names, const Graph *graph, WhyAbsent *why_absent, const void *model) {
  for (Entry e; next_entry(&names, &e);)
    if (has_place(&e) && !has_origin(graph, &e)) return no_place(&e, why_absent, model);
  return OK;
}

Status passes_last(const char *stop_after, const Pass **out) {
  *out = NULL;
  if (!stop_after) return OK;
  size_t length = strlen(stop_after);
  *out = pass_named(stop_after, length);
  if (!*out) *out = pass_that_has(stop_after, length);
  return *out ? OK : unknown("passes stop after one pass or rule, which is not", stop_after, length);
}

// Whether what `asked` is about is left out where `given` is: everything, its pass, itself, or all that at its place.
static bool covers(const Entry *given, const Entry *asked) {
  const Pass *pass = pass_that_has(asked->text, asked->name);
  bool same = given->name == asked->name && !memcmp(given->text, asked->text, asked->name);
  bool wider = is_named(given, "all") || (pass && is_named(given, pass->name));
  bool there =
      !has_place(given) || (given->length - given->name == asked->length - asked->name &&
                            !memcmp(given->text + given->name, asked->text + asked->name, asked->length - asked->name));
  return (same || wider) && there;
}

Status passes_check_left_out(const char *disabled, const char *asked) {
  for (Entry wanted; next_entry(&asked, &wanted);) {
    const char *list = disabled;
    bool covered = !wanted.length;
    for (Entry given; !covered && next_entry(&list, &given);) covered = covers(&given, &wanted);
    if (!covered)
      FAIL(ERROR_INVALID_ARGUMENT, "the engine was built with pass '%.*s': passes are left out when an engine is built",
           (int)wanted.length, wanted.text);
  }
  return OK;
}
