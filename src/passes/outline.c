// See outline.h.
#include "passes/outline.h"

#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "kernels/control/region.h"

static uint64_t key_of(const void *pointer) { return (uint64_t)(uintptr_t)pointer; }
static bool is_inside(const Outline *o, const Node *node) { return int_map_get(o->inside, key_of(node)) != NULL; }

static int by_place(const void *a, const void *b) {
  const Node *x = *(Node *const *)a, *y = *(Node *const *)b;
  return node_is_before(x, y) ? -1 : node_is_before(y, x);
}

static void take_nodes(Outline *o, Node *const *nodes, int count) {
  o->nodes = arena_array(o->scratch, Node *, (size_t)count + 1);
  o->inside = int_map_new(o->scratch);
  for (int i = 0; i < count; i++) {
    if (is_inside(o, nodes[i])) continue;
    int_map_set(o->inside, key_of(nodes[i]), nodes[i]);
    o->nodes[o->count++] = nodes[i];
  }
  if (o->count) qsort(o->nodes, (size_t)o->count, sizeof *o->nodes, by_place);
}

// ---- Connected: each reads what another one makes, or what another one reads, constants aside.

static int leader(int *leads, int i) {
  while (leads[i] != i) i = leads[i] = leads[leads[i]];
  return i;
}

static bool is_connected(const Outline *o) {
  int *leads = arena_array(o->scratch, int, (size_t)o->count), parts = o->count;
  IntMap *touched = int_map_new(o->scratch);  // value -> the first node that has it, plus one
  for (int i = 0; i < o->count; i++) leads[i] = i;
  for (int i = 0; i < o->count; i++) {
    const Node *node = o->nodes[i];
    for (int k = 0; k < node->input_count + node->output_count; k++) {
      const Value *value = k < node->input_count ? node->inputs[k] : node->outputs[k - node->input_count];
      if (!value || value->constant) continue;
      uintptr_t other = (uintptr_t)int_map_get(touched, key_of(value));
      if (!other) int_map_set(touched, key_of(value), (void *)(uintptr_t)(i + 1));
      int a = leader(leads, i), b = other ? leader(leads, (int)other - 1) : a;
      leads[MAX(a, b)] = MIN(a, b);
      parts -= a != b;
    }
  }
  return parts == 1;
}

// ---- Convex: what the nodes read does not depend on what they make.

typedef struct Search {
  Outline *o;
  IntMap *met;
  Node **stack;
  uint32_t count, capacity;
} Search;

// false: a node outside reads what one inside makes, and is read inside.
static bool meet(Search *s, const Node *reader, Node *node) {
  if (!node || node_is_before(node, s->o->nodes[0])) return true;
  if (is_inside(s->o, node)) return is_inside(s->o, reader);
  if (int_map_get(s->met, key_of(node))) return true;
  int_map_set(s->met, key_of(node), node);
  *ARENA_PUSH(s->o->scratch, s->stack, s->count, s->capacity) = node;
  *ARENA_PUSH(s->o->scratch, s->o->ahead, s->o->ahead_count, s->o->ahead_capacity) = node;
  return true;
}

// Sizes that a node speaks of are told by nodes that it need not read.
static bool meet_tellers(Search *s, Node *node) {
  if (!node->attribute_count) return true;
  StringMap *symbols = string_map_new(s->o->scratch);
  node_note_symbols(node, symbols);
  if (!string_map_count(symbols)) return true;
  for (Node *teller = s->o->nodes[0]; teller && teller != node; teller = teller->next) {
    budget_step(1);
    if (node_introduces_symbol(teller, symbols) && !meet(s, node, teller)) return false;
  }
  return true;
}

static bool meet_operands(Search *s, Node *node) {
  budget_step(WORK_NODE);
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !meet(s, node, node->inputs[i]->producer)) return false;
  return meet_tellers(s, node);
}

