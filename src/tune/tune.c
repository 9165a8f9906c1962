// See tune.h. First what every site takes as it is chosen without measuring, one launch each. Then sites take turns, so that whenever time is over
// each has had a share of the candidates in proportion to the time that a run spends in it beyond what the chip needs (cost_at_least). While one is measured the kernels of the next are compiled.
#include "tune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "tune/attempts.h"
#include "tune/cold.h"
#include "tune/judge.h"
#include "tune/measure.h"

enum { FEW_CANDIDATES = 4 };  // of a site's first turn
#define SURVEY_SHARE 0.25     // of the budget

typedef struct Subject {
  const Site *site;
  const char *key;
  int number, steps;  // in the order of the plan; how many steps are this site
  bool surveyed;
  double seconds;  // of a run: as measured, else as predicted
  double least;    // of them, by the chip's peaks
  Attempts *attempts;
  int planned;  // attempts of the turns that were begun
} Subject;

typedef struct Tuner {
  const TuneOptions *options;
  TuningDatabase *database;
  TuneReport *report;
  Arena *arena;
  double start, fraction;
  Subject *subjects;
  int count;
  AttemptsOptions attempts;
  RandomBlocks random;
  bool cold;  // see rig.h
} Tuner;

static double spent(const Tuner *t) { return time_now() - t->start; }
static bool is_over(const Tuner *t) { return spent(t) > t->options->seconds; }

static Status tell_progress(Tuner *t) {
  int measured = 0, listed = 0;
  for (int i = 0; i < t->count; i++) {
    const Attempts *attempts = t->subjects[i].attempts;
    listed += attempts ? attempts->count : FEW_CANDIDATES;
    measured += attempts ? attempts->tried : 0;
  }
  t->fraction = fmax(t->fraction, listed ? fmin((double)measured / listed, 1) : 1);
  double left = fmax(t->options->seconds - spent(t), 0);
  budget_stage("tuning", t->fraction, t->fraction > 0 ? fmin(left, spent(t) * (1 - t->fraction) / t->fraction) : left);
  return budget_poll();
}

static Status record(const Tuner *t, const Subject *s, const Attempt *attempt, TuningEntry entry) {
  entry.chip = s->site->device->name;
  entry.site = s->key;
  entry.implementation = attempt->selection.implementation->name;
  entry.way = attempt->selection.way.name;
  entry.version = attempt->version;
  return tuning_record(t->database, &entry);
}

// A candidate that failed is passed over. A limit of the call fails no candidate; memory that is short does so for now, which is not recorded; one that
// takes the device along is not to be tried again.
static Status pass_over(const Tuner *t, const Subject *s, const Attempt *attempt, Status failed) {
  log_add(t->options->log, LOG_WARNING, "tuning %s: %s %s failed: %s", site_step(s->site)->outputs[0]->name,
          attempt->selection.implementation->name, attempt->selection.way.name, status_message(failed));
  Status status = budget_poll();
  if (!status && status_code(failed) != ERROR_OUT_OF_MEMORY)
    status = record(t, s, attempt, (TuningEntry){.remark = TUNING_FAILED, .why = status_message(failed)});
  status_free(failed);
  return status ? status : cuda_check_alive(t->options->cuda);
}

static Rig rig_for(Tuner *t, const Subject *s, bool sketch, Arena *arena) {
  return (Rig){s->site, t->options->cuda, &t->random, t->options->log, arena, sketch, t->cold};
}

// --- The survey.

static Status survey_on(Rig *r, const Emission *emission, const Cubin *cubins, double *seconds) {
  TRY(rig_open(r));
  return measure_emission(r, emission, cubins, INFINITY, seconds);
}

static Status look_at(Tuner *t, Subject *s) {
  TRY(attempts_list(&t->attempts, s->site, t->arena, &s->attempts));
  s->planned = s->attempts->tried;
  t->report->known += s->attempts->known;
  return OK;
}

static bool is_left(const Subject *s) { return !s->attempts || s->attempts->tried < s->attempts->count; }

static Status survey_site(Tuner *t, Subject *s) {
  const Cubin *cubins;
  double seconds;
  TRY(look_at(t, s));
  if (s->attempts->first_seconds > 0) s->seconds = s->attempts->first_seconds * s->steps, s->surveyed = true;
  if (!is_left(s) || s->surveyed) return OK;
  TRY(attempts_begin(s->attempts, 1));
  TRY(attempts_emit(s->attempts, 0));
  if (s->attempts->list[0].selection.emission) {
    TRY(attempts_cubins(s->attempts, 0, &cubins));
    Arena *scratch = arena_scratch();
    Rig rig = rig_for(t, s, true, scratch);
    Status failed = RECOVER_GUARD(survey_on(&rig, s->attempts->list[0].selection.emission, cubins, &seconds));
    rig_close(&rig);
    arena_free(scratch);
    if (failed) TRY(pass_over(t, s, &s->attempts->list[0], failed));
    else s->seconds = seconds * s->steps, s->surveyed = true;
  }
  attempts_end(s->attempts);
  return OK;
}

