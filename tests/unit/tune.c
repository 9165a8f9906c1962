// Where candidates are measured, on a GPU whose memory is the host's: what inputs hold, constants that are packed once, and copied where they are cold;
// and who disagrees.
#include "tune/judge.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "tests/fake_cuda.h"
#include "tune/cold.h"
#include "tune/rounds.h"

static Arena *arena;
static CudaContext *cuda;
static RandomBlocks random_blocks;
static TensorDesc inputs[3], outputs[2];
static DeviceInfo device = {.kind = DEVICE_CUDA, .sm = 90};
static Node node;
static Site site;
static const Log silent;

static void set_up(void) {
  const CudaDriver *driver;
  arena = arena_new();
  fake_cuda_reset(0, 0);
  cr_assert_null(cuda_driver_from_table(arena, fake_cuda_symbols, &driver));
  cr_assert_null(cuda_context_open(&(CudaContextOptions){.driver = driver}, &cuda));
  random_blocks = (RandomBlocks){.cuda = cuda};
  node = (Node){0};
  site = (Site){.node = &node, .inputs = inputs, .outputs = outputs, .device = &device};
  memset(inputs, 0, sizeof inputs);
  memset(outputs, 0, sizeof outputs);
}

static void tear_down(void) {
  random_blocks_free(&random_blocks);
  cuda_context_close(cuda);
  cr_assert_eq(fake_cuda.live, 0);
  arena_free(arena);
}
TestSuite(tune, .init = set_up, .fini = tear_down);

static TensorDesc vector(DType dtype, int64_t count) {
  return (TensorDesc){.dtype = dtype, .rank = 1, .dims = {count}, .strides = {1}};
}

static Rig opened(int input_count, int output_count, bool sketch) {
  node.input_count = input_count, node.output_count = output_count;
  Rig rig = {&site, cuda, &random_blocks, &silent, arena, sketch};
  cr_assert_null(rig_open(&rig));
  return rig;
}

// ---- inputs ------------------------------------------------------------------------------------------------------------------

static void expect_random(DType dtype, const void *bytes, int64_t count) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; i++) {
    double x = element_get_f(dtype, (const char *)bytes + (size_t)i * dtype_size(dtype));
    sum += x, squares += x * x;
    if (dtype_is_float(dtype)) cr_assert(x >= -1 && x <= 1, "%s: %g at %ld", dtype_name(dtype), x, (long)i);
    else cr_assert(x == 0 || x == 1, "%s: %g at %ld", dtype_name(dtype), x, (long)i);
  }
  if (count < 10000) return;
  double mean = sum / (double)count, expected = dtype_is_float(dtype) ? 0 : 0.5;
  cr_assert(fabs(mean - expected) < 0.03, "%s: mean %g", dtype_name(dtype), mean);
  if (dtype_is_float(dtype)) cr_assert(squares / (double)count > 0.25, "%s: %g", dtype_name(dtype), squares / (double)count);
}

// But powers of two, which are never negative, and what no GPU holds.
Test(tune, inputs_of_every_type_and_length_are_random) {
  static const int64_t counts[] = {1, 7, 100000, 262148, 600000};
  for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
    if (dtype_kind((DType)dtype) == KIND_COMPLEX || dtype == DTYPE_STRING || dtype == DTYPE_F8E8M0) continue;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
      inputs[0] = inputs[1] = vector((DType)dtype, counts[i]);
      Rig rig = opened(2, 0, false);
      for (int k = 0; k < 2; k++) expect_random((DType)dtype, rig.input_at[k], counts[i]);
      if (counts[i] > 1000)
        cr_assert(memcmp(rig.input_at[0], rig.input_at[1], 1000), "%s: both inputs are the same", dtype_name((DType)dtype));
      rig_close(&rig);
    }
  }
}

