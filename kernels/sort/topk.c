// topk: the k largest or smallest elements of each row along an axis, and where they were. Equal elements come in the
// order of their places; NaN counts as larger than every number. The result is sorted whether asked or not.
#include <math.h>
#include <stdlib.h>
#include "base/budget.h"
#include "base/checked.h"
#include "kernels/meaning.h"
#include "kernels/sort/sort.h"

static Status infer_topk(Node *node) {
  Value *x;
  const Dim *k;
  int axis, count;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_axis(node, "axis", x->rank, &axis));
  TRY(meaning_dims(node, "k", 1, &k, &count));
  if (count != 1) FAIL(ERROR_INVALID_MODEL, "'k' is missing");
  if (dim_is_static(*k) && dim_is_static(x->dims[axis]) && *k > x->dims[axis])
    FAIL(ERROR_INVALID_MODEL, "k is %lld, the axis has %lld elements", (long long)*k, (long long)x->dims[axis]);
  Dim dims[MAX_RANK];
  for (int i = 0; i < x->rank; i++) dims[i] = i == axis ? *k : x->dims[i];
  value_set_type(node->outputs[0], x->dtype, x->rank, dims);
  if (meaning_wants(node, 1)) value_set_type(node->outputs[1], DTYPE_I64, x->rank, dims);
  return OK;
}

typedef struct TopRow {
  const Tensor *x;
  int64_t first, stride;
  bool largest;
} TopRow;

static const void *row_element(const TopRow *row, int64_t i) {
  return (const char *)row->x->data + (size_t)(row->first + i * row->stride) * dtype_size(row->x->dtype);
}

static int compare_places(const void *a, const void *b, void *context) {
  const TopRow *row = context;
  int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
  int order = element_compare(row->x->dtype, row_element(row, i), row_element(row, j));
  if (order == 0) return (i > j) - (i < j);
  return row->largest ? -order : order;
}

static Status reference_topk(Reference *r) {
  const Tensor *x = r->inputs[0];
  const int64_t *k;
  int count, axis = (int)node_int(r->node, "axis", 0);
  int64_t dims[MAX_RANK];
  Tensor *values, *indices = NULL;
  void *memory;
  TRY(reference_dims(r, "k", &k, &count));
  AxisView view = axis_view(x->rank, x->dims, axis);
  if (count != 1 || *k > view.size)
    FAIL(ERROR_INVALID_MODEL, "k is larger than the axis of %lld elements", (long long)view.size);
  for (int i = 0; i < x->rank; i++) dims[i] = i == axis ? *k : x->dims[i];
  TRY(reference_output(r, 0, x->dtype, x->rank, dims, &values));
  if (meaning_wants(r->node, 1)) TRY(reference_output(r, 1, DTYPE_I64, x->rank, dims, &indices));
  if (tensor_count(values) == 0) return OK;
  TRY(reference_scratch(r, sizeof(int64_t), view.size, &memory));
  int64_t *places = memory;
  size_t size = dtype_size(x->dtype);
  for (int64_t o = 0; o < view.outer; o++)
    for (int64_t j = 0; j < view.inner; j++) {
      budget_step((uint64_t)view.size * 16);
      TopRow row = {x, o * view.size * view.inner + j, view.inner, node_int(r->node, "largest", 1) != 0};
      for (int64_t i = 0; i < view.size; i++) places[i] = i;
      qsort_r(places, (size_t)view.size, sizeof *places, compare_places, &row);
      for (int64_t i = 0; i < *k; i++) {
        int64_t to = (o * *k + i) * view.inner + j;
        __builtin_memcpy((char *)values->data + (size_t)to * size, row_element(&row, places[i]), size);
        if (indices) ((int64_t *)indices->data)[to] = places[i];
      }
    }
  return OK;
}

// Of each of the k: its part of a sorting network over the row.
static int64_t terms_of_topk(const Node *node) {
  int axis = (int)node_int(node, "axis", 0);
  Dim n = node->inputs[0]->dims[axis], k = node->outputs[0]->dims[axis];
  if (!dim_is_static(n) || !dim_is_static(k) || k == 0) return 0;
  double depth = log2((double)MAX(n, 2)), terms = (double)n * depth * (depth + 1) / 4 / (double)k;
  return MAX((int64_t)fmin(terms, 1e15), 1);
}

const OpDef op_topk = {
    .name = "topk",
    .help = "the k largest or smallest elements along an axis, with their places",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 2,
    .attributes = (const AttributeSpec[]){{"k", ATTR_DIMS, true},
                                          {"axis", ATTR_INTS, true},
                                          {"largest", ATTR_INTS, false},
                                          {"sorted", ATTR_INTS, false},
                                          {0}},
    .infer = infer_topk,
    .reference = reference_topk,
    .terms = terms_of_topk,
};
