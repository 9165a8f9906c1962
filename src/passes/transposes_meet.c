// Rules over transposes that meet through what stands between them: transpose(f(transpose(x))) is f of x and one transpose, which may do nothing; and one in front of a product
// that can stand behind it. All move the same elements to the same places. They belong to simplify_views.
#include <string.h>

#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/views.h"

enum { LONGEST_CHAIN = 8 };

// What stands at axis i of a transpose's result stands at axis perm[i] of what it reads. NULL: the node is none.
static const int64_t *perm_of(const Node *node) {
  int count;
  return node && node->op == &op_transpose ? node_ints(node, "perm", &count) : NULL;
}

static bool is_transposed(const Value *value, int rank, const int64_t *perm) {
  const int64_t *own = perm_of(value->producer);
  return own && value->rank == rank && !memcmp(own, perm, (size_t)rank * sizeof *perm);
}

// The one axis, counted in `rank`, along which a constant has more than one element; -1 where it has none or several.
static int only_axis(const Value *value, int rank) {
  int axis = -1, axes = 0;
  for (int i = 0; i < value->rank; i++)
    if (value->dims[i] != 1) axis = rank - value->rank + i, axes++;
  return value->constant && axes == 1 ? axis : -1;
}

// Whether an operand is known as it was before all of them were permuted: by a transpose, or having one element, or one axis of constants.
static bool has_unpermuted(const Value *value, int rank, const int64_t *perm) {
  return !value || is_transposed(value, rank, perm) || value_is_scalar(value) || only_axis(value, rank) >= 0;
}

static Node *add_transpose(Rewrite *r, Value *x, const int64_t *perm) {
  Node *node = rewrite_add(r, &op_transpose, 1, &x, 1);
  node_set_ints(node, "perm", perm, x->rank);
  return node;
}

// Of one that has_unpermuted does not know, by another transpose.
static Status turned_back(Rewrite *r, Value *value, const int64_t *perm, Value **out) {
  int64_t inverse[MAX_RANK];
  for (int i = 0; i < value->rank; i++) inverse[perm[i]] = i;
  Node *node = add_transpose(r, value, inverse);
  *out = node->outputs[0];
  return node_infer(node);
}

static Status unpermuted(Rewrite *r, Value *value, int rank, const int64_t *perm, Value **out) {
  *out = value && is_transposed(value, rank, perm) ? value->producer->inputs[0] : value;
  if (*out != value || !value || value_is_scalar(value)) return OK;
  int axis = only_axis(value, rank);
  if (axis < 0) return turned_back(r, value, perm, out);
  Tensor tensor = *value->constant;
  tensor.rank = rank;
  for (int k = 0; k < rank; k++) tensor.dims[perm[k]] = k == axis ? tensor_count(value->constant) : 1;
  *out = graph_add_constant(rewrite_graph(r), NULL, &tensor);
  return OK;
}

static bool bound_to_axes(const Node *node, const int64_t *perm) {
  return node->output_count != 1 || node->input_count > READS_LITTLE || !node->op->permute ||
         !node->op->permute(node, perm, NULL);
}

enum { NEAR = 4 };

// Whether a convolution or its like made the value, or reads it, through pointwise nodes at most.
static bool made_near_image(const Value *value) {
  for (int steps = 0; value && value->producer && steps < NEAR; steps++) {
    const Node *node = value->producer;
    if (node->op->image == IMAGE_GAINS) return true;
    if (!node->op->has_program) return false;
    value = NULL;
    for (int i = 0; i < node->input_count && !value; i++)
      if (node->inputs[i] && node->inputs[i]->producer) value = node->inputs[i];
  }
  return false;
}

static bool read_near_image(const Value *value, int steps) {
  int looked = 0;
  for (const Use *use = value->uses; use && steps && looked < NEAR; use = use->next, looked++) {
    const Node *reader = use->node;
    if (reader->op->image == IMAGE_GAINS) return true;
    if (reader->op->has_program && read_near_image(reader->outputs[0], steps - 1)) return true;
  }
  return false;
}

