// ingot passes: what each pass and each rule did to a model, and why a rule did not.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/map.h"
#include "cli/bisect.h"
#include "cli/measure_rules.h"
#include "ir/graph_text.h"
#include "ir/token.h"
#include "onnx/absent.h"
#include "onnx/write_graph.h"
#include "passes/rule_log.h"

static int run(int count, char **arguments);
const Command command_passes = {
    "passes", "show what each pass and rule did, and why one did not",
    "[options]\n\n"
    "  ingot passes model.onnx                          passes and rules: applications, nodes before and after, time\n"
    "  ingot passes model.onnx --log                    every application: rule, place, what went and what came\n"
    "  ingot passes model.onnx --explain /conv1/Conv    the history of one ONNX node, with the rules that refused it\n"
    "  ingot passes model.onnx --disable fuse_epilogue@/conv1/Conv   a rule left out at one node\n"
    "  ingot passes model.onnx --dump graphs            the graph after each pass, as text and for viewers of ONNX\n"
    "  ingot passes model.onnx --bisect                 which application of a rule makes the result wrong?\n"
    "  ingot passes model.onnx --measure 60             what each rule is worth here: built and timed without it\n"
    "  ingot passes model.ingot --log                   what was done when an engine was built\n\n"
    "  --log                each application of a rule\n"
    "  --explain NODE       what became of one ONNX node (a model's; by its name, or that of its first output)\n"
    "  --bisect             the first application that makes the result wrong, judged like ingot verify (a model's)\n"
    "  --data DIR, --rtol R, --atol A, --norm E   what judges, as for ingot verify\n"
    "  --measure SECONDS    without each pass and rule that applied, and without the CUDA graph and streams side by side: the\n"
    "                       difference in time, beside that of the whole to itself, steps and memory; those first that applied "
    "most (a model's)\n"
    "  --only NAMES         passes or rules, or at one node, RULE@NODE, with commas between; no others run\n"
    "  --stop-after NAME    no pass after the first run of this one, or of the one that has this rule\n"
    "  --dump DIR           NN-PASS.txt and NN-PASS.onnx of each pass that changed something\n",
    run};

typedef struct Passes {
  Common common;
  bool log, bisect;
  double measure;  // seconds; NaN: not asked for
  const char *data;
  Tolerance tolerance;
  const char *explain, *only, *stop_after, *dump;
  Arena *arena;
  ingot_model *model;
  ingot_engine *engine;
  RuleLog *events;  // of a model; with texts of nodes where one is to be explained
  int dumped;
  Status failed;  // of a dump
} Passes;

// --- The graph after each pass, as files.

static Status write_text(const Passes *p, const char *path, const Graph *graph) {
  Text text = text_new(p->arena);
  graph_print(&text, graph, &(GraphTextOptions){.leave_out = true, .inline_limit = 64, .origins = true});
  return file_write(path, text_get(&text), text.length);
}

static void dump(void *context, const char *pass, const Graph *graph) {
  Passes *p = context;
  if (p->failed) return;
  int number = p->dumped++;
  p->failed = write_text(p, arena_printf(p->arena, "%s/%02d-%s.txt", p->dump, number, pass), graph);
  if (!p->failed) p->failed = onnx_write_graph_file(arena_printf(p->arena, "%s/%02d-%s.onnx", p->dump, number, pass), graph);
}

// --- Building.

// Engines of models whose inputs have defaults are optimised when a run shows which of them are left out: here all are.
static ingot_error *open_model(Passes *p) {
  ingot_error *error = cli_open_model(p->common.model, &p->common.config, &p->model);
  int kept = error ? 0 : graph_keep_defaults(p->model->graph);
  if (kept && !p->common.quiet && !p->common.json)
    printf("%d inputs keep their defaults, as in a run that leaves them out\n", kept);
  return error;
}

static ingot_error *build(Passes *p) {
  if (cli_is_engine(p->common.model)) return cli_load_engine(p->common.model, &p->common.config, &p->engine);
  ingot_error *error = open_model(p);
  if (error) return error;
  p->events = rule_log_new(p->arena, p->explain != NULL);
  BuildHooks hooks = {
      .only = p->only, .stop_after = p->stop_after, .rules = p->events, .observe = p->dump ? dump : NULL, .context = p};
  if (p->dump && mkdir(p->dump, 0777) && errno != EEXIST) return api_error(status_make(ERROR_IO, "%s: %m", p->dump));
  if (p->dump) dump(p, "imported", p->model->graph);
  Status status = api_build(p->model, &p->common.config, &hooks, &p->engine);
  if (!status) status = p->failed;
  else status_free(p->failed);
  return api_error(status);
}

