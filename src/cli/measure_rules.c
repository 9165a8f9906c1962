// See measure_rules.h. Runs of the whole and of the variant take turns, and who begins takes turns too, so that what the machine does meanwhile is done to both; a turn gives one
// difference, and their median counts. The yardstick is the whole measured against itself, in two sessions, before all others and behind them.
#include "cli/measure_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/thread.h"
#include "lower/plan.h"

enum { FEWEST_TURNS = 5, MOST_TURNS = 41 };

// A way to leave something out.
typedef enum LeftOut { NOTHING, RULE, PASS, CUDA_GRAPH, STREAMS } LeftOut;

typedef struct Subject {
  LeftOut kind;
  const char *name;
  int applied, order;  // order: of its first application, which decides between equals
  // Found.
  bool tried, same;                  // same: the plan is what it is with it
  char *failure;                     // of its build or run; the arena's
  double difference, spread, whole;  // ms: of a run without it to one with it, the median of turns; how far that may be off
  int turns, steps, launches;
  size_t weights, arena_bytes;
} Subject;

// A model built one way.
typedef struct Variant {
  ingot_engine *engine;
  ingot_session *session;
  char *plan;
  int steps, launches, streams;
} Variant;

typedef struct Measure {
  const Common *common;
  const ingot_model *model;
  Arena *arena;
  double start, seconds;
  InputSet inputs;
  Variant whole;
  double run_ms;
  Subject *subjects;
  uint32_t count, capacity;
  Subject noise[2];  // before all and behind all
} Measure;

// ---- subjects ----------------------------------------------------------------------------------------------------------------

static Subject *subject_of(Measure *m, LeftOut kind, const char *name) {
  for (uint32_t i = 0; i < m->count; i++)
    if (m->subjects[i].kind == kind && !strcmp(m->subjects[i].name, name)) return &m->subjects[i];
  Subject *added = ARENA_PUSH(m->arena, m->subjects, m->count, m->capacity);
  *added = (Subject){.kind = kind, .name = name, .order = (int)m->count};
  return added;
}

static int most_applied_first(const void *a, const void *b) {
  const Subject *x = a, *y = b;
  return x->applied != y->applied ? y->applied - x->applied : x->order - y->order;
}

// A pass of one rule is that rule, and a rule that has its pass's name goes with all of it.
static bool has_other_rules(const Engine *engine, const char *pass, const char *rule) {
  for (uint32_t i = 0; i < engine->rewrite_count; i++)
    if (!strcmp(engine->rewrites[i].pass, pass) && strcmp(engine->rewrites[i].rule, rule)) return true;
  return false;
}

static void find_subjects(Measure *m) {
  const Engine *engine = m->whole.engine->engine;
  for (uint32_t i = 0; i < engine->rewrite_count; i++) {
    const EngineRewrite *r = &engine->rewrites[i];
    bool others = has_other_rules(engine, r->pass, r->rule);
    if (others) subject_of(m, PASS, r->pass)->applied++;
    if (!others || strcmp(r->pass, r->rule)) subject_of(m, RULE, r->rule)->applied++;
  }
  if (m->count) qsort(m->subjects, m->count, sizeof *m->subjects, most_applied_first);
  bool on_gpu = m->whole.session->device->info.kind == DEVICE_CUDA;
  if (on_gpu && !m->common->config.no_cuda_graph) subject_of(m, CUDA_GRAPH, "the CUDA graph");
  if (m->whole.streams > 1) subject_of(m, STREAMS, "streams side by side");
}

// ---- variants ----------------------------------------------------------------------------------------------------------------

static void close_variant(Variant *v) {
  ingot_session_free(v->session);
  ingot_engine_free(v->engine);
  free(v->plan);
  *v = (Variant){0};
}

static ingot_error *note_plan(Measure *m, Variant *v) {
  const Plan *plan;
  ingot_error *error = api_plan(v->session, m->inputs.tensors, m->inputs.count, &plan);
  for (uint32_t i = 0; !error && i < plan->step_count; i++) {
    v->steps++;
    v->streams = MAX(v->streams, plan->steps[i].stream + 1);
    v->launches += (int)plan->steps[i].selection.emission->launch_count;
  }
  return error ? error : ingot_session_plan_text(v->session, m->inputs.tensors, m->inputs.count, &v->plan);
}

static const char *without(Measure *m, const char *name) {
  const char *disabled = m->common->config.disabled_passes;
  return disabled && *disabled ? arena_printf(m->arena, "%s,%s", disabled, name) : name;
}

static ingot_error *open_variant(Measure *m, const Subject *subject, Variant *v) {
  ingot_config config = m->common->config;
  if (subject->kind == RULE || subject->kind == PASS) config.disabled_passes = without(m, subject->name);
  config.no_cuda_graph |= subject->kind == CUDA_GRAPH;
  if (subject->kind == STREAMS) config.streams = 1;
  ingot_error *error = api_error(api_build(m->model, &config, &(BuildHooks){0}, &v->engine));
  if (!error) error = ingot_session_create(v->engine, &config, &v->session);
  if (error || subject->kind == NOTHING) return error;
  return note_plan(m, v);
}

