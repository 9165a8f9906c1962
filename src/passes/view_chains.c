// Rules over chains of transposes and reshapes: one that leaves elements in their order is a reshape, whatever it does on its way, and transposes meet through
// what stands between them. Also broadcasts that a pointwise node does by itself. All move the same elements to the same places. They belong to simplify_views.
#include <string.h>

#include "base/checked.h"
#include "kernels/gather/gather.h"
#include "kernels/pad/pad.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/views.h"

enum { LONGEST_CHAIN = 8, READS_LITTLE = 32 };

// What a chain makes of row-major elements: axes of more than one element, with strides into them. Both may be symbolic.
typedef struct Strided {
  int rank;
  Dim dims[MAX_RANK], strides[MAX_RANK];
} Strided;

static int without_ones(int rank, const Dim *dims, Dim *out) {
  int kept = 0;
  for (int i = 0; i < rank; i++)
    if (dims[i] != 1) out[kept++] = dims[i];
  return kept;
}

static void set_strides(DimTable *table, Strided *view, int first, int end, Dim stride) {
  for (int i = end; i-- > first;) {
    view->strides[i] = stride;
    stride = dim_mul(table, stride, view->dims[i]);
  }
}

static Strided row_major(DimTable *table, const Value *x) {
  Strided view = {0};
  view.rank = without_ones(x->rank, x->dims, view.dims);
  set_strides(table, &view, 0, view.rank, 1);
  return view;
}

static void transpose_strided(Strided *view, const Value *x, const int64_t *perm) {
  Strided before = *view;
  int place[MAX_RANK], kept = 0;
  for (int i = 0; i < x->rank; i++) place[i] = x->dims[i] == 1 ? -1 : kept++;
  view->rank = 0;
  for (int i = 0; i < x->rank; i++) {
    if (place[perm[i]] < 0) continue;
    view->dims[view->rank] = before.dims[place[perm[i]]];
    view->strides[view->rank++] = before.strides[place[perm[i]]];
  }
}

// From axis `*at` on, dims up to the least run of them that may make up `size`; false where sizes are open and not equal.
static bool grow(const Dim *dims, int count, int *end, Dim *size) {
  if (*end == count || !dim_is_static(dims[*end]) || !dim_is_static(*size) || dims[*end] == 0) return false;
  return checked_mul_i64(*size, dims[(*end)++], size);
}

// Axes are merged where they follow one another in memory, and split; false where it takes moving elements, or sizes are open.
static bool reshape_strided(DimTable *table, Strided *view, int rank, const Dim *dims) {
  Strided out = {.rank = without_ones(rank, dims, out.dims)};
  int i = 0, k = 0;
  while (i < view->rank && k < out.rank) {
    int i_end = i + 1, k_end = k + 1;
    Dim from = view->dims[i], to = out.dims[k];
    while (from != to) {
      if (!dim_is_static(from) || !dim_is_static(to)) return false;
      if (!(from < to ? grow(view->dims, view->rank, &i_end, &from) : grow(out.dims, out.rank, &k_end, &to))) return false;
    }
    for (int n = i; n + 1 < i_end; n++)
      if (view->strides[n] != dim_mul(table, view->strides[n + 1], view->dims[n + 1])) return false;
    set_strides(table, &out, k, k_end, view->strides[i_end - 1]);
    i = i_end, k = k_end;
  }
  if (i != view->rank || k != out.rank) return false;
  *view = out;
  return true;
}

static bool in_order(DimTable *table, const Strided *view) {
  Strided plain = *view;
  set_strides(table, &plain, 0, plain.rank, 1);
  return !memcmp(plain.strides, view->strides, (size_t)view->rank * sizeof *view->strides);
}

// Whether the chain of these views, the last one first, leaves elements in their order.
static bool keeps_order(DimTable *table, Node *const *chain, int count) {
  Strided view = row_major(table, chain[count - 1]->inputs[0]);
  for (int i = count; i-- > 0;) {
    const Value *in = chain[i]->inputs[0], *out = chain[i]->outputs[0];
    int rank;
    if (chain[i]->op == &op_transpose) transpose_strided(&view, in, node_ints(chain[i], "perm", &rank));
    else if (!reshape_strided(table, &view, out->rank, out->dims)) return false;
  }
  return in_order(table, &view);
}

static bool reorders(const Node *node) { return node && (node->op == &op_transpose || node->op == &op_reshape); }