static int dearest_first(const void *a, const void *b) {
  const Subject *x = a, *y = b;
  if (x->seconds != y->seconds) return x->seconds < y->seconds ? 1 : -1;
  return (x->number > y->number) - (x->number < y->number);
}

// Those first that are predicted to be dear; what is not reached in time keeps its prediction.
static Status survey(Tuner *t) {
  int surveyed = 0;
  if (t->count) qsort(t->subjects, (size_t)t->count, sizeof *t->subjects, dearest_first);
  for (int i = 0; t->count > 1 && i < t->count && spent(t) <= SURVEY_SHARE * t->options->seconds; i++) {
    TRY(tell_progress(t));
    TRY(survey_site(t, &t->subjects[i]));
    surveyed += t->subjects[i].surveyed;
  }
  log_add(t->options->log, LOG_VERBOSE, "tuning: %d of %d sites surveyed in %.2f s", surveyed, t->count, spent(t));
  return OK;
}

// --- The turns.

static Status try_on(Tuner *t, Subject *s, Rig *r, Judge *judging, int number) {
  Attempts *attempts = s->attempts;
  const Selection *selection = &attempts->list[number].selection;
  const char *name = site_step(s->site)->outputs[0]->name;
  const Cubin *cubins;
  double seconds = INFINITY;
  bool agrees, again = attempts->list[number].tried;
  TRY(attempts_cubins(attempts, number, &cubins));
  Status failed = measure_emission(r, selection->emission, cubins, attempts->best_seconds, again ? NULL : &seconds);
  if (!failed) failed = judge_outputs(judging, seconds < attempts->best_seconds, &agrees);
  if (failed) return pass_over(t, s, &attempts->list[number], failed);
  if (again) return OK;
  t->report->candidates++;
  attempts->timed++;
  TRY(record(t, s, &attempts->list[number],
             (TuningEntry){.remark = agrees ? TUNING_AGREES : TUNING_DIFFERS, .microseconds = seconds * 1e6}));
  log_add(t->options->log, LOG_VERBOSE, "tuning %s: %s %s: %.2f us", name, selection->implementation->name, selection->way.name,
          seconds * 1e6);
  if (!agrees) {
    t->report->rejected++;
    log_add(t->options->log, LOG_WARNING, "tuning %s: %s %s disagrees with %s and is rejected", name,
            selection->implementation->name, selection->way.name, attempts->list[0].selection.implementation->name);
  } else if (seconds < attempts->best_seconds) {
    attempts->best = number;
    attempts->best_seconds = seconds;
  }
  return OK;
}

// What is chosen without measuring comes first, in every turn: the others are compared with it.
static Status try_all(Tuner *t, Subject *s, Rig *r) {
  Attempts *attempts = s->attempts;
  Judge judging = judge_new(r);
  TRY(rig_open(r));
  for (int i = 0; i < attempts->goal; i++) {
    Attempt *attempt = &attempts->list[i];
    if (i && (attempt->tried || is_over(t))) continue;
    TRY(tell_progress(t));
    TRY(attempts_emit(attempts, i));
    if (attempt->selection.emission) TRY(try_on(t, s, r, &judging, i));
    else if (attempt->refusal && !attempt->tried)
      TRY(record(t, s, attempt, (TuningEntry){.remark = TUNING_FAILED, .why = attempt->refusal}));
    if (!attempt->tried) attempts->tried++;
    attempt->tried = true;
  }
  return OK;
}

static Status take_turn(Tuner *t, Subject *s) {
  Arena *scratch = arena_scratch();
  Rig rig = rig_for(t, s, false, scratch);
  Status status = RECOVER_GUARD(try_all(t, s, &rig));
  rig_close(&rig);
  arena_free(scratch);
  if (!status && !attempts_waiting(s->attempts)) attempts_end(s->attempts);  // else when nobody compiles any more
  return status;
}

// What a run may gain of the site. The model's floor is no proof: a tenth of its time always counts.
static double gain(const Subject *s) { return fmax(s->seconds - s->least, s->seconds / 10); }
// What another candidate of the site is worth: proportional shares come of always taking the highest.
static double worth(const Subject *s, int planned) { return gain(s) / (planned + FEW_CANDIDATES); }
static bool is_planned(const Subject *s) { return s->attempts && s->planned >= s->attempts->count; }

