// Ensembles of decision trees. The core operator has inner nodes and leaves apart, in one numbering over all trees; the older ONNX
// operators have lists of nodes with the numbers of their trees beside them, and weights that name a node.
#include "base/map.h"
#include "onnx/ops/ml_scores.h"

static void copy_ints(Node *to, const char *as, const Node *from, const char *name) {
  int count;
  const int64_t *values = node_ints(from, name, &count);
  if (values) node_set_ints(to, as, values, count);
}

static Status tree_ensemble(Translation *t) {
  Builder b = translate_begin(t);
  const Node *a = t->attributes;
  static const char *const lists[][2] = {
      {"feature", "nodes_featureids"},       {"on_true", "nodes_truenodeids"},
      {"on_false", "nodes_falsenodeids"},    {"true_is_leaf", "nodes_trueleafs"},
      {"false_is_leaf", "nodes_falseleafs"}, {"missing_is_true", "nodes_missing_value_tracks_true"},
      {"target", "leaf_targetids"},          {"root", "tree_roots"},
  };
  static const char *const tensors[][2] = {
      {"split", "nodes_splits"}, {"weight", "leaf_weights"}, {"members", "membership_values"}};
  static const char *const transforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  int64_t transform = node_int(a, "post_transform", 0);
  if (transform < 0 || transform > 4) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "post_transform is %lld", (long long)transform);
  Node *node = node_start(&b, "trees", 1, t->inputs, 1);
  for (size_t i = 0; i < COUNT_OF(lists); i++) copy_ints(node, lists[i][0], a, lists[i][1]);
  for (size_t i = 0; i < COUNT_OF(tensors); i++)
    if (node_tensor(a, tensors[i][1])) node_set_tensor(node, tensors[i][0], node_tensor(a, tensors[i][1]));
  const Tensor *modes = node_tensor(a, "nodes_modes");
  int64_t count = modes ? tensor_count(modes) : 0, *values = arena_array(t->graph->arena, int64_t, (size_t)count + 1);
  for (int64_t i = 0; i < count; i++) values[i] = tensor_get_i(modes, i);
  node_set_ints(node, "mode", values, (int)count);
  node_set_int(node, "targets", node_int(a, "n_targets", 1));
  node_set_int(node, "aggregate", node_int(a, "aggregate_function", 1));
  t->outputs[0] = node_done(&b, node);
  TRY(ml_transform(t, &b, transforms[transform], &t->outputs[0]));
  return translate_end(t, &b);
}

// --- TreeEnsembleClassifier and TreeEnsembleRegressor

typedef struct Forest {
  int nodes, roots, weights;
  const int64_t *tree, *id, *feature, *on_true, *on_false, *missing;
  const char *const *mode;
  IntMap *places;   // tree and node number -> place in the lists, plus one
  int64_t *number;  // of each node among the inner ones or among the leaves
  int inner, leaves;
  const int64_t *weight_tree, *weight_id, *weight_target;
} Forest;

static bool is_leaf(const Forest *f, int i) { return strcmp(f->mode[i], "LEAF") == 0; }
static uint64_t node_key(int64_t tree, int64_t id) { return (uint64_t)tree << 32 ^ (uint64_t)id; }

static int place_of(const Forest *f, int64_t tree, int64_t id) {
  return (int)(intptr_t)int_map_get(f->places, node_key(tree, id)) - 1;
}

