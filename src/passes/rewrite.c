// See rewrite.h.
#include "passes/rewrite.h"

#include <string.h>

#include "base/checked.h"

// Beyond these a joined kernel has more values in flight than registers, and reads no less.
enum { MAX_JOINED_INPUTS = 24, MAX_JOINED_OUTPUTS = 24, MAX_JOINED_CODE = 400 };

Node *only_user(const Value *value) {
  if (value->is_output || !value->uses) return NULL;
  Node *node = value->uses->node;
  for (const Use *use = value->uses; use; use = use->next)
    if (use->node != node) return NULL;
  return node;
}

int *node_positions(const Graph *graph) {
  int *positions = arena_array(graph->arena, int, graph->next_node_id);
  int position = 0;
  FOR_NODES(node, graph) positions[node->id] = position++;
  return positions;
}

bool value_has_dims(const Value *value, int rank, const Dim *dims) {
  if (value->rank != rank) return false;
  for (int i = 0; i < rank; i++)
    if (value->dims[i] != dims[i]) return false;
  return true;
}

bool value_is_scalar(const Value *value) {
  for (int i = 0; i < value->rank; i++)
    if (value->dims[i] != 1) return false;
  return value->rank >= 0;
}

static int broadcast_inputs(int count, Value *const *inputs, Dim *dims) {
  int rank = 0;
  for (int i = 0; i < count; i++)
    if (inputs[i]) rank = MAX(rank, inputs[i]->rank);
  for (int k = 0; k < rank; k++) dims[k] = 1;
  for (int i = 0; i < count; i++)
    for (int k = 0; inputs[i] && k < inputs[i]->rank; k++) {
      Dim *dim = &dims[rank - inputs[i]->rank + k], other = inputs[i]->dims[k];
      if (other != 1 && (*dim == 1 || (!dim_is_static(*dim) && dim_is_static(other)))) *dim = other;
    }
  return rank;
}

int node_domain(const Node *node, Dim *dims) {
  int rank;
  const Dim *declared = node_dims(node, "dims", &rank);
  if (declared) {
    memcpy(dims, declared, (size_t)rank * sizeof *dims);
    return rank;
  }
  if (node_attribute(node, "dims")) return 0;
  return broadcast_inputs(node->input_count, node->inputs, dims);
}

void set_program_inputs(Node *node, Program *program, int input_count, Value *const *inputs, int first_input) {
  // The same value twice becomes one input.
  for (int i = 0; i < program->count; i++) {
    Instruction *instruction = &program->code[i];
    if (instruction->op != OP_input || instruction->args[0] < first_input) continue;
    for (int k = first_input; k < instruction->args[0]; k++)
      if (inputs[k - first_input] == inputs[instruction->args[0] - first_input]) {
        instruction->args[0] = k;
        break;
      }
  }
  int *used = arena_array(program->arena, int, program->input_count);
  program_prune(program, used);
  for (int i = 0; i < input_count; i++)
    if (used[first_input + i] >= 0) node_add_input(node, inputs[i]);
}

static bool same_axes(const Node *a, const Node *b) {
  int a_count, b_count;
  const int64_t *x = node_ints(a, "axes", &a_count), *y = node_ints(b, "axes", &b_count);
  return a_count == b_count && (!a_count || !memcmp(x, y, (size_t)a_count * sizeof *x));
}

// Whether producer's other users all come after consumer, so that its values may be made in consumer's place.
static bool others_come_later(const Node *producer, const Node *consumer) {
  for (int i = 0; i < producer->output_count; i++)
    for (const Use *use = producer->outputs[i]->uses; use; use = use->next) {
      if (use->node == consumer) continue;
      const Node *walk = consumer->next;
      while (walk && walk != use->node) walk = walk->next;
      if (!walk) return false;
    }
  return true;
}

static bool used_elsewhere(const Value *value, const Node *consumer) {
  if (value->is_output) return true;
  for (const Use *use = value->uses; use; use = use->next)
    if (use->node != consumer) return true;
  return false;
}

static bool shape_fits_level(const Value *value, int rank, const Dim *domain, const Node *rows, bool element) {
  if (value->rank != rank) return false;
  int count;
  const int64_t *axes = node_ints(rows, "axes", &count);
  for (int k = 0; k < rank; k++) {
    Dim expected = domain[k];
    for (int i = 0; i < count; i++)
      if (axes[i] == k && !element) expected = 1;
    if (value->dims[k] != expected) return false;
  }
  return true;
}

