// The rule over reads by positions (index_form.h), which exporters write out where sizes are open: reads by equally spaced places become views. They move the same elements; a
// place that turns out to lie outside is refused by the slice as by the gather. It belongs to fold_constants, so that what constants then give is computed.
#include <string.h>

#include "kernels/gather/gather.h"
#include "kernels/view/view.h"
#include "passes/index_form.h"
#include "passes/places.h"

// Each axis of what is read is walked along axes of the result.

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

// Where the slice starts. Below zero it is where nothing is read, and 0 there; or else the gather refuses the place, and so does the slice, from behind the last element.
static Dim start_of(DimTable *table, const Read *read, const IndexForm *form, int axis) {
  Dim low, high, below = dim_make(table, DIM_MIN, dim_sub(table, 0, form->base), 1);
  bool known = index_form_bounds(table, form, read->out->rank, read->out->dims, &low, &high);
  Dim least = known && dim_at_least(table, low, 0) ? 0 : dim_mul(table, below, read->x->dims[axis]);
  return dim_make(table, DIM_MAX, form->base, least);
}

// Whether it is known that there are places outside: the gather says so, if it is ever run.
static bool reads_outside(const Read *read, const Plan *plan) {
  for (int i = 0; i < read->x->rank; i++) {
    Dim size = read->x->dims[i], first = plan->starts[i], count = plan->counts[i];
    if (!dim_is_static(size) || !dim_is_static(first) || !dim_is_static(count) || !count) continue;
    double last = (double)first + (double)plan->steps[i] * (double)(count - 1);
    if (first >= size || last < 0 || last >= (double)size) return true;
  }
  return false;
}

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
  plan->starts[axis] = start_of(table, read, form, axis);
  plan->counts[axis] = count;
  plan->steps[axis] = known;
  return true;
}

// The slice reads where the gather does. Where places may lie outside, and the result has no elements for want of another axis', the gather refuses nothing: there the slice
// is of none, too. False where the result would not be.
static bool read_alike(DimTable *table, const Read *read, int axis, Plan *plan) {
  const IndexForm *form = &read->places[axis];
  const Dim *dims = read->out->dims;
  Dim low, high;
  if (!index_form_bounds(table, form, read->out->rank, dims, &low, &high)) return false;
  if (dim_at_least(table, read->x->dims[axis], dim_add(table, high, 1))) return true;
  for (int i = 0; i < read->out->rank; i++) {
    if (form->steps[i] != 0 || dim_at_least(table, dims[i], 1)) continue;
    if (plan->from[i] < 0) return false;
    plan->counts[axis] = dim_mul(table, plan->counts[axis], dim_make(table, DIM_MIN, dims[i], 1));
  }
  return true;
}

static bool make_plan(DimTable *table, Read *read, Plan *plan) {
  for (int i = 0; i < read->out->rank; i++) plan->from[i] = -1;
  for (int i = 0; i < read->x->rank; i++)
    if (!count_from_start(table, read, i) || !plan_axis(table, read, i, plan)) return false;
  for (int i = 0; i < read->x->rank; i++)
    if (!read_alike(table, read, i, plan)) return false;
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

static Status read_by_places(Rewrite *r, bool (*places_of)(const Node *node, Read *read)) {
  Node *root = matched(r, "root");
  Read read = {.x = operand(r, "x"), .out = root->outputs[0]};
  Plan plan = {.apart_rank = 0};
  Dim ones[MAX_RANK];
  int rank = read.out->rank, kept = 0;
  WANT(places_of(root, &read), "where it reads is open");
  WANT(make_plan(rewrite_graph(r)->dims, &read, &plan), "it reads in no order that a view has");
  WANT(!reads_outside(&read, &plan), "it reads outside of what there is");
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

static Status slices_by_places(Rewrite *r) { return read_by_places(r, places_of_gather); }
static Status elements_by_places(Rewrite *r) { return read_by_places(r, places_of_elements); }
static Status coordinates_by_places(Rewrite *r) { return read_by_places(r, places_of_nd); }

const Rule rule_slices_by_places = {.name = "slices_by_places",
                                    .help = "a gather by places that follow from positions is a view",
                                    .pattern = "gather(x, indices)",
                                    .exactness = EXACT,
                                    .apply = slices_by_places};
const Rule rule_elements_by_places = {.name = "elements_by_places",
                                      .help = "a gather of elements by places that follow from positions is a view",
                                      .pattern = "gather_elements(x, indices)",
                                      .exactness = EXACT,
                                      .apply = elements_by_places};
const Rule rule_coordinates_by_places = {.name = "coordinates_by_places",
                                         .help = "a gather by coordinates that follow from positions is a view",
                                         .pattern = "gather_nd(x, indices)",
                                         .exactness = EXACT,
                                         .apply = coordinates_by_places};
