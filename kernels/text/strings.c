// Strings joined, compared, split and cleaned. An element is a pointer to bytes in the arena of the tensor it was made for; case is
// changed for ASCII letters alone, so that results do not depend on the machine's locale.
#include "kernels/text/strings.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "kernels/meaning.h"

static const char *text_at(const Tensor *tensor, int64_t index) {
  const char *text = ((const char *const *)tensor->data)[index];
  return text ? text : "";
}

static void put_text(Tensor *tensor, int64_t index, const char *text) { ((const char **)tensor->data)[index] = text; }

static Status require_strings(const Node *node, int index, Value **out) {
  TRY(meaning_require(node, index, out));
  if ((*out)->dtype != DTYPE_STRING)
    FAIL(ERROR_INVALID_MODEL, "input %d is %s, expected strings", index, dtype_name((*out)->dtype));
  return OK;
}

// --- Two strings to one, or to a bool, with numpy's broadcasting

static Status infer_pair(Node *node, DType result) {
  Value *x, *y;
  TRY(require_strings(node, 0, &x));
  TRY(require_strings(node, 1, &y));
  int rank = MAX(x->rank, y->rank);
  Dim dims[MAX_RANK];
  for (int i = 0; i < rank; i++) {
    int from_x = i - (rank - x->rank), from_y = i - (rank - y->rank);
    TRY(meaning_broadcast_dim(node, from_x >= 0 ? x->dims[from_x] : 1, from_y >= 0 ? y->dims[from_y] : 1, &dims[i]));
  }
  value_set_type(node->outputs[0], result, rank, dims);
  return OK;
}

static Status infer_concat(Node *node) { return infer_pair(node, DTYPE_STRING); }
static Status infer_equal(Node *node) { return infer_pair(node, DTYPE_BOOL); }

static int64_t broadcast_index(const Tensor *tensor, int rank, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < tensor->rank; i++) {
    int64_t here = index[i + rank - tensor->rank];
    at = at * tensor->dims[i] + (tensor->dims[i] == 1 ? 0 : here);
  }
  return at;
}

static Status run_pair(Reference *r, bool joins) {
  const Tensor *x = r->inputs[0], *y = r->inputs[1];
  int rank = MAX(x->rank, y->rank);
  int64_t dims[MAX_RANK], index[MAX_RANK] = {0}, n = 0;
  for (int i = 0; i < rank; i++) {
    int64_t a = i - (rank - x->rank) >= 0 ? x->dims[i - (rank - x->rank)] : 1;
    int64_t b = i - (rank - y->rank) >= 0 ? y->dims[i - (rank - y->rank)] : 1;
    if (a != b && a != 1 && b != 1)
      FAIL(ERROR_INVALID_MODEL, "sizes %lld and %lld do not broadcast", (long long)a, (long long)b);
    dims[i] = a == 1 ? b : a;
  }
  Tensor *out;
  TRY(reference_output(r, 0, joins ? DTYPE_STRING : DTYPE_BOOL, rank, dims, &out));
  if (dims_count(rank, dims) == 0) return OK;
  do {
    const char *a = text_at(x, broadcast_index(x, rank, index)), *b = text_at(y, broadcast_index(y, rank, index));
    if (joins) put_text(out, n, arena_printf(r->arena, "%s%s", a, b));
    else ((uint8_t *)out->data)[n] = strcmp(a, b) == 0;
    n++;
  } while (index_next(rank, dims, index));
  return OK;
}

static Status run_concat(Reference *r) { return run_pair(r, true); }
static Status run_equal(Reference *r) { return run_pair(r, false); }

const OpDef op_string_concat = {
    "string_concat", "each string of x followed by one of y", 2, 2, 1, 1, .infer = infer_concat, .reference = run_concat};
const OpDef op_string_equal = {"string_equal",       "whether strings are equal", 2, 2, 1, 1,
                               .infer = infer_equal, .reference = run_equal};

// --- Splitting

