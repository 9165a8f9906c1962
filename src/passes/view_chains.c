// Rules over chains of views: one that leaves all elements in their order is a reshape, whatever it does on its way. Also broadcasts that a pointwise
// node does by itself. All move the same elements to the same places. They belong to simplify_views.
#include <string.h>

#include "base/checked.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/views.h"

enum { LONGEST_CHAIN = 8 };

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

// Axes change places; false where one is not there as it was: repeated, cut, or walked in steps.
static bool move_strided(Strided *view, const Value *x, const Value *y, const ViewMap *map) {
  Strided before = *view;
  int place[MAX_RANK], kept = 0;
  for (int i = 0; i < x->rank; i++) place[i] = x->dims[i] == 1 ? -1 : kept++;
  view->rank = 0;
  for (int i = 0; i < y->rank; i++) {
    const ViewAxis *axis = &map->axes[i];
    if (y->dims[i] == 1) continue;
    if (axis->source < 0 || axis->start != 0 || axis->step != 1 || x->dims[axis->source] != y->dims[i]) return false;
    view->dims[view->rank] = before.dims[place[axis->source]];
    view->strides[view->rank++] = before.strides[place[axis->source]];
  }
  return view->rank == before.rank;
}

static bool grow(DimTable *table, const Dim *dims, int count, int *end, Dim *size) {
  if (*end == count || dims[*end] == 0) return false;
  *size = dim_mul(table, *size, dims[(*end)++]);
  return true;
}

// Of two products of sizes the one that others must still join; 0: which one is open.
static int shorter(DimTable *table, Dim a, Dim b) {
  if (dim_is_static(a) && dim_is_static(b)) return a < b ? 1 : 2;
  return dim_mod(table, b, a) == 0 ? 1 : dim_mod(table, a, b) == 0 ? 2 : 0;
}

// Axes are merged where they follow one another in memory, and split; false where it takes moving elements, or what belongs together is open.
static bool reshape_strided(DimTable *table, Strided *view, int rank, const Dim *dims) {
  Strided out = {.rank = without_ones(rank, dims, out.dims)};
  int i = 0, k = 0;
  while (i < view->rank && k < out.rank) {
    int i_end = i + 1, k_end = k + 1;
    Dim from = view->dims[i], to = out.dims[k];
    while (from != to) {
      int side = shorter(table, from, to);
      if (!side ||
          !(side == 1 ? grow(table, view->dims, view->rank, &i_end, &from) : grow(table, out.dims, out.rank, &k_end, &to)))
        return false;
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
    ViewMap map = {0};
    chain[i]->op->view(chain[i], &map);
    if (!(map.regroups ? reshape_strided(table, &view, out->rank, out->dims) : move_strided(&view, in, out, &map)))
      return false;
  }
  return in_order(table, &view);
}

bool view_keeps_elements(const Node *node) {
  const Value *x = node->inputs[0], *y = node->outputs[0];
  ViewMap map = {0};
  node->op->view(node, &map);
  Strided view = row_major(node->graph->dims, x);
  return map.regroups || move_strided(&view, x, y, &map);
}

// Whether axes change places, those of one element too.
static bool reorders(const Node *view) {
  ViewMap map = {0};
  int last = -1;
  bool ascend = true;
  view->op->view(view, &map);
  for (int i = 0; i < view->outputs[0]->rank && !map.regroups; i++) {
    if (map.axes[i].source < 0) continue;
    ascend = ascend && map.axes[i].source > last;
    last = map.axes[i].source;
  }
  return !ascend;
}

// The longest chain that ends here and keeps the order; what has nothing in it that would change it is none.
static Status chain_as_reshape(Rewrite *r) {
  Node *chain[LONGEST_CHAIN] = {matched(r, "root")};
  int longest = 0, count = 1;
  bool moves = false;
  for (Node *next = chain[0]; next && next->op->view && count <= LONGEST_CHAIN; next = next->inputs[0]->producer, count++) {
    chain[count - 1] = next;
    moves = moves || reorders(next);
    if (moves && keeps_order(rewrite_graph(r)->dims, chain, count)) longest = count;
  }
  WANT(longest, "elements change places");
  for (int i = 1; i < longest; i++) rewrite_cover(r, chain[i]);
  const Value *out = chain[0]->outputs[0];
  Node *reshape = rewrite_add(r, &op_reshape, 1, chain[longest - 1]->inputs, 1);
  node_set_dims(reshape, "dims", out->dims, out->rank);
  return rewrite_root_by(r, reshape);
}

// Axes of one element come in front of all others.
static bool only_puts_ones_in_front(const Value *x, const Value *shaped) {
  int more = shaped->rank - x->rank;
  for (int i = 0; i < more; i++)
    if (shaped->dims[i] != 1) return false;
  return more >= 0 && !memcmp(shaped->dims + more, x->dims, (size_t)x->rank * sizeof *x->dims);
}

// What programs do to their operands themselves: axes are aligned at the last one, and those of one element repeat it.
static bool only_broadcasts(const Node *node) {
  const Value *x = node->inputs[0], *y = node->outputs[0];
  ViewMap map = {0};
  int more = y->rank - x->rank;
  node->op->view(node, &map);
  if (map.regroups) return only_puts_ones_in_front(x, y);
  for (int i = 0; i < y->rank; i++) {
    const ViewAxis *axis = &map.axes[i];
    if (axis->source >= 0 && (axis->source != i - more || axis->start != 0 || axis->step != 1)) return false;
  }
  return more >= 0;
}

static Status expand_by_reader(Rewrite *r) {
  Node *root = matched(r, "root");
  Value *x = operand(r, "x"), *expanded = matched(r, "view")->outputs[0];
  Dim domain[MAX_RANK];
  WANT(only_broadcasts(matched(r, "view")), "it does more than to broadcast");
  for (int i = 0; i < x->rank; i++)
    WANT(x->dims[i] == 1 || x->dims[i] == expanded->dims[expanded->rank - x->rank + i], "whether it is broadcast is open");
  Node *reader = rewrite_like(r, root);
  for (int i = 0; i < root->input_count; i++)
    if (root->inputs[i] == expanded) node_set_input(reader, i, x);
  WANT(has_domain(reader, node_domain(root, domain), domain), "no other operand has its shape");
  return rewrite_root_by(r, reader);
}

const Rule rule_chain_as_reshape = {.name = "chain_as_reshape",
                                    .help = "views that leave all elements in their order are one reshape",
                                    .pattern = "@view(x)",
                                    .exactness = EXACT,
                                    .apply = chain_as_reshape};
const Rule rule_expand_by_reader = {.name = "expand_by_reader",
                                    .help = "what works on broadcast operands broadcasts them itself",
                                    .pattern = "@program(..., view: @view(x), ...)",
                                    .exactness = EXACT,
                                    .root = reads_little,
                                    .apply = expand_by_reader};