// --- The table.

static bool named(const char *a, const char *b) { return !strcmp(a, b); }

// The rules of the table's row number `row`, whose applications follow those of earlier rows: a pass may run several times, one after another run of others.
static uint32_t print_rules(const Passes *p, const ingot_pass *pass, uint32_t from) {
  const Engine *engine = p->engine->engine;
  uint32_t end = from;
  while (end < engine->rewrite_count && (int)(end - from) < ingot_pass_changes(pass) &&
         named(engine->rewrites[end].pass, ingot_pass_name(pass)))
    end++;
  StringMap *applied = string_map_new(p->arena);  // rule -> number
  for (uint32_t i = from; i < end; i++) {
    const char *rule = engine->rewrites[i].rule;
    string_map_set(applied, rule, (void *)((intptr_t)string_map_get(applied, rule) + 1));
  }
  for (uint32_t i = from; i < end; i++) {
    const char *rule = engine->rewrites[i].rule;
    intptr_t number = (intptr_t)string_map_get(applied, rule);
    if (number && !named(rule, ingot_pass_name(pass))) printf("  %-28s %8d\n", rule, (int)number);
    string_map_set(applied, rule, NULL);
  }
  return end;
}

static void print_table(const Passes *p) {
  uint32_t at = 0;
  double total = 0;
  printf("%-30s %8s %8s %8s %10s\n", "pass, and its rules", "applied", "before", "after", "ms");
  for (int i = 0; i < ingot_engine_pass_count(p->engine); i++) {
    const ingot_pass *pass = ingot_engine_pass(p->engine, i);
    printf("%-30s %8d %8d %8d ", ingot_pass_name(pass), ingot_pass_changes(pass), ingot_pass_nodes_before(pass),
           ingot_pass_nodes_after(pass));
    if (p->model) printf("%10.2f\n", ingot_pass_seconds(pass) * 1e3);
    else printf("%10s\n", "-");  // an engine file does not keep times
    total += ingot_pass_seconds(pass);
    at = print_rules(p, pass, at);
  }
  if (p->model) printf("%d passes, %.1f ms\n", ingot_engine_pass_count(p->engine), total * 1e3);
}

static void print_log(const Passes *p) {
  const Engine *engine = p->engine->engine;
  for (uint32_t i = 0; i < engine->rewrite_count; i++) {
    const EngineRewrite *r = &engine->rewrites[i];
    printf("%6u  %-24s %-48s %s -> %s\n", i + 1, r->rule, r->place, r->before, *r->after ? r->after : "what was there");
  }
}

// --- One node.

static const Origin *find_origin(const Graph *graph, const char *name) {
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->origin_count; i++)
      if (named(node->origins[i].name, name)) return &node->origins[i];
    for (int i = 0; i < node->attribute_count; i++) {
      const Origin *inside = node->attributes[i].kind == ATTR_GRAPH ? find_origin(node->attributes[i].graph, name) : NULL;
      if (inside) return inside;
    }
  }
  return NULL;
}

// Names with the asked one in them, or else the first ones.
static int no_such_node(const Passes *p) {
  Text text = text_new(p->arena);
  const char *last = "";
  int named_like = 0;
  for (int pass = 0; pass < 2 && !named_like; pass++) FOR_NODES(node, p->model->graph) {
      const char *name = node->origin_count ? node->origins[0].name : "";
      if (!*name || named(name, last) || named_like >= 8 || (!pass && !strstr(name, p->explain))) continue;
      text_add(&text, "%s%s", named_like++ ? ", " : "", name);
      last = name;
    }
  return cli_fail_text("the model has no node '%s'; there are, among others: %s", p->explain, text_get(&text));
}

static void print_lines(const char *mark, const char *lines) {
  while (*lines) {
    size_t length = strcspn(lines, "\n");
    printf("      %s %.*s\n", mark, (int)length, lines);
    lines += length + (lines[length] == '\n');
  }
}

