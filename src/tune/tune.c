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
#include "tune/judge.h"
#include "tune/measure.h"

enum { FEW_CANDIDATES = 4 };  // of a site's first turn
#define SURVEY_SHARE 0.25     // of the budget

typedef struct Subject {
  const Site *site;
  const char *key;
  int number, steps;  // in the order of the plan; how many steps are this site
  bool surveyed, learnt;
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

static void record(const Tuner *t, const Subject *s, const Attempt *attempt, TuningTrial trial) {
  trial.implementation = attempt->selection.implementation->name;
  trial.way = attempt->selection.way.name;
  tuning_record_trial(t->database, s->site->device->sm, s->key, &trial);
}

// A candidate that failed is passed over. A limit of the call fails no candidate, nor does a device that is lost.
static Status pass_over(const Tuner *t, const Subject *s, const Attempt *attempt, Status failed) {
  log_add(t->options->log, LOG_WARNING, "tuning %s: %s %s failed: %s", site_step(s->site)->outputs[0]->name,
          attempt->selection.implementation->name, attempt->selection.way.name, status_message(failed));
  record(t, s, attempt, (TuningTrial){.outcome = TRIAL_FAILED, .why = status_message(failed)});
  status_free(failed);
  TRY(budget_poll());
  return cuda_check_alive(t->options->cuda);
}

static Rig rig_for(Tuner *t, const Subject *s, bool sketch, Arena *arena) {
  return (Rig){s->site, t->options->cuda, &t->random, t->options->log, arena, sketch};
}

// --- The survey.

static Status survey_on(Rig *r, const Emission *emission, const Cubin *cubins, double *seconds) {
  TRY(rig_open(r));
  return measure_emission(r, emission, cubins, INFINITY, seconds);
}

static Status survey_site(Tuner *t, Subject *s) {
  const Cubin *cubins;
  double seconds;
  TRY(attempts_list(&t->attempts, s->site, t->arena, &s->attempts));
  if (!s->attempts->count) return OK;
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

static void learn(Tuner *t, Subject *s) {
  const Attempts *attempts = s->attempts;
  if (attempts->best < 0 || (attempts->timed < 2 && attempts->tried < attempts->count)) return;  // nothing was compared
  const Selection *best = &attempts->list[attempts->best].selection;
  tuning_add(t->database, &(TuningEntry){s->site->device->sm, s->key, best->implementation->name, best->way.name,
                                         attempts->best_seconds * 1e6});
  t->report->measured += !s->learnt;
  s->learnt = true;
}

static Status try_on(Tuner *t, Subject *s, Rig *r, Judge *judging, int number) {
  Attempts *attempts = s->attempts;
  const Selection *selection = &attempts->list[number].selection;
  const char *name = site_step(s->site)->outputs[0]->name;
  const Cubin *cubins;
  double seconds;
  bool agrees;
  TRY(attempts_cubins(attempts, number, &cubins));
  Status failed = measure_emission(r, selection->emission, cubins, attempts->best_seconds, &seconds);
  if (!failed) failed = judge_outputs(judging, seconds < attempts->best_seconds, &agrees);
  if (failed) return pass_over(t, s, &attempts->list[number], failed);
  t->report->candidates += !attempts->list[number].tried;
  attempts->timed += !attempts->list[number].tried;
  log_add(t->options->log, LOG_VERBOSE, "tuning %s: %s %s: %.2f us", name, selection->implementation->name, selection->way.name,
          seconds * 1e6);
  record(t, s, &attempts->list[number],
         (TuningTrial){.outcome = agrees ? TRIAL_AGREES : TRIAL_DISAGREES, .microseconds = seconds * 1e6});
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
    if (i && (attempts->list[i].tried || is_over(t))) continue;
    TRY(tell_progress(t));
    TRY(attempts_emit(attempts, i));
    if (attempts->list[i].selection.emission) TRY(try_on(t, s, r, &judging, i));
    if (!attempts->list[i].tried) attempts->tried++;
    attempts->list[i].tried = true;
  }
  return OK;
}

static Status take_turn(Tuner *t, Subject *s) {
  Arena *scratch = arena_scratch();
  Rig rig = rig_for(t, s, false, scratch);
  Status status = RECOVER_GUARD(try_all(t, s, &rig));
  rig_close(&rig);
  arena_free(scratch);
  learn(t, s);
  if (!status && !attempts_waiting(s->attempts)) attempts_end(s->attempts);  // else when nobody compiles any more
  return status;
}

// What a run may gain of the site. The model's floor is no proof: a tenth of its time always counts.
static double gain(const Subject *s) { return fmax(s->seconds - s->least, s->seconds / 10); }
// What another candidate of the site is worth: proportional shares come of always taking the highest.
static double worth(const Subject *s, int planned) { return gain(s) / (planned + FEW_CANDIDATES); }
static bool is_left(const Subject *s) { return !s->attempts || s->planned < s->attempts->count; }

static Subject *worthiest(Tuner *t, const Subject *but) {
  Subject *best = NULL;
  for (int i = 0; i < t->count; i++) {
    Subject *s = &t->subjects[i];
    if (s != but && is_left(s) && (!best || worth(s, s->planned) > worth(best, best->planned))) best = s;
  }
  return best;
}

// A turn doubles what was planned of a site, since taking it up again has its cost, and goes on as long as no other site is worth more.
static Status begin_turn(Tuner *t, Subject *s) {
  if (!s->attempts) TRY(attempts_list(&t->attempts, s->site, t->arena, &s->attempts));
  const Subject *other = worthiest(t, s);
  do s->planned = MIN(MAX(2 * s->planned, (int)FEW_CANDIDATES), s->attempts->count);
  while (is_left(s) && (!other || worth(s, s->planned) >= worth(other, other->planned)));
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

// Every distinct site once; those that the database knows are left out.
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
  for (int i = 0; i < t->report->sites; i++)
    if (!tuning_get(t->database, t->subjects[i].site->device->sm, t->subjects[i].key)) t->subjects[t->count++] = t->subjects[i];
}

static Status tune_all(Tuner *t, const PlanStep *steps, int count) {
  collect(t, steps, count);
  TRY(survey(t));
  return take_turns(t);
}

static void say_what_was_left(const Tuner *t) {
  int left = 0, touched = 0, unknown = 0;
  for (int i = 0; i < t->count; i++) {
    const Attempts *attempts = t->subjects[i].attempts;
    unknown += !attempts;
    touched += attempts && attempts->timed;
    left += attempts ? attempts->count - attempts->tried : 0;
  }
  log_add(t->options->log, LOG_VERBOSE,
          "tuning measured %d candidates of %d sites; %d of their candidates, and %d sites that were not looked at, are left",
          t->report->candidates, touched, left, unknown);
  if (left || unknown)
    log_add(t->options->log, LOG_INFO, "tuning stopped after %.1f s with %d of %d sites measured", spent(t),
            t->report->measured, t->count);
}

Status tune_steps(const PlanStep *steps, int count, const TuneOptions *options, TuningDatabase *database, TuneReport *report) {
  *report = (TuneReport){0};
  Tuner t = {.options = options, .database = database, .report = report, .arena = arena_scratch(), .start = time_now()};
  t.random.cuda = options->cuda;
  t.attempts = (AttemptsOptions){options->cuda, options->compiler, background_new(), options->workspace_limit, options->log};
  Status status = RECOVER_GUARD(tune_all(&t, steps, count));
  background_free(t.attempts.background);
  for (int i = 0; i < t.count; i++) attempts_end(t.subjects[i].attempts);
  random_blocks_free(&t.random);
  if (!status) say_what_was_left(&t);
  report->seconds = spent(&t);
  arena_free(t.arena);
  return status;
}
