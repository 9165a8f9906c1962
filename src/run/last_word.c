// See last_word.h.
#include "run/last_word.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "run/cuda_device.h"
#include "tune/together.h"

// A site that tuning gave another way.
typedef struct Change {
  const TuningEntry *found;
  const char *key;
  double gain;  // seconds of a run, by what was measured of the site alone
} Change;

// A runner of the graph with some of the changes.
typedef struct Variant {
  Runner *runner;
  bool *taken;
} Variant;

typedef struct Words {
  const LastWord *options;
  TuningDatabase *database;
  Arena *arena;
  Change *changes;
  uint32_t count, capacity;
  StringMap *met;  // key -> number of a change, from 1 on
  RunTensor *inputs;
  Variant current;
  double start, each;  // seconds: when it began, of one comparison
} Words;

// ---- what changed ------------------------------------------------------------------------------------------------------------

// Where what was planned is not in the database, as much as the site takes.
static double gain_of(const Words *w, const PlanStep *step, const TuningEntry *found) {
  const Selection *planned = &step->selection;
  const TuningSite *site = tuning_site(w->database, step->site.device->name, site_key(&step->site, w->arena));
  const TuningEntry *before = tuning_entry(site, planned->implementation->name, planned->way.name, NULL);
  return (before ? before->microseconds - found->microseconds : found->microseconds) * 1e-6;
}

static Status add_change(Words *w, const PlanStep *step, const SelectOptions *select) {
  const Selection *planned = &step->selection;
  const char *key = tuning_key(w->arena, step->site.device->name, site_key(&step->site, w->arena));
  uint32_t number = (uint32_t)(uintptr_t)string_map_get(w->met, key);
  if (!number) {
    const TuningEntry *entry;
    Selection selection;
    TRY(select_measured(&step->site, select, w->arena, &selection, &entry));
    if (!entry || (!strcmp(entry->implementation, planned->implementation->name) && !strcmp(entry->way, planned->way.name)))
      return OK;
    *ARENA_PUSH(w->arena, w->changes, w->count, w->capacity) = (Change){.found = entry, .key = key};
    number = w->count;
    string_map_set(w->met, key, (void *)(uintptr_t)number);
  }
  w->changes[number - 1].gain += gain_of(w, step, w->changes[number - 1].found);
  return OK;
}

static int best_first(const void *a, const void *b) {
  const Change *x = a, *y = b;
  if (x->gain != y->gain) return x->gain < y->gain ? 1 : -1;
  return strcmp(x->key, y->key);
}

static Status find_changes(void *context, const SelectOptions *options) {
  Words *w = context;
  const Plan *plan = w->options->untuned;
  SelectOptions select = *options;
  select.tuning = w->database;
  w->met = string_map_new(w->arena);
  for (uint32_t s = 0; s < plan->step_count; s++) TRY(add_change(w, &plan->steps[s], &select));
  if (w->count) qsort(w->changes, w->count, sizeof *w->changes, best_first);
  return OK;
}

// ---- measuring ---------------------------------------------------------------------------------------------------------------

// Small numbers of floats; indices are 0, which is inside of every axis.
static Status fill_inputs(Words *w) {
  int count = w->options->graph->input_count;
  uint32_t random = 1;
  w->inputs = arena_array(w->arena, RunTensor, (size_t)count + 1);
  for (int i = 0; i < count; i++) {
    const RunTensor *type = &w->options->inputs[i];
    if (!type->storage) continue;  // left out
    Tensor tensor;
    TRY(tensor_new(w->arena, type->dtype, type->rank, type->dims, &tensor));
    int64_t numbers = dtype_kind(type->dtype) == KIND_FLOAT ? tensor_count(&tensor) : 0;
    for (int64_t k = 0; k < numbers; k++) {
      random = random * 1664525u + 1013904223u;
      tensor_set_f(&tensor, k, (double)(random >> 8) / (1 << 23) - 1);
    }
    TRY(run_tensor_borrow_host(w->options->device, &tensor, &w->inputs[i]));
  }
  return OK;
}

TuningDatabase *last_word_view(const TuningDatabase *database, StringMap *unjudged, Arena *arena) {
  TuningDatabase *view = arena_new_of(arena, TuningDatabase);
  *view = *database;
  view->unjudged = unjudged;
  return view;
}

