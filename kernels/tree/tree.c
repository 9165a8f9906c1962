// trees: an ensemble of decision trees over the rows of x[N, F], giving y[N, targets]. A node tests one feature and goes on to a node
// or a leaf; every leaf adds its weight to a target, or, where `leaf_first` says so, a stretch of weights to a target each.
#include "kernels/tree/tree.h"
#include <math.h>
#include <string.h>
#include "kernels/meaning.h"

typedef enum TreeMode { TREE_LE, TREE_LT, TREE_GE, TREE_GT, TREE_EQ, TREE_NE, TREE_MEMBER } TreeMode;
typedef enum TreeSum { TREE_AVERAGE, TREE_SUM, TREE_MIN, TREE_MAX } TreeSum;

typedef struct Trees {
  int nodes, leaves, roots, weights;
  const int64_t *feature, *mode, *on_true, *on_false, *true_is_leaf, *false_is_leaf, *missing_is_true, *target, *root,
      *leaf_first;
  const Tensor *split, *weight, *members;
  int64_t *member_start;  // of each node; lists end with NaN
  int64_t targets;
} Trees;

static Status read_list(const Node *node, const char *name, int count, bool required, const int64_t **out) {
  int given;
  *out = node_ints(node, name, &given);
  if (*out ? given != count : required) FAIL(ERROR_INVALID_MODEL, "%s has %d values, expected %d", name, given, count);
  return OK;
}

// Both successors of a node must exist, and nodes must come before their successors' turn to be visited: no cycles.
static Status check_successors(const Trees *trees) {
  for (int i = 0; i < trees->nodes; i++) {
    for (int side = 0; side < 2; side++) {
      int64_t next = side ? trees->on_true[i] : trees->on_false[i],
              leaf = side ? trees->true_is_leaf[i] : trees->false_is_leaf[i];
      if (next < 0 || next >= (leaf ? trees->leaves : trees->nodes))
        FAIL(ERROR_INVALID_MODEL, "node %d leads to %lld", i, (long long)next);
    }
    if (trees->feature[i] < 0 || trees->mode[i] < TREE_LE || trees->mode[i] > TREE_MEMBER)
      FAIL(ERROR_INVALID_MODEL, "node %d is malformed", i);
  }
  return OK;
}

static Status read_members(const Node *node, Arena *arena, Trees *trees) {
  trees->members = node_tensor(node, "members");
  trees->member_start = arena_array(arena, int64_t, (size_t)trees->nodes + 1);
  int64_t at = 0, count = trees->members ? tensor_count(trees->members) : 0;
  for (int i = 0; i < trees->nodes; i++) {
    if (trees->mode[i] != TREE_MEMBER) continue;
    trees->member_start[i] = at;
    while (at < count && !isnan(tensor_get_f(trees->members, at))) at++;
    if (at++ >= count) FAIL(ERROR_INVALID_MODEL, "node %d has no list of members", i);
  }
  return OK;
}

static Status read_trees(const Node *node, Arena *arena, Trees *trees) {
  trees->feature = node_ints(node, "feature", &trees->nodes);
  trees->target = node_ints(node, "target", &trees->weights);
  trees->leaf_first = node_ints(node, "leaf_first", &trees->leaves);
  trees->leaves = trees->leaf_first ? trees->leaves - 1 : trees->weights;
  trees->root = node_ints(node, "root", &trees->roots);
  trees->split = node_tensor(node, "split");
  trees->weight = node_tensor(node, "weight");
  trees->targets = node_int(node, "targets", 1);
  TRY(read_list(node, "mode", trees->nodes, true, &trees->mode));
  TRY(read_list(node, "on_true", trees->nodes, true, &trees->on_true));
  TRY(read_list(node, "on_false", trees->nodes, true, &trees->on_false));
  TRY(read_list(node, "true_is_leaf", trees->nodes, true, &trees->true_is_leaf));
  TRY(read_list(node, "false_is_leaf", trees->nodes, true, &trees->false_is_leaf));
  TRY(read_list(node, "missing_is_true", trees->nodes, false, &trees->missing_is_true));
  if (!trees->split || !trees->weight || tensor_count(trees->split) != trees->nodes ||
      tensor_count(trees->weight) != trees->weights)
    FAIL(ERROR_INVALID_MODEL, "splits or weights are missing");
  for (int i = 0; trees->leaf_first && i < trees->leaves; i++)
    if (trees->leaf_first[i] < 0 || trees->leaf_first[i + 1] < trees->leaf_first[i] ||
        trees->leaf_first[i + 1] > trees->weights)
      FAIL(ERROR_INVALID_MODEL, "the weights of leaf %d are out of range", i);
  for (int i = 0; i < trees->weights; i++)
    if (trees->target[i] < 0 || trees->target[i] >= trees->targets)
      FAIL(ERROR_INVALID_MODEL, "weight %d has target %lld", i, (long long)trees->target[i]);
  for (int i = 0; i < trees->roots; i++)
    if (trees->root[i] < 0 || trees->root[i] >= trees->nodes)
      FAIL(ERROR_INVALID_MODEL, "root %d is %lld", i, (long long)trees->root[i]);
  TRY(check_successors(trees));
  return read_members(node, arena, trees);
}

