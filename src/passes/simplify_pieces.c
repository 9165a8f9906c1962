// Rules over the operators that cut and join: slices of slices, of concatenations and of paddings read what these are made of; slices that lie side by side
// and concatenations in one another become one; a gather by equally spaced constants is a slice. All move the same elements
// to the same places. They belong to simplify_views, so that what they leave meets its rules.
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "kernels/gather/gather.h"
#include "kernels/pad/pad.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/views.h"

// Of a concatenation: so many operands are looked through for each slice of it, and so many come of joining two. Beyond, models of many operands cost their square.
enum { MAX_LOOKED_THROUGH = 256 };

typedef struct Slice {
  Value *x;
  Dim starts[MAX_RANK], dims[MAX_RANK];
  int64_t steps[MAX_RANK];
} Slice;

static Slice slice_of(const Node *node) {
  Slice slice = {.x = node->inputs[0]};
  int count;
  size_t rank = (size_t)slice.x->rank;
  memcpy(slice.starts, node_dims(node, "starts", &count), rank * sizeof *slice.starts);
  memcpy(slice.steps, node_ints(node, "steps", &count), rank * sizeof *slice.steps);
  memcpy(slice.dims, node_dims(node, "dims", &count), rank * sizeof *slice.dims);
  return slice;
}

static Slice all_of(Value *x) {
  Slice slice = {.x = x};
  for (int i = 0; i < x->rank; i++) slice.steps[i] = 1, slice.dims[i] = x->dims[i];
  return slice;
}

static Node *add_slice(Rewrite *r, const Slice *slice) {
  Node *node = rewrite_add(r, &op_slice, 1, (Value *[]){slice->x}, 1);
  node_set_dims(node, "starts", slice->starts, slice->x->rank);
  node_set_ints(node, "steps", slice->steps, slice->x->rank);
  node_set_dims(node, "dims", slice->dims, slice->x->rank);
  return node;
}

// The first and the last coordinate that a slice with elements reads along an axis; false where its numbers are open.
static bool reach(const Slice *slice, int axis, int64_t *first, int64_t *last) {
  Dim start = slice->starts[axis], count = slice->dims[axis];
  int64_t other;
  if (!dim_is_static(start) || !dim_is_static(count) || count == 0) return false;
  if (!checked_mul_i64(count - 1, slice->steps[axis], &other) || !checked_add_i64(other, start, &other)) return false;
  *first = MIN(start, other);
  *last = MAX(start, other);
  return true;
}

static Status compose_slices(Rewrite *r) {
  Slice outer = slice_of(matched(r, "root")), inner = slice_of(matched(r, "inner"));
  DimTable *table = rewrite_graph(r)->dims;
  for (int i = 0; i < inner.x->rank; i++) {
    Dim along = dim_mul(table, outer.starts[i], dim_constant(table, inner.steps[i]));
    bool open = !dim_is_static(outer.starts[i]) || !dim_is_static(inner.starts[i]);
    outer.starts[i] = dim_add(table, inner.starts[i], along);
    WANT(open || dim_is_static(outer.starts[i]), "nothing is read, from somewhere outside");
    WANT(checked_mul_i64(outer.steps[i], inner.steps[i], &outer.steps[i]), "its steps would be too large");
  }
  outer.x = inner.x;
  return rewrite_root_by(r, add_slice(r, &outer));
}

static Status slice_of_concat(Rewrite *r) {
  Slice slice = slice_of(matched(r, "root"));
  const Node *concat = matched(r, "concat");
  int axis = (int)node_int(concat, "axis", 0), at = 0;
  int64_t first, last, offset = 0;
  WANT(reach(&slice, axis, &first, &last), "what it reads is open");
  for (; at < MIN(concat->input_count, MAX_LOOKED_THROUGH); at++) {
    Dim size = concat->inputs[at]->dims[axis];
    WANT(dim_is_static(size), "the size of an operand is open");
    if (first < offset + size) break;
    offset += size;
    budget_step(1);
  }
  WANT(at < MIN(concat->input_count, MAX_LOOKED_THROUGH), "it lies too far behind");
  slice.x = concat->inputs[at];
  WANT(last < offset + slice.x->dims[axis], "it reads more than one operand");
  slice.starts[axis] -= offset;
  return rewrite_root_by(r, add_slice(r, &slice));
}

static int64_t at_or_behind(int64_t distance, int64_t step) { return distance <= 0 ? 0 : (distance + step - 1) / step; }