Node *join_nodes(Node *producer, Node *consumer) {
  if (!is_program_node(producer) || !is_program_node(consumer)) return NULL;
  if (!others_come_later(producer, consumer)) return NULL;
  Graph *graph = consumer->graph;
  Arena *arena = graph->arena;
  Dim domain[MAX_RANK], other[MAX_RANK];
  bool rows_p = producer->op == &op_rowwise, rows_c = consumer->op == &op_rowwise;
  const Node *rows = rows_c ? consumer : producer;  // says what the reduced axes are
  if (rows_p && rows_c && !same_axes(producer, consumer)) return NULL;
  int rank = node_domain(rows_p ? producer : consumer, domain);
  if (!rows_p) {
    // Each element of the producer is made where the consumer needs it: their domains are the same.
    if (node_domain(producer, other) != rank || !value_has_dims(producer->outputs[0], rank, domain)) return NULL;
  } else if (rows_c) {
    if (node_domain(consumer, other) != rank || memcmp(domain, other, (size_t)rank * sizeof *domain)) return NULL;
  }
  const Program *inner = node_program(producer, "program");
  Program *program = program_copy(arena, node_program(consumer, "program"));
  int c_count = consumer->input_count, p_count = producer->input_count;
  int *map = arena_array(arena, int, p_count);
  Value **inputs = arena_array(arena, Value *, c_count + p_count);
  memcpy(inputs, consumer->inputs, (size_t)c_count * sizeof *inputs);
  for (int i = 0; i < p_count; i++) {
    map[i] = c_count + i;
    inputs[c_count + i] = producer->inputs[i];
  }
  program->input_count = c_count + p_count;
  for (int i = 0; i < c_count; i++)
    for (int o = 0; o < producer->output_count; o++)
      if (consumer->inputs[i] == producer->outputs[o]) program_inline(program, i, inner, o, map);
  int *results = arena_array(arena, int, inner->count);
  int kept = 0;
  for (int o = 0; o < producer->output_count; o++) {
    if (!used_elsewhere(producer->outputs[o], consumer)) continue;
    if (!kept++) program_append(program, inner, map, results);
    program_output(program, results[inner->outputs[o]]);
  }
  if (program->count > MAX_JOINED_CODE || consumer->output_count + kept > MAX_JOINED_OUTPUTS) return NULL;
  if (rows_p || rows_c) {
    uint8_t *level = arena_array(arena, uint8_t, program->count);
    program_levels(program, level);
    for (int o = 0; o < consumer->output_count; o++)
      if (!shape_fits_level(consumer->outputs[o], rank, domain, rows, level[program->outputs[o]])) return NULL;
    for (int o = 0, at = consumer->output_count; o < producer->output_count; o++)
      if (used_elsewhere(producer->outputs[o], consumer) &&
          !shape_fits_level(producer->outputs[o], rank, domain, rows, level[program->outputs[at++]]))
        return NULL;
  }
  Node *joined =
      graph_add(graph, consumer, rows_p || rows_c ? &op_rowwise : &op_elementwise, 0, NULL, consumer->output_count + kept);
  set_program_inputs(joined, program, c_count + p_count, inputs, 0);
  if (joined->input_count > MAX_JOINED_INPUTS) {
    node_remove(joined);
    return NULL;
  }
  node_set_program(joined, "program", program);
  if (rows_p || rows_c) {
    int count;
    const int64_t *axes = node_ints(rows, "axes", &count);
    node_set_ints(joined, "axes", axes, count);
  }
  int now = broadcast_inputs(joined->input_count, joined->inputs, other);
  if (now != rank || memcmp(domain, other, (size_t)rank * sizeof *domain)) node_set_dims(joined, "dims", domain, rank);
  node_merge_origins(joined, producer);
  node_merge_origins(joined, consumer);
  Value **old_outputs = arena_array(arena, Value *, joined->output_count);
  int at = 0;
  for (int o = 0; o < consumer->output_count; o++) old_outputs[at++] = consumer->outputs[o];
  for (int o = 0; o < producer->output_count; o++)
    if (used_elsewhere(producer->outputs[o], consumer)) old_outputs[at++] = producer->outputs[o];
  for (int o = 0; o < joined->output_count; o++) {
    Value *from = old_outputs[o], *to = joined->outputs[o];
    value_set_type(to, from->dtype, from->rank, from->dims);
    memcpy(to->order, from->order, sizeof to->order);
    // The consumer still uses the producer's values: they are gone with it.
    value_replace(from, to);
  }
  node_remove(consumer);
  node_remove(producer);
  return joined;
}
