// Models whose sizes are open, on the emulated GPU: at whatever sizes they are run after the first, the CPU gives the same, and no kernel is compiled.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_test.h"

enum { INPUTS = 4, RANK = 8, SYMBOLS = 8, CALLS = 12, LARGEST = 41 };

static void (*forget_calls)(long at, int code, bool sticky, const char *name);
static long (*calls)(void);
static const char *(*call_name)(long call);
static int (*findings)(void);

static void *find(void *library, const char *name) {
  void *symbol = dlsym(library, name);
  cr_assert(symbol, "%s", name);
  return symbol;
}

static int compiled(void) {
  int count = 0;
  for (long i = 1; i <= calls(); i++) count += call_name(i) && !strcmp(call_name(i), "nvrtcCompileProgram");
  return count;
}

static unsigned random_state = 7;
static int next_random(int most) {
  random_state = random_state * 1664525 + 1013904223;
  return (int)((random_state >> 8) % (unsigned)most);
}

// Sizes of a call by the symbols' names.
typedef struct Sizes {
  const char *names[SYMBOLS];
  int64_t values[SYMBOLS];
  int count;
} Sizes;

// b_0 is another size only where a model may have it so.
static int64_t size_called(Sizes *sizes, const char *name) {
  size_t length = strcspn(name, "_");
  for (int i = 0; i < sizes->count; i++)
    if (strcspn(sizes->names[i], "_") == length && !strncmp(sizes->names[i], name, length)) return sizes->values[i];
  cr_assert_lt(sizes->count, SYMBOLS);
  sizes->names[sizes->count] = name;
  int64_t least = strcmp(name, "past") ? 1 : 0;
  return sizes->values[sizes->count++] = next_random(4) ? 1 + next_random(LARGEST) : least;
}

// Of an integer input, by its name (tests/open/models.py): what its values are below; 0: it is no integer.
static int values_below(Sizes *sizes, const char *name) {
  const char *below = strstr(name, "_below_");
  if (!below) return 0;
  below += strlen("_below_");
  return *below >= '0' && *below <= '9' ? atoi(below) : (int)size_called(sizes, below);
}

typedef struct Run {
  ingot_engine *engine;
  ingot_session *session;
} Run;

static void open_run(const char *path, bool gpu, bool half, const char *shapes, Run *run) {
  ingot_config config;
  ingot_model *model;
  expect_ok(ingot_config_init(&config));
  config.precision = half ? INGOT_FP16 : 0;
  config.device = gpu ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  config.tuning_shapes = gpu ? shapes : NULL;
  expect_ok(ingot_model_open(path, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &run->engine));
  expect_ok(ingot_session_create(run->engine, &config, &run->session));
  ingot_model_free(model);
}

static void close_run(Run *run) {
  ingot_session_free(run->session);
  ingot_engine_free(run->engine);
}

static int64_t count_of(const ingot_tensor *tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor->ndim; i++) count *= tensor->shape[i];
  return count;
}

// behind: indices from an axis' end, too.
static void fill(ingot_tensor *tensor, int below, bool behind) {
  int64_t count = count_of(tensor);
  tensor->data = malloc((size_t)count * 8 + 1);
  for (int64_t i = 0; i < count; i++) {
    int index = below ? next_random(below) - (behind && next_random(4) == 0 ? below : 0) : 0;
    if (!below) ((float *)tensor->data)[i] = (float)(next_random(2001) - 1000) / 500;
    else if (tensor->dtype.bits == 32) ((int32_t *)tensor->data)[i] = index;
    else ((int64_t *)tensor->data)[i] = index;
  }
}

