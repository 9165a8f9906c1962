// See orders.h. An order is drawn node by node among those whose operands are there; the graph then goes through its text, so that numbers
// and lists of uses are those of its new order, too.
#include "tests/random/orders.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "kernels/ops.h"
#include "ir/graph_text.h"
#include "tests/random/maker.h"

enum { MOST_NODES = 512, EXAMPLES = 6 };

static bool is_ready(const Node *node, const bool *done) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && node->inputs[i]->producer && !done[node->inputs[i]->producer->id]) return false;
  return !done[node->id];
}

static void draw_order(Graph *graph, Draw *draw, Arena *arena) {
  bool *done = arena_array(arena, bool, graph->next_node_id);
  Node *ready[MOST_NODES], *chosen[MOST_NODES];
  int count = MIN(graph->node_count, MOST_NODES);
  for (int n = 0; n < count; n++) {
    int candidates = 0;
    FOR_NODES(node, graph)
    if (is_ready(node, done)) ready[candidates++] = node;
    chosen[n] = ready[draw_below(draw, candidates)];
    done[chosen[n]->id] = true;
  }
  for (int n = count - 2; n >= 0; n--) node_move_before(chosen[n], chosen[n + 1]);
}

Status orders_draw(Arena *arena, const Graph *graph, Draw *draw, Graph **out) {
  Graph *copy = graph_copy(arena, graph);
  if (draw) draw_order(copy, draw, arena);
  Text text = text_new(arena);
  graph_print(&text, copy, NULL);
  return graph_parse(arena, core_ops, text_get(&text), text.length, NULL, 0, out);
}

static Status ordered_text(Arena *arena, const Graph *graph, const RewriteWay *way, Draw *draw, const char **out) {
  Graph *read;
  TRY(orders_draw(arena, graph, draw, &read));
  return attempt_text(arena, read, way, out);
}

static int compare_lines(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

// The lines, sorted: what differs then differs in what is computed, or in names.
static const char *sorted(Arena *arena, const char *text) {
  char *copy = arena_string(arena, text), **lines = NULL, *rest = NULL;
  uint32_t count = 0, capacity = 0;
  for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
    *ARENA_PUSH(arena, lines, count, capacity) = line;
  qsort(lines, count, sizeof *lines, compare_lines);
  Text out = text_new(arena);
  for (uint32_t i = 0; i < count; i++) text_add(&out, "%s\n", lines[i]);
  return text_get(&out);
}

static int count_lines(const char *text) {
  int count = 0;
  for (; *text; text++) count += *text == '\n';
  return count;
}

typedef struct Difference {
  bool text, lines, length;
} Difference;

static Status compare_orders(Arena *arena, uint64_t seed, const Graph *graph, int orders, bool show, Difference *out) {
  Draw draw = {.seed = hash_mix(seed, 3)};
  RewriteWay way = {.cuda = seed % 2, .precision = DTYPE_COUNT};
  const char *expected, *actual;
  TRY(ordered_text(arena, graph, &way, NULL, &expected));
  int most = 0;  // 1 to 3, as they differ
  const char *other = NULL;
  for (int i = 0; i < orders; i++) {
    TRY(ordered_text(arena, graph, &way, &draw, &actual));
    if (!strcmp(expected, actual)) continue;
    bool lines = strcmp(sorted(arena, expected), sorted(arena, actual)), length = count_lines(expected) != count_lines(actual);
    *out = (Difference){true, out->lines || lines, out->length || length};
    if (1 + lines + length <= most) continue;
    most = 1 + lines + length;
    other = actual;
  }
  if (show && other) printf("one order gives\n%s\nanother gives\n%s\n", expected, other);
  return OK;
}

typedef struct Kind {
  const char *name;
  long count;
  uint64_t seeds[EXAMPLES];
} Kind;

static void count_kind(Kind *kind, bool differs, uint64_t seed) {
  if (differs && kind->count < EXAMPLES) kind->seeds[kind->count] = seed;
  kind->count += differs;
}

Status orders_run(uint64_t seed, long count, int nodes, int orders, int *result) {
  long made = 0;
  Kind kinds[] = {{"text"}, {"lines, whatever their order"}, {"number of lines"}};
  for (long i = 0; i < count; i++) {
    Arena *arena = arena_scratch();
    Graph *graph;
    Difference difference = {0};
    Status status = make_graph(arena, seed + (uint64_t)i, nodes, &graph);
    made += !status;
    if (!status) status = compare_orders(arena, seed + (uint64_t)i, graph, orders, count == 1, &difference);
    if (status) printf("seed %llu: %s\n", (unsigned long long)seed + (uint64_t)i, status_message(status));
    status_free(status);
    count_kind(&kinds[0], difference.text, seed + (uint64_t)i);
    count_kind(&kinds[1], difference.lines, seed + (uint64_t)i);
    count_kind(&kinds[2], difference.length, seed + (uint64_t)i);
    arena_free(arena);
  }
  printf("seeds %llu to %llu: %ld graphs in %d orders each\n", (unsigned long long)seed,
         (unsigned long long)seed + (uint64_t)count - 1, made, orders);
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    printf("%6ld differ in their %s:", kinds[i].count, kinds[i].name);
    for (int k = 0; k < kinds[i].count && k < EXAMPLES; k++) printf(" %llu", (unsigned long long)kinds[i].seeds[k]);
    puts("");
  }
  *result = kinds[0].count != 0;
  return OK;
}