// What the slice reads of the operand that lies from `offset` on along the axis; false where that is nothing.
static bool part_of(const Slice *slice, int axis, Value *operand, int64_t offset, Slice *part) {
  int64_t start = slice->starts[axis], step = slice->steps[axis];
  int64_t first = at_or_behind(offset - start, step), end = at_or_behind(offset + operand->dims[axis] - start, step);
  end = MIN(end, slice->dims[axis]);
  *part = *slice;
  part->x = operand;
  part->starts[axis] = start + first * step - offset;
  part->dims[axis] = end - first;
  return end > first;
}

static Status slice_across_concat(Rewrite *r) {
  Slice slice = slice_of(matched(r, "root")), part;
  const Node *concat = matched(r, "concat");
  int axis = (int)node_int(concat, "axis", 0), count = 0;
  int64_t first, last, offset = 0;
  WANT(slice.steps[axis] > 0 && reach(&slice, axis, &first, &last), "what it reads is open, or reads backwards");
  WANT(concat->input_count <= MAX_LOOKED_THROUGH, "there are too many operands");
  Value **parts = arena_array(rewrite_scratch(r), Value *, concat->input_count);
  for (int i = 0; i < concat->input_count; offset += concat->inputs[i++]->dims[axis]) {
    WANT(dim_is_static(concat->inputs[i]->dims[axis]), "the size of an operand is open");
    if (!part_of(&slice, axis, concat->inputs[i], offset, &part)) continue;
    Node *node = add_slice(r, &part);
    TRY(node_infer(node));
    parts[count++] = node->outputs[0];
  }
  WANT(count > 1 && slice.dims[axis] < concat->outputs[0]->dims[axis], "it reads all of them, or one");
  Node *joined = rewrite_add(r, &op_concat, count, parts, 1);
  node_take_attributes(joined, concat);
  return rewrite_root_by(r, joined);
}

static Status slice_of_pad(Rewrite *r) {
  Slice slice = slice_of(matched(r, "root"));
  slice.x = operand(r, "x");
  int count, rank = slice.x->rank;
  const Dim *pads = node_dims(matched(r, "pad"), "pads", &count);
  for (int i = 0; i < rank; i++) {
    int64_t first, last;
    if (pads[i] == 0 && pads[rank + i] == 0) continue;
    bool whole = slice.starts[i] == pads[i] && slice.dims[i] == slice.x->dims[i] && slice.steps[i] == 1;
    if (!whole) {
      WANT(reach(&slice, i, &first, &last) && dim_is_static(pads[i]) && dim_is_static(slice.x->dims[i]), "its sizes are open");
      WANT(first >= pads[i] && last < pads[i] + slice.x->dims[i], "it reads some of the padding");
    }
    slice.starts[i] = whole ? 0 : slice.starts[i] - pads[i];
  }
  return rewrite_root_by(r, add_slice(r, &slice));
}

static Status concat_of_one(Rewrite *r) {
  Value *out = matched(r, "root")->outputs[0];
  WANT(value_can_replace(out, operand(r, "x")), "callers know both by name");
  return rewrite_replace(r, out, operand(r, "x"));
}

static bool joins_few(const Node *node) { return node->input_count <= MAX_LOOKED_THROUGH; }

static Status flatten_concat(Rewrite *r) {
  const Node *outer = matched(r, "root"), *inner = matched(r, "inner");
  WANT(node_int(inner, "axis", 0) == node_int(outer, "axis", 0), "they join along different axes");
  WANT(inner->outputs[0]->use_count == 1, "it is put in more than once");
  WANT(inner->input_count + outer->input_count <= MAX_LOOKED_THROUGH, "there would be too many operands");
  Node *concat = rewrite_add(r, &op_concat, 0, NULL, 1);
  node_take_attributes(concat, outer);
  for (int i = 0; i < outer->input_count; i++) {
    bool is_inner = outer->inputs[i] == inner->outputs[0];
    for (int k = 0; k < (is_inner ? inner->input_count : 1); k++)
      node_add_input(concat, is_inner ? inner->inputs[k] : outer->inputs[i]);
  }
  return rewrite_root_by(r, concat);
}

static const Node *slice_before(const Value *value) {
  return value->producer && value->producer->op == &op_slice ? value->producer : NULL;
}

// The slice grows by one that goes on, along the axis, where it ends.
static bool goes_on(DimTable *table, Slice *slice, const Slice *next, int axis) {
  if (next->x != slice->x) return false;
  Dim end = dim_add(table, slice->starts[axis], dim_mul(table, slice->dims[axis], dim_constant(table, slice->steps[axis])));
  for (int i = 0; i < slice->x->rank; i++)
    if (next->steps[i] != slice->steps[i] || next->starts[i] != (i == axis ? end : slice->starts[i]) ||
        (i != axis && next->dims[i] != slice->dims[i]))
      return false;
  slice->dims[axis] = dim_add(table, slice->dims[axis], next->dims[axis]);
  return true;
}

