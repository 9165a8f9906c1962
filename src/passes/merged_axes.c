// Products and transposes behind reshapes that merge axes: the reshape goes behind them, so that batches written as three axes and as four end in one graph. Products of
// rows that are split afterwards: the reshape goes in front of them, where mostly another has merged those rows, so that a layer written as Gemm between two reshapes and one
// written as MatMul end in one graph, and what follows reaches the product. Elements stay what they are and where they are. They belong to simplify_views.
#include <string.h>

#include "kernels/matmul/matmul.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/views.h"

static bool may_be_less(Dim size, Dim whole) {
  return size != whole && (!dim_is_static(size) || !dim_is_static(whole) || size < whole);
}

// For each axis of the merged value the first axis of the other that it holds; begin[rank] is the other's rank. False where the reshape splits.
static bool find_groups(const Value *from, const Value *merged, int *begin) {
  int at = 0;
  if (!merged->rank) return false;
  for (int i = 0; i < merged->rank; i++) {
    begin[i] = at;
    if (at < from->rank && from->dims[at] == merged->dims[i]) {
      at++;
      continue;
    }
    Dim size = 1;
    while (at < from->rank && from->dims[at] != 0 && may_be_less(size, merged->dims[i]))
      size = dim_mul(from->graph->dims, size, from->dims[at++]);
    if (size != merged->dims[i] || begin[i] == at) return false;
  }
  for (; at < from->rank && from->dims[at] == 1; at++)
    ;  // ones at the end belong to the last
  begin[merged->rank] = from->rank;
  return at == from->rank;
}

// What moves is one axis before and after: the merged ones, batches mostly, stay where they are, and the reshape costs as little as before.
static bool merged_stay(const int64_t *perm, int count, const int *begin) {
  for (int i = 0; i < count; i++)
    if (perm[i] != i && begin[perm[i] + 1] - begin[perm[i]] != 1) return false;
  return true;
}

static Node *reshape_to(Rewrite *r, Value *x, const Value *like) {
  Node *reshape = rewrite_add(r, &op_reshape, 1, &x, 1);
  node_set_dims(reshape, "dims", like->dims, like->rank);
  return reshape;
}

static Status transpose_before_merge(Rewrite *r) {
  Node *root = matched(r, "root");
  Value *x = operand(r, "x"), *merged = matched(r, "reshape")->outputs[0];
  int begin[MAX_RANK + 1], count, made = 0;
  const int64_t *perm = node_ints(root, "perm", &count);
  int64_t whole[MAX_RANK];
  WANT(merged->rank < x->rank && find_groups(x, merged, begin), "the reshape does not only merge axes");
  WANT(merged_stay(perm, count, begin), "merged axes would move");
  for (int i = 0; i < count; i++)
    for (int axis = begin[perm[i]]; axis < begin[perm[i] + 1]; axis++) whole[made++] = axis;
  Node *transpose = rewrite_add(r, &op_transpose, 1, &x, 1);
  node_set_ints(transpose, "perm", whole, x->rank);
  TRY(node_infer(transpose));
  return rewrite_root_by(r, reshape_to(r, transpose->outputs[0], root->outputs[0]));
}

// Both operands' leading axes are merged alike, and the last two are not.
static bool merge_batches(const Value *a, const Value *merged_a, const Value *b, const Value *merged_b) {
  int begin[MAX_RANK + 1], batches = a->rank - 2;
  if (a->rank != b->rank || merged_a->rank != merged_b->rank || merged_a->rank >= a->rank || merged_a->rank < 3) return false;
  for (int i = 0; i < batches; i++)
    if (a->dims[i] != b->dims[i]) return false;
  for (int i = 0; i < merged_a->rank - 2; i++)
    if (merged_a->dims[i] != merged_b->dims[i]) return false;
  return find_groups(a, merged_a, begin) && begin[merged_a->rank - 2] == batches && begin[merged_a->rank - 1] == batches + 1 &&
         find_groups(b, merged_b, begin) && begin[merged_b->rank - 2] == batches && begin[merged_b->rank - 1] == batches + 1;
}