// The longest chain that ends here and keeps the order; one reshape alone is none.
static Status chain_as_reshape(Rewrite *r) {
  Node *chain[LONGEST_CHAIN] = {matched(r, "root")};
  int longest = 0, count = 1;
  bool transposes = false;
  for (Node *next = chain[0]; reorders(next) && count <= LONGEST_CHAIN; next = next->inputs[0]->producer, count++) {
    chain[count - 1] = next;
    transposes = transposes || next->op == &op_transpose;
    if (transposes && keeps_order(rewrite_graph(r)->dims, chain, count)) longest = count;
  }
  WANT(longest, "elements change places");
  for (int i = 1; i < longest; i++) rewrite_cover(r, chain[i]);
  const Value *out = chain[0]->outputs[0];
  Node *reshape = rewrite_add(r, &op_reshape, 1, chain[longest - 1]->inputs, 1);
  node_set_dims(reshape, "dims", out->dims, out->rank);
  return rewrite_root_by(r, reshape);
}

static bool reads_little(const Node *node) { return node->input_count <= READS_LITTLE; }

static Status expand_by_reader(Rewrite *r) {
  Node *root = matched(r, "root");
  Value *x = operand(r, "x"), *expanded = matched(r, "expand")->outputs[0];
  Dim before[MAX_RANK], after[MAX_RANK];
  for (int i = 0; i < x->rank; i++)
    WANT(x->dims[i] == 1 || x->dims[i] == expanded->dims[expanded->rank - x->rank + i], "whether it is broadcast is open");
  Node *reader = rewrite_like(r, root);
  for (int i = 0; i < root->input_count; i++)
    if (root->inputs[i] == expanded) node_set_input(reader, i, x);
  int rank = node_domain(root, before);
  WANT(node_domain(reader, after) == rank && !memcmp(before, after, (size_t)rank * sizeof *before),
       "no other operand has its shape");
  return rewrite_root_by(r, reader);
}

// --- Transposes that meet: transpose(f(transpose(x))) is f of x and one transpose, which may do nothing.

// y = transpose(x, perm): what stands at axis i of y stands at perm[i] of x.
static void permute_dims(Node *node, const char *name, int rank, const int64_t *perm, int blocks) {
  int count;
  Dim moved[2 * MAX_RANK];
  const Dim *dims = node_dims(node, name, &count);
  for (int i = 0; i < rank * blocks; i++) moved[i / rank * rank + perm[i % rank]] = dims[i];
  node_set_dims(node, name, moved, rank * blocks);
}

static void permute_slice(Node *slice, int rank, const int64_t *perm) {
  int count;
  int64_t moved[MAX_RANK];
  const int64_t *steps = node_ints(slice, "steps", &count);
  for (int i = 0; i < rank; i++) moved[perm[i]] = steps[i];
  node_set_ints(slice, "steps", moved, rank);
  permute_dims(slice, "starts", rank, perm, 1);
  permute_dims(slice, "dims", rank, perm, 1);
}

static bool is_transposed(const Value *value, int rank, const int64_t *perm) {
  int count;
  const Node *producer = value->producer;
  return producer && producer->op == &op_transpose && value->rank == rank &&
         !memcmp(node_ints(producer, "perm", &count), perm, (size_t)rank * sizeof *perm);
}

// The one axis, counted in `rank`, along which a constant has more than one element; -1 where it has none or several.
static int only_axis(const Value *value, int rank) {
  int axis = -1, axes = 0;
  for (int i = 0; i < value->rank; i++)
    if (value->dims[i] != 1) axis = rank - value->rank + i, axes++;
  return value->constant && axes == 1 ? axis : -1;
}

// Whether operand i of the node is known as it was before all of them were permuted: by a transpose, or having one element, or one axis of constants.
static bool has_unpermuted(const Node *node, int i, int rank, const int64_t *perm) {
  const Value *value = node->inputs[i];
  if (node->op == &op_pad && i == 1) return true;
  if (!value || is_transposed(value, rank, perm)) return value;
  return node->op == &op_elementwise && (value_is_scalar(value) || only_axis(value, rank) >= 0);
}

static Value *unpermuted(Graph *graph, const Node *node, int i, int rank, const int64_t *perm) {
  Value *value = node->inputs[i];
  if (!value || (node->op == &op_pad && i == 1)) return value;
  if (is_transposed(value, rank, perm)) return value->producer->inputs[0];
  if (value_is_scalar(value)) return value;
  int axis = only_axis(value, rank);
  Tensor tensor = *value->constant;
  tensor.rank = rank;
  for (int k = 0; k < rank; k++) tensor.dims[perm[k]] = k == axis ? tensor_count(value->constant) : 1;
  return graph_add_constant(graph, NULL, &tensor);
}

