// The cuBLASLt tactic over a library that multiplies on the host, exactly as the real one's documentation defines the call:
// column-major matrices, transposes, batches, a bias along the rows. What is tested is how sites are mapped onto such calls.
#include "tests/site_test.h"
#include "cuda/cublaslt.h"
#include "ir/program.h"
#include "kernels/matmul/matmul.h"

struct CublasLtLayout {
  int type;
  int64_t rows, columns, leading, stride;
  int batch;
};
struct CublasLtMatmulDesc {
  int compute, scale, transpose_a, transpose_b, epilogue;
  const char *bias;
};
static int fake_live, fake_calls;

static CublasResult fake_desc_create(CublasLtMatmulDesc *desc, int compute, int scale) {
  *desc = calloc(1, sizeof **desc);
  **desc = (struct CublasLtMatmulDesc){.compute = compute, .scale = scale, .epilogue = CUBLAS_EPILOGUE_NONE};
  fake_live++;
  return 0;
}
static CublasResult fake_desc_destroy(CublasLtMatmulDesc desc) {
  free(desc);
  fake_live--;
  return 0;
}
static CublasResult fake_desc_set(CublasLtMatmulDesc desc, int attribute, const void *value, size_t size) {
  if (attribute == CUBLAS_MATMUL_BIAS_POINTER) memcpy(&desc->bias, value, size);
  if (attribute == CUBLAS_MATMUL_TRANSPOSE_A) memcpy(&desc->transpose_a, value, size);
  if (attribute == CUBLAS_MATMUL_TRANSPOSE_B) memcpy(&desc->transpose_b, value, size);
  if (attribute == CUBLAS_MATMUL_EPILOGUE) memcpy(&desc->epilogue, value, size);
  return 0;
}
static CublasResult fake_layout_create(CublasLtLayout *layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  if (leading < (int64_t)rows) return 7;
  *layout = calloc(1, sizeof **layout);
  **layout = (struct CublasLtLayout){type, (int64_t)rows, (int64_t)columns, leading, 0, 1};
  fake_live++;
  return 0;
}
static CublasResult fake_layout_destroy(CublasLtLayout layout) {
  free(layout);
  fake_live--;
  return 0;
}
static CublasResult fake_layout_set(CublasLtLayout layout, int attribute, const void *value, size_t size) {
  if (attribute == CUBLAS_LAYOUT_BATCH_COUNT) memcpy(&layout->batch, value, size);
  if (attribute == CUBLAS_LAYOUT_BATCH_STRIDE) memcpy(&layout->stride, value, size);
  return 0;
}
static CublasResult fake_preference_create(CublasLtPreference *preference) {
  *preference = malloc(1);
  fake_live++;
  return 0;
}
static CublasResult fake_preference_destroy(CublasLtPreference preference) {
  free(preference);
  fake_live--;
  return 0;
}
static CublasResult fake_preference_set(CublasLtPreference preference, int attribute, const void *value, size_t size) {
  return 0;
}
static CublasResult fake_heuristic(CublasLtHandle handle, CublasLtMatmulDesc desc, CublasLtLayout a, CublasLtLayout b,
                                   CublasLtLayout c, CublasLtLayout d, CublasLtPreference preference, int wanted,
                                   CublasLtHeuristic *results, int *count) {
  *count = 2;
  for (int i = 0; i < 2; i++) results[i] = (CublasLtHeuristic){.algo = {{(uint64_t)i}}, .workspace_bytes = 100};
  return 0;
}
static CublasResult fake_algo_get(const CublasLtAlgo *algo, int attribute, void *value, size_t size, size_t *written) {
  if (attribute == CUBLAS_ALGO_ID) memcpy(value, algo->opaque, size);
  return 0;
}

static DType type_of(int type) {
  return type == CUBLAS_F32   ? DTYPE_F32
         : type == CUBLAS_F16 ? DTYPE_F16
         : type == CUBLAS_F64 ? DTYPE_F64
         : type == CUBLAS_I8  ? DTYPE_I8
         : type == CUBLAS_I32 ? DTYPE_I32
                              : DTYPE_BF16;
}
static double get(const CublasLtLayout layout, const void *data, int batch, int64_t row, int64_t column) {
  DType type = type_of(layout->type);
  int64_t at = batch * layout->stride + column * layout->leading + row;
  return element_get_f(type, (const char *)data + at * (int64_t)dtype_size(type));
}
static double scalar(int type, const void *value) { return element_get_f(type_of(type), value); }