static Status product_before_merge(Rewrite *r) {
  Node *root = matched(r, "root");
  Value *a = operand(r, "a"), *b = operand(r, "b");
  WANT(root->input_count == 2, "it has zero points");
  WANT(merge_batches(a, root->inputs[0], b, root->inputs[1]), "its operands' batches are not merged alike");
  Node *product = rewrite_like(r, root);
  node_set_input(product, 0, a);
  node_set_input(product, 1, b);
  TRY(node_infer(product));
  return rewrite_root_by(r, reshape_to(r, product->outputs[0], root->outputs[0]));
}

// [rows, columns] whose rows become several axes. Without columns, nothing says how many rows these are.
static bool splits_rows(const Value *x, const Value *y) {
  return x->rank == 2 && y->rank > 2 && dim_is_static(x->dims[1]) && x->dims[1] > 0 && y->dims[y->rank - 1] == x->dims[1];
}

// Of what is broadcast over the rows, the same; else one with the rows split.
static Status split_rows(Rewrite *r, Value *x, const Value *split, Value **out) {
  *out = x;
  if (!x || x->rank < 2 || x->dims[0] == 1) return OK;
  Node *reshape = rewrite_add(r, &op_reshape, 1, &x, 1);
  Dim dims[MAX_RANK];
  memcpy(dims, split->dims, sizeof dims);
  dims[split->rank - 1] = x->dims[1];
  node_set_dims(reshape, "dims", dims, split->rank);
  *out = reshape->outputs[0];
  return node_infer(reshape);
}

static Status split_product(Rewrite *r, const Node *product, const Value *split, Node **out) {
  Value *a;
  TRY(split_rows(r, product->inputs[0], split, &a));
  *out = rewrite_like(r, product);
  node_set_input(*out, 0, a);
  return OK;
}

static bool is_of_rows(const Node *product) { return product->input_count == 2 && product->inputs[1]->rank == 2; }

static Status split_before_product(Rewrite *r) {
  const Node *product = matched(r, "product");
  const Value *split = matched(r, "root")->outputs[0];
  WANT(is_of_rows(product), "it carries something, or is no product with a matrix");
  WANT(splits_rows(product->outputs[0], split), "the reshape does more than to split rows");
  Node *moved;
  TRY(split_product(r, product, split, &moved));
  return rewrite_root_by(r, moved);
}

static Status split_before_biased_product(Rewrite *r) {
  const Node *product = matched(r, "product"), *pointwise = matched(r, "pointwise");
  const Value *split = matched(r, "root")->outputs[0], *rows = product->outputs[0];
  WANT(is_of_rows(product), "it carries something, or is no product with a matrix");
  WANT(splits_rows(rows, split) && value_same_shape(rows, pointwise->outputs[0]), "the reshape does more than to split rows");
  WANT(pointwise->output_count == 1 && !node_attribute(pointwise, "dims"),
       "it has more than one result, or elements of its own");
  WANT(!reads_coordinates(node_program(pointwise, "program")), "it depends on where elements are");
  Node *before;
  TRY(split_product(r, product, split, &before));
  TRY(node_infer(before));
  Value **inputs = arena_array(rewrite_scratch(r), Value *, pointwise->input_count);
  for (int i = 0; i < pointwise->input_count; i++) {
    if (pointwise->inputs[i] == rows) inputs[i] = before->outputs[0];
    else TRY(split_rows(r, pointwise->inputs[i], split, &inputs[i]));
  }
  Node *behind = rewrite_like(r, pointwise);
  for (int i = 0; i < pointwise->input_count; i++) node_set_input(behind, i, inputs[i]);
  return rewrite_root_by(r, behind);
}

