// Encoders of ai.onnx.ml: categories to numbers and back, columns put together.
#include "onnx/ops/ml_scores.h"

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

static Value *lookup(Builder *b, Value *x, Tensor *keys, Tensor *values, Tensor *otherwise) {
  Node *node = node_start(b, "lookup", 1, &x, 1);
  node_set_tensor(node, "keys", keys);
  node_set_tensor(node, "values", values);
  node_set_tensor(node, "default", otherwise);
  return node_done(b, node);
}

static Status new_vector(Translation *t, DType dtype, int64_t count, Tensor **out) {
  *out = arena_new_of(t->graph->arena, Tensor);
  return tensor_new(t->graph->arena, dtype, 1, &count, *out);
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
  t->outputs[0] = lookup(&b, t->inputs[0], keys, values, otherwise);
  return translate_end(t, &b);
}

// Strings to numbers or numbers to strings, whichever the input is not, by lists of both.
static Status two_way(Translation *t, const char *numbers_name, const char *strings_name) {
  Builder b = translate_begin(t);
  bool from_strings = t->inputs[0]->dtype == DTYPE_STRING;
  int count, number_count;
  const char *const *names = node_strings(t->attributes, strings_name, &count);
  const int64_t *given = numbers_name ? node_ints(t->attributes, numbers_name, &number_count) : NULL;
  if (!names || (numbers_name && (!given || number_count != count)))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its categories are missing or differ in number");
  Tensor *strings, *numbers, *otherwise;
  TRY(new_vector(t, DTYPE_STRING, count, &strings));
  memcpy(strings->data, names, sizeof *names * (size_t)count);
  TRY(new_vector(t, DTYPE_I64, count, &numbers));
  for (int i = 0; i < count; i++) tensor_set_i(numbers, i, given ? given[i] : i);
  TRY(new_vector(t, from_strings ? DTYPE_I64 : DTYPE_STRING, 1, &otherwise));
  if (from_strings) tensor_set_i(otherwise, 0, node_int(t->attributes, "default_int64", -1));
  else ((const char **)otherwise->data)[0] = node_string(t->attributes, "default_string", "_Unused");
  t->outputs[0] = lookup(&b, t->inputs[0], from_strings ? strings : numbers, from_strings ? numbers : strings, otherwise);
  return translate_end(t, &b);
}

static Status category_mapper(Translation *t) { return two_way(t, "cats_int64s", "cats_strings"); }
static Status label_encoder_old(Translation *t) { return two_way(t, NULL, "classes_strings"); }

// The row of an identity matrix that belongs to the category. A category that is not listed is a row of zeros, or, without `zeros`, an
// index out of range, which the run reports.
static Status one_hot_encoder(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  Tensor *keys, *places, *otherwise, *rows = arena_new_of(t->graph->arena, Tensor);
  TRY(list_of(t, "cats", &keys));
  if (!keys) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its categories are missing");
  int64_t count = tensor_count(keys), zeros = node_int(t->attributes, "zeros", 1) != 0;
  if (x->dtype != DTYPE_STRING) x = build_cast(&b, x, DTYPE_I64);
  TRY(new_vector(t, DTYPE_I64, count, &places));
  for (int64_t i = 0; i < count; i++) tensor_set_i(places, i, i);
  TRY(new_vector(t, DTYPE_I64, 1, &otherwise));
  tensor_set_i(otherwise, 0, count);
  TRY(tensor_new(t->graph->arena, DTYPE_F32, 2, (int64_t[]){count + zeros, count}, rows));
  for (int64_t i = 0; i < count; i++) tensor_set_f(rows, i * count + i, 1);
  TRY(translate_end(t, &b));
  t->outputs[0] = build_gather(&b, build_constant(&b, rows), lookup(&b, x, keys, places, otherwise), 0);
  return translate_end(t, &b);
}

// Columns side by side, each input cut or filled with zeros to its given width.
static Status feature_vectorizer(Translation *t) {
  Builder b = translate_begin(t);
  int count;
  const int64_t *widths = node_ints(t->attributes, "inputdimensions", &count);
  TRY(check_present(t));
  if (widths && count != t->input_count)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "inputdimensions has %d values for %d inputs", count, t->input_count);
  Value **parts = arena_array(t->graph->arena, Value *, (size_t)t->input_count);
  for (int i = 0; i < t->input_count; i++) {
    Value *x = build_cast(&b, t->inputs[i], DTYPE_F32);
    if (x && x->rank == 1) x = build_unsqueeze(&b, x, (int64_t[]){t->input_count == 1 ? 0 : 1}, 1);
    if (x && x->rank != 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d has rank %d, expected 1 or 2", i, x->rank);
    TRY(translate_end(t, &b));
    if (widths && dim_is_static(x->dims[1]) && widths[i] < x->dims[1] && widths[i] >= 0)
      x = build_slice_axis(&b, x, 1, 0, widths[i]);
    else if (widths && dim_is_static(x->dims[1]) && widths[i] > x->dims[1])
      x = build_concat2(&b, x, build_fill(&b, DTYPE_F32, 0, 2, (Dim[]){x->dims[0], widths[i] - x->dims[1]}), 1);
    parts[i] = x;
  }
  t->outputs[0] = build_concat(&b, t->input_count, parts, 1);
  return translate_end(t, &b);
}

// Maps have no form here: models that end in them are exported without (skl2onnx: zipmap=False), and give the tensor of scores.
static Status maps(Translation *t) {
  TRANSLATE_FAIL(
      t, ERROR_UNSUPPORTED, "%s",
      strcmp(t->op_type, "ZipMap") == 0
          ? "it makes a sequence of maps, which is not supported: export the model without it (skl2onnx: zipmap=False)"
          : "it takes maps, which are not supported");
}

const OnnxOp onnx_ml_encode_ops[] = {
    {"ai.onnx.ml", "LabelEncoder", 1, 1, 1, 1, 1, 1, label_encoder_old},
    {"ai.onnx.ml", "LabelEncoder", 2, 0, 1, 1, 1, 1, label_encoder},
    {"ai.onnx.ml", "CategoryMapper", 1, 0, 1, 1, 1, 1, category_mapper},
    {"ai.onnx.ml", "OneHotEncoder", 1, 0, 1, 1, 1, 1, one_hot_encoder},
    {"ai.onnx.ml", "FeatureVectorizer", 1, 0, 1, -1, 1, 1, feature_vectorizer},
    {"ai.onnx.ml", "ZipMap", 1, 0, 1, 1, 1, 1, maps},
    {"ai.onnx.ml", "DictVectorizer", 1, 0, 1, 1, 1, 1, maps},
    {"ai.onnx.ml", "CastMap", 1, 0, 1, 1, 1, 1, maps},
    {0},
};