// Rows of usual lengths differ, however long a tensor is.
Test(tune, rows_of_an_input_differ) {
  static const int64_t rows[] = {64, 1024, 4096, 16384, 65536};
  inputs[0] = vector(DTYPE_F32, 1 << 21);
  Rig rig = opened(1, 0, false);
  const float *x = rig.input_at[0];
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    for (int64_t row = 1; row < (1 << 21) / rows[i]; row++)
      cr_assert(memcmp(x, x + row * rows[i], 64), "rows 0 and %ld of %ld", (long)row, (long)rows[i]);
  rig_close(&rig);
}

Test(tune, strided_inputs_have_room_where_their_strides_lead) {
  inputs[0] = (TensorDesc){.dtype = DTYPE_F16, .rank = 3, .dims = {3, 4, 5}, .strides = {100, -7, 0}};
  inputs[1] = (TensorDesc){.dtype = DTYPE_F32, .rank = 2, .dims = {0, 4}, .strides = {4, 1}};
  inputs[2].absent = true;
  Rig rig = opened(3, 0, false);
  const uint16_t *x = rig.input_at[0];
  cr_assert_eq(rig.input_bytes[0], (3 * 7 + 2 * 100 + 1) * sizeof *x);
  cr_assert_eq((const void *)(x - 21), rig.inputs[0]);
  expect_random(DTYPE_F16, x - 21, 222);
  cr_assert_null(rig.inputs[2]);
  rig_close(&rig);
}

Test(tune, constants_keep_what_they_hold) {
  static const float numbers[] = {5, 6, 7, 8, 9, 10};
  const Tensor constant = {.dtype = DTYPE_F32, .rank = 2, .dims = {2, 3}, .data = (void *)(uintptr_t)numbers};
  inputs[0] = (TensorDesc){.dtype = DTYPE_F32, .rank = 2, .dims = {2, 3}, .strides = {3, 1}, .constant = &constant};
  inputs[1] = inputs[0];
  inputs[1].strides[0] = 1, inputs[1].strides[1] = 2;  // turned, as filters lie channels last
  inputs[2] = inputs[0];
  inputs[2].strides[0] = -4;  // with gaps, backwards
  Rig rig = opened(3, 0, false);
  const float *apart = rig.input_at[2];
  cr_assert_arr_eq(rig.input_at[0], numbers, sizeof numbers);
  cr_assert_arr_eq(rig.input_at[1], ((float[]){5, 8, 6, 9, 7, 10}), sizeof numbers);
  cr_assert_arr_eq(apart, numbers, 3 * sizeof *numbers);
  cr_assert_arr_eq(apart - 4, numbers + 3, 3 * sizeof *numbers);
  rig_close(&rig);
  rig = opened(1, 0, true);
  expect_random(DTYPE_F32, rig.input_at[0], 6);
  rig_close(&rig);
}

Test(tune, blocks_are_made_once_for_a_type) {
  inputs[0] = inputs[1] = vector(DTYPE_F32, 1000);
  Rig rig = opened(2, 0, false);
  rig_close(&rig);
  size_t before = fake_cuda.memory;
  rig = opened(2, 0, false);
  rig_close(&rig);
  cr_assert_eq(fake_cuda.memory - before, 2 * 1000 * sizeof(float));
}

// ---- constants in forms of their own -------------------------------------------------------------------------------------------

static const float numbers[] = {1, 2, 3, 4, 5, 6};
static const Tensor tensor = {.dtype = DTYPE_F32, .rank = 2, .dims = {2, 3}, .data = (void *)(uintptr_t)numbers};

static Recipe *padded(int64_t size) {
  Recipe *recipe = recipe_new(arena);
  cr_assert_null(recipe_finish(recipe, recipe_pad(recipe, recipe_source(recipe, &tensor), 1, size)));
  return recipe;
}