static bool is_convex(Outline *o) {
  Search search = {.o = o, .met = int_map_new(o->scratch)};
  for (int i = 0; i < o->count; i++)
    if (!meet_operands(&search, o->nodes[i])) return false;
  while (search.count)
    if (!meet_operands(&search, search.stack[--search.count])) return false;
  if (o->ahead_count) qsort(o->ahead, o->ahead_count, sizeof *o->ahead, by_place);
  return true;
}

// ---- What is given out

static bool is_given(const Outline *o, const Value *value) {
  if (value->is_output) return true;
  budget_step((uint64_t)value->use_count);
  for (const Use *use = value->uses; use; use = use->next)
    if (!is_inside(o, use->node)) return true;
  return false;
}

static void find_given(Outline *o) {
  for (int i = 0; i < o->count; i++)
    for (int k = 0; k < o->nodes[i]->output_count; k++)
      if (is_given(o, o->nodes[i]->outputs[k]))
        *ARENA_PUSH(o->scratch, o->given, o->given_count, o->given_capacity) = o->nodes[i]->outputs[k];
}

const char *outline_plan(Arena *scratch, Node *const *nodes, int count, Outline *out) {
  *out = (Outline){.scratch = scratch};
  if (!count) return "there is nothing to make a region of";
  out->graph = nodes[0]->graph;
  take_nodes(out, nodes, count);
  for (int i = 0; i < out->count; i++) {
    const char *why = region_refuses(out->nodes[i]);
    if (why) return why;
  }
  if (!is_connected(out)) return "its nodes have nothing to do with each other";
  if (!is_convex(out)) return "a node outside of the region would have to run between two inside";
  find_given(out);
  return out->given_count ? NULL : "nobody uses what its nodes compute";
}

// ---- The region

static void copy_type(Value *to, const Value *from) {
  value_set_type(to, from->dtype, from->rank, from->dims);
  to->kind = from->kind;
  memcpy(to->order, from->order, sizeof to->order);
  to->contents = from->contents;
  to->contents_count = from->contents_count;
}

static Value *value_in(Graph *body, IntMap *map, Value *value, Value **inputs) {
  Value *known = int_map_get(map, key_of(value));
  if (known) return known;
  Value *input = graph_add_input(body, value->name, value->dtype, value->rank, value->dims);
  copy_type(input, value);
  inputs[body->input_count - 1] = value;
  int_map_set(map, key_of(value), input);
  return input;
}

// Of the same arena and table of sizes: what is behind pointers goes over.
static void move_node(Graph *body, IntMap *map, const Node *node, Value **inputs) {
  Node *moved = graph_add(body, NULL, node->op, node->input_count, NULL, node->output_count);
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i]) node_set_input(moved, i, value_in(body, map, node->inputs[i], inputs));
  node_take_attributes(moved, node);
  moved->origins = node->origins;
  moved->origin_count = node->origin_count;
  for (int i = 0; i < node->output_count; i++) {
    copy_type(moved->outputs[i], node->outputs[i]);
    value_rename(body, moved->outputs[i], node->outputs[i]->name);
    int_map_set(map, key_of(node->outputs[i]), moved->outputs[i]);
  }
}

Node *outline_make(const Outline *o, const char *name) {
  Graph *body = graph_new_inside(o->graph, name);
  IntMap *map = int_map_new(o->scratch);
  size_t most = 0;
  for (int i = 0; i < o->count; i++) most += (size_t)o->nodes[i]->input_count;
  Value **inputs = arena_array(o->scratch, Value *, most + 1);
  for (int i = 0; i < o->count; i++) move_node(body, map, o->nodes[i], inputs);
  for (uint32_t i = 0; i < o->given_count; i++) graph_mark_output(body, int_map_get(map, key_of(o->given[i])));
  Node *first = o->nodes[0];
  for (uint32_t i = 0; i < o->ahead_count; i++) node_move_before(o->ahead[i], first);
  Node *region = graph_add(o->graph, first, &op_region, body->input_count, inputs, (int)o->given_count);
  node_set_graph(region, "body", body);
  for (uint32_t i = 0; i < o->given_count; i++) copy_type(region->outputs[i], o->given[i]);
  return region;
}
