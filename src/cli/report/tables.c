// See tables.h.
#include "cli/report/tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "cli/report/html.h"

static void cell(Text *text, const char *kind, const char *content) {
  text_add(text, *kind ? "<td class=\"%s\">" : "<td>", kind);
  html_add(text, content);
  text_add(text, "</td>");
}

// ---- sites -------------------------------------------------------------------------------------------------------------------

enum { FIRST_ROWS = 30 };  // the others are folded away

typedef struct Timed {
  double ms;
  int step;
} Timed;

static int slowest_first(const void *a, const void *b) {
  const Timed *x = a, *y = b;
  return x->ms != y->ms ? (x->ms < y->ms ? 1 : -1) : x->step - y->step;
}

static const Timed *by_time(const Report *r) {
  Timed *order = arena_array(r->arena, Timed, (size_t)r->step_count + 1);
  for (int i = 0; i < r->step_count; i++) order[i] = (Timed){r->steps[i].ms, i};
  qsort(order, (size_t)r->step_count, sizeof *order, slowest_first);
  return order;
}

static void site_row(Text *text, const Report *r, int number, double dearest, double total) {
  const ReportStep *s = &r->steps[number];
  double floor = report_floor(s), whole = MAX(dearest, 1e-12);
  text_add(text, "<tr class=\"f%d\" data-s=\"%d\"><td>%d</td><td class=\"text\">", s->family, number, number);
  html_add(text, s->op);
  text_add(text, " <small>");
  html_add(text, s->tactic);
  text_add(text, "</small></td>");
  text_add(text, "<td class=\"bar\"><div><i style=\"width:%.2f%%\"></i><em style=\"left:%.2f%%\"></em></div></td>",
           s->ms / whole * 100, MIN(floor / whole * 100, 100));
  text_add(text, "<td>%.4f</td><td>%.1f%%</td><td>%.3g</td><td>%.3g</td>", s->ms, total > 0 ? s->ms / total * 100 : 0,
           s->predicted, floor);
  if (floor > 0 && s->ms > 0) text_add(text, "<td>%.0f%%</td>", floor / s->ms * 100);
  else text_add(text, "<td>-</td>");
  cell(text, "text", s->products > s->moving ? "compute" : "memory");
  cell(text, "name", s->name);
  text_add(text, "</tr>\n");
}

static void site_head(Text *text) {
  text_add(
      text,
      "<div class=\"card\"><table class=\"sites\"><thead><tr><th>step</th><th class=\"text\">operator, way</th><th "
      "class=\"bar text\">time, and | its floor</th><th>ms</th><th>share</th><th>predicted</th><th>floor ms</th><th>floor / "
      "time</th><th class=\"text\">bound</th><th class=\"text\">result</th></tr></thead><tbody>\n");
}

void tables_sites(Text *text, const Report *r) {
  const Timed *order = by_time(r);
  double total = 0, dearest = order[0].ms;
  for (int i = 0; i < r->step_count; i++) total += r->steps[i].ms;
  text_add(text,
           "<section id=\"sites\"><h2>Where time goes</h2><p class=\"soft\">Each step's time beside its floor, what no way "
           "beats by the "
           "chip's peaks: the longer of moving its bytes (memory) and of its products (compute).</p>");
  site_head(text);
  for (int i = 0; i < MIN(r->step_count, FIRST_ROWS); i++) site_row(text, r, order[i].step, dearest, total);
  text_add(text, "</tbody></table></div>");
  if (r->step_count > FIRST_ROWS) {
    text_add(text, "<details><summary>%d more steps</summary>", r->step_count - FIRST_ROWS);
    site_head(text);
    for (int i = FIRST_ROWS; i < r->step_count; i++) site_row(text, r, order[i].step, dearest, total);
    text_add(text, "</tbody></table></div></details>");
  }
  text_add(text, "</section>\n");
}

// ---- what fused --------------------------------------------------------------------------------------------------------------

static void add_rule(Arena *arena, StepRules *rules, const char *name) {
  for (uint32_t i = 0; i < rules->count; i++)
    if (!strcmp(rules->names[i], name)) return;
  *ARENA_PUSH(arena, rules->names, rules->count, rules->capacity) = name;
}

// Events of one place.
typedef struct Placed {
  const ReportEvent **events;
  uint32_t count, capacity;
} Placed;

static StringMap *by_place(const Report *r) {
  StringMap *map = string_map_new(r->arena);
  for (int i = 0; i < r->event_count; i++) {
    if (r->events[i].refusal) continue;
    Placed *placed = string_map_get(map, r->events[i].place);
    if (!placed) string_map_set(map, r->events[i].place, placed = arena_new_of(r->arena, Placed));
    *ARENA_PUSH(r->arena, placed->events, placed->count, placed->capacity) = &r->events[i];
  }
  return map;
}

StepRules *tables_rules(const Report *r) {
  StepRules *rules = arena_array(r->arena, StepRules, (size_t)r->step_count + 1);
  StringMap *map = by_place(r);
  for (int s = 0; s < r->step_count; s++)
    for (int i = 0; i < r->steps[s].from_count; i++) {
      const Placed *placed = string_map_get(map, r->steps[s].from[i].name);
      for (uint32_t e = 0; placed && e < placed->count; e++) add_rule(r->arena, &rules[s], placed->events[e]->rule);
    }
  return rules;
}