Test(tune, a_form_is_packed_once_and_kept) {
  Rig rig = opened(0, 0, false);
  void *first, *again, *other;
  cr_assert_null(rig_pack(&rig, padded(4), &first));
  cr_assert_null(rig_pack(&rig, padded(5), &other));
  rig_unuse(&rig);
  size_t before = fake_cuda.memory;
  cr_assert_null(rig_pack(&rig, padded(4), &again));
  cr_assert_eq(first, again);
  cr_assert_neq(first, other);
  cr_assert_eq(fake_cuda.memory, before);
  const float expected[] = {1, 2, 3, 0, 4, 5, 6, 0};
  cr_assert_arr_eq(again, expected, sizeof expected);
  rig_unuse(&rig);
  rig_close(&rig);
}

Test(tune, forms_that_nobody_uses_are_bounded) {
  enum { BIG = 5 << 20 };  // 40 MiB each
  Rig rig = opened(0, 0, false);
  void *at;
  size_t before = cuda->allocated;
  for (int i = 0; i < 2; i++) {
    cr_assert_null(rig_pack(&rig, padded(BIG + i), &at));
    rig_unuse(&rig);
    cr_assert_leq(cuda->allocated - before, 64u << 20);
  }
  cr_assert_gt(cuda->allocated, before);
  rig_close(&rig);
  cr_assert_eq(cuda->allocated, before);
}

Test(tune, memory_that_is_short_is_taken_from_forms_that_nobody_uses) {
  Rig rig = opened(0, 0, false);
  void *kept, *used, *workspace;
  cr_assert_null(rig_pack(&rig, padded(1000), &kept));
  rig_unuse(&rig);
  cr_assert_null(rig_pack(&rig, padded(2000), &used));
  fake_cuda.fail_with = CUDA_OUT_OF_MEMORY;
  fake_cuda.fail_at = fake_cuda.calls + 1;
  size_t before = cuda->allocated;
  cr_assert_null(rig_alloc(&rig, 100, &workspace));
  cr_assert_eq(cuda->allocated, before - 2 * 1000 * sizeof(float) + 100);
  fake_cuda.fail_at = fake_cuda.calls + 1;
  void *refused;
  Status status = rig_alloc(&rig, 100, &refused);  // nothing is left to give up
  cr_assert_eq(status_code(status), ERROR_OUT_OF_MEMORY);
  status_free(status);
  cuda_free(cuda, workspace, 100);
  rig_close(&rig);
}

// ---- runs one behind another ---------------------------------------------------------------------------------------------------

enum { MOST_CALLS = 200, CONSTANT = 100000, L2 = 1 << 20 };
static const float *called[MOST_CALLS][3];  // with which input, which constant, which packed form
static int calls;

static Status note_call(const void *state, void *const *buffers, CudaStream stream) {
  for (int i = 0; i < 3; i++) called[calls][i] = buffers[i];
  calls++;
  return OK;
}
static Status open_nothing(const void *parameters, CudaContext *context, Arena *lasting, void **out) {
  *out = NULL;
  return OK;
}
static const LibraryRoutine noting = {.name = "noting", .parameter_bytes = 1, .open = open_nothing, .run = note_call};

static float held[CONSTANT];
static const Tensor constant = {.dtype = DTYPE_F32, .rank = 1, .dims = {CONSTANT}, .data = held};

// Of an input, a constant that lies backwards, and a packed form of it that is as long.
static LaunchSet *ready_set(Rig *rig) {
  Recipe *recipe = recipe_new(arena);
  Emission *emission = arena_new_of(arena, Emission);
  int packed, taken;
  emission->arena = arena;
  Launch *launch = emit_library(emission, &noting, "", "noting");
  cr_assert_null(emit_packed(emission, recipe, recipe_pad(recipe, recipe_source(recipe, &constant), 0, CONSTANT), &packed));
  emit_buffer(emission, launch, BUFFER_INPUT, 0);
  emit_buffer(emission, launch, BUFFER_INPUT, 1);
  emit_buffer(emission, launch, BUFFER_PACKED, packed);
  LaunchSet *set = launch_set_new(emission, &site, arena);
  memcpy(set->inputs, rig->input_at, 2 * sizeof(void *));
  cr_assert_null(rig_pack(rig, emission->packed[0], &set->packed[0]));
  launch_set_patch(set);
  cr_assert_null(launch_set_load(set, &(Machine){.cuda = cuda}, NULL, &taken));
  return set;
}

