// See cublaslt_problem.h.
#include "kernels/matmul/cublaslt_problem.h"

#include "base/checked.h"

enum { LOOP_LIMIT = 64 };

// --- Types.

static bool set_types(const Site *site, LtProblem *p) {
  static const struct {
    DType input, natural;
    CublasType input_type, result_type, scale_type;
    CublasCompute compute;
  } rows[] = {
      {DTYPE_F32, DTYPE_F32, CUBLAS_F32, CUBLAS_F32, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_F16, DTYPE_F16, CUBLAS_F16, CUBLAS_F16, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_F16, DTYPE_F32, CUBLAS_F16, CUBLAS_F32, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_BF16, DTYPE_BF16, CUBLAS_BF16, CUBLAS_BF16, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_BF16, DTYPE_F32, CUBLAS_BF16, CUBLAS_F32, CUBLAS_F32, CUBLAS_COMPUTE_F32},
      {DTYPE_F64, DTYPE_F64, CUBLAS_F64, CUBLAS_F64, CUBLAS_F64, CUBLAS_COMPUTE_F64},
      {DTYPE_I8, DTYPE_I32, CUBLAS_I8, CUBLAS_I32, CUBLAS_I32, CUBLAS_COMPUTE_I32},
  };
  DType input = site->inputs[0].dtype;
  if (site->inputs[1].dtype != input) return false;
  DType natural = (DType)node_int(site->node, "dtype", input == DTYPE_I8 ? DTYPE_I32 : input);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    if (rows[i].input != input || rows[i].natural != natural) continue;
    p->input = input, p->natural = natural;
    p->input_type = rows[i].input_type, p->result_type = rows[i].result_type, p->scale_type = rows[i].scale_type;
    p->compute = input == DTYPE_F32 && site->tf32 ? CUBLAS_COMPUTE_TF32 : rows[i].compute;
    return true;
  }
  return false;
}

// --- Shapes.

// A matrix x[outer, inner] of which the library wants `inner` along its columns' length, as it stands or transposed.
static bool set_matrix(LtMatrix *matrix, int64_t outer, int64_t inner, int64_t outer_stride, int64_t inner_stride) {
  if ((inner_stride == 1 || inner == 1) && (outer_stride >= inner || outer == 1)) {
    *matrix = (LtMatrix){inner, outer, outer == 1 ? inner : outer_stride, 0, false};
    return true;
  }
  if ((outer_stride == 1 || outer == 1) && (inner_stride >= outer || inner == 1)) {
    *matrix = (LtMatrix){outer, inner, inner == 1 ? outer : inner_stride, 0, true};
    return true;
  }
  return false;
}

static int64_t batch_stride(const TensorDesc *desc, int rank, int axis) {
  int own = axis - (rank - desc->rank);
  return own < 0 || desc->dims[own] == 1 ? 0 : desc->strides[own];
}

// Batch axes of more than one element, outermost first, those that all three tensors walk as one merged.
static int collect_axes(const Site *site, const TensorDesc *y, LoopAxis *axes) {
  int count = 0;
  for (int axis = 0; axis < y->rank - 2; axis++) {
    if (y->dims[axis] == 1) continue;
    LoopAxis next = {y->dims[axis], batch_stride(&site->inputs[0], y->rank, axis),
                     batch_stride(&site->inputs[1], y->rank, axis), y->strides[axis]};
    LoopAxis *last = count ? &axes[count - 1] : NULL;
    if (last && last->a == next.a * next.extent && last->b == next.b * next.extent && last->y == next.y * next.extent)
      *last = (LoopAxis){last->extent * next.extent, next.a, next.b, next.y};
    else axes[count++] = next;
  }
  return count;
}

