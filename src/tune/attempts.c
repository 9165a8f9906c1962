// See attempts.h.
#include "tune/attempts.h"

#include <math.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "lower/version.h"

enum { MAX_SELECTIONS = 48 };

static bool is_same(const Selection *a, const Selection *b) {
  return a->implementation == b->implementation && !strcmp(a->way.name, b->way.name) &&
         !memcmp(a->way.config, b->way.config, sizeof a->way.config);
}

static SelectOptions select_options(const AttemptsOptions *o) {
  return (SelectOptions){.machine = {.cuda = o->cuda}, .workspace_limit = o->workspace_limit, .log = o->log};
}

// What a plan takes that knows no measurements.
static Status untuned(const Attempts *attempts, Arena *scratch, Selection *out) {
  SelectOptions select = select_options(&attempts->options);
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

// ---- what the database knows -------------------------------------------------------------------------------------------------

static Status find_version(const Attempts *attempts, Attempt *attempt, const Emission *emission, Arena *scratch) {
  const AttemptsOptions *o = &attempts->options;
  const char *version;
  TRY(way_version(attempts->site, attempt->selection.implementation, emission, &(Machine){.cuda = o->cuda}, o->compiler,
                  scratch, &version));
  attempt->version = arena_string(attempts->lasting, version);
  return OK;
}

// A library's version is known without making its way.
static Status lower_for_version(const Attempts *attempts, Attempt *attempt, Arena *scratch) {
  SelectOptions select = select_options(&attempts->options);
  Selection selection = attempt->selection;
  if (!selection.implementation->library) {
    Status status = selection_lower(attempts->site, &select, scratch, &selection);
    if (status) {  // it will be told of when it is tried
      status_free(status);
      return budget_poll();
    }
  }
  return find_version(attempts, attempt, selection.emission, scratch);
}

static void mark_stale(const TuningSite *site, const Attempt *attempt) {
  for (uint32_t i = 0; i < site->count; i++) {
    TuningEntry *entry = site->entries[i];
    if (strcmp(entry->implementation, attempt->selection.implementation->name) ||
        strcmp(entry->way, attempt->selection.way.name) || !strcmp(entry->version, attempt->version))
      continue;
    entry->stale = true;
  }
}

static Status recall(Attempts *attempts, Attempt *attempt, const TuningSite *site, Arena *scratch, const TuningEntry **out) {
  const char *name = attempt->selection.implementation->name, *way = attempt->selection.way.name;
  *out = NULL;
  if (!tuning_entry(site, name, way, NULL)) return OK;
  TRY(lower_for_version(attempts, attempt, scratch));
  if (!attempt->version) return OK;
  mark_stale(site, attempt);
  *out = tuning_entry(site, name, way, attempt->version);
  return OK;
}

static void adopt(Attempts *attempts, int number, const TuningEntry *entry) {
  double seconds = entry->microseconds * 1e-6;
  attempts->list[number].tried = true;
  attempts->tried++;
  attempts->known++;
  if (entry->remark == TUNING_FAILED || entry->remark == TUNING_DIFFERS) return;
  if (!number) attempts->first_seconds = seconds;
  if (seconds >= attempts->best_seconds) return;
  attempts->best = number;
  attempts->best_seconds = seconds;
}

// Those that are known go before the others, behind the first.
static Status recall_all(Attempts *attempts, Arena *scratch) {
  const Site *site = attempts->site;
  const TuningSite *known = tuning_site(attempts->options.database, site->device->name, site_key(site, scratch));
  for (int i = 0, place = 1; known && i < attempts->count; i++) {
    const TuningEntry *entry;
    TRY(recall(attempts, &attempts->list[i], known, scratch, &entry));
    if (!entry) continue;
    Attempt attempt = attempts->list[i];
    int to = i ? place++ : 0;
    memmove(&attempts->list[to + 1], &attempts->list[to], (size_t)(i - to) * sizeof attempt);
    attempts->list[to] = attempt;
    adopt(attempts, to, entry);
  }
  return OK;
}

// ---- the list ----------------------------------------------------------------------------------------------------------------

static Status list(Attempts *attempts, Arena *scratch) {
  SelectOptions select = select_options(&attempts->options);
  Selection all[MAX_SELECTIONS], first;
  int count = select_all(attempts->site, &select, all, MAX_SELECTIONS);
  if (count < 2) return OK;
  TRY(untuned(attempts, scratch, &first));
  put_in_order(attempts, &first, all, count, attempts->lasting);
  return recall_all(attempts, scratch);
}

Status attempts_list(const AttemptsOptions *options, const Site *site, Arena *arena, Attempts **out) {
  Attempts *attempts = arena_new_of(arena, Attempts);
  *attempts = (Attempts){.options = *options, .site = site, .best = -1, .best_seconds = INFINITY, .lasting = arena};
  Arena *scratch = arena_scratch();
  Status status = RECOVER_GUARD(list(attempts, scratch));
  arena_free(scratch);
  *out = attempts;
  return status;
}

static bool all_tried(const Attempts *attempts, int goal) {
  for (int i = 0; i < goal; i++)
    if (!attempts->list[i].tried) return false;
  return true;
}

Status attempts_begin(Attempts *attempts, int goal) {
  goal = MIN(goal, attempts->count);
  if (all_tried(attempts, goal)) return OK;
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

// It cannot be made. Memory that is short says nothing of the way, and one of Ingot's own kernels has no version before it is made.
static Status give_up(Attempts *attempts, Attempt *attempt, Status failed) {
  Selection *selection = &attempt->selection;
  Status status = budget_poll();
  log_add(attempts->options.log, LOG_VERBOSE, "%s %s: %s", selection->implementation->name, selection->way.name,
          status_message(failed));
  selection->emission = NULL;
  if (!status && selection->implementation->library && status_code(failed) == ERROR_UNSUPPORTED) {
    attempt->refusal = arena_string(attempts->lasting, status_message(failed));
    status = find_version(attempts, attempt, NULL, attempt->arena);
  }
  status_free(failed);
  return status;
}

Status attempts_emit(Attempts *attempts, int number) {
  Attempt *attempt = &attempts->list[number];
  Selection *selection = &attempt->selection;
  const AttemptsOptions *o = &attempts->options;
  if (attempt->arena) return OK;
  SelectOptions select = select_options(o);
  attempt->arena = arena_new();
  Status status = selection_lower(attempts->site, &select, attempt->arena, selection);
  if (status) return give_up(attempts, attempt, status);
  if (selection->emission->workspace_bytes > o->workspace_limit) {
    selection->emission = NULL;
    return OK;
  }
  begin_to_compile(attempts, attempt);
  return attempt->version ? OK : find_version(attempts, attempt, selection->emission, attempt->arena);
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