static void close_rounds(Rig *rig, LaunchSet *set, Rounds *rounds) {
  rounds_close(rounds);
  launch_set_unload(set, &(Machine){.cuda = cuda});
  rig_close(rig);
}

static Rig rig_with_constant(bool cold) {
  inputs[0] = inputs[1] = vector(DTYPE_F32, CONSTANT);
  inputs[1].constant = &constant;
  inputs[1].strides[0] = -1;
  for (int i = 0; i < CONSTANT; i++) held[i] = (float)i;
  cuda->info.l2_bytes = L2;
  calls = 0;
  Rig rig = opened(2, 0, false);
  rig.cold = cold;
  return rig;
}

static void expect_same_constants(int call, const LaunchSet *set) {
  cr_expect_eq(called[call][0], set->inputs[0]);
  for (int i = 0; i < CONSTANT; i += 99) {
    cr_assert_eq(called[call][1][-i], (float)i);
    cr_assert_eq(called[call][2][i], (float)i);
  }
}

// Three copies of what is 800,000 bytes are twice a cache of a mebibyte.
Test(tune, each_run_of_a_round_has_constants_of_its_own_where_they_are_cold) {
  Rig rig = rig_with_constant(true);
  LaunchSet *set = ready_set(&rig);
  Rounds rounds;
  cr_assert_null(rounds_open(&rig, set, 2, arena, &rounds));
  cr_expect_eq(rounds.runs, 3);
  cr_assert_eq(calls, 3);
  for (int i = 0; i < 3; i++) {
    expect_same_constants(i, set);
    for (int k = 0; k < i; k++) cr_expect(called[i][1] != called[k][1] && called[i][2] != called[k][2]);
    cr_expect(called[i][1] != set->inputs[1] && called[i][2] != set->packed[0]);
  }
  cr_expect_eq(set->inputs[1], rig.input_at[1]);
  cr_assert_null(rounds_run(&rounds, cuda->stream));
  cr_expect_eq(calls, 3, "a graph is launched");
  rounds_close(&rounds);
  calls = 0;
  cr_assert_null(rounds_open(&rig, set, 7, arena, &rounds));
  cr_assert_eq(calls, 7);
  for (int i = 0; i < 7; i++) cr_expect_eq(called[i][1], called[i % 3][1]);
  close_rounds(&rig, set, &rounds);
}

Test(tune, constants_that_are_warm_or_larger_than_the_cache_are_read_where_they_are) {
  for (int cold = 0; cold < 2; cold++) {
    Rig rig = rig_with_constant(cold);
    LaunchSet *set = ready_set(&rig);
    Rounds rounds;
    if (cold) cuda->info.l2_bytes = L2 / 8;
    size_t before = cuda->allocated;
    cr_assert_null(rounds_open(&rig, set, 2, arena, &rounds));
    cr_assert_eq(calls, 2);
    for (int i = 0; i < 2; i++) cr_expect(called[i][1] == set->inputs[1] && called[i][2] == set->packed[0]);
    cr_expect_eq(cuda->allocated, before);
    close_rounds(&rig, set, &rounds);
  }
}

// The first call of the driver asks for memory, the one behind it for a graph.
Test(tune, without_memory_for_copies_or_without_a_graph_a_round_runs_all_the_same) {
  for (int graph = 0; graph < 2; graph++) {
    Rig rig = rig_with_constant(!graph);
    LaunchSet *set = ready_set(&rig);
    Rounds rounds;
    fake_cuda.fail_with = CUDA_OUT_OF_MEMORY;
    fake_cuda.fail_at = fake_cuda.calls + 1;
    cr_assert_null(rounds_open(&rig, set, 2, arena, &rounds));
    cr_expect_eq(rounds.copies, 0);
    calls = 0;
    cr_assert_null(rounds_run(&rounds, cuda->stream));
    cr_expect_eq(calls, graph ? 2 : 0, "%d calls", calls);
    close_rounds(&rig, set, &rounds);
  }
}

