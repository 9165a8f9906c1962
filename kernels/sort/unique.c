// unique: the distinct elements of x, or its distinct slices along an axis; where each first occurs, which of them each
// element is, and how often each occurs. Sorted ascending, or in the order of first occurrence. NaNs are equal to each other.
#include <stdlib.h>
#include <string.h>
#include "kernels/meaning.h"
#include "kernels/sort/sort.h"

static Status infer_unique(Node *node) {
  Value *x;
  int axis = 0;
  bool flat = !node_attribute(node, "axis");
  TRY(meaning_require(node, 0, &x));
  if (!flat) TRY(meaning_axis(node, "axis", x->rank, &axis));
  Dim dims[MAX_RANK], all = flat ? value_count_dim(node->graph, x) : x->dims[axis];
  int rank = flat ? 1 : x->rank;
  Dim found = meaning_data_dim(node, 0, x->dtype, rank, axis, "unique");
  for (int i = 0; i < rank; i++) dims[i] = i == axis ? found : x->dims[i];
  value_set_type(node->outputs[0], x->dtype, rank, dims);
  if (meaning_wants(node, 1)) value_set_type(node->outputs[1], DTYPE_I64, 1, &found);
  if (meaning_wants(node, 2)) value_set_type(node->outputs[2], DTYPE_I64, 1, &all);
  if (meaning_wants(node, 3)) value_set_type(node->outputs[3], DTYPE_I64, 1, &found);
  return OK;
}

typedef struct Slices {
  const Tensor *x;
  AxisView view;
} Slices;

static int compare_slices(const Slices *slices, int64_t a, int64_t b) {
  size_t size = dtype_size(slices->x->dtype);
  const AxisView *view = &slices->view;
  for (int64_t o = 0; o < view->outer; o++)
    for (int64_t j = 0; j < view->inner; j++) {
      const char *base = (const char *)slices->x->data + (size_t)(o * view->size * view->inner + j) * size;
      int order =
          element_compare(slices->x->dtype, base + (size_t)(a * view->inner) * size, base + (size_t)(b * view->inner) * size);
      if (order) return order;
    }
  return 0;
}

static int compare_with_places(const void *a, const void *b, void *context) {
  int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
  int order = compare_slices(context, i, j);
  return order ? order : (i > j) - (i < j);
}

static int compare_by_first(const void *a, const void *b, void *context) {
  const int64_t *first = context;
  int64_t i = first[*(const int64_t *)a], j = first[*(const int64_t *)b];
  return (i > j) - (i < j);
}

// Numbers the distinct slices in the order asked for: group[i] of slice i, first[g] and count[g]. Returns how many there are.
static Status group_slices(const Reference *r, const Slices *slices, int64_t *group, int64_t *first, int64_t *count,
                           int64_t *found) {
  int64_t n = slices->view.size;
  void *memory;
  TRY(reference_scratch(r, sizeof(int64_t), 5 * n, &memory));
  int64_t *places = memory, *sorted_group = places + n, *sorted_first = sorted_group + n, *order = sorted_first + n,
          *rank = order + n;
  for (int64_t i = 0; i < n; i++) places[i] = i;
  qsort_r(places, (size_t)n, sizeof *places, compare_with_places, (void *)slices);
  *found = 0;
  for (int64_t i = 0; i < n; i++) {
    if (i == 0 || compare_slices(slices, places[i - 1], places[i]) != 0) {
      sorted_first[*found] = places[i];
      order[*found] = *found;
      ++*found;
    }
    sorted_group[places[i]] = *found - 1;
  }
  if (node_int(r->node, "sorted", 1) == 0) qsort_r(order, (size_t)*found, sizeof *order, compare_by_first, sorted_first);
  for (int64_t g = 0; g < *found; g++) {
    rank[order[g]] = g;
    first[g] = sorted_first[order[g]];
  }
  for (int64_t i = 0; i < n; i++) count[group[i] = rank[sorted_group[i]]]++;
  return OK;
}

static Status reference_unique(Reference *r) {
  const Tensor *x = r->inputs[0];
  bool flat = !node_attribute(r->node, "axis");
  int axis = flat ? 0 : (int)node_int(r->node, "axis", 0), rank = flat ? 1 : x->rank;
  int64_t dims[MAX_RANK], total = tensor_count(x), found;
  memcpy(dims, flat ? &total : x->dims, (size_t)rank * sizeof *dims);
  Slices slices = {x, axis_view(rank, dims, axis)};
  int64_t n = slices.view.size;
  void *memory;
  TRY(reference_scratch(r, sizeof(int64_t), 3 * n, &memory));
  int64_t *group = memory, *first = group + n, *count = first + n;
  TRY(group_slices(r, &slices, group, first, count, &found));
  Tensor *y, *out;
  dims[axis] = found;
  TRY(reference_output(r, 0, x->dtype, rank, dims, &y));
  size_t bytes = dtype_size(x->dtype) * (size_t)slices.view.inner;
  for (int64_t o = 0; o < slices.view.outer; o++)
    for (int64_t g = 0; g < found; g++)
      memcpy((char *)y->data + (size_t)(o * found + g) * bytes, (const char *)x->data + (size_t)(o * n + first[g]) * bytes,
             bytes);
  const int64_t *lists[3] = {first, group, count}, sizes[3] = {found, n, found};
  for (int i = 0; i < 3 && meaning_wants(r->node, 1 + i); i++) {
    TRY(reference_output(r, 1 + i, DTYPE_I64, 1, &sizes[i], &out));
    memcpy(out->data, lists[i], (size_t)sizes[i] * sizeof(int64_t));
  }
  return OK;
}

const OpDef op_unique = {
    .name = "unique",
    .help = "distinct elements or slices, with places, membership and counts",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 4,
    .attributes = (const AttributeSpec[]){{"axis", ATTR_INTS, false}, {"sorted", ATTR_INTS, false}, {0}},
    .infer = infer_unique,
    .reference = reference_unique,
    .data_dependent = true,
};
