// ingot-random-graphs: random core graphs, rewritten in many ways, must give what they gave. The references judge: bit for bit, or within what
// rounding explains where a pass reassociates or half precision is fused. What fails is made small and printed as text.
//
//   ingot-random-graphs [--seed N] [--count N] [--nodes N] [--passes LIST] [--no-shrink] [--failures N] [--orders N [--engines]] [--regions] [--bindings N [--model FILE] [--sizes N]] [--print]
//   ingot-random-graphs --found FOLDER | --try FILE
//
// Graph number k of a run has the seed N + k. Each is tried with the whole pipeline for both devices and in half precision, with some passes and some
// rules alone, with a few passes drawn in a drawn order, and without a few rules; or with the passes of the list only. The verifier runs after each pass. --orders: the
// same graphs with unrelated nodes in N other orders must end in the same text; what does not is counted; --engines: and in the same bytes of an engine, see engines.h. --regions: see regions.h. --bindings: see bindings.h; --model: of an ONNX model instead; --sizes: what is open is 1 to N. --found and --try: see found.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "tests/random/bindings.h"
#include "tests/random/engines.h"
#include "tests/random/found.h"
#include "ir/graph_text.h"
#include "tests/random/maker.h"
#include "tests/random/orders.h"
#include "tests/random/regions.h"
#include "tests/options.h"

enum { MOST_WAYS = 40, PASSES_ALONE = 10, RULES_ALONE = 6, DRAWN_WAYS = 2, SECONDS_A_GRAPH = 30 };

typedef struct Options {
  long seed, count;
  int nodes, failures, orders, bindings;
  const char *passes, *found, *file, *model;
  bool no_shrink, print, regions, engines;
} Options;

// ---- Ways

typedef const char *NameAt(int index);
static int count_names(NameAt *at) {
  int count = 0;
  while (at(count)) count++;
  return count;
}

static void draw_names(Draw *draw, NameAt *at, char *out, size_t size) {
  int total = count_names(at), count = 2 + draw_below(draw, 5);
  size_t used = 0;
  for (int i = 0; i < count && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "", at(draw_below(draw, total)));
}

typedef struct Ways {
  Draw draw;
  RewriteWay *ways;
  int count;
} Ways;

static RewriteWay *add_way(Ways *w) {
  RewriteWay *way = &w->ways[w->count];
  w->count += w->count + 1 < MOST_WAYS;
  *way = (RewriteWay){.cuda = draw_one_in(&w->draw, 3), .tf32 = draw_one_in(&w->draw, 4), .precision = DTYPE_COUNT};
  return way;
}

static void draw_precision(Ways *w, RewriteWay *way, int chance) {
  if (draw_one_in(&w->draw, chance)) way->precision = draw_one_in(&w->draw, 2) ? DTYPE_F16 : DTYPE_BF16;
}

static int draw_ways(uint64_t seed, const char *passes, RewriteWay *ways) {
  Ways w = {.draw = {.seed = hash_mix(seed, 7)}, .ways = ways};
  for (int cuda = 0; cuda < 2; cuda++) {
    RewriteWay *way = add_way(&w);
    way->cuda = cuda;
    if (passes) snprintf(way->passes, sizeof way->passes, "%s", passes);
  }
  RewriteWay *way = add_way(&w);
  if (passes) snprintf(way->passes, sizeof way->passes, "%s", passes);
  draw_precision(&w, way, 1);
  for (int i = 0, alone = count_names(pass_name_at); !passes && i < PASSES_ALONE; i++) {
    way = add_way(&w);
    snprintf(way->passes, sizeof way->passes, "%s", pass_name_at(draw_below(&w.draw, alone)));
    draw_precision(&w, way, 8);
  }
  for (int i = 0, rules = count_names(rule_name_at); !passes && i < RULES_ALONE; i++)
    if (!way_rule_alone(add_way(&w), draw_below(&w.draw, rules))) w.count--;
  for (int i = 0; !passes && i < DRAWN_WAYS; i++) {
    way = add_way(&w);
    draw_names(&w.draw, pass_name_at, way->passes, sizeof way->passes);
    way = add_way(&w);
    draw_names(&w.draw, rule_name_at, way->without, sizeof way->without);
    draw_precision(&w, way, 8);
  }
  return w.count;
}