static Status infer_trees(Node *node) {
  Value *x;
  Trees trees;
  TRY(meaning_require_rank(node, 0, 2, &x));
  TRY(read_trees(node, node->graph->arena, &trees));
  if (trees.targets < 1 || trees.targets > 1 << 24) FAIL(ERROR_INVALID_MODEL, "it has %lld targets", (long long)trees.targets);
  value_set_type(node->outputs[0], x->dtype, 2, (Dim[]){x->dims[0], trees.targets});
  return OK;
}

static bool goes_true(const Trees *trees, int64_t at, double value) {
  if (isnan(value) && trees->missing_is_true && trees->missing_is_true[at]) return true;
  double split = tensor_get_f(trees->split, at);
  switch ((TreeMode)trees->mode[at]) {
    case TREE_LE: return value <= split;
    case TREE_LT: return value < split;
    case TREE_GE: return value >= split;
    case TREE_GT: return value > split;
    case TREE_EQ: return value == split;
    case TREE_NE: return value != split;
    case TREE_MEMBER: break;
  }
  for (int64_t i = trees->member_start[at];; i++) {
    double member = tensor_get_f(trees->members, i);
    if (isnan(member)) return false;
    if (member == value) return true;
  }
}

// The leaf a row ends in; -1 where the way does not end.
static int64_t find_leaf(const Trees *trees, const Tensor *x, int64_t row, int64_t at) {
  int64_t features = x->dims[1];
  for (int steps = 0; steps <= trees->nodes; steps++) {
    if (trees->feature[at] >= features) return -1;
    bool yes = goes_true(trees, at, tensor_get_f(x, row * features + trees->feature[at]));
    bool leaf = (yes ? trees->true_is_leaf[at] : trees->false_is_leaf[at]) != 0;
    at = yes ? trees->on_true[at] : trees->on_false[at];
    if (leaf) return at;
  }
  return -1;
}

typedef struct Sums {
  TreeSum rule;
  double *values;  // of each target
  bool *seen;
} Sums;

static void add_leaf(const Trees *trees, int64_t leaf, Sums *sums) {
  int64_t first = trees->leaf_first ? trees->leaf_first[leaf] : leaf;
  int64_t end = trees->leaf_first ? trees->leaf_first[leaf + 1] : leaf + 1;
  for (int64_t i = first; i < end; i++) {
    int64_t target = trees->target[i];
    double weight = tensor_get_f(trees->weight, i), *sum = &sums->values[target];
    bool fresh = !sums->seen[target];
    sums->seen[target] = true;
    if (sums->rule == TREE_MIN) *sum = fresh ? weight : fmin(*sum, weight);
    else if (sums->rule == TREE_MAX) *sum = fresh ? weight : fmax(*sum, weight);
    else *sum += weight;
  }
}

static Status run_trees(Reference *r) {
  const Tensor *x = r->inputs[0];
  Trees trees;
  TRY(read_trees(r->node, r->arena, &trees));
  Sums sums = {.rule = (TreeSum)node_int(r->node, "aggregate", TREE_SUM)};
  int64_t rows = x->dims[0], targets = trees.targets;
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, 2, (int64_t[]){rows, targets}, &out));
  sums.values = arena_array(r->arena, double, (size_t)targets);
  sums.seen = arena_array(r->arena, bool, (size_t)targets);
  for (int64_t row = 0; row < rows; row++) {
    memset(sums.values, 0, sizeof *sums.values * (size_t)targets);
    memset(sums.seen, 0, (size_t)targets);
    for (int i = 0; i < trees.roots; i++) {
      int64_t leaf = find_leaf(&trees, x, row, trees.root[i]);
      if (leaf < 0) FAIL(ERROR_INVALID_MODEL, "tree %d has no leaf for row %lld", i, (long long)row);
      add_leaf(&trees, leaf, &sums);
    }
    double divisor = sums.rule == TREE_AVERAGE && trees.roots ? trees.roots : 1;
    for (int64_t k = 0; k < targets; k++) tensor_set_f(out, row * targets + k, sums.values[k] / divisor);
  }
  return OK;
}

static const AttributeSpec attributes[] = {{"feature", ATTR_INTS, true},          {"mode", ATTR_INTS, true},
                                           {"on_true", ATTR_INTS, true},          {"on_false", ATTR_INTS, true},
                                           {"true_is_leaf", ATTR_INTS, true},     {"false_is_leaf", ATTR_INTS, true},
                                           {"target", ATTR_INTS, true},           {"root", ATTR_INTS, true},
                                           {"missing_is_true", ATTR_INTS, false}, {"split", ATTR_TENSOR, true},
                                           {"weight", ATTR_TENSOR, true},         {"members", ATTR_TENSOR, false},
                                           {"targets", ATTR_INTS, false},         {"aggregate", ATTR_INTS, false},
                                           {"leaf_first", ATTR_INTS, false},      {0}};
const OpDef op_trees = {
    "trees", "an ensemble of decision trees", 1, 1, 1, 1, attributes, infer_trees, run_trees, .exact_values = true};