// How many axes at the end are the same before and after the merging.
static int axes_kept(const int *begin, int rank, int whole) {
  int kept = 0;
  while (kept < rank && begin[rank - kept] - begin[rank - kept - 1] == 1 && begin[rank - kept] == whole - kept) kept++;
  return kept;
}

// Whether an operand is the same for axes that are not merged: it is broadcast over all that would be.
static bool is_broadcast_over(const Value *value, int kept) { return !value || value_is_scalar(value) || value->rank <= kept; }

static Status split_operand(Rewrite *r, Value *value, const Value *whole, Value **out) {
  Node *reshape = reshape_to(r, value, whole);
  *out = reshape->outputs[0];
  return node_infer(reshape);
}

static Status pointwise_before_merge(Rewrite *r) {
  const Node *root = matched(r, "root");
  Value *whole = matched(r, "turn")->outputs[0];
  const Value *merged = matched(r, "merge")->outputs[0], *out = root->outputs[0];
  int begin[MAX_RANK + 1];
  Value *inputs[READS_LITTLE];
  WANT(root->output_count == 1 && !node_attribute(root, "dims"), "it has more than one result, or elements of its own");
  WANT(!reads_coordinates(node_program(root, "program")), "it depends on where elements are");
  WANT(merged->rank < whole->rank && find_groups(whole, merged, begin) && value_same_shape(merged, out),
       "the reshape does more than to merge axes, or its result is broadcast");
  int kept = axes_kept(begin, merged->rank, whole->rank);
  for (int i = 0; i < root->input_count; i++)
    WANT(is_broadcast_over(root->inputs[i], kept) || value_same_shape(root->inputs[i], merged),
         "an operand is broadcast over some of the axes that are merged");
  for (int i = 0; i < root->input_count; i++) {
    inputs[i] = root->inputs[i] == merged ? whole : root->inputs[i];
    if (!is_broadcast_over(inputs[i], kept) && inputs[i] != whole) TRY(split_operand(r, inputs[i], whole, &inputs[i]));
  }
  Node *before = rewrite_like(r, root);
  for (int i = 0; i < root->input_count; i++) node_set_input(before, i, inputs[i]);
  TRY(node_infer(before));
  return rewrite_root_by(r, reshape_to(r, before->outputs[0], out));
}

const Rule rule_pointwise_before_merge = {
    .name = "pointwise_before_merge",
    .help = "a pointwise node behind axes that a transpose takes apart and a reshape merges works on them unmerged: no copy",
    .pattern = "elementwise(..., merge: reshape(turn: transpose(x)!)!, ...)",
    .exactness = EXACT,
    .root = reads_little,
    .apply = pointwise_before_merge};
const Rule rule_split_before_product = {.name = "split_before_product",
                                        .help = "a product of rows that are split afterwards is one of rows that are",
                                        .pattern = "reshape(product: matmul(...)!)",
                                        .exactness = EXACT,
                                        .apply = split_before_product};
const Rule rule_split_before_biased_product = {
    .name = "split_before_biased_product",
    .help = "so is one with a pointwise node between it and the splitting, as a bias is",
    .pattern = "reshape(pointwise: elementwise(..., product: matmul(...)!, ...)!)",
    .exactness = EXACT,
    .apply = split_before_biased_product};
const Rule rule_transpose_before_merge = {.name = "transpose_before_merge",
                                          .help = "a transpose behind a reshape that merges axes stands in front of it",
                                          .pattern = "transpose(reshape: reshape(x)!)",
                                          .exactness = EXACT,
                                          .apply = transpose_before_merge};
const Rule rule_product_before_merge = {.name = "product_before_merge",
                                        .help = "a product of merged batches is one of batches that are not, merged afterwards",
                                        .pattern = "matmul(reshape(a)!, reshape(b)!)",
                                        .exactness = EXACT,
                                        .tells_misses = true,
                                        .apply = product_before_merge};