static Status infer_split(Node *node) {
  Value *x;
  TRY(require_strings(node, 0, &x));
  if (x->rank >= MAX_RANK) FAIL(ERROR_UNSUPPORTED, "its input has rank %d", x->rank);
  Dim dims[MAX_RANK];
  memcpy(dims, x->dims, sizeof *dims * (size_t)x->rank);
  dims[x->rank] = meaning_data_dim(node, 0, DTYPE_STRING, x->rank + 1, x->rank, "parts");
  value_set_type(node->outputs[0], DTYPE_STRING, x->rank + 1, dims);
  value_set_type(node->outputs[1], DTYPE_I64, x->rank, x->dims);
  return OK;
}

typedef struct Parts {
  const char **items;
  uint32_t count, capacity;
} Parts;

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// delimiter "": runs of white space separate, and there are none at the ends. limit < 0: no limit on the cuts.
static void split_text(Arena *arena, const char *text, const char *delimiter, int64_t limit, Parts *parts) {
  size_t width = strlen(delimiter);
  int64_t cuts = 0;
  for (;;) {
    if (!width)
      while (is_space(*text)) text++;
    if (!width && !*text) return;
    const char *end = text;
    if (limit >= 0 && cuts >= limit) end = NULL;
    else if (width) end = strstr(text, delimiter);
    else
      while (*end && !is_space(*end)) end++;
    bool last = !end || !*end;
    size_t length = end ? (size_t)(end - text) : strlen(text);
    if (!width && !end)
      while (length && is_space(text[length - 1])) length--;
    *ARENA_PUSH(arena, parts->items, parts->count, parts->capacity) = arena_string_n(arena, text, length);
    if (last && (!width || !end)) return;
    text = end + (width ? width : 1);
    cuts++;
  }
}

static Status run_split(Reference *r) {
  const Tensor *x = r->inputs[0];
  int64_t count = tensor_count(x), most = 0, dims[MAX_RANK];
  const char *delimiter = node_string(r->node, "delimiter", "");
  Parts *parts = arena_array(r->arena, Parts, (size_t)count + 1);
  for (int64_t i = 0; i < count; i++) {
    split_text(r->arena, text_at(x, i), delimiter, node_int(r->node, "limit", -1), &parts[i]);
    most = MAX(most, (int64_t)parts[i].count);
  }
  Tensor *out, *counts;
  memcpy(dims, x->dims, sizeof *dims * (size_t)x->rank);
  dims[x->rank] = most;
  TRY(reference_output(r, 0, DTYPE_STRING, x->rank + 1, dims, &out));
  TRY(reference_output(r, 1, DTYPE_I64, x->rank, x->dims, &counts));
  for (int64_t i = 0; i < count; i++) {
    for (int64_t k = 0; k < most; k++) put_text(out, i * most + k, k < parts[i].count ? parts[i].items[k] : "");
    ((int64_t *)counts->data)[i] = parts[i].count;
  }
  return OK;
}

static const AttributeSpec split_attributes[] = {{"delimiter", ATTR_STRING, false}, {"limit", ATTR_INTS, false}, {0}};
const OpDef op_string_split = {"string_split",
                               "the parts between delimiters, padded with empty strings, and their number",
                               1,
                               1,
                               2,
                               2,
                               split_attributes,
                               infer_split,
                               run_split,
                               .data_dependent = true};

// --- Stop words and case

static Status infer_normalize(Node *node) {
  Value *x;
  TRY(require_strings(node, 0, &x));
  if (x->rank != 1 && x->rank != 2) FAIL(ERROR_INVALID_MODEL, "its input has rank %d, expected 1 or 2", x->rank);
  Dim dims[2] = {x->dims[0], 0};
  int axis = x->rank - 1;
  dims[axis] = meaning_data_dim(node, 0, DTYPE_STRING, x->rank, axis, "kept");
  value_set_type(node->outputs[0], DTYPE_STRING, x->rank, dims);
  return OK;
}

static char *with_case(Arena *arena, const char *text, const char *action) {
  char *out = arena_string(arena, text);
  for (char *c = out; *c; c++) {
    if (strcmp(action, "LOWER") == 0 && *c >= 'A' && *c <= 'Z') *c += 'a' - 'A';
    if (strcmp(action, "UPPER") == 0 && *c >= 'a' && *c <= 'z') *c -= 'a' - 'A';
  }
  return out;
}

