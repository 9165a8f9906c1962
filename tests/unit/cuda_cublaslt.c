// The cuBLASLt implementation over a library that multiplies on the host (tests/fakes/cublaslt.c): how sites are mapped onto such calls.
#include "tests/fakes/cublaslt.h"
#include "tests/site_test.h"
#include "cuda/cublaslt.h"
#include "ir/program.h"
#include "kernels/matmul/matmul.h"

#define DECLARE(name, result, parameters) result name parameters;
CUBLASLT_TABLE(DECLARE)

static CublasLt fake_lt = {.cublasLtMatmulDescCreate = cublasLtMatmulDescCreate,
                           .cublasLtMatmulDescDestroy = cublasLtMatmulDescDestroy,
                           .cublasLtMatmulDescSetAttribute = cublasLtMatmulDescSetAttribute,
                           .cublasLtMatrixLayoutCreate = cublasLtMatrixLayoutCreate,
                           .cublasLtMatrixLayoutDestroy = cublasLtMatrixLayoutDestroy,
                           .cublasLtMatrixLayoutSetAttribute = cublasLtMatrixLayoutSetAttribute,
                           .cublasLtMatmulPreferenceCreate = cublasLtMatmulPreferenceCreate,
                           .cublasLtMatmulPreferenceDestroy = cublasLtMatmulPreferenceDestroy,
                           .cublasLtMatmulPreferenceSetAttribute = cublasLtMatmulPreferenceSetAttribute,
                           .cublasLtMatmulAlgoGetHeuristic = cublasLtMatmulAlgoGetHeuristic,
                           .cublasLtMatmulAlgoConfigGetAttribute = cublasLtMatmulAlgoConfigGetAttribute,
                           .cublasLtMatmul = cublasLtMatmul};

extern const Implementation cuda_cublaslt_matmul;

// Runs the site and checks that every handle was given back. Returns the number of launches.
static int run(SiteTest *test) {
  CudaContext context = {.cublaslt = &fake_lt, .mutex = PTHREAD_MUTEX_INITIALIZER};
  fake_live = fake_calls = 0;
  int launches = site_run_calls(test, &cuda_cublaslt_matmul, &context);
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
  return fake_calls / 2;  // for each of the two ways
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
                         HEAD "%3 = add %0 %1; %4 = add %2 %3; yield %4}",
                         HEAD "%3: f32 = const 0.5; %4 = mul %0 %3; yield %4}",
                         HEAD "%3: f32 = const -3; %4 = mul %3 %0; %5 = add %1 %4; %6 = add %5 %2; yield %6}"};
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
  cr_assert_eq(
      with_epilogue(HEAD "%3: f32 = const 2; %4 = mul %3 %2; %5 = add %0 %4; yield %5}", false, NULL, SITE_DIMS(2, 5, 7)), 2);
  cr_assert_eq(
      with_epilogue(HEAD "%3: f32 = const 2; %4 = add %0 %1; %5 = mul %4 %3; yield %5}", false, NULL, SITE_DIMS(2, 5, 7)), 2);
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
  cr_assert(cuda_cublaslt_matmul.supports(&test->site));
  test->inputs[0].strides[1] = 2;
  cr_assert_not(cuda_cublaslt_matmul.supports(&test->site));
  test->inputs[0].strides[1] = 1;
  test->inputs[0].strides[0] = -3;
  cr_assert_not(cuda_cublaslt_matmul.supports(&test->site));
  test->inputs[0].strides[0] = 3;
  test->device.cublaslt = false;
  cr_assert_not(cuda_cublaslt_matmul.supports(&test->site));
  site_done(test);
}

Test(cuda_cublaslt, equal_calls_share_what_they_need_and_other_versions_are_refused) {
  CudaContext context = {.cublaslt = &fake_lt, .mutex = PTHREAD_MUTEX_INITIALIZER};
  SiteTest *test = site_test_new();
  site_input(test, DTYPE_F32, SITE_DIMS(5, 3), NULL);
  site_input(test, DTYPE_F32, SITE_DIMS(3, 7), NULL);
  site_node(test, &op_matmul, 2);
  site_ready(test, NULL, true);
  Way ways[2];
  cr_assert_eq(cuda_cublaslt_matmul.ways(&test->site, &(Machine){.cuda = &context}, ways, 2), 2);
  Emission emissions[3];
  CudaShared *opened[3];
  fake_live = 0;
  for (int i = 0; i < 3; i++) {
    emissions[i] = (Emission){.arena = arena_new()};
    cr_assert_null(cuda_cublaslt_matmul.lower(&test->site, &ways[i / 2], &(Machine){.cuda = &context}, &emissions[i]));
    cr_assert_eq(fake_live, 0, "an emission holds nothing of the library");
  }
  for (int i = 0; i < 3; i++) {
    const Launch *launch = emissions[i].launches;
    cr_assert_null(library_routine_open(&context, launch->routine, launch->parameters, &opened[i]));
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
  Status status = library_routine_open(&context, launch->routine, launch->parameters, &other);
  cr_assert_eq(status_code(status), ERROR_UNSUPPORTED);
  cr_assert(strstr(status_message(status), "the call was made for cuBLASLt 0, and here is 1"), "%s", status_message(status));
  status_free(status);
  fake_lt.version--;
  cuda_shared_drop(&context, opened[1]);
  cr_assert_eq(fake_live, 0);
  for (int i = 0; i < 3; i++) arena_free(emissions[i].arena);
  site_done(test);
}
