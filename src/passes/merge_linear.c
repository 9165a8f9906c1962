// Two linear maps in a row whose weights are constant, with scales and shifts by channel between them, are one where that is less work: products with matrices, and
// convolutions whose kernels have one element.
//
// The weights of both are multiplied in double and rounded once (affine.h); what the first one gives is no longer rounded. Refused are
//   - half precision, now or later: its sums stay as they are;
//   - columns of weights that cancel: what they were made of is more than 2^8 times what they are, and results within 2^-14 of their own scale would not be sure;
//   - weights beyond 2^30 or, but for 0, below 2^-30: what infinities and zeros they give on the way stays.
#include <math.h>

#include "kernels/conv/conv.h"
#include "kernels/matmul/matmul.h"
#include "passes/affine.h"
#include "passes/linear.h"
#include "passes/programs.h"

static const double largest = 0x1p30, least = 0x1p-30, most_cancelled = 0x1p8;

// A matrix from `rows` channels to `columns`; of a convolution it lies the other way.
typedef struct Matrix {
  const Tensor *tensor;
  int64_t rows, columns;
  bool turned;
} Matrix;

static double element(const Matrix *m, int64_t row, int64_t column) {
  return tensor_get_f(m->tensor, m->turned ? column * m->rows + row : row * m->columns + column);
}

static bool only_ones(const Node *node, const char *name, int64_t number) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  for (int i = 0; values && i < count; i++)
    if (values[i] != number) return false;
  return true;
}

static bool read_matrix(const Node *node, Matrix *out) {
  const Value *weight = node->input_count == 2 ? node->inputs[1] : NULL;
  DType dtype = node->outputs[0]->dtype;
  if (!weight || !weight->constant || node->epilogue || (dtype != DTYPE_F32 && dtype != DTYPE_F64)) return false;
  const Tensor *tensor = weight->constant;
  bool is_conv = node->op == &op_conv;
  if (tensor->dtype != dtype || tensor->rank < 2 || (!is_conv && tensor->rank != 2)) return false;
  for (int i = 2; i < tensor->rank; i++)
    if (tensor->dims[i] != 1) return false;
  if (is_conv && (node_int(node, "group", 1) != 1 || !only_ones(node, "pads", 0))) return false;
  *out = (Matrix){tensor, tensor->dims[is_conv], tensor->dims[!is_conv], is_conv};
  return true;
}

// By column of the product: what it is made of, and a shift; false where it cancels, or an element is out of range.
static bool multiply(const Matrix *a, const Matrix *b, const Affine *between, Tensor *product, Affine *maps) {
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
      tensor_set_f(product, a->turned ? column * a->rows + row : row * b->columns + column, total);
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

typedef struct Pair {
  Matrix first, second;
  Node *inner, *between;  // between: the inner one where nothing is
  Affine *maps;           // of what stands between, by channel
  int axis;               // of the channels
} Pair;

// Why the two are not one; NULL where they may be.
static const char *read_pair(Rewrite *r, const Node *outer, Pair *p) {
  enum { MOST_WORK = 1 << 28 };
  const Matrix *a = &p->first, *b = &p->second;
  p->between = outer->inputs[0]->producer;
  if (!p->between || only_user(outer->inputs[0]) != outer || !read_matrix(outer, &p->second))
    return "it is no linear map of constants that reads one alone";
  p->axis = outer->op == &op_conv ? 1 : outer->inputs[0]->rank - 1;
  p->maps = arena_array(rewrite_scratch(r), Affine, (size_t)b->rows + 1);
  if (!read_between(p->between, p->axis, b->rows, &p->inner, p->maps)) return "more than scales and shifts stands between";
  if (p->inner->op != outer->op || !read_matrix(p->inner, &p->first) || a->columns != b->rows)
    return "no linear map of its kind stands before";
  if (outer->op == &op_conv && !only_ones(p->inner, "strides", 1)) return "the first one skips elements";
  if (weights_become_half(r, a->tensor->dtype)) return "half precision would be summed otherwise";
  if (a->rows * b->columns >= a->rows * a->columns + b->rows * b->columns) return "one would be more work than two";
  return a->rows * a->columns * b->columns < MOST_WORK ? NULL : "the weights are large";
}

static Status merge_linear(Rewrite *r) {
  Node *outer = matched(r, "root");
  Graph *graph = rewrite_graph(r);
  Pair p;
  const char *why = read_pair(r, outer, &p);
  WANT(!why, why);
  Tensor product;
  Affine *maps = arena_array(rewrite_scratch(r), Affine, (size_t)p.second.columns + 1);
  int64_t dims[MAX_RANK];
  for (int i = 0; i < p.second.tensor->rank; i++) dims[i] = 1;
  dims[p.first.turned] = p.first.rows, dims[!p.first.turned] = p.second.columns;
  TRY(tensor_new(graph->arena, p.second.tensor->dtype, p.second.tensor->rank, dims, &product));
  WANT(multiply(&p.first, &p.second, p.maps, &product, maps), "its weights cancel, or are out of range");
  rewrite_cover(r, p.inner);
  rewrite_cover(r, p.between);
  return affine_replace(r, outer->outputs[0], outer, p.inner->inputs[0], &product, p.axis, maps);
}

const Rule rule_merge_linear = {
    .name = "merge_linear",
    .help = "two products with constant matrices in a row, or convolutions of one element, are one where that is less work",
    .pattern = "matmul|conv(x, #w)",
    .exactness = ROUNDED | ZERO_SIGNS | FINITE,
    .bound = "2^-14 of a result's own scale; see the file's beginning",
    .tells_misses = true,
    .apply = merge_linear};