// alike: the inputs behind the first are as large as it, or 1, axis by axis.
static int draw_inputs(const ingot_engine *engine, bool alike, int64_t (*shapes)[RANK], ingot_tensor *inputs) {
  Sizes sizes = {0};
  int count = ingot_engine_input_count(engine);
  for (int i = 0; i < count; i++) {
    const ingot_binding *binding = ingot_engine_input(engine, i);
    int rank = ingot_binding_rank(binding);
    for (int k = 0; k < rank; k++) {
      int64_t fixed = ingot_binding_dims(binding)[k];
      if (fixed >= 0) shapes[i][k] = fixed;
      else if (alike && i) shapes[i][k] = next_random(2) ? shapes[0][k] : 1;
      else shapes[i][k] = size_called(&sizes, ingot_binding_dim_name(binding, k));
    }
    inputs[i] =
        (ingot_tensor){.device = {INGOT_CPU, 0}, .ndim = rank, .dtype = ingot_binding_dtype(binding), .shape = shapes[i]};
    const char *input = ingot_binding_name(binding);
    fill(&inputs[i], values_below(&sizes, input), !strncmp(input, "ids", 3));
  }
  return count;
}

static void expect_alike(const char *name, double tolerance, const ingot_tensor *a, const ingot_tensor *b) {
  cr_assert_eq(a->ndim, b->ndim);
  for (int i = 0; i < a->ndim; i++) cr_assert_eq(a->shape[i], b->shape[i], "%s: axis %d", name, i);
  const float *x = a->data, *y = b->data;
  for (int64_t i = 0; i < count_of(a); i++)
    cr_assert_float_eq(x[i], y[i], tolerance * (1 + (y[i] < 0 ? -y[i] : y[i])), "%s: element %lld is %g, of the CPU %g", name,
                       (long long)i, (double)x[i], (double)y[i]);
}

// ranges: what the engine is built for; then the first call finds all kernels. variants: kernels that calls behind the first may compile: where it is sizes that say what is done.
static void try_built(const char *name, const char *ranges, bool half, bool alike, int variants) {
  char path[256];
  snprintf(path, sizeof path, "tests/open/%s.onnx", name);
  Run gpu, cpu;
  open_run(path, true, half, ranges, &gpu);
  open_run(path, false, false, NULL, &cpu);
  int more = 0;
  for (int call = 0; call < CALLS; call++) {
    int64_t shapes[INPUTS][RANK];
    ingot_tensor inputs[INPUTS], of_gpu, of_cpu;
    int count = draw_inputs(gpu.engine, alike, shapes, inputs);
    forget_calls(0, 0, false, "");
    expect_ok(ingot_session_run(gpu.session, inputs, count, &of_gpu, 1));
    if (call || ranges) more += compiled();
    else cr_assert_geq(compiled(), 1, "%s: the first call compiles", name);
    expect_ok(ingot_session_run(cpu.session, inputs, count, &of_cpu, 1));
    expect_alike(name, half ? 1e-2 : 2e-5, &of_gpu, &of_cpu);
    for (int i = 0; i < count; i++) free(inputs[i].data);
  }
  cr_expect_leq(more, variants, "%s: %d kernels were compiled for other sizes", name, more);
  close_run(&gpu);
  close_run(&cpu);
}

static void try_model(const char *name, bool half, bool alike, int variants) { try_built(name, NULL, half, alike, variants); }

static void begin(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  if (!driver || !strstr(driver, "emulator")) cr_skip_test("this is about the emulated device");
  void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  *(void **)&forget_calls = find(library, "emulator_fail");
  *(void **)&calls = find(library, "emulator_calls");
  *(void **)&call_name = find(library, "emulator_call_name");
  *(void **)&findings = find(library, "emulator_findings");
  char cache[] = "/tmp/ingot-open-XXXXXX";
  cr_assert(mkdtemp(cache));
  setenv("INGOT_CACHE_DIR", cache, 1);  // where nothing is compiled yet
}

Test(api_gpu_open, compiles_nothing_for_other_sizes, .timeout = 240) {
  begin();
  try_model("merged", false, false, 0);
  try_model("flat", false, false, 0);
  try_model("heads", false, false, 0);
  try_model("turned", false, false, 0);
  try_model("turned_rows", false, false, 0);
  try_model("mask", false, false, 0);
  try_model("slices", false, false, 0);
  try_model("sizes", false, false, 0);
  try_model("broadcast", false, true, 3);
  try_model("softmax", false, false, 0);
  try_model("norm", false, false, 0);
  try_model("long_rows", false, false, 0);
  try_model("columns", false, false, 0);
  try_model("wide_columns", false, false, 0);
  try_model("turned_softmax", false, false, 0);
  // One row alone, and as many kernels as numbers of rows are told apart by (mma_matmul.c).
  try_model("product", true, false, 4);
  try_model("deep_product", true, false, 3);
  cr_expect_eq(findings(), 0);
}

