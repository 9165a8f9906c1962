// See attempt.h.
#include "tests/random/attempt.h"

#include <stdio.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "passes/rule_log.h"

void way_print(Text *text, const RewriteWay *way) {
  text_add(text, "passes %s", *way->passes ? way->passes : "all");
  if (*way->without) text_add(text, " without %s", way->without);
  if (way->cuda) text_add(text, " cuda");
  if (way->tf32) text_add(text, " tf32");
  if (way->precision < DTYPE_COUNT) text_add(text, " precision %s", dtype_name(way->precision));
}

Status way_parse(const char *text, RewriteWay *out) {
  char line[640], *rest = NULL;
  *out = (RewriteWay){.precision = DTYPE_COUNT};
  snprintf(line, sizeof line, "%s", text);
  for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
    bool is_passes = !strcmp(word, "passes"), is_without = !strcmp(word, "without"), is_precision = !strcmp(word, "precision");
    const char *value = is_passes || is_without || is_precision ? strtok_r(NULL, " \n", &rest) : "";
    if (!value) FAIL(ERROR_INVALID_ARGUMENT, "'%s' wants a value", word);
    if (is_passes) snprintf(out->passes, sizeof out->passes, "%s", strcmp(value, "all") ? value : "");
    else if (is_without) snprintf(out->without, sizeof out->without, "%s", value);
    else if (!strcmp(word, "cuda")) out->cuda = true;
    else if (!strcmp(word, "tf32")) out->tf32 = true;
    else if (!is_precision || !dtype_parse(value, &out->precision)) FAIL(ERROR_INVALID_ARGUMENT, "no way '%s'", text);
  }
  return OK;
}

const char *pass_name_at(int index) {
  const Pass *pass = pass_at(index);
  return pass ? pass->name : NULL;
}

// The rule number index, counted over all passes; *pass: where it is.
static const Rule *find_rule(int index, const Pass **pass) {
  for (int i = 0; (*pass = pass_at(i)); i++)
    for (int k = 0; (*pass)->rules && (*pass)->rules[k]; k++)
      if (index-- == 0) return (*pass)->rules[k];
  return NULL;
}

const char *rule_name_at(int index) {
  const Pass *pass;
  const Rule *rule = find_rule(index, &pass);
  return rule ? rule->name : NULL;
}

bool way_rule_alone(RewriteWay *way, int index) {
  const Pass *pass;
  const Rule *rule = find_rule(index, &pass);
  size_t used = 0;
  snprintf(way->passes, sizeof way->passes, "%s", pass->name);
  for (int k = 0; pass->rules[k]; k++)
    if (pass->rules[k] != rule && used < sizeof way->without)
      used += (size_t)snprintf(way->without + used, sizeof way->without - used, "%s%s", used ? "," : "", pass->rules[k]->name);
  return used > 0;
}

void way_list_pipeline(RewriteWay *way) {
  size_t used = 0;
  for (int i = 0; pass_pipeline[i] && used < sizeof way->passes; i++)
    used += (size_t)snprintf(way->passes + used, sizeof way->passes - used, "%s%s", i ? "," : "", pass_pipeline[i]->name);
}

bool way_drop_pass(RewriteWay *way, int index) {
  char *from = way->passes;
  for (; index > 0; index--, from++)
    if (!(from = strchr(from, ','))) return false;
  char *end = strchr(from, ',');
  if (!end && from == way->passes) return false;
  if (end) memmove(from, end + 1, strlen(end + 1) + 1);
  else from[-1] = 0;
  return true;
}

static void note_change(void *context, const char *pass, const Graph *graph) { *(bool *)context = true; }

// log NULL: nothing is noted.
static Status rewrite(Graph *graph, const RewriteWay *way, RuleLog *log, bool *changed) {
  *changed = false;
  PassOptions options = {.device = way->cuda ? DEVICE_CUDA : DEVICE_CPU,
                         .sm = 90,
                         .precision = way->precision,
                         .tf32 = way->tf32,
                         .disabled = way->without,
                         .verify = true,
                         .rules = log,
                         .observe = note_change,
                         .observe_context = changed};
  return *way->passes ? passes_run_named(graph, way->passes, &options) : passes_run(graph, &options, NULL, 0, NULL);
}

static int number_of(const Rule *rule) {
  const Pass *pass;
  for (int i = 0;; i++) {
    const Rule *other = find_rule(i, &pass);
    if (!other || other == rule) return i;
  }
}

static Exactness read_log(const RuleLog *log, int *applied) {
  Exactness exactness = EXACT;
  for (uint32_t i = 0; i < log->count; i++) {
    const RuleEvent *event = &log->events[i];
    if (event->refusal) continue;
    exactness |= event->rule->exactness;
    applied[MIN(number_of(event->rule), MOST_RULES - 1)]++;
  }
  return exactness;
}

static const char *print(Arena *arena, const Graph *graph) {
  Text text = text_new(arena);
  graph_print(&text, graph, NULL);
  return text_get(&text);
}

Status attempt_reads_back(const Graph *graph) {
  Graph *read;
  const char *text = print(graph->arena, graph);
  TRY(graph_parse(graph->arena, graph->ops, text, strlen(text), NULL, 0, &read));
  if (strcmp(text, print(graph->arena, read))) FAIL(ERROR_INTERNAL, "the graph reads back from its text as another");
  return OK;
}

static Status check_fixed_point(const Graph *graph, const RewriteWay *way) {
  const Pass *pass = pass_named(way->passes, strlen(way->passes));
  if (!pass || !pass->rules) return OK;
  bool changed;
  TRY(rewrite(graph_copy(graph->arena, graph), way, NULL, &changed));
  if (changed) FAIL(ERROR_INTERNAL, "the pass, run again, finds more to do");
  return OK;
}

Status attempt_way(const Judge *judge, const RewriteWay *way, Attempt *attempt) {
  Graph *graph = graph_copy(judge->arena, judge->graph);
  RuleLog *log = rule_log_new(judge->arena, false);
  *attempt = (Attempt){0};
  TRY(rewrite(graph, way, log, &attempt->changed));
  Allowance allowance = {.exactness = read_log(log, attempt->applied), .precision = way->precision};
  if (!attempt->changed) return OK;
  TRY(attempt_reads_back(graph));
  TRY(check_fixed_point(graph, way));
  return judge_compare(judge, graph, allowance, &attempt->verdict);
}

Status attempt_text(Arena *arena, const Graph *graph, const RewriteWay *way, const char **out) {
  Graph *copy = graph_copy(arena, graph);
  bool changed;
  TRY(rewrite(copy, way, NULL, &changed));
  *out = print(arena, copy);
  return OK;
}