void tables_fused(Text *text, const Report *r, const StepRules *rules) {
  text_add(text,
           "<section id=\"fused\"><h2>What fused into what</h2><p class=\"soft\">Each step, in the order in which they run, "
           "the ONNX nodes "
           "that it computes or that became part of it, and the rules that applied there.</p><details%s><summary>%d "
           "steps</summary><div "
           "class=\"card\"><table><thead><tr><th>step</th><th class=\"text\">operator</th><th>nodes</th><th "
           "class=\"text\">from</th><th class=\"text\">rules</th></tr></thead><tbody>\n",
           r->step_count > FIRST_ROWS ? "" : " open", r->step_count);
  for (int i = 0; i < r->step_count; i++) {
    const ReportStep *s = &r->steps[i];
    text_add(text, "<tr class=\"f%d\" data-s=\"%d\"><td>%d</td>", s->family, i, i);
    cell(text, "text", s->op);
    text_add(text, "<td>%d</td>", s->from_count);
    cell(text, "long", *s->origins ? s->origins : "a copy that what reads it needs");
    text_add(text, "<td class=\"long\">");
    for (uint32_t k = 0; k < rules[i].count; k++) {
      if (k) text_add(text, ", ");
      html_add(text, rules[i].names[k]);
    }
    text_add(text, "</td></tr>\n");
  }
  text_add(text, "</tbody></table></div></details></section>\n");
}

// ---- rules -------------------------------------------------------------------------------------------------------------------

// Events that have the pass and the rule, and of refusals the reason, in common.
typedef struct Group {
  const ReportEvent *first;
  int count;
  const char **places;
  uint32_t place_count, place_capacity;
} Group;

typedef struct Groups {
  Group *items;
  uint32_t count, capacity;
} Groups;

enum { MOST_PLACES = 60 };  // of one group, that a page names

static Groups group(const Report *r, bool refused) {
  Groups groups = {0};
  StringMap *numbers = string_map_new(r->arena);
  for (int i = 0; i < r->event_count; i++) {
    const ReportEvent *e = &r->events[i];
    if (!e->refusal == refused) continue;
    const char *key = arena_printf(r->arena, "%s\n%s\n%s", e->pass, e->rule, refused ? e->refusal : "");
    uintptr_t number = (uintptr_t)string_map_get(numbers, key);
    if (!number) {
      *ARENA_PUSH(r->arena, groups.items, groups.count, groups.capacity) = (Group){.first = e};
      string_map_set(numbers, key, (void *)(number = groups.count));
    }
    Group *g = &groups.items[number - 1];
    g->count++;
    *ARENA_PUSH(r->arena, g->places, g->place_count, g->place_capacity) = e->place;
  }
  return groups;
}

static void places(Text *text, const Group *g) {
  text_add(text, "<td class=\"long\">");
  if (g->place_count > 3) text_add(text, "<details><summary>%u nodes</summary>", g->place_count);
  for (uint32_t i = 0; i < MIN(g->place_count, MOST_PLACES); i++) {
    if (i) text_add(text, ", ");
    html_add(text, g->places[i]);
  }
  if (g->place_count > MOST_PLACES) text_add(text, " and %u more", g->place_count - MOST_PLACES);
  text_add(text, g->place_count > 3 ? "</details></td>" : "</td>");
}

static void group_table(Text *text, const Groups *groups, bool refused) {
  text_add(text,
           "<div class=\"card\"><table><thead><tr><th class=\"text\">pass</th><th class=\"text\">rule</th>%s<th>times</th><th "
           "class=\"text\">at</th></tr></thead><tbody>\n",
           refused ? "<th class=\"text\">refused, since</th>" : "");
  for (uint32_t i = 0; i < groups->count; i++) {
    const Group *g = &groups->items[i];
    text_add(text, "<tr>");
    cell(text, "text", g->first->pass);
    cell(text, "text", g->first->rule);
    if (refused) cell(text, "long", g->first->refusal);
    text_add(text, "<td>%d</td>", g->count);
    places(text, g);
    text_add(text, "</tr>\n");
  }
  text_add(text, "</tbody></table></div>\n");
}

void tables_rules_log(Text *text, const Report *r) {
  Groups applied = group(r, false), refused = group(r, true);
  text_add(text,
           "<section id=\"rules\"><h2>Rules</h2><p class=\"soft\">What the passes did, and where a rule met its pattern and "
           "refused. "
           "<code>ingot passes --explain NODE</code> tells all of one node, <code>ingot inspect --explain NODE</code> what "
           "there was to "
           "compute it by.</p><details open><summary>%d applications</summary>",
           r->event_count - r->refusal_count);
  group_table(text, &applied, false);
  text_add(text, "</details>");
  if (r->before.count) {
    text_add(text, "<details><summary>%d refusals</summary>", r->refusal_count);
    group_table(text, &refused, true);
    text_add(text, "</details>");
  } else {
    text_add(text,
             "<p class=\"soft\">An engine keeps what was done, not what was refused: a report of the model has both.</p>");
  }
  text_add(text, "</section>\n");
}