// A row is summed in the order of its axes, which stays, and lies together where it ends. Images in front of and behind convolutions lie channels-last anyway, as what
// permutes them says: it costs nothing there.
static bool rows_may_move(const Node *node, int rank, const int64_t *perm) {
  int count;
  const int64_t *axes = node->op->has_program ? node_ints(node, "axes", &count) : NULL;
  if (!axes) return true;
  bool last = true;
  for (int i = 0; i < count; i++) {
    if (i && (axes[i] < axes[i - 1] || perm[axes[i]] < perm[axes[i - 1]])) return false;
    last = last && perm[axes[i]] >= rank - count;
  }
  const Node *before = node->inputs[0] ? node->inputs[0]->producer : NULL, *after = only_user(node->outputs[0]);
  if (last) return true;
  return !(perm_of(before) && made_near_image(before->inputs[0])) &&
         !(perm_of(after) && read_near_image(after->outputs[0], NEAR));
}

// What permutes the node's operands; NULL where not all of them are, or the node is bound to its axes.
static const int64_t *permutation_before(const Node *node, int *transposes) {
  int rank = node->outputs[0]->rank;
  const int64_t *perm = NULL;
  *transposes = 0;
  for (int i = 0; i < node->input_count && !perm; i++)
    if (node->inputs[i] && node->inputs[i]->rank == rank) perm = perm_of(node->inputs[i]->producer);
  if (!perm || bound_to_axes(node, perm)) return NULL;
  for (int i = 0; i < node->input_count; i++) {
    if (!has_unpermuted(node->inputs[i], rank, perm)) return NULL;
    *transposes += node->inputs[i] && is_transposed(node->inputs[i], rank, perm) && only_user(node->inputs[i]) != NULL;
  }
  return rows_may_move(node, rank, perm) ? perm : NULL;
}

static bool undoes(const int64_t *second, int rank, const int64_t *perm) {
  for (int i = 0; i < rank; i++)
    if (perm[second[i]] != i) return false;
  return true;
}

// Whether a transpose behind this node would come, through nodes that it may move behind, to one that undoes it.
static bool meets_its_inverse(const Node *node, int rank, const int64_t *perm) {
  for (int steps = 0; steps < LONGEST_CHAIN; steps++) {
    const Value *moved = node->outputs[0];
    node = only_user(moved);
    if (!node || node->outputs[0]->rank != rank) return false;
    const int64_t *second = perm_of(node);
    if (second) return undoes(second, rank, perm);
    if (bound_to_axes(node, perm) || !rows_may_move(node, rank, perm)) return false;
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i] != moved && !has_unpermuted(node->inputs[i], rank, perm)) return false;
  }
  return false;
}

// The node as it works on what its operands were before.
static Status work_before(Rewrite *r, const Node *node, const int64_t *perm, Value **out) {
  int rank = node->outputs[0]->rank;
  Value *operands[READS_LITTLE];
  for (int i = 0; i < node->input_count; i++) {
    TRY(unpermuted(r, node->inputs[i], rank, perm, &operands[i]));
    if (node->inputs[i] && is_transposed(node->inputs[i], rank, perm)) rewrite_cover(r, node->inputs[i]->producer);
  }
  Node *moved = rewrite_like(r, node);
  for (int i = 0; i < node->input_count; i++) node_set_input(moved, i, operands[i]);
  node->op->permute(node, perm, moved);
  *out = moved->outputs[0];
  return node_infer(moved);
}

static Status transposes_meet(Rewrite *r) {
  const Node *root = matched(r, "root"), *between = matched(r, "between");
  int transposes, count;
  const int64_t *first = permutation_before(between, &transposes), *second = node_ints(root, "perm", &count);
  int64_t perm[MAX_RANK];
  Value *moved;
  bool cancel = true;
  WANT(first, "not all that it works on is permuted alike");
  for (int i = 0; i < count; i++) {
    perm[i] = first[second[i]];
    cancel = cancel && perm[i] == i;
  }
  WANT(cancel || transposes, "the transposes in front stay for others");
  TRY(work_before(r, between, first, &moved));
  return rewrite_root_by(r, add_transpose(r, moved, perm));
}

static Status transpose_behind(Rewrite *r) {
  const Node *root = matched(r, "root");
  int transposes;
  const int64_t *perm = permutation_before(root, &transposes);
  Value *moved;
  WANT(perm && (transposes > 1 || meets_its_inverse(root, root->outputs[0]->rank, perm)),
       "it does not read several alike, and none behind it would undo it");
  TRY(work_before(r, root, perm, &moved));
  return rewrite_root_by(r, add_transpose(r, moved, perm));
}

// --- Behind products