static bool joins_neighbours(const Node *node) {
  if (node->op != &op_concat) return false;
  for (int i = 1; i < node->input_count; i++) {
    const Node *a = slice_before(node->inputs[i - 1]), *b = slice_before(node->inputs[i]);
    if (a && b && a->inputs[0] == b->inputs[0]) return true;
  }
  return false;
}

// The operands from number `at` on that are one slice together; returns the number behind them. alone: false where others use one of several.
static int join_from(const Node *concat, int at, Slice *slice, bool *alone) {
  const Node *first = slice_before(concat->inputs[at]), *other;
  int axis = (int)node_int(concat, "axis", 0), next = at + 1;
  if (!first) return next;
  *slice = slice_of(first);
  for (; next < concat->input_count && (other = slice_before(concat->inputs[next])); next++) {
    Slice more = slice_of(other);
    if (!goes_on(concat->graph->dims, slice, &more, axis)) break;
    *alone = *alone && only_user(other->outputs[0]) && only_user(first->outputs[0]);
  }
  return next;
}

static Status join_slices(Rewrite *r) {
  Node *root = matched(r, "root"), *joined = NULL;
  Value **parts = arena_array(rewrite_scratch(r), Value *, root->input_count);
  bool alone = true;
  int count = 0;
  for (int i = 0, next; i < root->input_count; i = next) {
    Slice slice;
    next = join_from(root, i, &slice, &alone);
    parts[count++] = root->inputs[i];
    if (next == i + 1) continue;
    joined = add_slice(r, &slice);
    TRY(node_infer(joined));
    parts[count - 1] = joined->outputs[0];
  }
  WANT(joined, "no slice goes on where the one before it ends");
  WANT(alone || count == 1, "the slices stay for others");
  Node *concat = rewrite_add(r, &op_concat, count, parts, 1);
  node_take_attributes(concat, root);
  return rewrite_root_by(r, concat);
}

// Constant indices as a start and a step; false where they are not equally spaced, or one lies outside.
static bool read_spaced(const Tensor *indices, int64_t size, int64_t *start, int64_t *step) {
  int64_t count = tensor_count(indices), previous = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t index = tensor_get_i(indices, i);
    if (index < 0) index += size;
    if (index < 0 || index >= size) return false;
    if (i == 0) *start = index, *step = 1;
    if (i == 1) *step = index - previous;
    if (i >= 1 && (index - previous != *step || *step == 0)) return false;
    previous = index;
  }
  return count > 0;
}

static Status gather_as_slice(Rewrite *r) {
  Node *root = matched(r, "root");
  Value *x = operand(r, "x"), *indices = operand(r, "indices");
  int axis = (int)node_int(root, "axis", 0);
  Slice slice = all_of(x);
  WANT(dim_is_static(x->dims[axis]), "whether indices lie outside is open");
  WANT(read_spaced(indices->constant, x->dims[axis], &slice.starts[axis], &slice.steps[axis]), "they are not equally spaced");
  slice.dims[axis] = tensor_count(indices->constant);
  Node *view = add_slice(r, &slice);
  if (indices->rank != 1) {
    TRY(node_infer(view));
    view = rewrite_add(r, &op_reshape, 1, view->outputs, 1);
    node_set_dims(view, "dims", root->outputs[0]->dims, root->outputs[0]->rank);
  }
  return rewrite_root_by(r, view);
}

const Rule rule_compose_slices = MOVING_RULE(compose_slices, "a slice of a slice is one", .pattern = "slice(inner: slice(x))");
const Rule rule_slice_of_concat =
    MOVING_RULE(slice_of_concat, "a slice of a concatenation is one of the operand that it lies in",
                .pattern = "slice(concat: concat(...))");
const Rule rule_slice_across_concat =
    MOVING_RULE(slice_across_concat, "a slice of several operands of a concatenation is put together from them",
                .pattern = "slice(concat: concat(...)!)");
const Rule rule_slice_of_pad = MOVING_RULE(slice_of_pad, "a slice that reads nothing of a padding is one of what was padded",
                                           .pattern = "slice(pad: pad(x, ...))");
const Rule rule_concat_of_one = MOVING_RULE(concat_of_one, "a concatenation of one operand goes", .pattern = "concat(x)");
const Rule rule_flatten_concat = MOVING_RULE(flatten_concat, "a concatenation in another one along the same axis joins it",
                                             .pattern = "concat(..., inner: concat(...)!, ...)", .root = joins_few);
const Rule rule_join_slices = MOVING_RULE(join_slices, "slices put together again that lie side by side are one slice",
                                          .pattern = "concat(...)", .root = joins_neighbours);
const Rule rule_gather_as_slice =
    MOVING_RULE(gather_as_slice, "a gather by equally spaced constants is a slice", .pattern = "gather(x, #indices)");