static Status take_ints(const Translation *t, const char *name, int *count, const int64_t **out) {
  int given;
  *out = node_ints(t->attributes, name, &given);
  if (*count < 0) *count = given;
  if (!*out || given != *count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s has %d values, expected %d", name, given, *count);
  return OK;
}

static Status read_forest(const Translation *t, const char *prefix, Forest *f) {
  Arena *arena = t->graph->arena;
  int modes, missing;
  f->nodes = f->weights = -1;
  TRY(take_ints(t, "nodes_treeids", &f->nodes, &f->tree));
  TRY(take_ints(t, "nodes_nodeids", &f->nodes, &f->id));
  TRY(take_ints(t, "nodes_featureids", &f->nodes, &f->feature));
  TRY(take_ints(t, "nodes_truenodeids", &f->nodes, &f->on_true));
  TRY(take_ints(t, "nodes_falsenodeids", &f->nodes, &f->on_false));
  f->missing = node_ints(t->attributes, "nodes_missing_value_tracks_true", &missing);
  f->mode = node_strings(t->attributes, "nodes_modes", &modes);
  if (modes != f->nodes || (f->missing && missing != f->nodes))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "nodes_modes has %d values, expected %d", modes, f->nodes);
  TRY(take_ints(t, arena_printf(arena, "%s_treeids", prefix), &f->weights, &f->weight_tree));
  TRY(take_ints(t, arena_printf(arena, "%s_nodeids", prefix), &f->weights, &f->weight_id));
  TRY(take_ints(t, arena_printf(arena, "%s_ids", prefix), &f->weights, &f->weight_target));
  f->places = int_map_new(arena);
  f->number = arena_array(arena, int64_t, (size_t)f->nodes + 1);
  for (int i = 0; i < f->nodes; i++) {
    if (place_of(f, f->tree[i], f->id[i]) >= 0)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "node %lld of tree %lld is there twice", (long long)f->id[i],
                     (long long)f->tree[i]);
    int_map_set(f->places, node_key(f->tree[i], f->id[i]), (void *)(intptr_t)(i + 1));
    f->number[i] = is_leaf(f, i) ? f->leaves++ : f->inner++;
  }
  return OK;
}

// Numbers of an attribute that comes as floats or as a tensor.
static Status take_numbers(const Translation *t, const char *name, int expected, Tensor **out) {
  int count;
  const double *values = node_floats(t->attributes, name, &count);
  *out = node_tensor(t->attributes, arena_printf(t->graph->arena, "%s_as_tensor", name));
  if (!*out) {
    *out = arena_new_of(t->graph->arena, Tensor);
    TRY(tensor_new(t->graph->arena, DTYPE_F32, 1, (int64_t[]){values ? count : 0}, *out));
    for (int i = 0; values && i < count; i++) tensor_set_f(*out, i, values[i]);
  }
  if (expected >= 0 && tensor_count(*out) != expected)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s has %lld values, expected %d", name, (long long)tensor_count(*out), expected);
  return OK;
}

static int mode_number(const char *name) {
  static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"};
  for (size_t i = 0; i < COUNT_OF(names); i++)
    if (strcmp(names[i], name) == 0) return (int)i;
  return -1;
}

typedef struct Lists {
  int64_t *feature, *mode, *next[2], *leaf[2], *missing, *root;  // next and leaf: where a test fails, where it holds
  Tensor *split;
} Lists;

static Status set_successor(const Translation *t, const Forest *f, int i, int side, bool *has_parent, Lists *lists) {
  int64_t id = side ? f->on_true[i] : f->on_false[i], at = f->number[i];
  int to = place_of(f, f->tree[i], id);
  if (to < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "tree %lld has no node %lld", (long long)f->tree[i], (long long)id);
  has_parent[to] = true;
  lists->next[side][at] = f->number[to];
  lists->leaf[side][at] = is_leaf(f, to);
  return OK;
}

// Roots are nodes that no other leads to. One that is a leaf gets a test before it whose outcome does not matter.
static void find_roots(Forest *f, const bool *has_parent, Lists *lists) {
  for (int i = 0; i < f->nodes; i++) {
    if (has_parent[i]) continue;
    if (is_leaf(f, i)) {
      for (int side = 0; side < 2; side++) {
        lists->next[side][f->inner] = f->number[i];
        lists->leaf[side][f->inner] = 1;
      }
      lists->root[f->roots++] = f->inner++;
    } else {
      lists->root[f->roots++] = f->number[i];
    }
  }
}