static bool brings_channels_first(const int64_t *perm, int rank) {
  bool brings = rank >= 3 && perm[0] == 0 && perm[1] == rank - 1;
  for (int i = 2; i < rank; i++) brings = brings && perm[i] == i - 1;
  return brings;
}

// Whether a product made the value, or pointwise nodes that alone use its result and may yet become its epilogue.
static bool made_by_product(const Value *value) {
  for (int steps = 0; value && value->producer && steps < NEAR; steps++) {
    const Node *node = value->producer;
    if (node->op->takes_epilogue) return node->op->image != IMAGE_GAINS;
    if (!node->op->has_program || node_attribute(node, "axes")) return false;
    const Value *before = NULL;
    for (int i = 0; i < node->input_count && !before; i++)
      if (node->inputs[i] && only_user(node->inputs[i]) == node && !node->inputs[i]->constant) before = node->inputs[i];
    value = before;
  }
  return false;
}

// Operands that it would take another transpose to have as they were; -1: it cannot be done.
static int turned_operands(const Node *node, const int64_t *perm) {
  const Value *out = node->outputs[0];
  int count = 0;
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (has_unpermuted(value, out->rank, perm)) continue;
    if (value->constant || value->rank != out->rank || !value_same_shape(value, out)) return -1;
    count++;
  }
  return count;
}

static Status transpose_behind_product(Rewrite *r) {
  const Node *root = matched(r, "root"), *turn = matched(r, "turn");
  const PassOptions *options = rewrite_options(r);
  const Value *result = turn->inputs[0], *out = root->outputs[0];
  const int64_t *perm = perm_of(turn);
  DType dtype = options->precision != DTYPE_COUNT && out->dtype == DTYPE_F32 ? options->precision : out->dtype;
  Value *moved;
  WANT(brings_channels_first(perm, out->rank) && layout_wants_channels_last(options, dtype),
       "it does not turn an image that lies with its channels innermost");
  WANT(made_by_product(result), "no product made what is turned");
  WANT(!bound_to_axes(root, perm), "it is bound to its axes");
  int turned = turned_operands(root, perm);
  WANT(turned >= 0 && turned <= 1, "its other operands would all have to be turned");
  WANT(!turned || read_near_image(out, NEAR), "no convolution is near that would read it");
  TRY(work_before(r, root, perm, &moved));
  return rewrite_root_by(r, add_transpose(r, moved, perm));
}

const Rule rule_transpose_behind_product = {.name = "transpose_behind_product",
                                            .help =
                                                "an image that a product makes channels-last is turned behind the pointwise "
                                                "node that reads it, which then is the product's",
                                            .pattern = "elementwise(..., turn: transpose(x)!, ...)",
                                            .exactness = EXACT,
                                            .root = reads_little,
                                            .apply = transpose_behind_product};
// In which order axes are listed means nothing, but reductions join where their lists are equal, and move where theirs are in order.
static Status sort_axes(Rewrite *r) {
  Node *root = matched(r, "root");
  int count;
  const int64_t *axes = node_ints(root, "axes", &count);
  int64_t sorted[MAX_RANK];
  bool changed = false;
  for (int i = 0; i < count; i++) {
    int at = i;
    for (; at && sorted[at - 1] > axes[i]; at--) sorted[at] = sorted[at - 1];
    sorted[at] = axes[i];
    changed |= at != i;
  }
  WANT(changed, "its axes are in order");
  Node *made = rewrite_like(r, root);
  node_set_ints(made, "axes", sorted, count);
  return rewrite_root_by(r, made);
}

const Rule rule_sort_axes = {.name = "sort_axes",
                             .help = "axes that are reduced stand in order",
                             .pattern = "rowwise(...)",
                             .exactness = EXACT,
                             .apply = sort_axes};
const Rule rule_transposes_meet = {.name = "transposes_meet",
                                   .help = "transposes before and behind a node become one behind it",
                                   .pattern = "transpose(between: @permutable(...)!)",
                                   .exactness = EXACT,
                                   .apply = transposes_meet};
const Rule rule_transpose_behind = {.name = "transpose_behind",
                                    .help = "a node whose operands are all transposed alike is transposed itself",
                                    .pattern = "@permutable(..., transpose(x), ...)",
                                    .exactness = EXACT,
                                    .root = reads_little,
                                    .apply = transpose_behind};
