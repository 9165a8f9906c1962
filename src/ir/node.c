// Nodes: the list in topological order, and use lists, which every change of an input keeps exact.
#include <string.h>
#include "base/checked.h"
#include "ir/graph_value.h"
#include "kernels/op.h"

static void add_use(Value *value, Use *use) {
  use->next = value->uses;
  value->uses = use;
}

// Unlinks and returns the record of this use.
static Use *take_use(Value *value, const Node *node, int index) {
  for (Use **link = &value->uses; *link; link = &(*link)->next) {
    Use *use = *link;
    if (use->node != node || use->index != index) continue;
    *link = use->next;
    return use;
  }
  return NULL;
}

static Use *new_use(Node *node, int index) {
  Use *use = arena_new_of(node->graph->arena, Use);
  *use = (Use){.node = node, .index = index};
  return use;
}

// Links node before `at`; NULL: at the end.
static void link_node(Node *node, Node *at) {
  Graph *graph = node->graph;
  node->next = at;
  node->previous = at ? at->previous : graph->last;
  *(node->previous ? &node->previous->next : &graph->first) = node;
  *(at ? &at->previous : &graph->last) = node;
}

static void unlink_node(Node *node) {
  Graph *graph = node->graph;
  *(node->previous ? &node->previous->next : &graph->first) = node->next;
  *(node->next ? &node->next->previous : &graph->last) = node->previous;
  node->previous = node->next = NULL;
}

Node *graph_add(Graph *graph, Node *at, const OpDef *op, int input_count, Value *const *inputs, int output_count) {
  Node *node = arena_new_of(graph->arena, Node);
  node->graph = graph;
  node->id = graph->next_node_id++;
  node->op = op;
  node->origins = graph->current_origins;
  node->origin_count = graph->current_origin_count;
  node->input_count = input_count;
  node->inputs = arena_array(graph->arena, Value *, (size_t)input_count);
  for (int i = 0; inputs && i < input_count; i++) node_set_input(node, i, inputs[i]);
  node->output_count = output_count;
  node->outputs = arena_array(graph->arena, Value *, (size_t)output_count);
  for (int i = 0; i < output_count; i++) {
    node->outputs[i] = graph_new_value(graph, NULL);
    node->outputs[i]->producer = node;
    node->outputs[i]->producer_index = i;
  }
  link_node(node, at);
  graph->node_count++;
  return node;
}

void node_remove(Node *node) {
  for (int i = 0; i < node->input_count; i++) node_set_input(node, i, NULL);
  for (int i = 0; i < node->output_count; i++) {
    value_forget_name(node->outputs[i]);
    node->outputs[i]->producer = NULL;
  }
  unlink_node(node);
  node->graph->node_count--;
}

void node_set_input(Node *node, int index, Value *value) {
  Value *old = node->inputs[index];
  if (old == value) return;
  Use *use = old ? take_use(old, node, index) : NULL;
  node->inputs[index] = value;
  if (value) add_use(value, use ? use : new_use(node, index));
}

int node_add_input(Node *node, Value *value) {
  int index = node->input_count;
  Value **wider = arena_array(node->graph->arena, Value *, (size_t)index + 1);
  if (index) memcpy(wider, node->inputs, (size_t)index * sizeof *wider);
  node->inputs = wider;
  node->input_count++;
  node_set_input(node, index, value);
  return index;
}

bool value_can_replace(const Value *from, const Value *to) { return !from->is_output || !(to->is_input || to->is_output); }

static void replace_output(Value *from, Value *to) {
  Graph *graph = from->graph;
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i] == from) graph->outputs[i] = to;
  if (value_can_replace(from, to)) value_rename(graph, to, from->name);
  from->is_output = false;
  to->is_output = true;
}

void value_replace(Value *from, Value *to) {
  if (from == to) return;
  Use **end = &from->uses;
  for (; *end; end = &(*end)->next) (*end)->node->inputs[(*end)->index] = to;
  *end = to->uses;
  to->uses = from->uses;
  from->uses = NULL;
  if (from->is_output) replace_output(from, to);
}

void node_move_before(Node *node, Node *at) {
  if (node == at) return;
  unlink_node(node);
  link_node(node, at);
}

// An epilogue decides the type of what is stored: its program's, or the other float type that the output was given before.
static void type_epilogue(Node *node, DType before) {
  const Program *program = node->epilogue;
  if (program->output_count != 1) return;
  DType result = program->code[program->outputs[0]].dtype;
  bool converts = before < DTYPE_COUNT && dtype_is_float(before) && dtype_is_float(result);
  node->outputs[0]->dtype = converts ? before : result;
}

Status node_infer(Node *node) {
  if (!node->op->infer) return OK;
  DType before = node->output_count ? node->outputs[0]->dtype : DTYPE_COUNT;
  Status status = node->op->infer(node);
  if (!status && node->epilogue) type_epilogue(node, before);
  return status_context(status, "node '%s' (%s)", node->output_count ? node->outputs[0]->name : "", node->op->name);
}

// Depth first over producers, in the present order, with an explicit stack: a node moves only where something before it
// needs it. In a cycle, which the verifier reports, the order is whatever comes out.
void graph_sort(Graph *graph) {
  if (graph->node_count == 0) return;
  typedef struct Frame {
    Node *node;
    int next_input;
  } Frame;
  Node *first = graph->first;
  uint8_t *seen = arena_array(graph->arena, uint8_t, graph->next_node_id);
  Frame *stack = arena_array(graph->arena, Frame, (size_t)graph->node_count);
  Node **rest = arena_array(graph->arena, Node *, (size_t)graph->node_count);
  int count = 0;
  for (Node *node = first; node; node = node->next) rest[count++] = node;
  graph->first = graph->last = NULL;
  for (int i = 0; i < count; i++) {
    int depth = 0;
    if (seen[rest[i]->id]) continue;
    seen[rest[i]->id] = true;
    stack[depth++] = (Frame){rest[i], 0};
    while (depth) {
      Frame *top = &stack[depth - 1];
      if (top->next_input == top->node->input_count) {
        link_node(top->node, NULL);
        depth--;
        continue;
      }
      Value *input = top->node->inputs[top->next_input++];
      Node *producer = input ? input->producer : NULL;
      if (!producer || producer->graph != graph || seen[producer->id]) continue;
      seen[producer->id] = true;
      stack[depth++] = (Frame){producer, 0};
    }
  }
}

static bool has_origin(const Node *node, const Origin *origin) {
  for (int i = 0; i < node->origin_count; i++)
    if (strcmp(node->origins[i].name, origin->name) == 0 && strcmp(node->origins[i].op_type, origin->op_type) == 0) return true;
  return false;
}

void node_merge_origins(Node *into, const Node *from) {
  if (from->origins == into->origins || from->origin_count == 0) return;
  // The present array may be shared with other nodes, so the union is a new one.
  Origin *merged = arena_array(into->graph->arena, Origin, (size_t)into->origin_count + (size_t)from->origin_count);
  int count = into->origin_count;
  if (count) memcpy(merged, into->origins, (size_t)count * sizeof *merged);
  for (int i = 0; i < from->origin_count; i++)
    if (!has_origin(into, &from->origins[i])) merged[count++] = from->origins[i];
  into->origins = merged;
  into->origin_count = count;
}