// ---- One graph

typedef struct Work {
  const Options *options;
  uint64_t seed;
  bool print;
} Work;

// One graph of five has regions.
static Status make_subject(Arena *arena, const Work *work, Graph **out) {
  int made;
  TRY(make_graph(arena, work->seed, work->options->nodes, out));
  return work->seed % 5 == 4 ? regions_outline(*out, work->seed, &made) : OK;
}

static Status make_and_try(const Work *work, Trial *trial) {
  Arena *arena = arena_scratch();
  Graph *graph;
  RewriteWay ways[MOST_WAYS];
  Status status = make_subject(arena, work, &graph);
  if (status) {
    trial->outcome = REFUSED;
    snprintf(trial->message, sizeof trial->message, "%s", status_message(status));
    status_free(status);
  } else {
    int count = draw_ways(work->seed, work->options->passes, ways);
    if (work->print) {
      Text text = text_new(arena);
      found_print(&text, "as made", graph, work->seed, &ways[0]);
      fputs(text_get(&text), stdout);
      fflush(stdout);  // the process ends without
    }
    trial_ways(&(Subject){.graph = graph, .values = work->seed, .ways = ways, .way_count = count}, trial);
  }
  arena_free(arena);
  return OK;
}

static void try_seed(void *context, Trial *trial) {
  Status status = RECOVER_GUARD(make_and_try(context, trial));
  status_free(status);
}

static Status print_smallest(const Work *work, const Trial *trial) {
  Arena *arena = arena_scratch();
  Graph *graph;
  uint64_t values = work->seed;
  RewriteWay way = trial->way;
  TRY(make_subject(arena, work, &graph));
  if (!work->options->no_shrink) shrink(arena, &graph, &values, &way, trial->outcome);
  Trial again;
  trial_run(&(Subject){.graph = graph, .values = values, .ways = &way, .way_count = 1}, &again);
  Text text = text_new(arena);
  found_print(&text, again.message, graph, values, &way);
  puts(text_get(&text));
  fflush(stdout);
  arena_free(arena);
  return OK;
}

typedef struct Smallest {
  const Work *work;
  const Trial *trial;
} Smallest;

static void shrink_apart(void *context, Trial *trial) {
  const Smallest *s = context;
  Status status = RECOVER_GUARD(print_smallest(s->work, s->trial));
  if (status) printf("%s\n", status_message(status));
  status_free(status);
  fflush(stdout);
}

static void report_failure(const Work *work, const Trial *trial) {
  enum { MOST_SECONDS = 120 };
  Trial shrinking;
  printf("seed %llu %s: %s\n", (unsigned long long)work->seed, outcome_name(trial->outcome), trial->message);
  trial_apart(shrink_apart, &(Smallest){work, trial}, MOST_SECONDS, &shrinking);
  if (shrinking.outcome != HELD) printf("making it small %s: %s\n", outcome_name(shrinking.outcome), shrinking.message);
}

typedef struct Totals {
  long graphs, refused, nodes, ways, changed, bounded, unjudged, failed, applied[MOST_RULES];
} Totals;

static void add_trial(Totals *t, const Trial *trial) {
  t->graphs++;
  t->refused += trial->outcome == REFUSED;
  t->failed += trial->outcome > REFUSED;
  t->nodes += trial->nodes, t->ways += trial->ways, t->changed += trial->changed;
  t->bounded += trial->bounded, t->unjudged += trial->unjudged;
  for (int i = 0; i < MOST_RULES; i++) t->applied[i] += trial->applied[i];
}

// A rule that never applied was not tried at all.
static void print_totals(const Options *options, const Totals *t, double seconds) {
  printf("rules applied:");
  for (int i = 0; rule_name_at(i); i++) printf("%s %s %ld", i ? "," : "", rule_name_at(i), t->applied[i]);
  printf(
      "\nseeds %ld to %ld: %ld graphs of %ld nodes, %ld ways, of which %ld changed something; %ld gave other bits within the "
      "bound, %ld left "
      "the range of a type; %ld graphs cannot be run; %ld failed; %.1f s\n",
      options->seed, options->seed + t->graphs - 1, t->graphs, t->nodes, t->ways, t->changed, t->bounded, t->unjudged,
      t->refused, t->failed, seconds);
}