static int print_nodes_from(const Graph *graph, const char *name, Arena *arena) {
  int printed = 0;
  FOR_NODES(node, graph) {
    bool comes = false;
    for (int i = 0; i < node->origin_count; i++) comes |= named(node->origins[i].name, name);
    int inside = 0;
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) inside += print_nodes_from(node->attributes[i].graph, name, arena);
    printed += inside + comes;
    if (inside || !comes) continue;
    Text text = text_new(arena);
    node_print(&text, node, &(GraphTextOptions){.leave_out = true});
    printf("    %s\n", text_get(&text));
  }
  return printed;
}

static void print_nodes(const char *heading, const Graph *graph, const char *name, Arena *arena) {
  printf("\n  %s\n", heading);
  if (!print_nodes_from(graph, name, arena)) printf("    nothing of its own\n");
}

// The origins of a step, as a line of a plan's text ends: `from "conv1 (Conv), relu1 (Relu)"`. NULL: it is no step's line.
static const char *origins_of_step(const char *line) {
  const char *origins = NULL;
  if (strncmp(line, "step ", 5)) return NULL;
  for (const char *at = line; (at = strstr(at, " from \"")); at++) origins = at;
  return origins;
}

static bool has_origin(const char *origins, const char *name, Arena *arena) {
  Text text = text_new(arena);
  token_quote(&text, arena_printf(arena, "%s (", name));
  const char *wanted = arena_string_n(arena, text_get(&text) + 1, text.length - 2);
  for (const char *at = origins; (at = strstr(at, wanted)); at++)
    if (at[-1] == '"' || !strncmp(at - 2, ", ", 2)) return true;
  return false;
}

static void print_steps_of(const EnginePlan *plan, const char *name, Arena *arena) {
  int printed = 0;
  printf("\n  is computed, by the plan for '%s', in\n", plan->needs);
  for (const char *at = plan->text; *at;) {
    size_t length = strcspn(at, "\n");
    const char *line = arena_string_n(arena, at, length), *origins = origins_of_step(line);
    if (origins && has_origin(origins, name, arena)) printf("    %.*s\n", (int)(origins - line), line), printed++;
    at += length + (at[length] == '\n');
  }
  if (!printed) printf("    no step of its own\n");
  else printf("\n  what there was to choose from: ingot inspect --explain %s\n", name);
}

// A region is one step where something takes it for its sizes, which plans find out.
static void print_steps(const Passes *p) {
  const Engine *engine = p->engine->engine;
  for (uint32_t i = 0; i < engine->plan_count; i++) print_steps_of(&engine->plans[i], p->explain, p->arena);
  if (!engine->plan_count) printf("\n  steps are chosen when a run tells what decides: ingot inspect --plan shows them\n");
}

// A node that the import left nothing of.
static int explain_absent(const Passes *p) {
  const char *op_type, *why = onnx_why_absent(p->model->source, p->explain, &op_type);
  if (!why) return no_such_node(p);
  printf("%s (%s)\n", p->explain, op_type);
  print_nodes("imported as", p->model->graph, p->explain, p->arena);
  printf("\n  %s\n", why);
  return 0;
}

static int explain(const Passes *p) {
  if (!p->model) return cli_fail_text("--explain needs the model: an engine keeps what was done, not what was refused");
  const Origin *origin = find_origin(p->model->graph, p->explain);
  if (!origin) return explain_absent(p);
  int told = 0;
  printf("%s (%s)\n", origin->name, origin->op_type);
  print_nodes("imported as", p->model->graph, p->explain, p->arena);
  for (uint32_t i = 0; i < p->events->count; i++) {
    const RuleEvent *event = &p->events->events[i];
    if (!rule_event_concerns(event, p->explain)) continue;
    bool alone = named(event->pass, event->rule->name);
    printf("\n  %s%s%s: %s%s\n", event->pass, alone ? "" : ", ", alone ? "" : event->rule->name,
           event->refusal ? "refused, since " : "", event->refusal ? event->refusal : event->rule->help);
    if (!event->refusal) print_lines("-", event->before), print_lines("+", event->after);
    told++;
  }
  if (!told) printf("\n  no rule touched it\n");
  print_nodes("ends in", p->engine->engine->graph, p->explain, p->arena);
  print_steps(p);
  return 0;
}