static CublasResult fake_matmul(CublasLtHandle handle, CublasLtMatmulDesc desc, const void *alpha, const void *a,
                                CublasLtLayout la, const void *b, CublasLtLayout lb, const void *beta, const void *c,
                                CublasLtLayout lc, void *d, CublasLtLayout ld, const CublasLtAlgo *algo, void *workspace,
                                size_t workspace_bytes, CudaStream stream) {
  int64_t m = ld->rows, n = ld->columns, k = desc->transpose_a ? la->rows : la->columns;
  fake_calls++;
  if ((desc->transpose_a ? la->columns : la->rows) != m || (desc->transpose_b ? lb->rows : lb->columns) != n ||
      (desc->transpose_b ? lb->columns : lb->rows) != k)
    return 7;
  DType type = type_of(ld->type);
  for (int batch = 0; batch < ld->batch; batch++)
    for (int64_t column = 0; column < n; column++)
      for (int64_t row = 0; row < m; row++) {
        double sum = 0;
        for (int64_t i = 0; i < k; i++)
          sum += (desc->transpose_a ? get(la, a, batch, i, row) : get(la, a, batch, row, i)) *
                 (desc->transpose_b ? get(lb, b, batch, column, i) : get(lb, b, batch, i, column));
        sum *= scalar(desc->scale, alpha);
        if (scalar(desc->scale, beta) != 0) sum += scalar(desc->scale, beta) * get(lc, c, batch, row, column);
        if (desc->epilogue & CUBLAS_EPILOGUE_BIAS) sum += element_get_f(type, desc->bias + row * (int64_t)dtype_size(type));
        if (desc->epilogue & CUBLAS_EPILOGUE_GELU) sum *= 0.5 * (1 + tanh(0.7978845608 * (sum + 0.044715 * sum * sum * sum)));
        int64_t at = batch * ld->stride + column * ld->leading + row;
        element_set_f(type, (char *)d + at * (int64_t)dtype_size(type), sum);
      }
  return 0;
}

static CublasLt fake_lt = {.cublasLtMatmulDescCreate = fake_desc_create,
                           .cublasLtMatmulDescDestroy = fake_desc_destroy,
                           .cublasLtMatmulDescSetAttribute = fake_desc_set,
                           .cublasLtMatrixLayoutCreate = fake_layout_create,
                           .cublasLtMatrixLayoutDestroy = fake_layout_destroy,
                           .cublasLtMatrixLayoutSetAttribute = fake_layout_set,
                           .cublasLtMatmulPreferenceCreate = fake_preference_create,
                           .cublasLtMatmulPreferenceDestroy = fake_preference_destroy,
                           .cublasLtMatmulPreferenceSetAttribute = fake_preference_set,
                           .cublasLtMatmulAlgoGetHeuristic = fake_heuristic,
                           .cublasLtMatmulAlgoConfigGetAttribute = fake_algo_get,
                           .cublasLtMatmul = fake_matmul};

extern const Tactic cublaslt_matmul_tactic;

// Runs the site and checks that every handle was given back. Returns the number of launches.
static int run(SiteTest *test) {
  CudaContext context = {.cublaslt = &fake_lt, .mutex = PTHREAD_MUTEX_INITIALIZER};
  fake_live = fake_calls = 0;
  int launches = site_run_calls(test, &cublaslt_matmul_tactic, &context);
  cr_assert_eq(fake_live, 0, "%d handles leaked", fake_live);
  return launches;
}

static int product(DType dtype, int a_rank, const int64_t *a, const uint8_t *a_order, int b_rank, const int64_t *b,
                   const uint8_t *b_order, const uint8_t *y_order) {
  SiteTest *test = site_test_new();
  site_input(test, dtype, a_rank, a, a_order);
  site_input(test, dtype, b_rank, b, b_order);
  site_node(test, &op_matmul, 2);
  site_ready(test, y_order, true);
  run(test);
  site_done(test);
  return fake_calls / 2;  // for each of the two candidates
}

#define ROWS NULL
#define COLUMNS SITE_ORDER(1, 0)

Test(cuda_cublaslt, every_layout_of_plain_products) {
  const uint8_t *orders[] = {ROWS, COLUMNS};
  for (int a = 0; a < 2; a++)
    for (int b = 0; b < 2; b++)
      for (int y = 0; y < 2; y++) product(DTYPE_F32, SITE_DIMS(5, 3), orders[a], SITE_DIMS(3, 7), orders[b], orders[y]);
}

Test(cuda_cublaslt, extents_of_one) {
  int64_t sizes[] = {1, 4};
  for (int i = 0; i < 8; i++) {
    int64_t m = sizes[i & 1], n = sizes[i >> 1 & 1], k = sizes[i >> 2];
    product(DTYPE_F32, SITE_DIMS(m, k), ROWS, SITE_DIMS(k, n), ROWS, ROWS);
    product(DTYPE_F32, SITE_DIMS(m, k), COLUMNS, SITE_DIMS(k, n), COLUMNS, COLUMNS);
  }
}