// ---- turns -------------------------------------------------------------------------------------------------------------------

static ingot_error *time_one(Measure *m, const Variant *v, double seconds, double *ms) {
  return ingot_session_time(v->session, m->inputs.tensors, m->inputs.count, seconds, ms);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void conclude(Subject *s, double *differences, double *wholes) {
  qsort(differences, (size_t)s->turns, sizeof *differences, ascending);
  s->difference = differences[s->turns / 2];
  // McGill, Tukey and Larsen (1978): 95% of an interval about a median.
  s->spread = 1.57 * (differences[s->turns * 3 / 4] - differences[s->turns / 4]) / sqrt(s->turns);
  s->whole = cli_median(wholes, s->turns);
}

static ingot_error *take_turns(Measure *m, const Variant *variant, double seconds, Subject *s) {
  double differences[MOST_TURNS], wholes[MOST_TURNS], end = time_now() + seconds, each = seconds / 2 / MOST_TURNS, ms[2];
  const Variant *sides[] = {&m->whole, variant};
  while (s->turns < MOST_TURNS && (s->turns < FEWEST_TURNS || time_now() < end)) {
    for (int i = 0; i < 2; i++) {
      int side = (i + s->turns) % 2;
      ingot_error *error = time_one(m, sides[side], each, &ms[side]);
      if (error) return error;
    }
    differences[s->turns] = ms[1] - ms[0];
    wholes[s->turns++] = ms[0];
  }
  conclude(s, differences, wholes);
  return NULL;
}

static ingot_error *measure_variant(Measure *m, double seconds, Subject *s, Variant *v) {
  double warm;
  ingot_error *error = open_variant(m, s, v);
  if (error) return error;
  s->steps = v->steps, s->launches = v->launches;
  s->weights = ingot_session_memory(v->session, INGOT_MEMORY_WEIGHTS);
  s->arena_bytes = ingot_session_memory(v->session, INGOT_MEMORY_ARENA);
  s->same = (s->kind == RULE || s->kind == PASS) && !strcmp(v->plan, m->whole.plan);
  if (s->same) return NULL;
  error = time_one(m, v, 0, &warm);
  return error ? error : take_turns(m, v, seconds, s);
}

// What fails without a rule is told beside it; Ctrl-C ends all.
static ingot_error *measure_subject(Measure *m, double seconds, Subject *s) {
  Variant v = {0};
  ingot_error *error = measure_variant(m, seconds, s, &v);
  close_variant(&v);
  if (error && ingot_error_code(error) == INGOT_CANCELLED) return error;
  if (error) s->failure = arena_string(m->arena, ingot_error_message(error));
  ingot_error_free(error);
  s->tried = true;
  return NULL;
}

// Each gets its share of the time that is left. The noise is measured always.
static ingot_error *measure_all(Measure *m) {
  m->noise[0] = m->noise[1] = (Subject){.kind = NOTHING, .name = "nothing"};
  double share = m->seconds / (m->count + 2);
  ingot_error *error = measure_subject(m, share, &m->noise[0]);
  for (uint32_t i = 0; !error && i < m->count; i++) {
    double left = m->seconds - share - (time_now() - m->start);
    if (left <= 0) break;
    error = measure_subject(m, left / (m->count - i), &m->subjects[i]);
  }
  return error ? error : measure_subject(m, share, &m->noise[1]);
}

// ---- what is told ------------------------------------------------------------------------------------------------------------

static double noise_of(const Subject *noise) { return fabs(noise->difference) + noise->spread; }
static double noise_ms(const Measure *m) { return fmax(noise_of(&m->noise[0]), noise_of(&m->noise[1])); }

static bool within_noise(const Measure *m, const Subject *s) { return fabs(s->difference) <= fmax(s->spread, noise_ms(m)); }

static const char *kind_text(LeftOut kind) {
  static const char *const texts[] = {
      [NOTHING] = "nothing", [RULE] = "rule", [PASS] = "pass", [CUDA_GRAPH] = "choice", [STREAMS] = "choice"};
  return texts[kind];
}

static double share(const Subject *s) { return s->whole > 0 ? s->difference / s->whole * 100 : 0; }

static void print_subject(const Measure *m, const Subject *s) {
  char weights[24], arena[24];
  const char *name = s->kind == PASS ? arena_printf(m->arena, "%s (all of the pass)", s->name) : s->name;
  printf("%-40s ", name);
  if (s->applied) printf("%7d ", s->applied);
  else printf("%7s ", "");
  if (s->failure) {
    printf("failed: %s\n", s->failure);
    return;
  }
  if (s->same) {
    printf("the plan is the same without it\n");
    return;
  }
  printf("%+10.4f %+7.2f%% %9.4f %5d %8d %10s %10s%s\n", s->difference, share(s), s->spread, s->steps, s->launches,
         cli_bytes((double)s->weights, weights), cli_bytes((double)s->arena_bytes, arena),
         within_noise(m, s) ? "  within noise" : "");
}

static void print_rest(const Measure *m) {
  int left = 0;
  for (uint32_t i = 0; i < m->count; i++)
    if (!m->subjects[i].tried) printf("%s%s", left++ ? ", " : "\nno time was left for: ", m->subjects[i].name);
  if (left) printf("\n");
}

static void print(const Measure *m) {
  char weights[24], arena[24];
  printf("a run takes %.4f ms on %s: %d steps, %d launches, weights %s, arena %s\n", m->run_ms,
         ingot_session_device(m->whole.session), m->whole.steps, m->whole.launches,
         cli_bytes((double)ingot_session_memory(m->whole.session, INGOT_MEMORY_WEIGHTS), weights),
         cli_bytes((double)ingot_session_memory(m->whole.session, INGOT_MEMORY_ARENA), arena));
  printf("against itself it differs by %+.4f and %+.4f ms: what differs by less than %.4f is noise\n\n", m->noise[0].difference,
         m->noise[1].difference, noise_ms(m));
  printf("%-40s %7s %10s %8s %9s %5s %8s %10s %10s\n", "without", "applied", "ms", "", "+/- ms", "steps", "launches", "weights",
         "arena");
  for (uint32_t i = 0; i < m->count; i++)
    if (m->subjects[i].tried) print_subject(m, &m->subjects[i]);
  print_rest(m);
}

static void json_subject(const Measure *m, Json *json, const char *key, const Subject *s) {
  json_object(json, key);
  json_string(json, "without", s->name);
  json_string(json, "kind", kind_text(s->kind));
  json_int(json, "applied", s->applied);
  if (s->failure) json_string(json, "failed", s->failure);
  else if (s->tried && s->kind != NOTHING) {
    json_bool(json, "same_plan", s->same);
    json_int(json, "steps", s->steps);
    json_int(json, "launches", s->launches);
    json_int(json, "weights_bytes", (int64_t)s->weights);
    json_int(json, "arena_bytes", (int64_t)s->arena_bytes);
  }
  if (s->turns && !s->failure) {
    json_double(json, "difference_ms", s->difference);
    json_double(json, "spread_ms", s->spread);
    json_double(json, "whole_ms", s->whole);
    json_int(json, "turns", s->turns);
    if (s->kind != NOTHING) json_bool(json, "within_noise", within_noise(m, s));
  }
  json_end_object(json);
}

static void print_json(const Measure *m) {
  Text text = text_new(m->arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "model", m->common->model);
  json_string(&json, "device", ingot_session_device(m->whole.session));
  json_double(&json, "ms", m->run_ms);
  json_int(&json, "steps", m->whole.steps);
  json_int(&json, "launches", m->whole.launches);
  json_int(&json, "weights_bytes", (int64_t)ingot_session_memory(m->whole.session, INGOT_MEMORY_WEIGHTS));
  json_int(&json, "arena_bytes", (int64_t)ingot_session_memory(m->whole.session, INGOT_MEMORY_ARENA));
  json_double(&json, "noise_ms", noise_ms(m));
  json_array(&json, "noise");
  for (int i = 0; i < 2; i++) json_subject(m, &json, NULL, &m->noise[i]);
  json_end_array(&json);
  json_array(&json, "without");
  for (uint32_t i = 0; i < m->count; i++)
    if (m->subjects[i].tried) json_subject(m, &json, NULL, &m->subjects[i]);
  json_end_array(&json);
  json_array(&json, "no_time_for");
  for (uint32_t i = 0; i < m->count; i++)
    if (!m->subjects[i].tried) json_string(&json, NULL, m->subjects[i].name);
  json_end_array(&json);
  json_end_object(&json);
  puts(text_get(&text));
}

// ---- all of it ---------------------------------------------------------------------------------------------------------------

static int measure_open(Measure *m) {
  ingot_error *error = note_plan(m, &m->whole);
  if (!error) error = time_one(m, &m->whole, 0, &m->run_ms);
  if (error) return cli_fail_run(error, &m->inputs);
  find_subjects(m);
  error = measure_all(m);
  if (error) return cli_fail_run(error, &m->inputs);
  for (int i = 0; i < 2; i++)
    if (m->noise[i].failure) return cli_fail_text("%s", m->noise[i].failure);
  m->run_ms = m->noise[0].whole;
  if (m->common->json) print_json(m);
  else print(m);
  return 0;
}

int measure_rules(const Common *common, const ingot_model *model, double seconds, Arena *arena) {
  Measure m = {.common = common, .model = model, .arena = arena, .start = time_now(), .seconds = seconds};
  ingot_error *error = open_variant(&m, &(Subject){.kind = NOTHING}, &m.whole);
  int code = error ? cli_fail(error) : cli_make_inputs(m.whole.engine, common, NULL, 1, &m.inputs);
  if (!code) code = measure_open(&m);
  cli_free_inputs(&m.inputs);
  close_variant(&m.whole);
  return code;
}
