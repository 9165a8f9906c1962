// See regions.h.
#include "tests/random/regions.h"

#include <stdio.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "passes/rule_log.h"
#include "passes/workshop.h"
#include "tests/random/attempt.h"
#include "tests/random/maker.h"

enum { MOST_INSIDE = 8, MOST_REGIONS = 6 };

static Draw drawn;  // of the graph at hand

static Node *draw_neighbour(Node *node) {
  int total = node->input_count, at;
  for (int i = 0; i < node->output_count; i++) total += node->outputs[i]->use_count;
  at = draw_below(&drawn, total);
  if (at < node->input_count) return node->inputs[at] ? node->inputs[at]->producer : NULL;
  at -= node->input_count;
  for (int i = 0; i < node->output_count; i++)
    for (const Use *use = node->outputs[i]->uses; use; use = use->next)
      if (at-- == 0) return use->node;
  return NULL;
}

static Status outline_drawn(Rewrite *r) {
  Node *inside[MOST_INSIDE] = {matched(r, "root")};
  WANT(draw_one_in(&drawn, 2), "it is passed by");
  int count = 1, wanted = 1 + draw_below(&drawn, MOST_INSIDE);
  for (int tries = 0; count < wanted && tries < 2 * MOST_INSIDE; tries++) {
    Node *next = draw_neighbour(inside[draw_below(&drawn, count)]);
    if (next) inside[count++] = next;
  }
  return rewrite_outline(r, inside, count, "drawn");
}

static const Rule drawn_region = {.name = "drawn_region",
                                  .help = "nodes that were drawn become one",
                                  .pattern = "*(...)",
                                  .exactness = UNSTORED,
                                  .bound = "half precision between nodes is no longer rounded to",
                                  .apply = outline_drawn};
static const Pass outlines = {
    .name = "drawn_regions", .help = "makes regions", .rules = (const Rule *const[]){&drawn_region, NULL}};

Status regions_outline(Graph *graph, uint64_t seed, int *made) {
  drawn = (Draw){.seed = hash_mix(seed, 11)};
  int most = 1 + draw_below(&drawn, MOST_REGIONS);
  *made = 0;
  TRY(workshop_run(&outlines, graph, &(PassOptions){.precision = DTYPE_COUNT, .allowed = &most}, made));
  return graph_verify(graph);
}

static Status open_any(Rewrite *r) { return rewrite_inline(r, matched(r, "root")); }

// The pipeline's pass leaves anchors with their epilogues.
static const Rule any_region = {.name = "any_region",
                                .help = "a region's body takes its place",
                                .pattern = "region(...)",
                                .exactness = UNSTORED,
                                .bound = "half precision between nodes is rounded to again",
                                .apply = open_any};
static const Pass opens = {
    .name = "opened_regions", .help = "opens regions", .rules = (const Rule *const[]){&any_region, NULL}};

// The text without regions, of which makers have cases.
static Status open_text(Arena *arena, Graph *graph, const char **out) {
  Text text = text_new(arena);
  int opened = 0;
  TRY(workshop_run(&opens, graph, &(PassOptions){.precision = DTYPE_COUNT}, &opened));
  TRY(graph_verify(graph));
  graph_remove_unused(graph);
  graph_sort(graph);
  graph_print(&text, graph, NULL);
  *out = text_get(&text);
  return OK;
}

static Status try_graph(Arena *arena, const Graph *graph, uint64_t seed, int *made) {
  Judge judge;
  Verdict verdict;
  const char *before, *after;
  Graph *changed = graph_copy(arena, graph);
  TRY(open_text(arena, changed, &before));
  TRY(regions_outline(changed, seed, made));
  TRY(attempt_reads_back(changed));
  Status status = judge_begin(arena, graph, seed, &judge);
  if (!status) TRY(judge_compare(&judge, changed, (Allowance){UNSTORED, DTYPE_COUNT}, &verdict));
  status_free(status);  // it cannot be run, and has a text all the same
  TRY(open_text(arena, changed, &after));
  if (strcmp(before, after)) FAIL(ERROR_MISMATCH, "it reads\n%s\nwhere it was\n%s", after, before);
  return OK;
}

Status regions_run(uint64_t seed, long count, int nodes, int *result) {
  long graphs = 0, regions = 0, wrong = 0;
  for (uint64_t i = seed; i < seed + (uint64_t)count; i++) {
    Arena *arena = arena_scratch();
    Graph *graph;
    int made = 0;
    Status status = make_graph(arena, i, nodes, &graph);
    if (status) {
      status_free(status);
    } else {
      status = try_graph(arena, graph, i, &made);
      if (status) printf("seed %llu: %s\n", (unsigned long long)i, status_message(status));
      wrong += status != OK;
      graphs++;
      regions += made;
      status_free(status);
    }
    arena_free(arena);
  }
  printf("seeds %llu to %llu: %ld graphs, %ld regions, %ld wrong\n", (unsigned long long)seed,
         (unsigned long long)seed + (uint64_t)count - 1, graphs, regions, wrong);
  *result = wrong || !regions;
  return OK;
}
