// See graph_sort in graph.h. Depth first over producers, with an explicit stack; in a cycle, which the verifier reports, the order is whatever comes out.
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "ir/graph_value.h"

typedef struct Frame {
  Node *node;
  int next;  // of its operands, then of those that tell sizes it speaks of
  Node **sizes;
  uint32_t size_count, size_capacity;
} Frame;

typedef struct Order {
  Graph *graph;
  Arena *scratch;
  uint8_t *met;  // by node id
  Frame *stack;
  int depth;
  Node **sorted;
  int count;
  Node **tellers;  // nodes that introduce symbols which attributes speak of
  uint32_t teller_count, teller_capacity;
} Order;

static void find_tellers(Order *order) {
  StringMap *symbols = graph_late_symbols(order->graph, order->scratch);
  if (!string_map_count(symbols)) return;
  FOR_NODES(node, order->graph)
  if (node_introduces_symbol(node, symbols))
    *ARENA_PUSH(order->scratch, order->tellers, order->teller_count, order->teller_capacity) = node;
}

static void find_sizes(Order *order, Frame *frame) {
  if (!order->teller_count || !frame->node->attribute_count) return;
  StringMap *symbols = string_map_new(order->scratch);
  node_note_symbols(frame->node, symbols);
  if (!string_map_count(symbols)) return;
  budget_step(order->teller_count);
  for (uint32_t i = 0; i < order->teller_count; i++) {
    Node *teller = order->tellers[i];
    if (node_is_before(teller, frame->node) && node_introduces_symbol(teller, symbols))
      *ARENA_PUSH(order->scratch, frame->sizes, frame->size_count, frame->size_capacity) = teller;
  }
}

static void push(Order *order, Node *node) {
  if (!node || node->graph != order->graph || order->met[node->id]) return;
  order->met[node->id] = 1;
  Frame *frame = &order->stack[order->depth++];
  *frame = (Frame){.node = node};
  find_sizes(order, frame);
}

static void visit(Order *order, Node *root) {
  push(order, root);
  while (order->depth) {
    Frame *top = &order->stack[order->depth - 1];
    int operands = top->node->input_count, next = top->next++;
    if (next < operands) {
      if (top->node->inputs[next]) push(order, top->node->inputs[next]->producer);
    } else if (next - operands < (int)top->size_count) {
      push(order, top->sizes[next - operands]);
    } else {
      order->sorted[order->count++] = top->node;
      order->depth--;
    }
  }
}

static void link_nodes(const Order *order) {
  Graph *graph = order->graph;
  Node *previous = NULL;
  for (int i = 0; i < order->count; i++) {
    Node *node = order->sorted[i];
    node->previous = previous;
    node->next = i + 1 < order->count ? order->sorted[i + 1] : NULL;
    node->id = (uint32_t)i;
    previous = node;
  }
  graph->first = order->count ? order->sorted[0] : NULL;
  graph->last = previous;
  graph->next_node_id = (uint32_t)order->count;
  graph_number_nodes(graph);
}

typedef struct Numbering {
  uint32_t base, count;  // new numbers are base and more until all have one, so that who has one shows
  Value **values;
} Numbering;

static void number(Numbering *numbering, Value *value) {
  if (!value || value->id >= numbering->base) return;
  numbering->values[numbering->count] = value;
  value->id = numbering->base + numbering->count++;
}

static void number_values(const Order *order) {
  Graph *graph = order->graph;
  Numbering numbering = {.base = graph->next_value_id,
                         .values = arena_array(order->scratch, Value *, (size_t)graph->next_value_id + 1)};
  for (int i = 0; i < graph->input_count; i++) number(&numbering, graph->inputs[i]);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++) number(&numbering, node->inputs[i]);
    for (int i = 0; i < node->output_count; i++) number(&numbering, node->outputs[i]);
  }
  for (int i = 0; i < graph->output_count; i++) number(&numbering, graph->outputs[i]);
  for (uint32_t i = 0; i < numbering.count; i++) numbering.values[i]->id = i;
  graph->next_value_id = graph->next_suffix = numbering.count;
}

void graph_sort(Graph *graph) {
  Order order = {.graph = graph, .scratch = arena_scratch()};
  order.met = arena_array(order.scratch, uint8_t, (size_t)graph->next_node_id + 1);
  order.stack = arena_array(order.scratch, Frame, (size_t)graph->node_count + 1);
  order.sorted = arena_array(order.scratch, Node *, (size_t)graph->node_count + 1);
  find_tellers(&order);
  Node **present = arena_array(order.scratch, Node *, (size_t)graph->node_count + 1);
  int count = 0;
  FOR_NODES(node, graph) present[count++] = node;
  for (int i = 0; i < graph->output_count; i++) visit(&order, graph->outputs[i]->producer);
  for (int i = 0; i < count; i++) visit(&order, present[i]);
  link_nodes(&order);
  number_values(&order);
  arena_free(order.scratch);
}