static bool bound_to_axes(const Node *node) {
  if (node->output_count != 1 || node->input_count > READS_LITTLE) return true;
  return node->op == &op_elementwise && (node_attribute(node, "dims") || reads_coordinates(node_program(node, "program")));
}

// What permutes the node's operands; NULL where not all of them are, or the node is bound to its axes.
static const int64_t *permutation_before(const Node *node, int *transposes) {
  int rank = node->outputs[0]->rank, count;
  const int64_t *perm = NULL;
  *transposes = 0;
  if (bound_to_axes(node)) return NULL;
  for (int i = 0; i < node->input_count && !perm; i++) {
    const Node *producer = node->inputs[i] ? node->inputs[i]->producer : NULL;
    if (producer && producer->op == &op_transpose && node->inputs[i]->rank == rank) perm = node_ints(producer, "perm", &count);
  }
  for (int i = 0; i < node->input_count && perm; i++) {
    if (!has_unpermuted(node, i, rank, perm)) return NULL;
    *transposes += node->inputs[i] && is_transposed(node->inputs[i], rank, perm) && only_user(node->inputs[i]) != NULL;
  }
  return perm;
}

// Whether a transpose behind this node would come, through nodes that it may move behind, to one that undoes it.
static bool meets_its_inverse(const Node *node, int rank, const int64_t *perm) {
  for (int steps = 0; steps < LONGEST_CHAIN; steps++) {
    const Value *moved = node->outputs[0];
    int count;
    node = only_user(moved);
    if (!node || node->outputs[0]->rank != rank) return false;
    if (node->op == &op_transpose) {
      const int64_t *second = node_ints(node, "perm", &count);
      for (int i = 0; i < rank; i++)
        if (perm[second[i]] != i) return false;
      return true;
    }
    bool moves = node->op == &op_elementwise || node->op == &op_concat || node->op == &op_pad || node->op == &op_slice;
    if (!moves || bound_to_axes(node)) return false;
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i] != moved && !has_unpermuted(node, i, rank, perm)) return false;
  }
  return false;
}

// The node as it works on what its operands were before.
static Status work_before(Rewrite *r, const Node *node, const int64_t *perm, Value **out) {
  int rank = node->outputs[0]->rank;
  Node *moved = rewrite_like(r, node);
  for (int i = 0; i < node->input_count; i++) {
    Value *operand = unpermuted(rewrite_graph(r), node, i, rank, perm);
    if (operand != node->inputs[i] && node->inputs[i]->producer) rewrite_cover(r, node->inputs[i]->producer);
    node_set_input(moved, i, operand);
  }
  if (node->op == &op_concat) node_set_int(moved, "axis", perm[node_int(node, "axis", 0)]);
  if (node->op == &op_pad) permute_dims(moved, "pads", rank, perm, 2);
  if (node->op == &op_slice) permute_slice(moved, rank, perm);
  *out = moved->outputs[0];
  return node_infer(moved);
}

static Node *add_transpose(Rewrite *r, Value *x, const int64_t *perm) {
  Node *node = rewrite_add(r, &op_transpose, 1, &x, 1);
  node_set_ints(node, "perm", perm, x->rank);
  return node;
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

const Rule rule_chain_as_reshape = {.name = "chain_as_reshape",
                                    .help = "transposes and reshapes that leave elements in their order are one reshape",
                                    .pattern = "transpose|reshape(x)",
                                    .exactness = EXACT,
                                    .apply = chain_as_reshape};
const Rule rule_expand_by_reader = {.name = "expand_by_reader",
                                    .help = "what works on broadcast operands broadcasts them itself",
                                    .pattern = "elementwise|rowwise(..., expand: expand(x), ...)",
                                    .exactness = EXACT,
                                    .root = reads_little,
                                    .apply = expand_by_reader};
const Rule rule_transposes_meet = {.name = "transposes_meet",
                                   .help = "transposes before and behind a node become one behind it",
                                   .pattern = "transpose(between: elementwise|concat|pad|slice(...)!)",
                                   .exactness = EXACT,
                                   .apply = transposes_meet};
const Rule rule_transpose_behind = {.name = "transpose_behind",
                                    .help = "a node whose operands are all transposed alike is transposed itself",
                                    .pattern = "elementwise|concat|pad|slice(..., transpose(x), ...)",
                                    .exactness = EXACT,
                                    .root = reads_little,
                                    .apply = transpose_behind};
