// Nodes: the list in topological order, and use lists, which every change of an input keeps exact.
#include <string.h>
#include "base/budget.h"
#include "base/checked.h"
#include "base/hash.h"
#include "ir/graph_value.h"
#include "ir/op.h"

static void add_use(Value *value, Use *use) {
  use->next = value->uses;
  use->link = &value->uses;
  if (use->next) use->next->link = &use->next;
  value->uses = use;
  value->use_count++;
}

static void remove_use(Value *value, Use *use) {
  *use->link = use->next;
  if (use->next) use->next->link = use->link;
  value->use_count--;
}

// --- Order. A node's place is a number between its neighbours', so that which of two comes first is a comparison. Mostly nodes are added
// one after the other in front of the same one: the new one is put close behind its predecessor, which leaves room for the next; at either end it is a
// step further out. Where there is no room left, all are numbered anew.

#define FIRST_PLACE ((int64_t)1 << 62)
enum { STEP = 1 << 20, CLOSE = 64 };

void graph_number_nodes(Graph *graph) {
  budget_step((uint64_t)graph->node_count);
  int64_t place = -FIRST_PLACE, step = MIN(2 * (FIRST_PLACE / (graph->node_count + 2)), (int64_t)1 << 40);
  for (Node *node = graph->first; node; node = node->next) node->place = place += step;
}

static void place_node(Node *node) {
  int64_t before = node->previous ? node->previous->place : -FIRST_PLACE;
  if (!node->next) {
    node->place = before + STEP;
    if (node->place > FIRST_PLACE) graph_number_nodes(node->graph);
    return;
  }
  if (!node->previous) {
    node->place = node->next->place - STEP;
    if (node->place < -FIRST_PLACE) graph_number_nodes(node->graph);
    return;
  }
  int64_t gap = node->next->place - before;
  node->place = before + MAX(gap / CLOSE, (int64_t)1);
  if (gap < 2) graph_number_nodes(node->graph);
}

// Links node before `at`; NULL: at the end.
static void link_node(Node *node, Node *at) {
  Graph *graph = node->graph;
  node->next = at;
  node->previous = at ? at->previous : graph->last;
  *(node->previous ? &node->previous->next : &graph->first) = node;
  *(at ? &at->previous : &graph->last) = node;
  place_node(node);
}

static void unlink_node(Node *node) {
  Graph *graph = node->graph;
  *(node->previous ? &node->previous->next : &graph->first) = node->next;
  *(node->next ? &node->next->previous : &graph->last) = node->previous;
  node->previous = node->next = NULL;
}

Node *graph_add_named(Graph *graph, Node *at, const OpDef *op, int input_count, Value *const *inputs, int output_count,
                      Value *const *namesakes) {
  budget_step(WORK_NODE);
  Node *node = arena_new_of(graph->arena, Node);
  node->graph = graph;
  node->id = graph->next_node_id++;
  node->op = op;
  node->origins = graph->current_origins;
  node->origin_count = graph->current_origin_count;
  node->input_count = input_count;
  node->inputs = arena_array(graph->arena, Value *, (size_t)input_count);
  node->uses = arena_array(graph->arena, Use *, (size_t)input_count);
  node->input_capacity = (uint32_t)input_count;
  for (int i = 0; inputs && i < input_count; i++) node_set_input(node, i, inputs[i]);
  node->output_count = output_count;
  node->outputs = arena_array(graph->arena, Value *, (size_t)output_count);
  for (int i = 0; i < output_count; i++) {
    const char *name = namesakes ? namesakes[i]->name : NULL;
    node->outputs[i] = graph_new_value(graph, name && !graph_find_value(graph, name) ? name : NULL);
    node->outputs[i]->producer = node;
    node->outputs[i]->producer_index = i;
  }
  link_node(node, at);
  graph->node_count++;
  return node;
}

Node *graph_add(Graph *graph, Node *at, const OpDef *op, int input_count, Value *const *inputs, int output_count) {
  return graph_add_named(graph, at, op, input_count, inputs, output_count, NULL);
}

void node_remove(Node *node) {
  for (int i = 0; i < node->input_count; i++) node_set_input(node, i, NULL);
  for (int i = 0; i < node->output_count; i++) {
    value_forget_name(node->outputs[i]);
    node->outputs[i]->producer = NULL;
  }
  unlink_node(node);
  node->graph->node_count--;
  node->graph = NULL;
}

