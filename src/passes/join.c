// See join.h.
#include "passes/join.h"

#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "passes/programs.h"

// Beyond these a joined kernel has more values in flight than registers, and reads no less.
enum { MAX_JOINED_INPUTS = 24, MAX_JOINED_OUTPUTS = 24, MAX_JOINED_CODE = 400 };

static bool same_axes(const Node *a, const Node *b) {
  int a_count, b_count;
  const int64_t *x = node_ints(a, "axes", &a_count), *y = node_ints(b, "axes", &b_count);
  return a_count == b_count && (!a_count || !memcmp(x, y, (size_t)a_count * sizeof *x));
}

// Whether producer's other users all come after consumer, so that its values may be made in consumer's place.
static bool others_come_later(const Node *producer, const Node *consumer) {
  for (int i = 0; i < producer->output_count; i++) budget_step((uint64_t)producer->outputs[i]->use_count);
  for (int i = 0; i < producer->output_count; i++)
    for (const Use *use = producer->outputs[i]->uses; use; use = use->next)
      if (use->node != consumer && node_is_before(use->node, consumer)) return false;
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

// What joining two nodes comes to, in scratch memory until it is known to be one.
typedef struct Join {
  Rewrite *rewrite;
  Node *producer, *consumer;
  const Node *rows;  // says what the reduced axes are; NULL where both are pointwise
  Arena *scratch;
  int rank;
  Dim domain[MAX_RANK];
  Program *program;
  Value **inputs;  // the consumer's, then the producer's
  int input_count;
  Value **outputs;  // the consumer's, then those of the producer that others use
  int output_count;
} Join;

bool may_take_in(const Node *consumer) {
  return is_program_node(consumer) && consumer->input_count <= 2 * MAX_JOINED_INPUTS &&
         node_program(consumer, "program")->count <= MAX_JOINED_CODE + MAX_JOINED_CODE / 8;
}

static bool may_join(const Node *producer, const Node *consumer) {
  if (!is_program_node(producer) || !is_program_node(consumer)) return false;
  int code = node_program(producer, "program")->count + node_program(consumer, "program")->count;
  return producer->input_count + consumer->input_count <= 2 * MAX_JOINED_INPUTS &&
         code <= MAX_JOINED_CODE + MAX_JOINED_CODE / 8;
}

static bool find_domain(Join *join) {
  const Node *producer = join->producer, *consumer = join->consumer;
  bool rows_p = producer->op == &op_rowwise, rows_c = consumer->op == &op_rowwise;
  if (rows_p && rows_c && !same_axes(producer, consumer)) return false;
  join->rows = rows_c ? consumer : rows_p ? producer : NULL;
  join->rank = node_domain(rows_p ? producer : consumer, join->domain);
  // Each element of a pointwise producer is made where the consumer needs it: their domains are the same.
  if (!rows_p) return has_domain(producer, join->rank, join->domain);
  // What works on results of rows may go over the rows alone: places and sizes are others there.
  bool anywhere = !rows_c && !reads_coordinates(node_program(consumer, "program"));
  return join->rank >= 0 && (anywhere || has_domain(consumer, join->rank, join->domain));
}

static void gather_operands(Join *join) {
  const Node *producer = join->producer, *consumer = join->consumer;
  join->input_count = consumer->input_count + producer->input_count;
  join->inputs = arena_array(join->scratch, Value *, join->input_count);
  memcpy(join->inputs, consumer->inputs, (size_t)consumer->input_count * sizeof *join->inputs);
  memcpy(join->inputs + consumer->input_count, producer->inputs, (size_t)producer->input_count * sizeof *join->inputs);
  join->outputs = arena_array(join->scratch, Value *, consumer->output_count + producer->output_count);
  for (int o = 0; o < consumer->output_count; o++) join->outputs[join->output_count++] = consumer->outputs[o];
  for (int o = 0; o < producer->output_count; o++)
    if (used_elsewhere(producer->outputs[o], consumer)) join->outputs[join->output_count++] = producer->outputs[o];
}

static bool join_programs(Join *join) {
  const Node *producer = join->producer, *consumer = join->consumer;
  const Program *inner = node_program(producer, "program");
  Program *program = join->program = program_copy(join->scratch, node_program(consumer, "program"));
  int *map = arena_array(join->scratch, int, producer->input_count);
  for (int i = 0; i < producer->input_count; i++) map[i] = consumer->input_count + i;
  program->input_count = join->input_count;
  for (int i = 0; i < consumer->input_count; i++)
    if (consumer->inputs[i] && consumer->inputs[i]->producer == producer)
      program_inline(program, i, inner, consumer->inputs[i]->producer_index, map);
  int *results = arena_array(join->scratch, int, inner->count);
  if (join->output_count > consumer->output_count) program_append(program, inner, map, results);
  for (int o = consumer->output_count; o < join->output_count; o++)
    program_output(program, results[inner->outputs[join->outputs[o]->producer_index]]);
  return program->count <= MAX_JOINED_CODE;
}

static bool outputs_fit(const Join *join) {
  if (!join->rows) return true;
  uint8_t *level = arena_array(join->scratch, uint8_t, join->program->count);
  program_levels(join->program, level);
  for (int o = 0; o < join->output_count; o++)
    if (!shape_fits_level(join->outputs[o], join->rank, join->domain, join->rows, level[join->program->outputs[o]]))
      return false;
  return true;
}

static Node *add_joined(const Join *join) {
  Arena *arena = join->consumer->graph->arena;
  Node *joined = rewrite_add(join->rewrite, join->rows ? &op_rowwise : &op_elementwise, 0, NULL, join->output_count);
  set_program_inputs(joined, join->program, join->input_count, join->inputs, 0);
  node_set_program(joined, "program", program_copy(arena, join->program));
  if (join->rows) {
    int count;
    const int64_t *axes = node_ints(join->rows, "axes", &count);
    node_set_ints(joined, "axes", axes, count);
  }
  if (!has_domain(joined, join->rank, join->domain)) node_set_dims(joined, "dims", join->domain, join->rank);
  return joined;
}

static Status try_join(Join *join) {
  Rewrite *r = join->rewrite;
  WANT(find_domain(join), "they go over other elements");
  WANT(others_come_later(join->producer, join->consumer), "something in between needs the first one's results");
  gather_operands(join);
  WANT(join->output_count <= MAX_JOINED_OUTPUTS, "together they would give out too much");
  WANT(join_programs(join), "together they would be too long");
  WANT(outputs_fit(join), "a result would change its shape");
  Node *joined = add_joined(join);
  WANT(joined->input_count <= MAX_JOINED_INPUTS, "together they would read too much");
  return rewrite_values_by(r, join->outputs, joined);
}

Status join_nodes(Rewrite *r, Node *producer, Node *consumer) {
  WANT(may_join(producer, consumer), "together they would be too long");
  Join join = {.rewrite = r, .producer = producer, .consumer = consumer, .scratch = arena_scratch()};
  Status status = try_join(&join);
  arena_free(join.scratch);
  return status;
}
