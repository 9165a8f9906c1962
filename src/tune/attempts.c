// See attempts.h.
#include "tune/attempts.h"

#include <math.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"

enum { MAX_SELECTIONS = 48 };

static bool is_same(const Selection *a, const Selection *b) {
  return a->implementation == b->implementation && !strcmp(a->way.name, b->way.name) &&
         !memcmp(a->way.config, b->way.config, sizeof a->way.config);
}

// What a plan takes that knows no measurements.
static Status untuned(const Attempts *attempts, Arena *scratch, Selection *out) {
  const AttemptsOptions *o = &attempts->options;
  SelectOptions select = {.machine = {.cuda = o->cuda}, .workspace_limit = o->workspace_limit, .log = o->log};
  TRY(select_implementation(attempts->site, &select, false, scratch, out));
  return out->implementation ? OK : select_implementation(attempts->site, &select, true, scratch, out);
}

// all: an implementation's ways follow each other, its best guess first.
static void put_in_order(Attempts *attempts, const Selection *first, const Selection *all, int count, Arena *arena) {
  bool taken[MAX_SELECTIONS] = {0};
  attempts->list = arena_array(arena, Attempt, count + 1);
  if (first->implementation)
    attempts->list[attempts->count++].selection = (Selection){.implementation = first->implementation, .way = first->way};
  for (int i = 0; i < count; i++) taken[i] = is_same(first, &all[i]);
  for (int before = -1; before != attempts->count;) {
    before = attempts->count;
    const Implementation *last = NULL;
    for (int i = 0; i < count; i++) {
      if (taken[i] || all[i].implementation == last) continue;
      last = all[i].implementation;
      taken[i] = true;
      attempts->list[attempts->count++].selection = all[i];
    }
  }
  if (attempts->count < 2) attempts->count = 0;
}

Status attempts_list(const AttemptsOptions *options, const Site *site, Arena *arena, Attempts **out) {
  Attempts *attempts = arena_new_of(arena, Attempts);
  *attempts = (Attempts){.options = *options, .site = site, .best = -1, .best_seconds = INFINITY};
  SelectOptions select = {.machine = {.cuda = options->cuda}, .workspace_limit = options->workspace_limit, .log = options->log};
  Selection all[MAX_SELECTIONS], first;
  int count = select_all(site, &select, all, MAX_SELECTIONS);
  if (count > 1) {
    Arena *scratch = arena_scratch();
    Status status = untuned(attempts, scratch, &first);
    if (!status) put_in_order(attempts, &first, all, count, arena);
    arena_free(scratch);
    TRY(status);
  }
  *out = attempts;
  return OK;
}

Status attempts_begin(Attempts *attempts, int goal) {
  goal = MIN(goal, attempts->count);
  if (attempts->tried >= goal) return OK;
  attempts->goal = goal;
  attempts->arena = arena_new();
  attempts->kernels =
      kernels_ahead(attempts->options.compiler, attempts->options.background, attempts->options.log, attempts->arena);
  for (int i = 0; i < attempts->goal; i++)
    if ((!i || !attempts->list[i].tried) && !attempts->list[i].selection.implementation->library)
      TRY(attempts_emit(attempts, i));
  return OK;
}

static void begin_to_compile(Attempts *attempts, Attempt *attempt) {
  const Emission *emission = attempt->selection.emission;
  attempt->jobs = arena_array(attempts->arena, KernelJob *, emission->launch_count);
  attempt->job_count = 0;
  for (uint32_t i = 0; i < emission->launch_count; i++) {
    if (emission->launches[i].kind != LAUNCH_KERNEL) continue;
    KernelSource source = {attempt->selection.way.name, emission->launches[i].source, attempts->site->device->sm};
    attempt->jobs[attempt->job_count++] = kernels_ahead_add(&attempts->kernels, &source);
  }
}

Status attempts_emit(Attempts *attempts, int number) {
  Attempt *attempt = &attempts->list[number];
  Selection *selection = &attempt->selection;
  const AttemptsOptions *o = &attempts->options;
  if (attempt->arena) return OK;
  SelectOptions select = {.machine = {.cuda = o->cuda}, .workspace_limit = o->workspace_limit, .log = o->log};
  attempt->arena = arena_new();
  Status status = selection_lower(attempts->site, &select, attempt->arena, selection);
  if (status) {
    log_add(o->log, LOG_VERBOSE, "%s %s: %s", selection->implementation->name, selection->way.name, status_message(status));
    status_free(status);
    selection->emission = NULL;
    return budget_poll();
  }
  if (selection->emission->workspace_bytes > o->workspace_limit) selection->emission = NULL;
  else begin_to_compile(attempts, attempt);
  return OK;
}

Status attempts_cubins(Attempts *attempts, int number, const Cubin **out) {
  Attempt *attempt = &attempts->list[number];
  Cubin *cubins = arena_array(attempts->arena, Cubin, attempt->job_count);
  for (int i = 0; i < attempt->job_count; i++) TRY(kernels_ahead_get(&attempts->kernels, attempt->jobs[i], &cubins[i]));
  *out = cubins;
  return OK;
}

int attempts_waiting(const Attempts *attempts) { return attempts->arena ? attempts->kernels.waiting : 0; }

void attempts_end(Attempts *attempts) {
  if (!attempts || !attempts->arena) return;
  kernels_ahead_free(&attempts->kernels);
  for (int i = 0; i < attempts->count; i++) {
    arena_free(attempts->list[i].arena);
    attempts->list[i].arena = NULL;
    attempts->list[i].selection.emission = NULL;
  }
  arena_free(attempts->arena);
  attempts->arena = NULL;
  attempts->goal = 0;
}
