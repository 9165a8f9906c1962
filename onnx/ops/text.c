// Operators on strings. They run on the host.
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

const OnnxOp onnx_text_ops[] = {
    {"", "StringConcat", 20, 0, 2, 2, 1, 1, string_concat},         {"", "StringSplit", 20, 0, 1, 1, 1, 2, string_split},
    {"", "StringNormalizer", 10, 0, 1, 1, 1, 1, string_normalizer}, {"", "RegexFullMatch", 20, 0, 1, 1, 1, 1, regex_full_match},
    {"", "TfIdfVectorizer", 9, 0, 1, 1, 1, 1, tfidf_vectorizer},    {0},
};