Test(cuda_cublaslt, every_type) {
  DType types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
  for (size_t i = 0; i < COUNT_OF(types); i++) product(types[i], SITE_DIMS(5, 3), ROWS, SITE_DIMS(3, 7), ROWS, ROWS);
  product(DTYPE_I8, SITE_DIMS(8, 12), ROWS, SITE_DIMS(12, 4), COLUMNS, ROWS);
}

Test(cuda_cublaslt, batches_become_rows_or_one_batch_or_a_loop) {
  cr_assert_eq(product(DTYPE_F32, SITE_DIMS(2, 3, 4, 5), NULL, SITE_DIMS(5, 6), NULL, NULL), 1);
  cr_assert_eq(product(DTYPE_F32, SITE_DIMS(2, 3, 4, 5), NULL, SITE_DIMS(2, 3, 5, 6), NULL, NULL), 1);
  cr_assert_eq(product(DTYPE_F32, SITE_DIMS(2, 3, 1, 5), NULL, SITE_DIMS(5, 6), NULL, NULL), 1);
  cr_assert_eq(product(DTYPE_F32, SITE_DIMS(4, 5), NULL, SITE_DIMS(2, 3, 5, 6), NULL, NULL), 1);
  cr_assert_eq(product(DTYPE_F32, SITE_DIMS(2, 1, 4, 5), NULL, SITE_DIMS(1, 3, 5, 6), NULL, NULL), 2);
  // Heads: [batch, sequence, heads, depth] seen as [batch, heads, sequence, depth], times the transpose of such another.
  cr_assert_eq(
      product(DTYPE_F32, SITE_DIMS(2, 3, 4, 5), SITE_ORDER(0, 2, 1, 3), SITE_DIMS(2, 3, 5, 4), SITE_ORDER(0, 3, 1, 2), NULL),
      2);
  // The output with heads and sequence swapped back.
  product(DTYPE_F32, SITE_DIMS(2, 3, 4, 5), NULL, SITE_DIMS(2, 3, 5, 4), NULL, SITE_ORDER(0, 2, 1, 3));
}

static int with_epilogue(const char *epilogue, bool fused, const uint8_t *y_order, int extra_rank, const int64_t *extra) {
  SiteTest *test = site_test_new();
  site_input(test, DTYPE_F32, SITE_DIMS(2, 5, 3), NULL);
  site_input(test, DTYPE_F32, SITE_DIMS(3, 7), NULL);
  site_input(test, DTYPE_F32, SITE_DIMS(7), NULL);
  site_input(test, DTYPE_F32, extra_rank, extra, y_order);
  site_node(test, &op_matmul, 2);
  site_epilogue(test, epilogue);
  site_ready(test, y_order, fused);
  int launches = run(test);
  site_done(test);
  return launches;
}

// %0 is the product, %1 the bias, %2 the tensor.
#define HEAD "{inputs 3; %0: f32 = input 0; %1: f32 = input 1; %2: f32 = input 2; "

Test(cuda_cublaslt, epilogues_the_library_knows_are_one_launch) {
  const char *texts[] = {HEAD "%3 = add %0 %1; yield %3}", HEAD "%3 = add %0 %2; yield %3}",
                         HEAD "%3 = add %0 %1; %4 = add %2 %3; yield %4}"};
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    cr_assert_eq(with_epilogue(texts[i], true, NULL, SITE_DIMS(2, 5, 7)), 1, "%s", texts[i]);
}

#define TANH_GELU(a, c)                                                             \
  HEAD "%3 = add %0 %1; %4 = mul %3 %3; %5 = mul %4 %3; %6: f32 = const " a         \
       "; %7 = mul %6 %5; %8 = add %3 %7; "                                         \
       "%9: f32 = const " c                                                         \
       "; %10 = mul %9 %8; %11 = tanh %10; %12: f32 = const 1; %13 = add %11 %12; " \
       "%14 = mul %3 %13; %15: f32 = const 0.5; %16 = mul %14 %15; yield %16}"

Test(cuda_cublaslt, gelu_is_fused_in_its_tanh_form_only) {
  cr_assert_eq(with_epilogue(TANH_GELU("0.044715", "0.79788458"), true, NULL, SITE_DIMS(2, 5, 7)), 1);
  cr_assert_eq(with_epilogue(TANH_GELU("0.05", "0.79788458"), false, NULL, SITE_DIMS(2, 5, 7)), 2);
  const char *erf_form = HEAD
      "%3: f32 = const 0.70710678; %4 = mul %0 %3; %5 = erf %4; %6: f32 = const 1; %7 = add %5 %6; "
      "%8 = mul %0 %7; %9: f32 = const 0.5; %10 = mul %8 %9; yield %10}";
  cr_assert_eq(with_epilogue(erf_form, false, NULL, SITE_DIMS(2, 5, 7)), 2);
}