static int run_all(const Options *options) {
  Totals totals = {0};
  double start = time_now();
  for (long i = 0; i < options->count && totals.failed < options->failures; i++) {
    Work work = {.options = options, .seed = (uint64_t)(options->seed + i), .print = options->print};
    Trial trial;
    trial_apart(try_seed, &work, SECONDS_A_GRAPH, &trial);
    add_trial(&totals, &trial);
    if (trial.outcome == REFUSED && options->print)
      printf("seed %llu is refused: %s\n", (unsigned long long)work.seed, trial.message);
    if (trial.outcome > REFUSED) report_failure(&work, &trial);
  }
  print_totals(options, &totals, time_now() - start);
  return totals.failed || totals.refused * 4 > totals.graphs;
}

static Status try_file(const char *path, int *failed) {
  Arena *arena = arena_scratch();
  Graph *graph;
  uint64_t values;
  RewriteWay way;
  Trial trial;
  TRY(found_read(arena, path, &graph, &values, &way));
  trial_run(&(Subject){.graph = graph, .values = values, .ways = &way, .way_count = 1}, &trial);
  *failed = trial.outcome != HELD;
  const char *text = "";
  Status status = attempt_text(arena, graph, &way, &text);
  printf("%s: %s\n%s", outcome_name(trial.outcome), trial.message, status ? status_message(status) : text);
  status_free(status);
  arena_free(arena);
  return OK;
}

static Status run(const Options *options, int *result) {
  if (options->found) *result = found_run(options->found);
  else if (options->file) return try_file(options->file, result);
  else if (options->orders && options->engines)
    return engines_run((uint64_t)options->seed, options->count, options->nodes, options->orders, result);
  else if (options->orders) return orders_run((uint64_t)options->seed, options->count, options->nodes, options->orders, result);
  else if (options->regions) return regions_run((uint64_t)options->seed, options->count, options->nodes, result);
  else if (options->bindings)
    return bindings_run(&(BindingsOptions){.seed = (uint64_t)options->seed,
                                           .count = options->count,
                                           .nodes = options->nodes,
                                           .bindings = options->bindings,
                                           .model = options->model},
                        result);
  else *result = run_all(options);
  return OK;
}

int main(int count, char **arguments) {
  Options options = {.seed = 1, .count = 1000, .nodes = 40, .failures = 10};
  const TestOption table[] = {
      {"--seed", TEST_LONG, &options.seed},
      {"--count", TEST_LONG, &options.count, 1},
      {"--nodes", TEST_INT, &options.nodes, 1},
      {"--passes", TEST_TEXT, &options.passes},
      {"--no-shrink", TEST_FLAG, &options.no_shrink},
      {"--failures", TEST_INT, &options.failures, 1},
      {"--orders", TEST_INT, &options.orders, 1},
      {"--engines", TEST_FLAG, &options.engines},
      {"--regions", TEST_FLAG, &options.regions},
      {"--bindings", TEST_INT, &options.bindings, 1},
      {"--model", TEST_TEXT, &options.model},
      {"--sizes", TEST_INT, &evaluate_most, 1},
      {"--print", TEST_FLAG, &options.print},
      {"--found", TEST_TEXT, &options.found},
      {"--try", TEST_TEXT, &options.file},
      {NULL},
  };
  test_options(count, arguments, table,
               "ingot-random-graphs [--seed N] [--count N] [--nodes N] [--passes LIST] [--no-shrink] [--failures N] [--orders "
               "N [--engines]] "
               "[--regions] [--bindings N [--model FILE] [--sizes N]] [--print] | "
               "--found FOLDER | --try FILE");
  int result = 1;
  Status status = RECOVER_GUARD(run(&options, &result));
  if (status) fprintf(stderr, "ingot-random-graphs: %s\n", status_message(status));
  status_free(status);
  return result != 0;
}
