// See engines.h. Of the database too the lines are in another order for each engine.
#include "tests/random/engines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/checked.h"
#include "tests/random/evaluate.h"
#include "tests/random/maker.h"
#include "tests/random/orders.h"
#include "tests/random/trial.h"

enum { SECONDS_A_GRAPH = 600, TUNING_SECONDS = 2 };

typedef struct Work {
  uint64_t seed;
  int nodes, orders;
  Arena *arena;
  Draw draw;
  ingot_config config;
  char path[64];  // of the database
} Work;

static bool is_emulated(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  return driver && strstr(driver, "emulator");
}

static Status begin(Work *w) {
  w->arena = arena_scratch();
  w->draw = (Draw){.seed = hash_mix(w->seed, 5)};
  TRY((Status)ingot_config_init(&w->config));
  w->config.device = is_emulated() ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  w->config.threads = 1;
  if (w->seed % 3 == 2) w->config.precision = INGOT_FP16;
  snprintf(w->path, sizeof w->path, "/tmp/ingot-orders-XXXXXX");
  int fd = mkstemp(w->path);
  if (fd < 0) FAIL(ERROR_IO, "cannot make %s: %m", w->path);
  close(fd);
  return OK;
}

static Status build(Work *w, Graph *graph, Bytes *out) {
  const ingot_model model = {.arena = w->arena, .graph = graph};
  ingot_engine *engine;
  void *bytes;
  size_t size;
  TRY(api_build(&model, &w->config, &(BuildHooks){0}, &engine));
  Status status = (Status)ingot_engine_save_memory(engine, &bytes, &size);
  ingot_engine_free(engine);
  if (status) return status;
  *out = (Bytes){arena_copy(w->arena, bytes, size), size};
  free(bytes);
  return OK;
}

// ---- the database ------------------------------------------------------------------------------------------------------------

static Status tune(Work *w, Graph *graph) {
  Bytes ignored;
  w->config.tuning_file = w->path;
  w->config.tuning_seconds = TUNING_SECONDS;
  Status status = build(w, graph, &ignored);
  w->config.tuning_seconds = 0;
  return status;
}

// Its first line stays. *count: of its entries.
static Status shuffle_database(Work *w, int *count) {
  Bytes bytes;
  char **lines = NULL, *rest = NULL;
  uint32_t line_count = 0, capacity = 0;
  Text text = text_new(w->arena);
  TRY(file_read(w->path, 0, w->arena, &bytes));
  char *copy = arena_string_n(w->arena, (const char *)bytes.data, bytes.size);
  for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
    *ARENA_PUSH(w->arena, lines, line_count, capacity) = line;
  for (uint32_t i = 0; i < line_count; i++) {
    uint32_t other = i ? i + (uint32_t)draw_below(&w->draw, (int)(line_count - i)) : 0;
    text_add(&text, "%s\n", lines[other]);
    lines[other] = lines[i];
  }
  *count = line_count ? (int)line_count - 1 : 0;
  return file_write(w->path, text_get(&text), text.length);
}

// ---- the engines -------------------------------------------------------------------------------------------------------------

// Of a graph whose sizes are known, so that it has a plan.
static Status take_graph(Work *w, Graph **out) {
  Graph *graph;
  TRY(make_graph(w->arena, w->seed, w->nodes, &graph));
  *out = evaluate_bind(w->arena, graph, hash_mix(w->seed, 11));
  FOR_NODES(node, *out) TRY(node_infer(node));
  return OK;
}

static Status build_in_order(Work *w, const Graph *graph, Draw *draw, Bytes *out) {
  Graph *read;
  TRY(orders_draw(w->arena, graph, draw, &read));
  return build(w, read, out);
}

static Status compare_orders(Work *w, const Graph *graph, Trial *trial) {
  Bytes first, other;
  TRY(build_in_order(w, graph, NULL, &first));
  for (int i = 0; i < w->orders; i++, trial->ways++) {
    int entries = 0;
    if (w->config.tuning_file) TRY(shuffle_database(w, &entries));
    trial->bounded = entries;
    TRY(build_in_order(w, graph, &w->draw, &other));
    if (other.size == first.size && !memcmp(other.data, first.data, first.size)) continue;
    size_t at = 0;
    while (at < MIN(first.size, other.size) && ((const char *)first.data)[at] == ((const char *)other.data)[at]) at++;
    FAIL(ERROR_MISMATCH, "in order %d the engine has %zu bytes in place of %zu, and differs from byte %zu on", i, other.size,
         first.size, at);
  }
  return OK;
}

static Status try_graph(Work *w, Trial *trial) {
  Graph *graph;
  TRY(begin(w));
  trial->outcome = REFUSED;
  TRY(take_graph(w, &graph));
  trial->nodes = graph->node_count;
  if (is_emulated()) TRY(tune(w, graph_copy(w->arena, graph)));
  trial->outcome = BREAKS;
  TRY(compare_orders(w, graph, trial));
  trial->outcome = HELD;
  return OK;
}

static void work_apart(void *context, Trial *trial) {
  Work *w = context;
  Status status = RECOVER_GUARD(try_graph(w, trial));
  if (status && status_code(status) == ERROR_MISMATCH) trial->outcome = DIFFERS;
  snprintf(trial->message, sizeof trial->message, "%s", status ? status_message(status) : "");
  status_free(status);
  unlink(w->path);
  arena_free(w->arena);
}

Status engines_run(uint64_t seed, long count, int nodes, int orders, int *result) {
  long graphs = 0, engines = 0, entries = 0, failed = 0;
  for (uint64_t i = seed; i < seed + (uint64_t)count; i++) {
    Work work = {.seed = i, .nodes = nodes, .orders = orders};
    Trial trial;
    trial_apart(work_apart, &work, SECONDS_A_GRAPH, &trial);
    if (trial.outcome == REFUSED) continue;
    graphs++, engines += trial.ways, entries += trial.bounded;
    if (trial.outcome == HELD) continue;
    printf("seed %llu %s: %s\n", (unsigned long long)i, outcome_name(trial.outcome), trial.message);
    failed++;
  }
  printf("seeds %llu to %llu: %ld graphs, %ld engines, by %ld measurements; of %ld graphs they are not the same bytes\n",
         (unsigned long long)seed, (unsigned long long)seed + (uint64_t)count - 1, graphs, engines, entries, failed);
  *result = failed || !engines || (is_emulated() && !entries);
  return OK;
}
