// Rules over integers that follow from where they stand (index_form.h): positions, masks of positions and reads by positions, which exporters write out where sizes are open.
// Programs whose elements are all the same number become that number, reads by equally spaced places become views. Both move, or are, the same elements; a place that turns
// out to lie outside is refused by the slice as by the gather. They belong to fold_constants, so that what constants then give is computed.
#include <string.h>

#include "kernels/gather/gather.h"
#include "kernels/view/view.h"
#include "passes/index_form.h"
#include "passes/places.h"
#include "passes/programs.h"

static bool computes_integers(const Node *node) {
  if (node->op != &op_elementwise || node->output_count != 1) return false;
  DType dtype = node->outputs[0]->dtype;
  return dtype_is_integer(dtype) || dtype == DTYPE_BOOL;
}

static Status known_elements(Rewrite *r) {
  const Node *root = matched(r, "root");
  Graph *graph = rewrite_graph(r);
  const Value *out = root->outputs[0];
  IndexForm form;
  int64_t number;
  WANT(root->input_count || reads_coordinates(node_program(root, "program")), "it is written as one number");
  WANT(index_form_of(out, &form) && index_form_is_constant(&form, out->rank), "its elements differ, or are open");
  WANT(dim_get_constant(graph->dims, dim_with_elements(graph->dims, form.base, out->rank, out->dims), &number),
       "its elements follow from sizes");
  Tensor *one = arena_new_of(graph->arena, Tensor);
  TRY(tensor_new(graph->arena, out->dtype, 0, NULL, one));
  tensor_set_i(one, 0, number);
  Node *expand = rewrite_add(r, &op_expand, 1, (Value *[]){graph_add_constant(graph, NULL, one)}, 1);
  node_set_dims(expand, "dims", out->dims, out->rank);
  return rewrite_root_by(r, expand);
}

// --- Positions inside of programs.

typedef struct Position {
  int64_t base, steps[MAX_RANK];  // by axis of the domain
} Position;

// Of an operand that is neither a constant nor one number, where all that it follows from is known.
static bool position_of(const Value *value, int rank, Position *out) {
  DimTable *table = value->graph->dims;
  IndexForm form;
  if (value->constant || !dtype_is_integer(value->dtype) || value->rank > rank || !index_form_of(value, &form)) return false;
  if (index_form_is_constant(&form, value->rank) || !dim_get_constant(table, form.base, &out->base)) return false;
  memset(out->steps, 0, sizeof out->steps);
  for (int i = 0; i < value->rank; i++)
    if (!dim_get_constant(table, form.steps[i], &out->steps[rank - value->rank + i])) return false;
  for (int i = 0; i < value->rank; i++)
    if (value->dims[i] == 1) out->steps[rank - value->rank + i] = 0;
  return true;
}

static int write_position(Program *program, DType dtype, const Position *position) {
  int sum = -1;
  for (int i = 0; i < MAX_RANK; i++) {
    if (!position->steps[i]) continue;
    int part = program_index(program, dtype, i);
    if (position->steps[i] != 1) part = program_op2(program, OP_mul, part, program_const_i(program, dtype, position->steps[i]));
    sum = sum < 0 ? part : program_op2(program, OP_add, sum, part);
  }
  int base = sum < 0 || position->base ? program_const_i(program, dtype, position->base) : -1;
  return sum < 0 ? base : base < 0 ? sum : program_op2(program, OP_add, sum, base);
}

static Program *with_position(const Program *old, int input, const Position *position) {
  Program *made = program_new(old->arena, old->input_count);
  int *map = arena_array(old->arena, int, old->count);
  for (int i = 0; i < old->count; i++) {
    Instruction code = old->code[i];
    bool replaced = code.op == OP_input && code.args[0] == input;
    for (int k = 0; k < opcode_info(code.op)->arity; k++) code.args[k] = map[code.args[k]];
    map[i] = replaced ? write_position(made, code.dtype, position) : program_instruction(made, code);
  }
  for (int i = 0; i < old->output_count; i++) program_output(made, map[old->outputs[i]]);
  return made;
}

static Status positions_inside(Rewrite *r) {
  Node *root = matched(r, "root");
  Dim domain[MAX_RANK];
  int rank = node_domain(root, domain), found = -1;
  Position position;
  for (int i = 0; i < root->input_count && found < 0; i++)
    if (root->inputs[i] && position_of(root->inputs[i], rank, &position)) found = i;
  WANT(found >= 0, "no operand of it follows from positions");
  Node *made = rewrite_add(r, &op_elementwise, 0, NULL, root->output_count);
  set_program_over(made, root, with_position(node_program(root, "program"), found, &position));
  return rewrite_root_by(r, made);
}

