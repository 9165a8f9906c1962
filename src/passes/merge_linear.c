// Two linear maps in a row whose weights are constant, with scales and shifts by channel between them, are one where that is less work: products with matrices, and
// convolutions whose kernels have one element.
//
// The weights of both are multiplied in double and rounded once (affine.h); what the first one gives is no longer rounded. Refused are
//   - half precision, now or later: its sums stay as they are;
//   - columns of weights that cancel: what they were made of is more than 2^8 times what they are, and results within 2^-14 of their own scale would not be sure;
//   - weights beyond 2^30 or, but for 0, below 2^-30: what infinities and zeros they give on the way stays.
#include <math.h>
#include <string.h>

#include "passes/affine.h"
#include "passes/linear.h"
#include "passes/programs.h"

static const double largest = 0x1p30, least = 0x1p-30, most_cancelled = 0x1p8;

// A matrix from `rows` channels to `columns`, which lie along one of the first two axes of the weights; the others are of one element.
typedef struct Matrix {
  const Tensor *tensor;
  int64_t rows, columns;
  Channels channels;
} Matrix;

static int64_t place(const Matrix *m, int64_t row, int64_t column) {
  return m->channels.weight_axis == 0 ? column * m->rows + row : row * m->columns + column;
}

static double element(const Matrix *m, int64_t row, int64_t column) { return tensor_get_f(m->tensor, place(m, row, column)); }

static bool all_are(const Node *node, const char *name, int64_t number) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  for (int i = 0; values && i < count; i++)
    if (values[i] != number) return false;
  return true;
}

static bool read_matrix(const Node *node, Matrix *out) {
  const Value *weight = node->input_count == 2 ? node->inputs[1] : NULL;
  DType dtype = node->outputs[0]->dtype;
  if (!weight || !weight->constant || (dtype != DTYPE_F32 && dtype != DTYPE_F64)) return false;
  const Tensor *tensor = weight->constant;
  if (tensor->dtype != dtype || tensor->rank < 2 || node_int(node, "group", 1) != 1 || !all_are(node, "pads", 0)) return false;
  for (int i = 2; i < tensor->rank; i++)
    if (tensor->dims[i] != 1) return false;
  *out = (Matrix){.tensor = tensor};
  node->op->channels(node, &out->channels);
  if (out->channels.scattered) return false;
  out->columns = tensor->dims[out->channels.weight_axis];
  out->rows = tensor->dims[1 - out->channels.weight_axis];
  return true;
}

typedef struct Pair {
  Matrix first, second;
  Node *inner, *between;  // between: the inner one where nothing is
  Affine *maps;           // of what stands between, by channel
} Pair;

// By column of the product: what it is made of, and a shift; false where it cancels, or an element is out of range.
static bool multiply(const Pair *p, Tensor *product, Affine *maps) {
  const Matrix *a = &p->first, *b = &p->second;
  const Affine *between = p->maps;
  Matrix made = {product, a->rows, b->columns, b->channels};
  for (int64_t column = 0; column < b->columns; column++) {
    double made_of = 0, sum = 0;
    maps[column] = (Affine){.is_map = true, .scales = {1}};
    for (int64_t row = 0; row < a->rows; row++) {
      double total = 0;
      for (int64_t k = 0; k < b->rows; k++) {
        double first = element(a, row, k) * between[k].scales[0], second = element(b, k, column);
        bool in_range = fabs(first) <= largest && fabs(second) <= largest && (!first || fabs(first) >= least) &&
                        (!second || fabs(second) >= least);
        if (!in_range) return false;
        total += first * second;
        made_of += fabs(first * second);
      }
      sum += fabs(total);
      tensor_set_f(product, place(&made, row, column), total);
    }
    for (int64_t k = 0; k < b->rows; k++) maps[column].shift += between[k].shift * element(b, k, column);
    for (int64_t k = 0; k < b->rows; k++) maps[column].most += fabs(between[k].shift * element(b, k, column));
    if (made_of > most_cancelled * sum || !shift_fits(product->dtype, maps[column].most, sum, false)) return false;
  }
  return true;
}

// Scales and shifts between the two, by channel; what they map is *inner.
static bool read_between(Node *node, int axis, int64_t channels, Node **inner, Affine *maps) {
  AffineProgram program;
  for (int64_t c = 0; c < channels; c++) maps[c] = (Affine){.is_map = true, .scales = {1}};
  *inner = node;
  if (!node || node->op != &op_elementwise) return node;
  Value *variable = NULL;
  for (int i = 0; i < node->input_count && !variable; i++)
    if (node->inputs[i] && node->inputs[i]->producer) variable = node->inputs[i];
  if (!variable || only_user(variable) != node || !affine_read(node, variable, axis, channels, &program)) return false;
  for (int64_t c = 0; c < channels; c++)
    if (!affine_of(&program, c, &maps[c])) return false;
  *inner = variable->producer;
  return true;
}

// Why the two are not one; NULL where they may be.
static const char *read_pair(Rewrite *r, const Node *outer, Pair *p) {
  enum { MOST_WORK = 1 << 28 };
  const Matrix *a = &p->first, *b = &p->second;
  p->between = outer->inputs[0]->producer;
  if (!p->between || only_user(outer->inputs[0]) != outer || !read_matrix(outer, &p->second))
    return "it is no linear map of constants that reads one alone";
  p->maps = affine_maps(r, b->rows);
  if (!read_between(p->between, b->channels.result_axis, b->rows, &p->inner, p->maps))
    return "more than scales and shifts stands between";
  if (p->inner->op != outer->op || !read_matrix(p->inner, &p->first) || a->columns != b->rows)
    return "no linear map of its kind stands before";
  if (!all_are(p->inner, "strides", 1)) return "the first one skips elements";
  if (weights_become_half(r, a->tensor->dtype)) return "half precision would be summed otherwise";
  if (a->rows * b->columns >= a->rows * a->columns + b->rows * b->columns) return "one would be more work than two";
  return a->rows * a->columns * b->columns < MOST_WORK ? NULL : "the weights are large";
}

// Weights from what the first one reads to what the second one gives.
static Status new_weights(const Pair *p, Arena *arena, Tensor *out) {
  const Tensor *second = p->second.tensor;
  int64_t dims[MAX_RANK];
  memcpy(dims, second->dims, sizeof dims);
  dims[1 - p->second.channels.weight_axis] = p->first.rows;
  return tensor_new(arena, second->dtype, second->rank, dims, out);
}

static Status merge_linear(Rewrite *r) {
  const Node *outer = matched(r, "root");
  Pair p;
  Tensor product;
  const char *why = read_pair(r, outer, &p);
  WANT(!why, why);
  Affine *maps = arena_array(rewrite_scratch(r), Affine, (size_t)p.second.columns + 1);
  TRY(new_weights(&p, rewrite_graph(r)->arena, &product));
  WANT(multiply(&p, &product, maps), "its weights cancel, or are out of range");
  rewrite_cover(r, p.inner);
  rewrite_cover(r, p.between);
  return affine_replace(r, outer->outputs[0], outer, p.inner->inputs[0], &product, p.second.channels.result_axis, maps);
}

const Rule rule_merge_linear = {
    .name = "merge_linear",
    .help = "two products with constant matrices in a row, or convolutions of one element, are one where that is less work",
    .pattern = "@channels(x, #w)",
    .exactness = ROUNDED | ZERO_SIGNS | FINITE,
    .bound = "2^-14 of a result's own scale; see the file's beginning",
    .tells_misses = true,
    .apply = merge_linear};
