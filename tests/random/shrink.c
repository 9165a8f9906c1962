// Shrinking: every step at every place, taken for good where the failure stays, until none is left. See shrink.h for the steps.
#include "tests/random/shrink.h"

#include "base/recover.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "tests/random/trial.h"

enum { MOST_TRIES = 6000, SIMPLE_VALUES = 8 };

typedef struct Failing {
  Arena *arena;
  Graph *graph;
  uint64_t values;
  RewriteWay way;
  Outcome outcome;
  int tries;
} Failing;

static bool fails(Failing *f, const Graph *graph, uint64_t values, const RewriteWay *way) {
  Trial trial = {0};
  Subject subject = {.graph = graph, .values = values, .ways = way, .way_count = 1};
  f->tries++;
  if (f->outcome == DIES) trial_run(&subject, &trial);
  else trial_ways(&subject, &trial);
  return trial.outcome == f->outcome;
}

static void drop_unused_inputs(Graph *graph) {
  int left = 0;
  for (int i = 0; i < graph->input_count; i++) {
    Value *input = graph->inputs[i];
    if (input->uses || input->is_output) graph->inputs[left++] = input;
    else input->is_input = false;
  }
  graph->input_count = left;
}

// The text is what is handed on: the graph is read back from it, so that nothing is left that text does not show.
static Status settle(Arena *arena, Graph *graph, Graph **out) {
  graph_remove_unused(graph);
  drop_unused_inputs(graph);
  FOR_NODES(node, graph) TRY(node_infer(node));
  TRY(graph_verify(graph));
  Text text = text_new(arena);
  graph_print(&text, graph, NULL);
  TRY(graph_parse(arena, graph->ops, text_get(&text), text.length, NULL, 0, out));
  return graph_verify(*out);
}

// Each candidate has an arena, which is the failing graph's if it is one.
static bool adopt(Failing *f, Arena *arena, Graph *changed) {
  Graph *settled = NULL;
  Status status = settle(arena, changed, &settled);
  bool good = !status && settled->last && fails(f, settled, f->values, &f->way);
  status_free(status);
  if (good) {
    arena_free(f->arena);
    f->arena = arena;
    f->graph = settled;
  } else arena_free(arena);
  return good;
}

static bool take_steps(Failing *f, ShrinkStep *step) {
  bool any = false;
  for (int place = 0; f->tries < MOST_TRIES; place++) {
    Arena *arena = arena_new();
    Graph *copy = graph_copy(arena, f->graph);
    Place taken = step(copy, place);
    if (taken == TAKEN && adopt(f, arena, copy)) any = true, place--;
    if (taken != TAKEN) arena_free(arena);
    if (taken == PAST_THE_END) break;
  }
  return any;
}

static void use_sizes(Failing *f) {
  Arena *arena = arena_new();
  adopt(f, arena, evaluate_bind(arena, f->graph, f->values));
}

static bool simpler_values(Failing *f) {
  for (uint64_t values = 0; values < SIMPLE_VALUES; values++) {
    if (values >= f->values) return false;
    if (!fails(f, f->graph, values, &f->way)) continue;
    f->values = values;
    return true;
  }
  return false;
}

// Without one of its passes; without what is said of the device.
static bool shorter_way(Failing *f) {
  bool any = false;
  RewriteWay plain = f->way;
  plain.cuda = plain.tf32 = false;
  if ((f->way.cuda || f->way.tf32) && fails(f, f->graph, f->values, &plain)) f->way = plain, any = true;
  if (!*f->way.passes) {
    RewriteWay listed = f->way;
    way_list_pipeline(&listed);
    if (!fails(f, f->graph, f->values, &listed)) return any;
    f->way = listed;
  }
  for (int at = 0;; at++) {
    RewriteWay less = f->way;
    if (!way_drop_pass(&less, at)) return any;
    if (fails(f, f->graph, f->values, &less)) f->way = less, any = true, at--;
  }
}

void shrink(Arena *arena, Graph **graph, uint64_t *values, RewriteWay *way, Outcome outcome) {
  Failing f = {.arena = arena_new(), .graph = *graph, .values = *values, .way = *way, .outcome = outcome};
  for (bool any = true; any && f.tries < MOST_TRIES;) {
    any = shorter_way(&f);
    for (int i = 0; shrink_steps[i]; i++) any |= take_steps(&f, shrink_steps[i]);
    any |= simpler_values(&f);
  }
  use_sizes(&f);
  *graph = graph_copy(arena, f.graph);
  Status status = graph_own_tensors(*graph);
  status_free(status);
  arena_free(f.arena);
  *values = f.values;
  *way = f.way;
}