static void print_json(const Passes *p) {
  Text text = text_new(p->arena);
  Json json = json_new(&text);
  const Engine *engine = p->engine->engine;
  json_object(&json, NULL);
  json_string(&json, "model", p->common.model);
  cli_json_passes(&json, p->engine);
  json_array(&json, "rewrites");
  for (uint32_t i = 0; i < engine->rewrite_count; i++) {
    const EngineRewrite *r = &engine->rewrites[i];
    json_object(&json, NULL);
    json_string(&json, "pass", r->pass);
    json_string(&json, "rule", r->rule);
    json_string(&json, "place", r->place);
    json_string(&json, "before", r->before);
    json_string(&json, "after", r->after);
    json_end_object(&json);
  }
  json_end_array(&json);
  json_end_object(&json);
  puts(text_get(&text));
}

static int show(const Passes *p) {
  if (p->common.json) return print_json(p), 0;
  if (p->explain) return explain(p);
  if (p->log) print_log(p);
  else print_table(p);
  if (p->dump && !p->common.quiet) printf("%d graphs in %s\n", p->dumped, p->dump);
  return 0;
}

static int bisect(Passes *p) {
  ingot_error *error = open_model(p);
  if (error) return cli_fail(error);
  return bisect_rules(&p->common, p->model, &(BuildHooks){.only = p->only, .stop_after = p->stop_after}, p->data, &p->tolerance,
                      p->arena);
}

static int measure(Passes *p) {
  if (!(p->measure > 0 && p->measure <= 1e6)) return cli_fail_text("--measure %g: for how many seconds?", p->measure), 2;
  ingot_error *error = open_model(p);
  return error ? cli_fail(error) : measure_rules(&p->common, p->model, p->measure, p->arena);
}

static int build_and_show(Passes *p) {
  ingot_error *error = build(p);
  return error ? cli_fail(error) : show(p);
}

// Options that would do nothing beside the others; NULL: all are heeded.
static const char *unheeded(const Passes *p) {
  const Tolerance *t = &p->tolerance;
  bool judged = p->data || !isinf(t->rtol) || !isinf(t->atol) || !isinf(t->norm);
  bool measured = !isnan(p->measure);
  if (cli_is_engine(p->common.model) && (p->only || p->stop_after || p->dump || p->bisect || measured))
    return "--only, --stop-after, --dump, --bisect and --measure need a model: the passes of an engine have run";
  if (p->bisect && (p->log || p->explain || p->dump || p->common.json))
    return "--bisect names one application: it goes without --log, --explain, --dump and --json";
  if (!p->bisect && judged) return "--data, --rtol, --atol and --norm say how --bisect judges, which was not asked for";
  if (measured && (p->bisect || p->log || p->explain || p->dump || p->only || p->stop_after))
    return "--measure builds with all rules and without one of them: it goes without --bisect, --log, --explain, --dump, "
           "--only and --stop-after";
  if (measured && p->common.config.tuning_seconds > 0)
    return "--measure builds many engines, and each would be tuned: give it what was measured once, with --tuning";
  if (p->explain && (p->log || p->common.json))
    return "--explain tells of one node, in words: it goes without --log and --json";
  return NULL;
}

static int run(int count, char **arguments) {
  Passes p = {.tolerance = TOLERANCE_NOT_GIVEN, .measure = NAN};
  bool stop;
  int positional_count;
  const Option options[] = {{"log", OPTION_FLAG, &p.log},
                            {"explain", OPTION_STRING, &p.explain},
                            {"bisect", OPTION_FLAG, &p.bisect},
                            {"measure", OPTION_DOUBLE, &p.measure},
                            {"data", OPTION_STRING, &p.data},
                            {"rtol", OPTION_DOUBLE, &p.tolerance.rtol},
                            {"atol", OPTION_DOUBLE, &p.tolerance.atol},
                            {"norm", OPTION_DOUBLE, &p.tolerance.norm},
                            {"only", OPTION_STRING, &p.only},
                            {"stop-after", OPTION_STRING, &p.stop_after},
                            {"dump", OPTION_STRING, &p.dump},
                            {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_passes, count, arguments, &p.common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if (unheeded(&p)) return cli_fail_text("%s", unheeded(&p)), 2;
  if (!verify_tolerance(&p.common, &p.tolerance)) return 2;
  p.arena = arena_new();
  code = p.bisect ? bisect(&p) : !isnan(p.measure) ? measure(&p) : build_and_show(&p);
  ingot_engine_free(p.engine);
  ingot_model_free(p.model);
  arena_free(p.arena);
  return code;
}
