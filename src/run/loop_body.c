// See loop_body.h.
#include "run/loop_body.h"

bool loop_body_goes_on(const Graph *whole) {
  const Value *next = whole->outputs[0];
  if (next == whole->inputs[1]) return true;
  return next->constant && next->constant->dtype == DTYPE_BOOL && tensor_count(next->constant) == 1 &&
         tensor_get_i(next->constant, 0);
}

static int input_of(const Graph *graph, const Value *value) {
  for (int i = 0; value->is_input && i < graph->input_count; i++)
    if (graph->inputs[i] == value) return i;
  return -1;
}

// Its number among the first `count`, or -1.
static int output_of(const Graph *graph, const Value *value, int count) {
  for (int i = 0; i < count; i++)
    if (graph->outputs[i] == value) return i;
  return -1;
}

// Finds where each result comes from; how many are left.
static int find_results(LoopBody *body, Graph *graph, int condition) {
  int kept = 0;
  for (int i = 0; i < body->whole->output_count; i++) {
    Value *value = graph->outputs[i];
    body->inputs[i] = i == condition ? 1 : input_of(graph, value);
    if (body->inputs[i] >= 0) continue;
    body->outputs[i] = output_of(graph, value, kept);
    if (body->outputs[i] >= 0) continue;
    body->outputs[i] = kept;
    graph->outputs[kept++] = value;
  }
  return kept;
}

static void keep_all(LoopBody *body) {
  body->graph = body->whole;
  for (int i = 0; i < body->whole->output_count; i++) {
    body->inputs[i] = -1;
    body->outputs[i] = i;
  }
}

LoopBody *loop_body_new(const Graph *whole, int condition, Arena *arena) {
  LoopBody *body = arena_new_of(arena, LoopBody);
  int count = whole->output_count;
  body->whole = whole;
  body->inputs = arena_array(arena, int, (size_t)count + 1);
  body->outputs = arena_array(arena, int, (size_t)count + 1);
  Graph *graph = graph_copy(arena, whole);
  Value **all = arena_copy(arena, graph->outputs, (size_t)count * sizeof *all);
  int kept = find_results(body, graph, condition);
  if (kept == 0 || kept == count) {  // a graph gives something
    keep_all(body);
    return body;
  }
  graph->output_count = kept;
  for (int i = 0; i < count; i++) all[i]->is_output = output_of(graph, all[i], kept) >= 0;
  body->graph = graph;
  return body;
}
