// Views that do nothing go; a view of a view becomes one view (see also view_chains.c, simplify_pieces.c); pointwise nodes with one large operand move in front of the
// view they read through, so that they reach the anchor whose epilogue they can be.
#include <string.h>

#include "passes/programs.h"
#include "passes/views.h"

enum { MAX_SCALARS = 32 };  // beside the tensor that a pointwise node reads through a view

static bool is_noop(const Node *node) {
  ViewMap map = {0};
  if (!value_same_shape(node->inputs[0], node->outputs[0])) return false;
  node->op->view(node, &map);
  for (int i = 0; i < node->outputs[0]->rank && !map.regroups; i++)
    if (map.axes[i].source != i || map.axes[i].start != 0 || map.axes[i].step != 1) return false;
  return true;
}

static Status remove_view(Rewrite *r) {
  Node *view = matched(r, "root");
  WANT(is_noop(view), "it changes something");
  WANT(value_can_replace(view->outputs[0], operand(r, "x")), "callers know both by name");
  return rewrite_replace(r, view->outputs[0], operand(r, "x"));
}

static Status compose_transposes(Rewrite *r) {
  const Node *outer = matched(r, "root"), *inner = matched(r, "inner");
  int count;
  const int64_t *first = node_ints(inner, "perm", &count), *second = node_ints(outer, "perm", &count);
  int64_t perm[MAX_RANK];
  for (int i = 0; i < count; i++) perm[i] = first[second[i]];
  Node *view = rewrite_like(r, outer);
  node_set_input(view, 0, operand(r, "x"));
  node_set_ints(view, "perm", perm, count);
  return rewrite_root_by(r, view);
}

// The outer one alone says what the result is.
static Status skip_inner(Rewrite *r) {
  Node *view = rewrite_like(r, matched(r, "root"));
  node_set_input(view, 0, operand(r, "x"));
  return rewrite_root_by(r, view);
}

// Whether all that a pointwise node reads but this value is of one element.
static bool else_scalars(const Node *node, const Value *read) {
  int times = 0;
  for (int i = 0; i < node->input_count; i++) {
    times += node->inputs[i] == read;
    if (node->inputs[i] && node->inputs[i] != read && (!value_is_scalar(node->inputs[i]) || node->inputs[i]->rank > 1))
      return false;
  }
  return times == 1;
}

static bool reads_few_scalars(const Node *node) { return node->input_count <= MAX_SCALARS; }

// pointwise(view(x)) becomes view(pointwise(x)).
static Status hoist(Rewrite *r) {
  Node *node = matched(r, "root"), *view = matched(r, "view");
  Value *x = operand(r, "x"), *viewed = view->outputs[0];
  WANT(node->output_count == 1 && !node_attribute(node, "dims"), "it has more than one result, or elements of its own");
  WANT(else_scalars(node, viewed), "it reads more than one tensor");
  WANT(view_keeps_elements(view), "the view repeats elements or leaves some out");
  WANT(x->producer && x->rank >= 1, "there is nothing to fuse with in front of the view");
  WANT(value_same_shape(viewed, node->outputs[0]), "it is broadcast");
  WANT(!reads_coordinates(node_program(node, "program")), "it depends on where elements are");
  Node *moved = rewrite_like(r, node);
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] == viewed) node_set_input(moved, i, x);
  TRY(node_infer(moved));
  Node *behind = rewrite_like(r, view);
  node_set_input(behind, 0, moved->outputs[0]);
  return rewrite_root_by(r, behind);
}

static const Rule rule_remove_view = {.name = "remove_view",
                                      .help = "a view that changes nothing goes",
                                      .pattern = "@view(x)",
                                      .exactness = EXACT,
                                      .apply = remove_view};
static const Rule rule_compose_transposes = {.name = "compose_transposes",
                                             .help = "two transposes are one",
                                             .pattern = "transpose(inner: transpose(x))",
                                             .exactness = EXACT,
                                             .apply = compose_transposes};
static const Rule rule_compose_reshapes = {.name = "compose_reshapes",
                                           .help = "two reshapes are one",
                                           .pattern = "reshape(reshape(x))",
                                           .exactness = EXACT,
                                           .apply = skip_inner};
static const Rule rule_compose_expands = {.name = "compose_expands",
                                          .help = "two expands are one",
                                          .pattern = "expand(expand(x))",
                                          .exactness = EXACT,
                                          .apply = skip_inner};
static const Rule rule_hoist = {
    .name = "pointwise_before_view",
    .help = "a pointwise node moves in front of the view that it reads through, to the node whose epilogue it can be",
    .pattern = "elementwise(..., view: @view(x)!, ...)",
    .exactness = EXACT,
    .root = reads_few_scalars,
    .tells_misses = true,
    .apply = hoist};

const Pass pass_simplify_views = {"simplify_views", "composes and removes views, moves pointwise work in front of them",
                                  (const Rule *const[]){&rule_compose_transposes,
                                                        &rule_compose_reshapes,
                                                        &rule_compose_expands,
                                                        &rule_remove_view,
                                                        &rule_chain_as_reshape,
                                                        &rule_expand_by_reader,
                                                        &rule_sort_axes,
                                                        &rule_transposes_meet,
                                                        &rule_transpose_behind,
                                                        &rule_transpose_behind_product,
                                                        &rule_rows_by_window,
                                                        &rule_transpose_before_merge,
                                                        &rule_product_before_merge,
                                                        &rule_split_before_product,
                                                        &rule_split_before_biased_product,
                                                        &rule_pointwise_before_merge,
                                                        &rule_compose_slices,
                                                        &rule_slice_of_concat,
                                                        &rule_slice_across_concat,
                                                        &rule_slice_of_pad,
                                                        &rule_concat_of_one,
                                                        &rule_flatten_concat,
                                                        &rule_join_slices,
                                                        &rule_remove_pad,
                                                        &rule_remove_pool,
                                                        &rule_compose_pads,
                                                        &rule_gather_as_slice,
                                                        &rule_hoist,
                                                        NULL}};