Test(tune, what_a_run_touches_decides_whether_constants_are_cold) {
  PlanStep steps[2] = {{.site = site}, {.site = site}};
  node.input_count = 2, node.output_count = 1;
  inputs[0] = inputs[1] = outputs[0] = vector(DTYPE_F32, 1000);
  inputs[1].constant = &constant;  // of both steps: 4000 bytes of it, and 8000 that the largest hands on
  DeviceInfo here = device;
  here.l2_bytes = 12000;
  cr_expect(!constants_are_cold(steps, 2, &here));
  here.l2_bytes--;
  cr_expect(constants_are_cold(steps, 2, &here));
  inputs[0].absent = true;
  cr_expect(!constants_are_cold(steps, 2, &here));
  cr_expect(!constants_are_cold(steps, 0, &here));
}

// ---- who disagrees -------------------------------------------------------------------------------------------------------------

// Whether what the second candidate computed is taken for the same, where the first one computed 1, 2, 3, ... and the second one the same but for an element.
static bool agrees(DType dtype, int64_t count, int output, int64_t at, double value, bool thoroughly) {
  bool result;
  inputs[0] = outputs[0] = outputs[1] = vector(dtype, count);
  Rig rig = opened(1, 2, false);
  for (int k = 0; k < 2; k++)
    for (int64_t i = 0; i < count; i++)
      element_set_f(dtype, (char *)rig.output_at[k] + (size_t)i * dtype_size(dtype), (double)(i % 100 + 1));
  Judge judge = judge_new(&rig);
  cr_assert_null(judge_outputs(&judge, false, &result));
  cr_assert(result);
  char *element = (char *)rig.output_at[output] + (size_t)at * dtype_size(dtype);
  if (isnan(value)) memset(element, 0xff, dtype_size(dtype));
  else element_set_f(dtype, element, value);
  cr_assert_null(judge_outputs(&judge, thoroughly, &result));
  rig_close(&rig);
  return result;
}

Test(tune, a_difference_is_found_wherever_it_is) {
  static const int64_t count = 700000;
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_I32};
  for (size_t d = 0; d < COUNT_OF(dtypes); d++) {
    DType dtype = dtypes[d];
    cr_expect(agrees(dtype, count, 0, 5, 6, true), "%s", dtype_name(dtype));
    for (int output = 0; output < 2; output++) {
      const int64_t read[] = {0, 65535, count / 2, count - 1}, others[] = {65536 * 2, count / 3, count - 65537};
      for (size_t i = 0; i < COUNT_OF(read); i++)
        for (int thoroughly = 0; thoroughly < 2; thoroughly++)
          cr_expect(!agrees(dtype, count, output, read[i], 30000, thoroughly), "%s %ld", dtype_name(dtype), (long)read[i]);
      for (size_t i = 0; i < COUNT_OF(others); i++)
        cr_expect(!agrees(dtype, count, output, others[i], 60000, true), "%s %ld", dtype_name(dtype), (long)others[i]);
    }
  }
  cr_expect(agrees(DTYPE_F32, 1000, 0, 3, 4.001, true));
  cr_expect(!agrees(DTYPE_F32, 5000000, 1, 4999999, 30000, true));  // too long for all of it
  cr_expect(!agrees(DTYPE_F32, 1, 0, 0, 2, false));
}

// A candidate that leaves an element as it was makes a NaN of it, which no norm tells.
Test(tune, elements_that_are_left_out_are_found) {
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
  for (size_t d = 0; d < COUNT_OF(dtypes); d++) {
    cr_expect(!agrees(dtypes[d], 1000000, 0, 999999, NAN, false), "%s", dtype_name(dtypes[d]));
    cr_expect(!agrees(dtypes[d], 1000000, 1, 200000, NAN, true), "%s", dtype_name(dtypes[d]));
  }
}