// --- Reads. Each axis of what is read is walked along axes of the result.

typedef struct Read {
  Value *x;
  const Value *out;
  IndexForm places[MAX_RANK];  // by axis of x, over the axes of the result
} Read;

static void stays(Read *read, int axis, int at) {
  read->places[axis] = (IndexForm){0};
  read->places[axis].steps[at] = 1;
}

static IndexForm moved_form(const IndexForm *form, int rank, int by) {
  IndexForm out = {.base = form->base};
  memcpy(out.steps + by, form->steps, (size_t)rank * sizeof *out.steps);
  return out;
}

static bool places_of_gather(const Node *node, Read *read) {
  const Value *indices = node->inputs[1];
  int axis = (int)node_int(node, "axis", 0);
  IndexForm form;
  if (!index_form_of(indices, &form)) return false;
  for (int i = 0; i < read->x->rank; i++) {
    if (i == axis) read->places[i] = moved_form(&form, indices->rank, axis);
    else stays(read, i, i < axis ? i : i + indices->rank - 1);
  }
  return true;
}

static bool places_of_elements(const Node *node, Read *read) {
  int axis = (int)node_int(node, "axis", 0);
  for (int i = 0; i < read->x->rank; i++)
    if (i != axis) stays(read, i, i);
  return index_form_of(node->inputs[1], &read->places[axis]);
}

// Column `at` of constant coordinates, a value of its own.
static const Value *constant_column(const Value *indices, int at) {
  Arena *arena = indices->graph->arena;
  Value *column = arena_copy(arena, indices, sizeof *indices);
  int last = indices->rank - 1;
  int64_t dims[MAX_RANK], depth = indices->constant->dims[last];
  memcpy(dims, indices->constant->dims, sizeof dims);
  column->dims[last] = dims[last] = 1;
  column->constant = arena_new_of(arena, Tensor);
  Status status = tensor_new(arena, indices->dtype, indices->rank, dims, column->constant);
  if (status) return status_free(status), NULL;
  for (int64_t i = 0; i < tensor_count(column->constant); i++)
    tensor_set_i(column->constant, i, tensor_get_i(indices->constant, i * depth + at));
  return column;
}

// Coordinates joined from one column for each axis, as exporters write them, or the one axis alone.
static bool places_of_nd(const Node *node, Read *read) {
  const Value *indices = node->inputs[1];
  const Node *join = indices->producer;
  int last = indices->rank - 1;
  Dim depth = indices->dims[last];
  if (node_int(node, "batch_dims", 0)) return false;
  bool joined = join && join->op == &op_concat && node_int(join, "axis", 0) == last && join->input_count == depth;
  if (depth != 1 && !joined && !indices->constant) return false;
  for (int i = 0; i < depth; i++) {
    const Value *column = joined ? join->inputs[i] : depth == 1 ? indices : constant_column(indices, i);
    if (!column || column->dims[last] != 1 || !index_form_of(column, &read->places[i])) return false;
    read->places[i].steps[last] = 0;
  }
  for (int i = (int)depth; i < read->x->rank; i++) stays(read, i, last + i - (int)depth);
  return true;
}

// A place below zero counts from the end; which of the two it is must show.
static bool count_from_start(DimTable *table, Read *read, int axis) {
  IndexForm *form = &read->places[axis];
  Dim low, high;
  if (!index_form_bounds(table, form, read->out->rank, read->out->dims, &low, &high)) return false;
  if (dim_at_least(table, low, 0)) return true;
  form->base = dim_add(table, form->base, read->x->dims[axis]);
  return dim_at_least(table, dim_constant(table, -1), high);
}

typedef struct Plan {
  Dim starts[MAX_RANK], counts[MAX_RANK], apart[MAX_RANK];  // the slice; its axes split into those of the result
  int64_t steps[MAX_RANK], perm[MAX_RANK];
  int from[MAX_RANK], apart_rank;  // from: by axis of the result, which of the split ones it is; -1: it repeats what is read
} Plan;

