// Why steps are computed as they are, as text and as JSON: see lower/explain.h.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/json.h"
#include "ir/origins.h"
#include "lower/explain.h"

typedef struct Question {
  ingot_session *session;
  const char *site;  // what was asked for
  const Plan *plan;
  Arena *arena;
  Text text;
  Json *json;  // NULL: for people
  int answered;
} Question;

// How a step came to what it is.
typedef struct Choice {
  const char *by, *why;
} Choice;

// ---- what was measured -------------------------------------------------------------------------------------------------------

typedef struct Measured {
  const TuningSite *site;   // of what tuning tried while the engine was built, else of what the engine holds; NULL: nothing
  const TuningEntry *best;  // that fits, alone; NULL: none
} Measured;

static Measured measured_of(const Question *q, const PlanStep *step) {
  const ingot_engine *engine = q->session->engine;
  const TuningDatabase *database = engine->engine->tried ? engine->engine->tried : engine->tuning;
  Measured m = {.site = tuning_site(database, step->site.device->name, site_key(&step->site, q->arena))};
  for (uint32_t i = 0; m.site && i < m.site->count && !m.best; i++)
    if (!m.site->entries[i]->stale && m.site->entries[i]->remark <= TUNING_REJECTED) m.best = m.site->entries[i];
  return m;
}

static const TuningEntry *entry_of(const Measured *m, const Implementation *implementation, const Way *way) {
  const TuningEntry *entry = tuning_entry(m->site, implementation->name, way->name, NULL);
  return entry && !entry->stale ? entry : NULL;
}

// Milliseconds; negative: nobody measured it.
static double measured_way(const Measured *m, const Implementation *implementation, const Way *way) {
  const TuningEntry *entry = entry_of(m, implementation, way);
  return entry && entry->remark != TUNING_FAILED ? entry->microseconds / 1e3 : -1;
}

static const char *remark(const Measured *m, const Implementation *implementation, const ExplainedWay *way) {
  static const char general[] = "general: taken where nothing else can be had";
  const TuningEntry *entry = entry_of(m, implementation, &way->way);
  if (way->failure) return way->failure;
  if (!entry) return implementation->general && !way->chosen ? general : "";
  switch (entry->remark) {
    case TUNING_AGREES:
    case TUNING_KEPT:
    case TUNING_REJECTED: return "";
    case TUNING_DIFFERS: return "left out: its results are not those of the others";
    case TUNING_FAILED: return entry->why;
  }
  return "";
}

static Choice choice_of(const PlanStep *step, const Measured *m, const Explanation *explained, Arena *arena) {
  const Selection *s = &step->selection;
  const TuningEntry *entry = entry_of(m, s->implementation, &s->way);
  if (entry && entry->remark == TUNING_KEPT)
    return (Choice){"measurement", "it measured best for the site, and a run was faster with it"};
  if (m->best && m->best->remark == TUNING_REJECTED)
    return (Choice){"the whole plan", "another way measured best for the site alone, but a run was no faster with it"};
  if (entry && entry == m->best) return (Choice){"measurement", "it measured best for the site"};
  return (Choice){"order", arena_printf(arena, "the first that can be had, in %s", explained->order)};
}

// ---- for people --------------------------------------------------------------------------------------------------------------

static void print_time(Text *text, double milliseconds) {
  if (milliseconds < 0) text_add(text, " %9s", "-");
  else text_add(text, " %9.4f", milliseconds);
}

static void print_implementation(Text *text, const Measured *m, const ExplainedImplementation *each) {
  const char *name = each->implementation->name;
  if (each->refusal) text_add(text, "  %-50s does not take it: %s\n", name, each->refusal);
  for (int i = 0; i < each->way_count; i++) {
    const ExplainedWay *way = &each->ways[i];
    const char *why = remark(m, each->implementation, way);
    text_add(text, "%c %-20s %-29s %9.4f", way->chosen ? '*' : ' ', name, way->way.name, way->way.cost / 1e3);
    print_time(text, measured_way(m, each->implementation, &way->way));
    text_add(text, "%s%s\n", *why ? "  " : "", why);
  }
}

static void print_step(Question *q, uint32_t number, const Measured *m, const Explanation *explained) {
  const PlanStep *step = &q->plan->steps[number];
  Choice choice = choice_of(step, m, explained, q->arena);
  const char *origins = node_origins_text(step->node, q->arena);
  text_add(&q->text, "%sstep %u, '%s' (%s), from %s\n", q->answered ? "\n" : "", number, step->node->outputs[0]->name,
           step->site.node->op->name, *origins ? origins : "nothing of the model's: a copy that what reads it needs");
  text_add(&q->text, "  %s\n", site_key(&step->site, q->arena));
  text_add(&q->text, "  is computed by %s, chosen by %s: %s\n", selection_text(&step->selection, q->arena), choice.by,
           choice.why);
  text_add(&q->text, "  by the chip's peaks it takes %.2g ms or more\n\n", cost_at_least(&step->site) / 1e3);
  text_add(&q->text, "  %-20s %-29s %9s %9s\n", "implementation", "way", "predicted", "measured");
  for (int i = 0; i < explained->count; i++) print_implementation(&q->text, m, &explained->implementations[i]);
}

// ---- for programs ------------------------------------------------------------------------------------------------------------