static Status fill_lists(const Translation *t, Forest *f, Lists *lists) {
  Arena *arena = t->graph->arena;
  size_t room = (size_t)f->nodes + 1;
  Tensor *values;
  int64_t *all[8];
  for (int i = 0; i < 8; i++) all[i] = arena_array(arena, int64_t, room);
  *lists = (Lists){all[0], all[1], {all[2], all[3]}, {all[4], all[5]}, all[6], all[7], arena_new_of(arena, Tensor)};
  TRY(take_numbers(t, "nodes_values", f->nodes, &values));
  TRY(tensor_new(arena, values->dtype, 1, (int64_t[]){f->nodes}, lists->split));
  bool *has_parent = arena_array(arena, bool, room);
  for (int i = 0; i < f->nodes; i++) {
    if (is_leaf(f, i)) continue;
    int64_t at = f->number[i];
    lists->feature[at] = f->feature[i];
    lists->mode[at] = mode_number(f->mode[i]);
    lists->missing[at] = f->missing ? f->missing[i] : 0;
    tensor_set_f(lists->split, at, tensor_get_f(values, i));
    if (lists->mode[at] < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "node %d has mode '%s'", i, f->mode[i]);
    for (int side = 0; side < 2; side++) TRY(set_successor(t, f, i, side, has_parent, lists));
  }
  find_roots(f, has_parent, lists);
  lists->split->dims[0] = f->inner;
  return OK;
}

// Weights in the order of their leaves.
static Status set_weights(const Translation *t, Node *node, const Forest *f, const char *name) {
  Arena *arena = t->graph->arena;
  Tensor *given, *sorted = arena_new_of(arena, Tensor);
  int64_t *first = arena_array(arena, int64_t, (size_t)f->leaves + 2),
          *target = arena_array(arena, int64_t, (size_t)f->weights + 1);
  TRY(take_numbers(t, name, f->weights, &given));
  TRY(tensor_new(arena, given->dtype, 1, (int64_t[]){f->weights}, sorted));
  for (int i = 0; i < f->weights; i++) {
    int place = place_of(f, f->weight_tree[i], f->weight_id[i]);
    if (place < 0 || !is_leaf(f, place)) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "weight %d belongs to no leaf", i);
    first[f->number[place] + 1]++;
  }
  for (int i = 0; i < f->leaves; i++) first[i + 1] += first[i];
  int64_t *next = arena_copy(arena, first, sizeof *first * ((size_t)f->leaves + 1));
  for (int i = 0; i < f->weights; i++) {
    int64_t at = next[f->number[place_of(f, f->weight_tree[i], f->weight_id[i])]]++;
    target[at] = f->weight_target[i];
    tensor_set_f(sorted, at, tensor_get_f(given, i));
  }
  node_set_ints(node, "leaf_first", first, f->leaves + 1);
  node_set_ints(node, "target", target, f->weights);
  node_set_tensor(node, "weight", sorted);
  return OK;
}

// The sums of the leaves' weights, [N, targets].
static Status forest_sums(Translation *t, Builder *b, const char *prefix, int64_t targets, int64_t aggregate, Forest *f,
                          Value **out) {
  Lists lists;
  Value *x = ml_matrix(t, b, true);
  TRY(translate_end(t, b));
  TRY(read_forest(t, prefix, f));
  TRY(fill_lists(t, f, &lists));
  Node *node = node_start(b, "trees", 1, &x, 1);
  node_set_ints(node, "feature", lists.feature, f->inner);
  node_set_ints(node, "mode", lists.mode, f->inner);
  node_set_ints(node, "on_true", lists.next[1], f->inner);
  node_set_ints(node, "on_false", lists.next[0], f->inner);
  node_set_ints(node, "true_is_leaf", lists.leaf[1], f->inner);
  node_set_ints(node, "false_is_leaf", lists.leaf[0], f->inner);
  node_set_ints(node, "missing_is_true", lists.missing, f->inner);
  node_set_ints(node, "root", lists.root, f->roots);
  node_set_tensor(node, "split", lists.split);
  TRY(set_weights(t, node, f, arena_printf(t->graph->arena, "%s_weights", prefix)));
  node_set_int(node, "targets", targets);
  node_set_int(node, "aggregate", aggregate);
  *out = build_cast(b, node_done(b, node), DTYPE_F32);
  return translate_end(t, b);
}

// Base values of all targets, or NULL.
static Status base_values(const Translation *t, Builder *b, int *count, Value **out) {
  Tensor *values;
  TRY(take_numbers(t, "base_values", -1, &values));
  *count = (int)tensor_count(values);
  *out = *count ? build_cast(b, build_constant(b, values), DTYPE_F32) : NULL;
  return OK;
}