void node_set_input(Node *node, int index, Value *value) {
  Value *old = node->inputs[index];
  if (old == value) return;
  Use *use = node->uses[index];
  if (old) remove_use(old, use);
  node->inputs[index] = value;
  if (!value) return;
  if (!use) {
    use = node->uses[index] = arena_new_of(node->graph->arena, Use);
    *use = (Use){.node = node, .index = index};
  }
  add_use(value, use);
}

int node_add_input(Node *node, Value *value) {
  Arena *arena = node->graph->arena;
  uint32_t count = (uint32_t)node->input_count, capacity = node->input_capacity;
  *ARENA_PUSH(arena, node->inputs, count, node->input_capacity) = NULL;
  count--;
  *ARENA_PUSH(arena, node->uses, count, capacity) = NULL;
  node->input_count++;
  node_set_input(node, node->input_count - 1, value);
  return node->input_count - 1;
}

bool value_can_replace(const Value *from, const Value *to) { return !from->is_output || !(to->is_input || to->is_output); }

static void replace_output(Value *from, Value *to) {
  Graph *graph = from->graph;
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i] == from) graph->outputs[i] = to;
  if (value_can_replace(from, to)) {
    value_rename(graph, to, from->name);
    to->given_as = from->given_as;
  }
  from->is_output = false;
  to->is_output = true;
}

void value_replace(Value *from, Value *to) {
  if (from == to) return;
  budget_step((uint64_t)from->use_count);
  Use **end = &from->uses;
  for (; *end; end = &(*end)->next) (*end)->node->inputs[(*end)->index] = to;
  if (from->uses) {
    *end = to->uses;
    if (to->uses) to->uses->link = end;
    to->uses = from->uses;
    to->uses->link = &to->uses;
    to->use_count += from->use_count;
    from->uses = NULL;
    from->use_count = 0;
  }
  if (from->is_output) replace_output(from, to);
}

void node_move_before(Node *node, Node *at) {
  if (node == at) return;
  unlink_node(node);
  link_node(node, at);
}

const char *node_place(const Node *node) {
  return node->origin_count ? node->origins[0].name : node->output_count ? node->outputs[0]->name : node->op->name;
}

Status node_infer(Node *node) {
  if (!node->op->infer) return OK;
  Status status = node->op->infer(node);
  for (int i = 0; i < node->output_count && !status; i++) status = value_check_size(node->outputs[i]);
  return status_context(status, "node '%s' (%s)", node_place(node), node->op->name);
}

// The origins that were there, in an open table by name; names are mostly the same pointers, but not always.
typedef struct OriginSet {
  const Origin *slots[4 * MAX_ORIGINS];
} OriginSet;

static bool add_origin(OriginSet *set, const Origin *origin) {
  uint32_t mask = COUNT_OF(set->slots) - 1;
  for (uint32_t at = (uint32_t)hash_bytes(origin->name, strlen(origin->name), 0) & mask;; at = (at + 1) & mask) {
    const Origin *other = set->slots[at];
    if (!other) {
      set->slots[at] = origin;
      return true;
    }
    if (strcmp(other->name, origin->name) == 0 && strcmp(other->op_type, origin->op_type) == 0) return false;
  }
}

void node_merge_origins(Node *into, const Node *from) {
  if (from->origins == into->origins || from->origin_count == 0) return;
  if (into->origin_count == 0) {
    into->origins = from->origins;
    into->origin_count = from->origin_count;
    return;
  }
  if (into->origin_count >= MAX_ORIGINS) return;
  // The present array may be shared with other nodes, so the union is a new one.
  OriginSet set = {0};
  Origin *merged =
      arena_array(into->graph->arena, Origin, MIN((size_t)into->origin_count + (size_t)from->origin_count, MAX_ORIGINS));
  int count = into->origin_count;
  memcpy(merged, into->origins, (size_t)count * sizeof *merged);
  for (int i = 0; i < count; i++) add_origin(&set, &merged[i]);
  for (int i = 0; i < from->origin_count && count < MAX_ORIGINS; i++)
    if (add_origin(&set, &from->origins[i])) merged[count++] = from->origins[i];
  if (count == MAX_ORIGINS) merged[count - 1] = (Origin){.name = "...", .op_type = "more"};
  into->origins = merged;
  into->origin_count = count;
}