// As many kernels as numbers of rows, of keys and of products are told apart by.
Test(api_gpu_open, attention_compiles_few_for_other_sizes, .timeout = 240) {
  begin();
  try_model("attention_layer", true, false, 9);
  try_model("attention", true, false, 3);
  try_model("attention_mask", true, false, 3);
  try_model("attention_odd", true, false, 3);
  try_model("attention_causal", true, false, 3);
  try_model("attention_across", true, false, 3);
  try_model("attention_turned", true, false, 3);
  cr_expect_eq(findings(), 0);
}

Test(api_gpu_open, products_compile_few_for_other_sizes, .timeout = 240) {
  begin();
  try_model("product", false, false, 3);
  try_model("deep_product", false, false, 3);
  for (int half = 0; half < 2; half++) {
    try_model("products", half, false, 3);
    try_model("products_deep", half, false, 3);
    try_model("products_shared", half, false, 5);
  }
  cr_expect_eq(findings(), 0);
}

// As many kernels as numbers of positions are told apart by for each convolution, where tiles differ.
Test(api_gpu_open, convolutions_compile_few_for_other_sizes, .timeout = 240) {
  begin();
  try_model("images", true, false, 9);
  try_model("images_of_sizes", true, false, 10);
  try_model("images_in_groups", true, false, 9);
  try_model("images_of_sizes_in_groups", true, false, 8);
  try_model("patches", true, false, 4);
  try_model("images_transposed", true, false, 7);
  try_model("images_transposed_of_sizes", true, false, 13);
  try_model("images_transposed_by_three", true, false, 6);
  try_model("images_transposed_by_three", false, false, 4);
  cr_expect_eq(findings(), 0);
}

// A launch a step, of the same kernel, or one for all steps, of another for 16 rows, 32 and 64; tensor cores take 16 rows or 32 of few steps, and what is ahead of the steps is a
// product.
Test(api_gpu_open, steps_compile_few_for_other_sizes, .timeout = 240) {
  begin();
  try_model("steps", false, false, 2);
  try_model("steps_from_states", true, false, 9);
  cr_expect_eq(findings(), 0);
}

// Whatever a call brings and however many there are of it, in stages of which each waits for the one before.
Test(api_gpu_open, what_is_counted_compiles_nothing, .timeout = 240) {
  begin();
  try_model("counted", false, false, 0);
  cr_expect_eq(findings(), 0);
}

// Sizes that follow from what is computed, or told. Products are told apart by their rows.
Test(api_gpu_open, what_is_read_compiles_nothing, .timeout = 240) {
  begin();
  try_model("read_kept", false, false, 3);
  try_model("read_repeated", false, false, 3);
  try_model("read_best", false, false, 3);
  try_model("read_padded", false, false, 0);
  try_model("read_made", false, false, 0);
  try_model("read_regrouped", false, false, 0);
  try_model("read_again", false, false, 0);
  try_model("read_told", false, false, 0);
  cr_expect_eq(findings(), 0);
}

Test(api_gpu_open, rows_of_open_lengths_compile_nothing, .timeout = 240) {
  begin();
  try_model("open_softmax", false, false, 0);
  try_model("open_norm", false, false, 0);
  try_model("open_mean", false, false, 0);
  try_model("open_columns", false, false, 0);
  try_model("open_largest", false, false, 0);
  try_model("made_mask", true, false, 6);  // the product's tiles
  cr_expect_eq(findings(), 0);
}

