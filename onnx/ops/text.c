// Operators on strings, and the tables and trees of ai.onnx.ml. They run on the host.
#include "onnx/ops/common.h"

static void copy_ints(Node *to, const char *as, const Node *from, const char *name) {
  int count;
  const int64_t *values = node_ints(from, name, &count);
  if (values) node_set_ints(to, as, values, count);
}

static void copy_strings(Node *to, const char *as, const Node *from, const char *name) {
  int count;
  const char *const *values = node_strings(from, name, &count);
  if (values) node_set_strings(to, as, values, count);
}

static Status string_concat(Translation *t) {
  Builder b = translate_begin(t);
  t->outputs[0] = node_done(&b, node_start(&b, "string_concat", 2, t->inputs, 1));
  return translate_end(t, &b);
}

static Status string_split(Translation *t) {
  Builder b = translate_begin(t);
  Node *node = node_start(&b, "string_split", 1, t->inputs, 2);
  node_set_string(node, "delimiter", node_string(t->attributes, "delimiter", ""));
  node_set_int(node, "limit", node_int(t->attributes, "maxsplit", -1));
  t->outputs[0] = node_done(&b, node);
  if (t->outputs[0] && translate_wants(t, 1)) t->outputs[1] = build_output(t->outputs[0], 1);
  return translate_end(t, &b);
}

static Status string_normalizer(Translation *t) {
  Builder b = translate_begin(t);
  Node *node = node_start(&b, "string_normalize", 1, t->inputs, 1);
  node_set_string(node, "case", node_string(t->attributes, "case_change_action", "NONE"));
  node_set_int(node, "case_sensitive", node_int(t->attributes, "is_case_sensitive", 0));
  copy_strings(node, "stopwords", t->attributes, "stopwords");
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

static Status regex_full_match(Translation *t) {
  Builder b = translate_begin(t);
  Node *node = node_start(&b, "string_match", 1, t->inputs, 1);
  node_set_string(node, "pattern", node_string(t->attributes, "pattern", ""));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

static Status tfidf_vectorizer(Translation *t) {
  Builder b = translate_begin(t);
  const Node *a = t->attributes;
  Node *node = node_start(&b, "ngrams", 1, t->inputs, 1);
  copy_ints(node, "numbers", a, "pool_int64s");
  copy_strings(node, "strings", a, "pool_strings");
  copy_ints(node, "starts", a, "ngram_counts");
  copy_ints(node, "places", a, "ngram_indexes");
  int count;
  const double *weights = node_floats(a, "weights", &count);
  if (weights) node_set_floats(node, "weights", weights, count);
  node_set_string(node, "mode", node_string(a, "mode", "TF"));
  node_set_int(node, "min", node_int(a, "min_gram_length", 1));
  node_set_int(node, "max", node_int(a, "max_gram_length", 1));
  node_set_int(node, "skip", node_int(a, "max_skip_count", 0));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

// The list that an attribute like keys_int64s, keys_floats, keys_strings or keys_tensor holds, as a tensor. NULL where none is there.
static Status list_of(Translation *t, const char *prefix, Tensor **out) {
  static const struct {
    const char *suffix;
    DType dtype;
  } kinds[] = {{"int64s", DTYPE_I64}, {"int64", DTYPE_I64},      {"floats", DTYPE_F32},
               {"float", DTYPE_F32},  {"strings", DTYPE_STRING}, {"string", DTYPE_STRING}};
  Arena *arena = t->graph->arena;
  *out = node_tensor(t->attributes, arena_printf(arena, "%s_tensor", prefix));
  for (size_t k = 0; k < COUNT_OF(kinds) && !*out; k++) {
    const Attribute *attribute = node_attribute(t->attributes, arena_printf(arena, "%s_%s", prefix, kinds[k].suffix));
    if (!attribute) continue;
    int64_t count = attribute->kind == ATTR_STRING ? 1 : attribute->count;
    *out = arena_new_of(arena, Tensor);
    TRY(tensor_new(arena, kinds[k].dtype, 1, &count, *out));
    for (int64_t i = 0; i < count; i++) {
      if (attribute->kind == ATTR_INTS) tensor_set_i(*out, i, attribute->ints[i]);
      else if (attribute->kind == ATTR_FLOATS) tensor_set_f(*out, i, attribute->floats[i]);
      else if (attribute->kind == ATTR_STRINGS) ((const char **)(*out)->data)[i] = attribute->strings[i];
      else if (attribute->kind == ATTR_STRING) ((const char **)(*out)->data)[i] = attribute->string;
      else TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "attribute '%s' is of another kind", attribute->name);
    }
  }
  return OK;
}

static Status label_encoder(Translation *t) {
  Builder b = translate_begin(t);
  Tensor *keys, *values, *otherwise;
  TRY(list_of(t, "keys", &keys));
  TRY(list_of(t, "values", &values));
  if (!keys || !values) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its keys or values are missing");
  TRY(list_of(t, "default", &otherwise));
  if (!otherwise || otherwise->dtype != values->dtype) {
    otherwise = arena_new_of(t->graph->arena, Tensor);
    TRY(tensor_new(t->graph->arena, values->dtype, 1, (int64_t[]){1}, otherwise));
    if (values->dtype == DTYPE_STRING) ((const char **)otherwise->data)[0] = "_Unused";
    else tensor_set_f(otherwise, 0, dtype_is_float(values->dtype) ? -0.0 : -1);
  }
  Node *node = node_start(&b, "lookup", 1, t->inputs, 1);
  node_set_tensor(node, "keys", keys);
  node_set_tensor(node, "values", values);
  node_set_tensor(node, "default", otherwise);
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
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
  if (node_int(a, "post_transform", 0) != 0) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "post_transform is set");
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
  return translate_end(t, &b);
}

const OnnxOp onnx_text_ops[] = {
    {"", "StringConcat", 20, 0, 2, 2, 1, 1, string_concat},
    {"", "StringSplit", 20, 0, 1, 1, 1, 2, string_split},
    {"", "StringNormalizer", 10, 0, 1, 1, 1, 1, string_normalizer},
    {"", "RegexFullMatch", 20, 0, 1, 1, 1, 1, regex_full_match},
    {"", "TfIdfVectorizer", 9, 0, 1, 1, 1, 1, tfidf_vectorizer},
    {"ai.onnx.ml", "LabelEncoder", 2, 0, 1, 1, 1, 1, label_encoder},
    {"ai.onnx.ml", "TreeEnsemble", 5, 0, 1, 1, 1, 1, tree_ensemble},
    {0},
};