static Status tree_regressor(Translation *t) {
  Builder b = translate_begin(t);
  static const char *const rules[] = {"AVERAGE", "SUM", "MIN", "MAX"};
  const char *rule = node_string(t->attributes, "aggregate_function", "SUM");
  int64_t targets = node_int(t->attributes, "n_targets", 1), aggregate = 1;
  for (int i = 0; i < 4; i++)
    if (strcmp(rules[i], rule) == 0) aggregate = i;
  Forest f = {0};
  Value *y = NULL, *base;
  int count;
  TRY(forest_sums(t, &b, "target", targets, aggregate, &f, &y));
  TRY(base_values(t, &b, &count, &base));
  if (count && count != targets) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "base_values has %d values", count);
  if (base) y = build_add(&b, y, base);
  TRY(ml_post_transform(t, &b, &y));
  t->outputs[0] = y;
  return translate_end(t, &b);
}

static Value *above(Builder *b, Value *score, double limit) {
  if (b->status || !score) return NULL;
  Program *p = program_new(b->graph->arena, 1);
  int x = program_input(p, 0, score->dtype);
  program_output(p, op2(p, OP_gt, x, constant_like(p, x, limit)));
  return build_squeeze(b, build_elementwise(b, p, 1, &score), (int64_t[]){1}, 1);
}

// Two classes of which all weights speak for one, as ONNX Runtime reads them: the score decides against a half where all weights are
// shares, else against zero. Of weights for the second class the first one's score is 0; of weights for the first the score is
// the second's, the first one's its complement or negative.
static Status binary_forest(Translation *t, Builder *b, const Forest *f, Value *scores, Value *labels, Value *base) {
  Tensor *weights;
  TRY(take_numbers(t, "class_weights", f->weights, &weights));
  bool shares = true, second = f->weight_target[0] == 1,
       probit = strcmp(node_string(t->attributes, "post_transform", ""), "PROBIT") == 0;
  for (int i = 0; i < f->weights; i++) shares &= tensor_get_f(weights, i) >= 0;
  if (base && (second || base->dims[0] != 1))
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED,
                   "base_values beside weights of one class: one value for weights of the first is supported");
  if (probit && !second) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "PROBIT of two classes that share one score is not supported");
  Value *score = build_slice_axis(b, scores, 1, second, 1);
  if (base) score = build_add(b, score, base);
  t->outputs[0] = ml_choose_label(b, above(b, score, shares ? 0.5 : 0), labels);
  if (second) TRY(ml_post_transform(t, b, &scores));
  else scores = ml_two_scores(t, b, score, shares ? SECOND_COMPLEMENT : SECOND_NEGATIVE);
  t->outputs[1] = scores;
  return translate_end(t, b);
}

static Status tree_classifier(Translation *t) {
  Builder b = translate_begin(t);
  Forest f = {0};
  Value *labels, *scores = NULL, *base;
  int base_count;
  TRY(ml_labels(t, &b, "classlabels_int64s", "classlabels_strings", &labels));
  if (!labels) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its class labels are missing");
  int64_t classes = labels->dims[0];
  TRY(forest_sums(t, &b, "class", classes, 1, &f, &scores));
  TRY(base_values(t, &b, &base_count, &base));
  if (base_count > 1 && base_count != classes) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "base_values has %d values", base_count);
  bool one_class = f.weights > 0;
  for (int i = 1; i < f.weights; i++) one_class &= f.weight_target[i] == f.weight_target[0];
  if (classes == 2 && one_class) return binary_forest(t, &b, &f, scores, labels, base);
  if (base) scores = build_add(&b, scores, base);
  t->outputs[0] = ml_best_label(&b, scores, labels);
  TRY(ml_post_transform(t, &b, &scores));
  t->outputs[1] = scores;
  return translate_end(t, &b);
}

const OnnxOp onnx_ml_tree_ops[] = {
    {"ai.onnx.ml", "TreeEnsemble", 5, 0, 1, 1, 1, 1, tree_ensemble},
    {"ai.onnx.ml", "TreeEnsembleClassifier", 1, 0, 1, 1, 2, 2, tree_classifier},
    {"ai.onnx.ml", "TreeEnsembleRegressor", 1, 0, 1, 1, 1, 1, tree_regressor},
    {0},
};