static TuningDatabase *view_with(const Words *w, const bool *taken) {
  StringMap *unjudged = string_map_new(w->arena);
  for (uint32_t i = 0; i < w->count; i++)
    if (taken[i]) string_map_set(unjudged, w->changes[i].key, unjudged);
  return last_word_view(w->database, unjudged, w->arena);
}

static Status open_variant(Words *w, const bool *taken, Variant *out) {
  const LastWord *o = w->options;
  out->taken = arena_copy(w->arena, taken, w->count * sizeof *taken);
  cuda_device_use_tuning(o->device, view_with(w, taken));
  TRY(runner_new(o->graph, o->device, o->hooks, 0, &out->runner));
  return runner_prepare(out->runner, w->inputs);
}

static void close_variant(Variant *variant) {
  runner_free(variant->runner);
  *variant = (Variant){0};
}

static bool is_of(const Words *w, const Variant *variant, const bool *taken) {
  return variant->runner && !memcmp(variant->taken, taken, w->count * sizeof *taken);
}

static int count_taken(const Words *w, const Variant *variant) {
  int count = 0;
  for (uint32_t i = 0; i < w->count; i++) count += variant->taken[i];
  return count;
}

// In turns, so that what the chip does meanwhile is done to both.
static Status time_in_turns(const Words *w, const Variant *current, const Variant *trial, double *ratio) {
  enum { TURNS = 4, BATCHES = 5 };
  double before = INFINITY, after = INFINITY, seconds, start = time_now();
  for (int turn = 0; turn < TURNS && (!turn || time_now() - start < 2 * w->each); turn++) {
    TRY(runner_time(current->runner, w->inputs, w->each / 2 / TURNS, BATCHES, &seconds));
    before = fmin(before, seconds);
    TRY(runner_time(trial->runner, w->inputs, w->each / 2 / TURNS, BATCHES, &seconds));
    after = fmin(after, seconds);
  }
  *ratio = after / before;
  log_add(w->options->log, LOG_VERBOSE, "the whole plan: %.2f us with %d changes, %.2f us with %d", before * 1e6,
          count_taken(w, current), after * 1e6, count_taken(w, trial));
  return OK;
}

static Status compare_open(Words *w, const bool *current, const bool *taken, Variant *trial, double *ratio) {
  if (!is_of(w, &w->current, current)) {
    close_variant(&w->current);
    TRY(open_variant(w, current, &w->current));
  }
  TRY(open_variant(w, taken, trial));
  return time_in_turns(w, &w->current, trial, ratio);
}

static Status compare(void *context, const bool *current, const bool *taken, double *ratio) {
  Words *w = context;
  Variant trial = {0};
  Status status = RECOVER_GUARD(compare_open(w, current, taken, &trial, ratio));
  close_variant(&trial);
  return status;
}

static bool is_over(void *context) {
  const Words *w = context;
  return time_now() - w->start > w->options->seconds;
}

// ---- the word ----------------------------------------------------------------------------------------------------------------

static Status choose(Words *w) {
  const LastWord *o = w->options;
  bool *taken = arena_array(w->arena, bool, w->count);
  TogetherFound found;
  TRY(fill_inputs(w));
  TRY(choose_together(&(Together){compare, is_over, w}, (int)w->count, taken, &found));
  for (uint32_t i = 0; i < w->count; i++) {
    TuningEntry word = *w->changes[i].found;
    word.remark = taken[i] ? TUNING_KEPT : TUNING_REJECTED;
    TRY(tuning_record(w->database, &word));
  }
  log_add(o->log, LOG_INFO, "the whole plan takes %.3f of its time with %u of %u changes, in %.1f s", found.ratio,
          w->count - (uint32_t)found.left_out, w->count, time_now() - w->start);
  return OK;
}

static Status say(Words *w) {
  TRY(w->options->device->ask(w->options->device, w->arena, find_changes, w));
  return w->count ? choose(w) : OK;
}

Status last_word(const LastWord *options, TuningDatabase *database) {
  enum { COMPARISONS = 20 };  // that fit into the time
  const double longest = 0.05;
  Words w = {.options = options, .database = database, .arena = arena_scratch(), .start = time_now()};
  w.each = fmin(options->seconds / COMPARISONS, longest);
  Status status = RECOVER_GUARD(say(&w));
  close_variant(&w.current);
  for (int i = 0; w.inputs && i < options->graph->input_count; i++) run_tensor_drop(&w.inputs[i]);
  cuda_device_use_tuning(options->device, database);
  arena_free(w.arena);
  return status;
}