static void json_way(Json *json, const Measured *m, const Implementation *implementation, const ExplainedWay *way) {
  const TuningEntry *entry = entry_of(m, implementation, &way->way);
  const char *why = remark(m, implementation, way);
  double measured = measured_way(m, implementation, &way->way);
  json_object(json, NULL);
  json_string(json, "way", way->way.name);
  json_double(json, "predicted_ms", way->way.cost / 1e3);
  if (measured >= 0) json_double(json, "measured_ms", measured);
  if (entry) json_bool(json, "agrees", entry->remark <= TUNING_REJECTED);
  if (*why) json_string(json, "left_out", why);
  json_bool(json, "chosen", way->chosen);
  json_end_object(json);
}

static void json_step(Question *q, uint32_t number, const Measured *m, const Explanation *explained) {
  const PlanStep *step = &q->plan->steps[number];
  Choice choice = choice_of(step, m, explained, q->arena);
  Json *json = q->json;
  json_object(json, NULL);
  json_int(json, "step", number);
  json_string(json, "name", step->node->outputs[0]->name);
  json_string(json, "op", step->site.node->op->name);
  json_string(json, "origins", node_origins_text(step->node, q->arena));
  json_string(json, "site", site_key(&step->site, q->arena));
  json_string(json, "tactic", selection_text(&step->selection, q->arena));
  json_string(json, "chosen_by", choice.by);
  json_string(json, "why", choice.why);
  json_double(json, "least_ms", cost_at_least(&step->site) / 1e3);
  json_array(json, "implementations");
  for (int i = 0; i < explained->count; i++) {
    const ExplainedImplementation *each = &explained->implementations[i];
    json_object(json, NULL);
    json_string(json, "name", each->implementation->name);
    json_string(json, "refusal", each->refusal);
    json_array(json, "ways");
    for (int w = 0; w < each->way_count; w++) json_way(json, m, each->implementation, &each->ways[w]);
    json_end_array(json);
    json_end_object(json);
  }
  json_end_array(json);
  json_end_object(json);
}

// ---- the question ------------------------------------------------------------------------------------------------------------

static bool is_named(const PlanStep *step, const char *name) {
  for (int i = 0; i < step->node->origin_count; i++)
    if (!strcmp(step->node->origins[i].name, name)) return true;
  for (int i = 0; i < step->node->output_count; i++)
    if (!strcmp(step->node->outputs[i]->name, name)) return true;
  return false;
}

static Status answer(Question *q, uint32_t number, const SelectOptions *options) {
  const PlanStep *step = &q->plan->steps[number];
  Explanation explained;
  TRY(explain_step(step, options, q->arena, &explained));
  Measured measured = measured_of(q, step);
  if (q->json) json_step(q, number, &measured, &explained);
  else print_step(q, number, &measured, &explained);
  q->answered++;
  return OK;
}

// Names come first: a node may be called "7".
static Status answer_all(void *context, const SelectOptions *options) {
  Question *q = context;
  char *end;
  for (uint32_t i = 0; i < q->plan->step_count; i++)
    if (is_named(&q->plan->steps[i], q->site)) TRY(answer(q, i, options));
  unsigned long number = strtoul(q->site, &end, 10);
  bool is_number = *q->site >= '0' && *q->site <= '9' && !*end;
  if (!q->answered && is_number && number < q->plan->step_count) TRY(answer(q, (uint32_t)number, options));
  if (q->answered) return OK;
  FAIL(ERROR_NOT_FOUND,
       "no step of the plan comes from an ONNX node '%s', or has it as its result or number: there are %u steps", q->site,
       q->plan->step_count);
}

static Status explain(Question *q, const ingot_tensor *inputs, int input_count, bool as_json) {
  ingot_session *session = q->session;
  Executable *executable;
  Stage *stage;
  TRY(api_take_inputs(session, inputs, input_count));
  TRY(runner_plan(session->runner, session->inputs, &executable, &stage));
  session->stats = runner_stats(session->runner);
  q->plan = session->device->plan(executable);
  q->text = text_new(q->arena);
  Json json = json_new(&q->text);
  if (as_json) {
    q->json = &json;
    json_object(&json, NULL);
    json_string(&json, "device", ingot_session_device(session));
    json_array(&json, "sites");
  }
  TRY(session->device->ask(session->device, q->arena, answer_all, q));
  if (as_json) {
    json_end_array(&json);
    json_end_object(&json);
    q->json = NULL;
  }
  return OK;
}

static Status explain_to(Question *q, const ingot_tensor *inputs, int input_count, bool as_json, char **out) {
  TRY(explain(q, inputs, input_count, as_json));
  *out = strdup(text_get(&q->text));
  return *out ? OK : status_out_of_memory();
}

ingot_error *ingot_session_explain(ingot_session *session, const ingot_tensor *inputs, int input_count, const char *site,
                                   bool json, char **out) {
  Status status = api_require("ingot_session_explain", "session", session, "inputs", input_count ? inputs : (void *)&status,
                              "site", site, "out", out, NULL);
  if (status) return api_error(status);
  Question question = {.session = session, .site = site, .arena = arena_try_new()};
  if (!question.arena) return api_error(status_out_of_memory());
  status = SESSION_CALL(session, explain_to(&question, inputs, input_count, json, out));
  arena_free(question.arena);
  return api_error(status);
}