// y's strides decide which way round the product is taken; the other way y' = (a b)' swaps the operands.
static bool set_matrices(const Site *site, const TensorDesc *y, LtProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1];
  int rank = y->rank;
  int64_t m = y->dims[rank - 2], n = y->dims[rank - 1], k = a->dims[a->rank - 1];
  int64_t a_m = a->strides[a->rank - 2], a_k = a->strides[a->rank - 1];
  int64_t b_k = b->strides[b->rank - 2], b_n = b->strides[b->rank - 1];
  int64_t y_m = y->strides[rank - 2], y_n = y->strides[rank - 1];
  p->loop_count = collect_axes(site, y, p->loops);
  while (p->loop_count) {
    LoopAxis *inner = &p->loops[p->loop_count - 1];
    bool extends = m == 1 || (inner->a == a_m * m && inner->y == y_m * m);
    if (inner->b != 0 || !extends) break;
    if (m == 1) a_m = inner->a, y_m = inner->y;
    m *= inner->extent;
    p->loop_count--;
  }
  LtMatrix result;
  if (!set_matrix(&result, m, n, y_m, y_n)) return false;
  bool swapped = result.transposed;
  LtMatrix *for_a = swapped ? &p->first : &p->second, *for_b = swapped ? &p->second : &p->first;
  // Not swapped: first is b' (n x k), second is a' (k x m). Swapped: first is a (m x k), second is b (k x n).
  bool fits = swapped ? set_matrix(for_a, k, m, a_k, a_m) && set_matrix(for_b, n, k, b_n, b_k)
                      : set_matrix(for_a, m, k, a_m, a_k) && set_matrix(for_b, k, n, b_k, b_n);
  if (!fits) return false;
  result.transposed = false;
  p->result = result;
  p->first_input = swapped ? 0 : 1;
  p->second_input = swapped ? 1 : 0;
  if (!swapped) {
    for (int i = 0; i < p->loop_count; i++) {
      int64_t stride = p->loops[i].a;
      p->loops[i].a = p->loops[i].b;
      p->loops[i].b = stride;
    }
  }
  return MAX(m, MAX(n, k)) <= INT32_MAX && m * n * k > 0;
}

// The largest axis becomes the library's batch.
static bool set_batch(LtProblem *p) {
  p->batch = p->calls = 1;
  int largest = 0;
  for (int i = 1; i < p->loop_count; i++)
    if (p->loops[i].extent > p->loops[largest].extent) largest = i;
  if (p->loop_count) {
    LoopAxis batch = p->loops[largest];
    if (batch.a < 0 || batch.b < 0 || batch.y < 0) return false;
    p->loops[largest] = p->loops[--p->loop_count];
    p->batch = batch.extent;
    p->first.batch_stride = batch.a;
    p->second.batch_stride = batch.b;
    p->result.batch_stride = batch.y;
  }
  for (int i = 0; i < p->loop_count; i++) p->calls *= p->loops[i].extent;
  return p->calls <= LOOP_LIMIT && p->batch <= INT32_MAX;
}

bool cublaslt_problem(const Site *site, LtProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1], *y = &site->outputs[0];
  *p = (LtProblem){0};
  REQUIRE(site, !site_has_zero_points(site), "it has zero points");
  REQUIRE(site, a->rank >= 2 && b->rank >= 2, "an operand is no matrix");
  REQUIRE(site, desc_count(y) > 0, "the result is empty");
  REQUIRE(site, set_types(site, p), "cuBLASLt has no product of these types");
  LibraryResult result = library_result(site, p->natural, 0);
  REQUIRE(site, set_matrices(site, &result.desc, p),
          "a matrix is contiguous along neither axis, is empty, or has more elements than 32 bits count");
  REQUIRE(site, set_batch(p), "its batch axes take too many calls");
  // The library adds a bias along the rows of its result: y's columns, unless the product is swapped.
  bool swapped = p->first_input == 0;
  p->fused = library_epilogue(site, y->rank - 1, p->natural, &p->epilogue) && !(swapped && p->epilogue.bias >= 0) &&
             p->epilogue.activation != LIBRARY_RELU;
  if (!p->fused) p->epilogue = LIBRARY_NOTHING;
  // A bias alone may have another form than the output's floats: only f32 and the two halves have kernels with epilogues.
  // Nor is its scale told as a double.
  bool plain = p->epilogue.bias < 0 && p->epilogue.activation == LIBRARY_IDENTITY && p->epilogue.scale == 1;
  if (p->fused && p->natural == DTYPE_F64 && !plain) {
    p->fused = false;
    p->epilogue = LIBRARY_NOTHING;
  }
  if (p->input != DTYPE_I8) return true;
  // Integer tensor cores: first operand transposed, second not, all extents and leading dimensions multiples of 4.
  int64_t m = p->result.rows, k = p->second.rows;
  bool fours = m % 4 == 0 && k % 4 == 0 && p->first.leading % 4 == 0 && p->second.leading % 4 == 0;
  REQUIRE(site, p->first.transposed && !p->second.transposed && fours,
          "bytes want a transposed first operand, and extents in multiples of 4");
  return true;
}