// A range for each size: whatever comes is compiled when the engine is built.
Test(api_gpu_open, engines_of_ranges_hold_all_kernels, .timeout = 240) {
  begin();
  try_built("images_of_sizes", "x:1..41x3x1..41x1..41", true, false, 0);
  try_built("images_transposed_by_three", "x:1..41x16x1..41x1..41", true, false, 0);
  try_built("product", "x:1..41x1..41x64,r:1..41x1..41x48", true, false, 0);
  try_built("norm", "x:1..3..41x1..41x72", false, false, 0);
  try_built("steps_from_states", "x:1..41x1..41x16,h:1x1..41x128", true, false, 0);
  try_built("attention_mask", "x:1..41x1..41x128,m:1..41x1x1x1..41", true, false, 0);
  cr_expect_eq(findings(), 0);
}

Test(api_gpu_open, ranges_are_read) {
  static const struct {
    const char *shapes, *message;
  } rows[] = {
      {"x:1..8x16..512x64", NULL},
      {"x:1..4..8x7x64,r:1..4..8x7x48", NULL},
      {"x:8..1x7x64", "8 is more than 1"},
      {"x:1..9..8x7x64", "1 is more than 8"},
      {"x:1..8x7x32..64", "declares 64 for axis 2, not 32"},
      {"x:1..8x7x64,r:1..9x7x48", "'b' is one size of the model"},
      {"x:1..x7x64", "written like"},
      {"x:1..2..3..4x7x64", "written like"},
      {"x:..8x7x64", "written like"},
      {"x:1..8x7x", "written like"},
  };
  begin();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ingot_config config;
    ingot_model *model;
    ingot_engine *engine = NULL;
    expect_ok(ingot_config_init(&config));
    config.device = INGOT_DEVICE_CUDA;
    config.precision = INGOT_FP16;
    config.tuning_shapes = rows[i].shapes;
    expect_ok(ingot_model_open("tests/open/product.onnx", &config, &model));
    ingot_error *error = ingot_engine_build(model, &config, &engine);
    cr_expect_eq(!error, !rows[i].message, "%s: %s", rows[i].shapes, error ? ingot_error_message(error) : "is taken");
    if (error && rows[i].message)
      cr_expect(strstr(ingot_error_message(error), rows[i].message), "%s: %s", rows[i].shapes, ingot_error_message(error));
    ingot_error_free(error);
    ingot_engine_free(engine);
    ingot_model_free(model);
  }
}

Test(api_gpu_open, movement_compiles_nothing_for_other_sizes, .timeout = 240) {
  begin();
  try_model("embedding", false, false, 0);
  try_model("rows", false, false, 0);
  try_model("picked", false, false, 0);
  try_model("elements", false, false, 0);
  try_model("places", false, false, 0);
  try_model("batched_places", false, false, 0);
  try_model("scattered", false, false, 0);
  try_model("scattered_sums", false, false, 0);
  try_model("scattered_rows", false, false, 0);
  try_model("scattered_row_sums", false, false, 0);
  try_model("joined", false, false, 0);
  try_model("joined_last", false, false, 0);
  try_model("joined_turned", false, false, 0);
  try_model("joined_programs", false, false, 0);
  try_model("joined_many", false, false, 0);
  try_model("joined_halves", false, false, 0);
  try_model("joined_swapped", false, false, 0);
  try_model("padded", false, false, 0);
  try_model("padded_edge", false, false, 0);
  try_model("padded_reflect", false, false, 0);
  try_model("padded_multiple", false, false, 0);
  try_model("running", false, false, 0);
  try_model("running_rows", false, false, 0);
  try_model("largest", false, false, 0);
  try_model("largest_of_many", false, false, 0);
  try_model("largest_of_all", false, false, 3);
  try_model("pooled", false, false, 0);
  try_model("averaged", false, false, 0);
  try_model("pooled_places", false, false, 0);
  try_model("resized", false, false, 0);
  try_model("enlarged", false, false, 1);
  try_model("repeated", false, false, 0);
  try_model("regions", false, false, 0);
  try_model("sampled", false, false, 0);
  cr_expect_eq(findings(), 0);
}