Test(cuda_cublaslt, other_epilogues_are_a_kernel_of_their_own) {
  cr_assert_eq(with_epilogue(HEAD "%3 = mul %0 %1; yield %3}", false, NULL, SITE_DIMS(2, 5, 7)), 2);
  // The library's relu makes a zero of NaN.
  cr_assert_eq(with_epilogue(HEAD "%3 = add %1 %0; %4 = relu %3; yield %4}", false, NULL, SITE_DIMS(2, 5, 7)), 2);
  cr_assert_eq(with_epilogue(HEAD "%3: f32 = const 0; %4 = max %3 %0; yield %4}", false, NULL, SITE_DIMS(2, 5, 7)), 2);
  cr_assert_eq(with_epilogue(HEAD "%3 = relu %0; %4 = add %3 %2; yield %4}", false, NULL, SITE_DIMS(2, 5, 7)), 2);
  cr_assert_eq(with_epilogue(HEAD "%3 = add %0 %2; yield %3}", false, NULL, SITE_DIMS(5, 7)), 2);
  // A bias along the columns of a swapped product.
  cr_assert_eq(with_epilogue(HEAD "%3 = add %0 %1; yield %3}", false, SITE_ORDER(0, 2, 1), SITE_DIMS(2, 5, 7)), 2);
}

Test(cuda_cublaslt, what_it_does_not_take) {
  SiteTest *test = site_test_new();
  site_input(test, DTYPE_F32, SITE_DIMS(5, 3), NULL);
  site_input(test, DTYPE_F32, SITE_DIMS(3, 7), NULL);
  site_node(test, &op_matmul, 2);
  site_ready(test, NULL, true);
  cr_assert(cublaslt_matmul_tactic.supports(&test->site));
  test->inputs[0].strides[1] = 2;
  cr_assert_not(cublaslt_matmul_tactic.supports(&test->site));
  test->inputs[0].strides[1] = 1;
  test->inputs[0].strides[0] = -3;
  cr_assert_not(cublaslt_matmul_tactic.supports(&test->site));
  test->inputs[0].strides[0] = 3;
  test->device.cublaslt = false;
  cr_assert_not(cublaslt_matmul_tactic.supports(&test->site));
  site_done(test);
}

Test(cuda_cublaslt, equal_calls_share_what_they_need_and_other_versions_are_refused) {
  CudaContext context = {.cublaslt = &fake_lt, .mutex = PTHREAD_MUTEX_INITIALIZER};
  SiteTest *test = site_test_new();
  site_input(test, DTYPE_F32, SITE_DIMS(5, 3), NULL);
  site_input(test, DTYPE_F32, SITE_DIMS(3, 7), NULL);
  site_node(test, &op_matmul, 2);
  site_ready(test, NULL, true);
  Candidate candidates[2];
  cr_assert_eq(cublaslt_matmul_tactic.candidates(&test->site, &context, candidates, 2), 2);
  Emission emissions[3];
  CudaShared *opened[3];
  fake_live = 0;
  for (int i = 0; i < 3; i++) {
    emissions[i] = (Emission){.arena = arena_new()};
    cr_assert_null(cublaslt_matmul_tactic.emit(&test->site, &candidates[i / 2], &context, &emissions[i]));
    cr_assert_eq(fake_live, 0, "an emission holds nothing of the library");
  }
  for (int i = 0; i < 3; i++) {
    const Launch *launch = emissions[i].launches;
    cr_assert_null(library_open(&context, launch->routine, launch->parameters, &opened[i]));
  }
  cr_assert_eq(opened[0], opened[1]);
  cr_assert_neq(opened[0], opened[2], "another algorithm");
  cr_assert_eq(fake_live, 6, "three layouts each");
  cuda_shared_drop(&context, opened[0]);
  cr_assert_eq(fake_live, 6);
  fake_lt.version++;
  CudaShared *other;
  const Launch *launch = emissions[2].launches;
  cuda_shared_drop(&context, opened[2]);
  Status status = library_open(&context, launch->routine, launch->parameters, &other);
  cr_assert_eq(status_code(status), ERROR_UNSUPPORTED);
  cr_assert(strstr(status_message(status), "the call was made for cuBLASLt 0, and here is 1"), "%s", status_message(status));
  status_free(status);
  fake_lt.version--;
  cuda_shared_drop(&context, opened[1]);
  cr_assert_eq(fake_live, 0);
  for (int i = 0; i < 3; i++) arena_free(emissions[i].arena);
  site_done(test);
}
