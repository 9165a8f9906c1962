// det: determinants of square matrices, by elimination with the largest pivot of each column.
#include <math.h>
#include <string.h>
#include "base/budget.h"
#include "kernels/linear/linear.h"
#include "kernels/meaning.h"

static Status infer_det(Node *node) {
  Value *x;
  Dim same;
  TRY(meaning_require(node, 0, &x));
  if (x->rank < 2 || !dtype_is_float(x->dtype)) FAIL(ERROR_INVALID_MODEL, "%s of rank %d", dtype_name(x->dtype), x->rank);
  TRY(meaning_same_dim(node, "a square matrix", x->dims[x->rank - 2], x->dims[x->rank - 1], &same));
  value_set_type(node->outputs[0], x->dtype, x->rank - 2, x->dims);
  return OK;
}

static double determinant(int64_t n, double *a) {
  double result = 1;
  for (int64_t k = 0; k < n; k++) {
    budget_step((uint64_t)((n - k) * (n - k)));
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; i++)
      if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
    if (a[pivot * n + k] == 0) return 0;
    if (pivot != k) result = -result;
    for (int64_t j = k; j < n && pivot != k; j++) {
      double swapped = a[k * n + j];
      a[k * n + j] = a[pivot * n + j];
      a[pivot * n + j] = swapped;
    }
    result *= a[k * n + k];
    for (int64_t i = k + 1; i < n; i++) {
      double factor = a[i * n + k] / a[k * n + k];
      for (int64_t j = k; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return result;
}

static Status reference_det(Reference *r) {
  const Tensor *x = r->inputs[0];
  int64_t n = x->dims[x->rank - 1], count = dims_count(x->rank - 2, x->dims);
  if (x->dims[x->rank - 2] != n) FAIL(ERROR_INVALID_MODEL, "the matrices are not square");
  const double *data;
  void *memory;
  Tensor *out;
  TRY(reference_doubles(r, x, &data));
  TRY(reference_scratch(r, sizeof(double), n * n, &memory));
  TRY(reference_output(r, 0, x->dtype, x->rank - 2, x->dims, &out));
  for (int64_t i = 0; i < count; i++) {
    memcpy(memory, data + i * n * n, (size_t)(n * n) * sizeof(double));
    tensor_set_f(out, i, determinant(n, memory));
  }
  return OK;
}

static int64_t terms_of_det(const Node *node) {
  const Value *x = node->inputs[0];
  Dim n = x->dims[x->rank - 1];
  return dim_is_static(n) && n < 1 << 20 ? n * n * n / 3 : 0;
}

const OpDef op_det = {
    .name = "det",
    .help = "determinants of square matrices",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{0}},
    .infer = infer_det,
    .reference = reference_det,
    .terms = terms_of_det,
};