// The axes of the result along which axis `axis` of x is walked: the innermost has the least step, the others go on where it ends.
static bool plan_axis(DimTable *table, const Read *read, int axis, Plan *plan) {
  const IndexForm *form = &read->places[axis];
  Dim count = 1, step = 1;
  int64_t known;
  int walked = 0;
  for (int i = read->out->rank; i-- > 0;) {
    if (form->steps[i] == 0 || read->out->dims[i] == 1) continue;
    if (!walked++) step = form->steps[i];
    if (form->steps[i] != dim_mul(table, step, count) || plan->from[i] >= 0) return false;
    count = dim_mul(table, count, read->out->dims[i]);
  }
  if (!dim_get_constant(table, step, &known) || plan->apart_rank + walked > MAX_RANK) return false;
  for (int i = 0; i < read->out->rank; i++) {
    if (form->steps[i] == 0 || read->out->dims[i] == 1) continue;
    plan->from[i] = plan->apart_rank;
    plan->apart[plan->apart_rank++] = read->out->dims[i];
  }
  plan->starts[axis] = form->base;
  plan->counts[axis] = count;
  plan->steps[axis] = known;
  return true;
}

static bool make_plan(DimTable *table, Read *read, Plan *plan) {
  for (int i = 0; i < read->out->rank; i++) plan->from[i] = -1;
  for (int i = 0; i < read->x->rank; i++)
    if (!count_from_start(table, read, i) || !plan_axis(table, read, i, plan)) return false;
  return true;
}

static Status append(Rewrite *r, const OpDef *op, Value **x, void (*set)(Node *node, const Plan *plan), const Plan *plan) {
  Node *node = rewrite_add(r, op, 1, x, 1);
  set(node, plan);
  *x = node->outputs[0];
  return node_infer(node);
}

static void set_slice(Node *node, const Plan *plan) {
  int rank = node->inputs[0]->rank;
  node_set_dims(node, "starts", plan->starts, rank);
  node_set_ints(node, "steps", plan->steps, rank);
  node_set_dims(node, "dims", plan->counts, rank);
}

static void set_apart(Node *node, const Plan *plan) { node_set_dims(node, "dims", plan->apart, plan->apart_rank); }
static void set_perm(Node *node, const Plan *plan) { node_set_ints(node, "perm", plan->perm, plan->apart_rank); }

static Status read_by_places(Rewrite *r) {
  Node *root = matched(r, "root");
  Read read = {.x = operand(r, "x"), .out = root->outputs[0]};
  Plan plan = {.apart_rank = 0};
  Dim ones[MAX_RANK];
  int rank = read.out->rank, kept = 0;
  bool known = root->op == &op_gather      ? places_of_gather(root, &read)
               : root->op == &op_gather_nd ? places_of_nd(root, &read)
                                           : places_of_elements(root, &read);
  WANT(known, "where it reads is open");
  WANT(make_plan(rewrite_graph(r)->dims, &read, &plan), "it reads in no order that a view has");
  for (int i = 0; i < rank; i++) {
    ones[i] = plan.from[i] < 0 ? 1 : read.out->dims[i];
    if (plan.from[i] >= 0) plan.perm[kept++] = plan.from[i];
  }
  Value *x = read.x;
  TRY(append(r, &op_slice, &x, set_slice, &plan));
  TRY(append(r, &op_reshape, &x, set_apart, &plan));
  TRY(append(r, &op_transpose, &x, set_perm, &plan));
  memcpy(plan.apart, ones, sizeof ones);
  plan.apart_rank = rank;
  TRY(append(r, &op_reshape, &x, set_apart, &plan));
  Node *expand = rewrite_add(r, &op_expand, 1, &x, 1);
  node_set_dims(expand, "dims", read.out->dims, rank);
  return rewrite_root_by(r, expand);
}

const Rule rule_known_elements = {.name = "known_elements",
                                  .help = "a program over positions and numbers whose elements are all one number is that",
                                  .pattern = "elementwise(...)",
                                  .exactness = EXACT,
                                  .root = computes_integers,
                                  .apply = known_elements};
const Rule rule_positions_inside = {.name = "positions_inside",
                                    .help = "a program that reads positions counts them itself",
                                    .pattern = "elementwise(...)",
                                    .exactness = EXACT,
                                    .root = reads_little,
                                    .apply = positions_inside};
const Rule rule_read_by_places = {.name = "read_by_places",
                                  .help = "a gather by places that follow from positions is a view",
                                  .pattern = "gather|gather_elements|gather_nd(x, indices)",
                                  .exactness = EXACT,
                                  .apply = read_by_places};
