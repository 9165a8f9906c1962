// ngrams: how often each n-gram of a pool occurs in each row, with gaps of up to `skip` elements, as counts (TF), presence (IDF) or
// weighted counts (TFIDF). The pool lists the n-grams of size 1, then 2, and so on; `starts` says where each size begins.
#include <string.h>
#include "kernels/meaning.h"
#include "kernels/text/strings.h"

typedef struct Pool {
  const int64_t *numbers;  // one of the two
  const char *const *strings;
  int items, sizes, columns;
  const int64_t *starts, *places;
  int place_count;
} Pool;

static Status read_pool(const Node *node, Pool *pool) {
  int numbers, strings;
  pool->numbers = node_ints(node, "numbers", &numbers);
  pool->strings = node_strings(node, "strings", &strings);
  pool->starts = node_ints(node, "starts", &pool->sizes);
  pool->places = node_ints(node, "places", &pool->place_count);
  pool->items = pool->numbers ? numbers : strings;
  if ((!pool->numbers && !pool->strings) || !pool->starts || !pool->places) FAIL(ERROR_INVALID_MODEL, "its pool is incomplete");
  int64_t most = 0, grams = 0;
  for (int i = 0; i < pool->place_count; i++) {
    if (pool->places[i] < 0 || pool->places[i] >= 1 << 24)
      FAIL(ERROR_INVALID_MODEL, "place %d is %lld", i, (long long)pool->places[i]);
    most = MAX(most, pool->places[i]);
  }
  for (int i = 0; i < pool->sizes; i++) {
    int64_t end = i + 1 < pool->sizes ? pool->starts[i + 1] : pool->items;
    if (pool->starts[i] < 0 || end < pool->starts[i] || end > pool->items)
      FAIL(ERROR_INVALID_MODEL, "the starts of its pool are not in order");
    grams += (end - pool->starts[i]) / (i + 1);
  }
  if (grams > pool->place_count)
    FAIL(ERROR_INVALID_MODEL, "it has %lld n-grams and %d places", (long long)grams, pool->place_count);
  pool->columns = (int)most + 1;
  return OK;
}

static Status infer_ngrams(Node *node) {
  Value *x;
  Pool pool;
  TRY(meaning_require(node, 0, &x));
  TRY(read_pool(node, &pool));
  if (x->rank != 1 && x->rank != 2) FAIL(ERROR_INVALID_MODEL, "its input has rank %d, expected 1 or 2", x->rank);
  if ((x->dtype == DTYPE_STRING) != (pool.strings != NULL)) FAIL(ERROR_INVALID_MODEL, "its input and its pool differ in type");
  Dim dims[2] = {x->dims[0], pool.columns};
  if (x->rank == 1) dims[0] = pool.columns;
  value_set_type(node->outputs[0], DTYPE_F32, x->rank, dims);
  return OK;
}

static bool same(const Pool *pool, const Tensor *x, int64_t at, int64_t item) {
  if (pool->numbers) return tensor_get_i(x, at) == pool->numbers[item];
  const char *text = ((const char *const *)x->data)[at];
  return strcmp(text ? text : "", pool->strings[item]) == 0;
}

static void count_row(const Reference *r, const Pool *pool, const Tensor *x, int64_t first, int64_t length, float *counts) {
  int64_t least = node_int(r->node, "min", 1), most = node_int(r->node, "max", 1), gram = 0;
  int64_t skip = MIN(node_int(r->node, "skip", 0), length);
  for (int n = 1; n <= pool->sizes; n++) {
    int64_t begin = pool->starts[n - 1], end = n < pool->sizes ? pool->starts[n] : pool->items;
    for (; begin + n <= end; begin += n, gram++) {
      if (n < least || n > most) continue;
      for (int64_t step = 1; step <= (n == 1 ? 1 : skip + 1); step++) {  // single elements have no gaps
        for (int64_t at = 0; at + step * (n - 1) < length; at++) {
          int k = 0;
          while (k < n && same(pool, x, first + at + step * k, begin + k)) k++;
          if (k == n) counts[pool->places[gram]]++;
        }
      }
    }
  }
}

static Status run_ngrams(Reference *r) {
  const Tensor *x = r->inputs[0];
  Pool pool;
  TRY(read_pool(r->node, &pool));
  int weight_count;
  const double *weights = node_floats(r->node, "weights", &weight_count);
  const char *mode = node_string(r->node, "mode", "TF");
  bool presence = strcmp(mode, "IDF") == 0, weighted = strcmp(mode, "TF") != 0 && weights;
  int64_t rows = x->rank == 2 ? x->dims[0] : 1, length = x->dims[x->rank - 1], dims[2] = {rows, pool.columns};
  if (x->rank == 1) dims[0] = pool.columns;
  Tensor *out;
  TRY(reference_output(r, 0, DTYPE_F32, x->rank, dims, &out));
  float *counts = out->data;
  memset(counts, 0, tensor_bytes(out));
  for (int64_t row = 0; row < rows; row++, counts += pool.columns) {
    count_row(r, &pool, x, row * length, length, counts);
    for (int i = 0; i < pool.columns; i++) {
      if (presence) counts[i] = counts[i] > 0;
      if (weighted && i < weight_count) counts[i] *= (float)weights[i];
    }
  }
  return OK;
}

static const AttributeSpec attributes[] = {{"numbers", ATTR_INTS, false},   {"strings", ATTR_STRINGS, false},
                                           {"starts", ATTR_INTS, true},     {"places", ATTR_INTS, true},
                                           {"weights", ATTR_FLOATS, false}, {"mode", ATTR_STRING, false},
                                           {"min", ATTR_INTS, false},       {"max", ATTR_INTS, false},
                                           {"skip", ATTR_INTS, false},      {0}};
const OpDef op_ngrams = {"ngrams", "counts of n-grams", 1, 1, 1, 1, attributes, infer_ngrams, run_ngrams};