static Subject *worthiest(Tuner *t, const Subject *but) {
  Subject *best = NULL;
  for (int i = 0; i < t->count; i++) {
    Subject *s = &t->subjects[i];
    if (s != but && !is_planned(s) && (!best || worth(s, s->planned) > worth(best, best->planned))) best = s;
  }
  return best;
}

// A turn doubles what was planned of a site, since taking it up again has its cost, and goes on as long as no other site is worth more.
static Status begin_turn(Tuner *t, Subject *s) {
  if (!s->attempts) TRY(look_at(t, s));
  const Subject *other = worthiest(t, s);
  do s->planned = MIN(MAX(2 * s->planned, (int)FEW_CANDIDATES), s->attempts->count);
  while (!is_planned(s) && (!other || worth(s, s->planned) >= worth(other, other->planned)));
  return attempts_begin(s->attempts, s->planned);
}

static bool enough_begun(const Tuner *t, Subject *const *queue, int begun) {
  int waiting = 0;
  for (int i = 0; i < begun; i++) waiting += attempts_waiting(queue[i]->attempts);
  return waiting >= 2 * background_threads(t->attempts.background);
}

// Turns are begun ahead, until there is enough for the threads that compile; a site's next one not before its last one has ended.
static Status take_turns(Tuner *t) {
  Subject **queue = arena_array(t->arena, Subject *, t->count);
  for (int begun = 0, taken = 0;; taken++) {
    while (!enough_begun(t, queue, begun) && !((taken || begun) && is_over(t))) {
      Subject *s = worthiest(t, NULL);
      if (!s || (s->attempts && s->attempts->goal)) break;
      TRY(begin_turn(t, s));
      if (s->attempts->goal) queue[begun++] = s;
    }
    if (!begun || (taken && is_over(t))) return OK;
    Subject *first = queue[0];
    memmove(queue, queue + 1, (size_t)--begun * sizeof(Subject *));
    TRY(take_turn(t, first));
  }
}

// --- All of it.

// Every distinct site once.
static void collect(Tuner *t, const PlanStep *steps, int count) {
  StringMap *seen = string_map_new(t->arena);
  t->subjects = arena_array(t->arena, Subject, count);
  for (int i = 0; i < count; i++) {
    const Site *site = &steps[i].site;
    const char *key = site_key(site, t->arena);
    Subject *s = string_map_get(seen, key);
    if (!s) {
      s = &t->subjects[t->report->sites++];
      *s = (Subject){.site = site, .key = key, .number = i};
      string_map_set(seen, key, s);
    }
    s->steps++;
    s->seconds += selection_cost(&steps[i].selection, site) * 1e-6;
    s->least += cost_at_least(site) * 1e-6;
  }
  t->count = t->report->sites;
}

static Status tune_all(Tuner *t, const PlanStep *steps, int count) {
  collect(t, steps, count);
  t->cold = constants_are_cold(steps, count, &t->options->cuda->info);
  if (t->cold)
    log_add(t->options->log, LOG_VERBOSE, "tuning: constants are read from memory, a run touches more than the cache holds");
  TRY(survey(t));
  return take_turns(t);
}

static void sum_up(Tuner *t) {
  TuneReport *report = t->report;
  int touched = 0;
  for (int i = 0; i < t->count; i++) {
    const Attempts *attempts = t->subjects[i].attempts;
    report->unseen += !attempts;
    if (!attempts) continue;
    touched += attempts->timed > 0;
    report->compared += attempts->timed + attempts->known > 1;
    report->left += attempts->count - attempts->tried;
  }
  log_add(t->options->log, LOG_VERBOSE,
          "tuning measured %d candidates of %d sites; %d were known; %d of their candidates, and %d sites that were not looked "
          "at, are left",
          report->candidates, touched, report->known, report->left, report->unseen);
  if (report->left || report->unseen)
    log_add(t->options->log, LOG_INFO, "tuning stopped after %.1f s with %d candidates left, and %d of %d sites not looked at",
            spent(t), report->left, report->unseen, t->count);
}

Status tune_steps(const PlanStep *steps, int count, const TuneOptions *options, TuningDatabase *database, TuneReport *report) {
  *report = (TuneReport){0};
  Tuner t = {.options = options, .database = database, .report = report, .arena = arena_scratch(), .start = time_now()};
  t.random.cuda = options->cuda;
  t.attempts =
      (AttemptsOptions){options->cuda, options->compiler, background_new(), options->workspace_limit, database, options->log};
  Status status = RECOVER_GUARD(tune_all(&t, steps, count));
  background_free(t.attempts.background);
  for (int i = 0; i < t.count; i++) attempts_end(t.subjects[i].attempts);
  random_blocks_free(&t.random);
  sum_up(&t);
  report->seconds = spent(&t);
  arena_free(t.arena);
  return status;
}
