// Norms and softmaxes whose rows are put in another order behind them, as windows of an image are: a reshape that splits the axes of rows, a transpose of those, and
// a reshape that joins them, for which the result would have to be copied. They work on the rows in that order instead: what they read may lie in any,
// and what they write is new. A row stays what it is. It belongs to simplify_views.
#include <string.h>

#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/views.h"

// The views, and how many axes at the end of all of them are the row's.
typedef struct Windows {
  const Node *split, *turn;
  int row_axes;
} Windows;

// The last axes are the row's, and stay the last.
static bool read_rows(const Node *rows, const Node *split, const int64_t *perm, Windows *out) {
  const Value *x = rows->outputs[0], *y = split->outputs[0];
  int count;
  const int64_t *axes = node_ints(rows, "axes", &count);
  if (!axes || rows->output_count != 1 || count < 1 || count >= x->rank || count >= y->rank) return false;
  for (int i = 0; i < count; i++) {
    if (axes[i] != x->rank - count + i || x->dims[axes[i]] != y->dims[y->rank - count + i]) return false;
    if (perm[y->rank - count + i] != y->rank - count + i) return false;
  }
  out->row_axes = count;
  return true;
}

// Operands are of all rows, or of none.
static bool is_of_rows(const Value *value, const Value *result) {
  return value->rank == result->rank && value_same_shape(value, result);
}
static bool is_of_none(const Value *value, int row_axes) {
  for (int i = 0; i < value->rank - row_axes; i++)
    if (value->dims[i] != 1) return false;
  return true;
}

static int operands_of_rows(const Node *rows, int row_axes) {
  int count = 0;
  for (int i = 0; i < rows->input_count; i++) {
    const Value *value = rows->inputs[i];
    if (!value || is_of_none(value, row_axes)) continue;
    if (!is_of_rows(value, rows->outputs[0]) || value->constant) return -1;
    count++;
  }
  return count;
}

static Status in_windows(Rewrite *r, const Windows *w, Value *x, Value **out) {
  Node *split = rewrite_like(r, w->split);
  node_set_input(split, 0, x);
  TRY(node_infer(split));
  Node *turn = rewrite_like(r, w->turn);
  node_set_input(turn, 0, split->outputs[0]);
  *out = turn->outputs[0];
  return node_infer(turn);
}

// Without the ones in front, which would no longer be in front of all axes.
static Status of_row(Rewrite *r, const Windows *w, Value *value, Value **out) {
  *out = value;
  if (!value || value->rank <= w->row_axes) return OK;
  Node *reshape = rewrite_add(r, &op_reshape, 1, &value, 1);
  node_set_dims(reshape, "dims", value->dims + value->rank - w->row_axes, w->row_axes);
  *out = reshape->outputs[0];
  return node_infer(reshape);
}

static Status rows_by_window(Rewrite *r) {
  const Node *root = matched(r, "root"), *rows = matched(r, "rows");
  Windows w = {matched(r, "split"), matched(r, "turn"), 0};
  int rank, count;
  const int64_t *perm = node_ints(w.turn, "perm", &rank);
  Value *operands[READS_LITTLE];
  int64_t axes[MAX_RANK];
  WANT(rows->input_count <= READS_LITTLE && read_rows(rows, w.split, perm, &w),
       "its rows are not the last axes, or do not stay so");
  WANT(!reads_coordinates(node_program(rows, "program")), "it depends on where elements are");
  count = operands_of_rows(rows, w.row_axes);
  WANT(count >= 1 && count <= 2, "it reads too much, or what is of some rows");
  for (int i = 0; i < rows->input_count; i++) {
    Value *value = rows->inputs[i];
    bool all = value && !is_of_none(value, w.row_axes);
    TRY(all ? in_windows(r, &w, value, &operands[i]) : of_row(r, &w, value, &operands[i]));
  }
  Node *moved = rewrite_like(r, rows);
  for (int i = 0; i < rows->input_count; i++) node_set_input(moved, i, operands[i]);
  for (int i = 0; i < w.row_axes; i++) axes[i] = rank - w.row_axes + i;
  node_set_ints(moved, "axes", axes, w.row_axes);
  TRY(node_infer(moved));
  Node *joined = rewrite_like(r, root);
  node_set_input(joined, 0, moved->outputs[0]);
  return rewrite_root_by(r, joined);
}

const Rule rule_rows_by_window = MOVING_RULE(
    rows_by_window, "rows that are put in the order of windows behind a norm are put so in front of it, where it costs no copy",
    .pattern = "reshape(turn: transpose(split: reshape(rows: rowwise(...)!)!)!)");