static bool is_stop_word(const Reference *r, const char *text) {
  int count;
  bool exact = node_int(r->node, "case_sensitive", 0) != 0;
  const char *const *words = node_strings(r->node, "stopwords", &count);
  for (int i = 0; i < count; i++)
    if ((exact ? strcmp(words[i], text) : strcasecmp(words[i], text)) == 0) return true;
  return false;
}

static Status run_normalize(Reference *r) {
  const Tensor *x = r->inputs[0];
  const char *action = node_string(r->node, "case", "NONE");
  if (x->rank == 2 && x->dims[0] != 1) FAIL(ERROR_INVALID_MODEL, "its input has %lld rows, expected 1", (long long)x->dims[0]);
  int64_t count = tensor_count(x), kept = 0, dims[2] = {1, 1};
  const char **words = arena_array(r->arena, const char *, (size_t)count + 1);
  for (int64_t i = 0; i < count; i++)
    if (*text_at(x, i) && !is_stop_word(r, text_at(x, i))) words[kept++] = with_case(r->arena, text_at(x, i), action);
  if (kept == 0) words[kept++] = "";
  dims[x->rank - 1] = kept;
  Tensor *out;
  TRY(reference_output(r, 0, DTYPE_STRING, x->rank, dims, &out));
  for (int64_t i = 0; i < kept; i++) put_text(out, i, words[i]);
  return OK;
}

static const AttributeSpec normalize_attributes[] = {
    {"case", ATTR_STRING, false}, {"case_sensitive", ATTR_INTS, false}, {"stopwords", ATTR_STRINGS, false}, {0}};
const OpDef op_string_normalize = {"string_normalize",
                                   "strings without stop words, in one case",
                                   1,
                                   1,
                                   1,
                                   1,
                                   normalize_attributes,
                                   infer_normalize,
                                   run_normalize,
                                   .data_dependent = true};

// --- Numbers from strings and strings from numbers

static Status infer_cast(Node *node) {
  Value *x;
  TRY(meaning_require(node, 0, &x));
  DType dtype = (DType)node_int(node, "dtype", DTYPE_STRING);
  if ((x->dtype == DTYPE_STRING) == (dtype == DTYPE_STRING))
    FAIL(ERROR_INVALID_MODEL, "it casts %s to %s", dtype_name(x->dtype), dtype_name(dtype));
  value_set_type(node->outputs[0], dtype, x->rank, x->dims);
  return OK;
}

static const char *number_text(Arena *arena, const Tensor *x, int64_t i) {
  if (x->dtype == DTYPE_BOOL) return tensor_get_i(x, i) ? "True" : "False";
  if (!dtype_is_float(x->dtype)) return arena_printf(arena, "%lld", (long long)tensor_get_i(x, i));
  double value = tensor_get_f(x, i);
  for (int digits = 1; digits <= 17; digits++) {  // the shortest text that reads back as the same value
    char *text = arena_printf(arena, "%.*g", digits, value);
    double back = strtod(text, NULL);
    if (x->dtype == DTYPE_F64 ? back == value : (float)back == (float)value) return text;
  }
  return value != value ? "NaN" : arena_printf(arena, "%g", value);
}

static Status run_cast(Reference *r) {
  const Tensor *x = r->inputs[0];
  DType dtype = (DType)node_int(r->node, "dtype", DTYPE_STRING);
  Tensor *out;
  TRY(reference_output(r, 0, dtype, x->rank, x->dims, &out));
  for (int64_t i = 0; i < tensor_count(x); i++) {
    if (dtype == DTYPE_STRING) {
      put_text(out, i, number_text(r->arena, x, i));
      continue;
    }
    char *end;
    const char *text = text_at(x, i);
    double value = strtod(text, &end);
    if (end == text || *end) FAIL(ERROR_INVALID_ARGUMENT, "'%s' is no number", text);
    if (dtype_is_integer(dtype) && value == (double)(int64_t)value) tensor_set_i(out, i, strtoll(text, NULL, 10));
    else tensor_set_f(out, i, value);
  }
  return OK;
}

static const AttributeSpec cast_attributes[] = {{"dtype", ATTR_INTS, true}, {0}};
const OpDef op_string_cast = {
    "string_cast", "numbers read from strings, or written to them", 1, 1, 1, 1, cast_attributes, infer_cast, run_cast};
