// The interface on a GPU, emulated. A stranger's engine: its graph and weights are data and checked, its kernels are machine code and must not
// run; here they were exchanged, and hashes and checksums are right. And shapes that are said where the model leaves them open.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "tests/unit/api_test.h"
#include "kernels/ops.h"

#define MODEL "tests/emulator/faults/small.onnx"

static ingot_config config;
static char cache[] = "/tmp/ingot-untrusted-XXXXXX";
static void *good;
static size_t good_size;
static float input[4096], expected[4096];
static size_t expected_bytes;

static ingot_error *run(ingot_engine *engine, const ingot_config *with, float *out, size_t *bytes) {
  ingot_session *session = NULL;
  const ingot_binding *binding = ingot_engine_input(engine, 0);
  int64_t shape[8];
  size_t count = 1;
  for (int k = 0; k < ingot_binding_rank(binding); k++) count *= (size_t)(shape[k] = ingot_binding_dims(binding)[k]);
  cr_assert_leq(count, 4096);
  ingot_tensor result, in = {.data = input,
                             .device = {INGOT_CPU, 0},
                             .ndim = ingot_binding_rank(binding),
                             .dtype = ingot_binding_dtype(binding),
                             .shape = shape};
  ingot_error *error = ingot_session_create(engine, with, &session);
  if (!error) error = ingot_session_run(session, &in, 1, &result, 1);
  if (!error) {
    *bytes = result.dtype.bits / 8u;
    for (int k = 0; k < result.ndim; k++) *bytes *= (size_t)result.shape[k];
    cr_assert_leq(*bytes, sizeof expected);
    memcpy(out, result.data, *bytes);
  }
  ingot_session_free(session);
  return error;
}

static void set_up(void) {
  ingot_model *model;
  ingot_engine *engine;
  if (!getenv("INGOT_LIBCUDA") || !strstr(getenv("INGOT_LIBCUDA"), "emulator"))
    cr_skip_test("this is about the emulated device");
  cr_assert_not_null(mkdtemp(cache));
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CUDA;
  config.cache_directory = cache;
  for (int i = 0; i < 4096; i++) input[i] = (float)(i * 37 % 101) / 101;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_engine_save_memory(engine, &good, &good_size));
  expect_ok(run(engine, &config, expected, &expected_bytes));
  ingot_engine_free(engine);
}
static void tear_down(void) {
  char command[300];
  free(good);
  snprintf(command, sizeof command, "rm -rf '%s'", cache);
  cr_expect_eq(system(command), 0);
}
TestSuite(api_gpu, .init = set_up, .fini = tear_down);

// The engine with other code under the same hashes, written as Ingot writes engines.
static Bytes exchange_kernels(Arena *arena) {
  Engine *engine;
  Bytes bytes;
  cr_assert_null(engine_read_memory(good, good_size, 1, core_ops, arena, &engine));
  cr_assert_gt(engine->kernel_count, 0);
  for (uint32_t i = 0; i < engine->kernel_count; i++) {
    uint8_t *other = arena_copy(arena, engine->kernels[i].cubin.data, engine->kernels[i].cubin.size);
    memset(other, 0x5a, engine->kernels[i].cubin.size);
    engine->kernels[i].cubin.data = other;
  }
  cr_assert_null(engine_write_memory(engine, arena, &bytes));
  return bytes;
}

static void expect_right(const ingot_config *load, const ingot_config *session, Bytes bytes) {
  ingot_engine *engine;
  float out[4096];
  size_t size;
  expect_ok(ingot_engine_load_memory(bytes.data, bytes.size, load, &engine));
  expect_ok(run(engine, session, out, &size));
  cr_expect_eq(size, expected_bytes);
  cr_expect_arr_eq(out, expected, expected_bytes);
  ingot_engine_free(engine);
}

Test(api_gpu, stored_kernels_are_not_used) {
  Arena *arena = arena_new();
  Bytes bytes = exchange_kernels(arena);
  ingot_config careful = config;
  careful.untrusted_engine = true;
  ingot_engine *engine;
  float out[4096];
  size_t size;
  expect_ok(ingot_engine_load_memory(bytes.data, bytes.size, &config, &engine));
  ingot_error *error = run(engine, &config, out, &size);
  cr_assert(error, "exchanged kernels are used where the engine is trusted, or this test says nothing");
  ingot_error_free(error);
  ingot_engine_free(engine);
  expect_right(&careful, &careful, bytes);
  expect_right(&config, &careful, bytes);  // said when the session is made
  expect_right(&careful, &config, bytes);  // or when the engine is loaded
  expect_right(&careful, &careful, (Bytes){good, good_size});
  arena_free(arena);
}

// ---- tuning for shapes that the model leaves open ----------------------------------------------------------------------------

static ingot_error *build_for(const char *shapes, double seconds, uint32_t *kernels) {
  ingot_config tuned = config;
  ingot_model *model;
  ingot_engine *engine;
  tuned.tuning_shapes = shapes;
  tuned.tuning_seconds = seconds;
  expect_ok(ingot_model_open("examples/digits/digits.onnx", &tuned, &model));
  ingot_error *error = ingot_engine_build(model, &tuned, &engine);
  ingot_model_free(model);
  if (error) return error;
  void *bytes;
  size_t size;
  Engine *read;
  Arena *arena = arena_new();
  expect_ok(ingot_engine_save_memory(engine, &bytes, &size));
  cr_assert_null(engine_read_memory(bytes, size, 1, core_ops, arena, &read));
  *kernels = read->kernel_count;
  arena_free(arena);
  free(bytes);
  ingot_engine_free(engine);
  return NULL;
}

static void expect_refused(const char *shapes, double seconds, const char *says) {
  uint32_t kernels;
  ingot_error *error = build_for(shapes, seconds, &kernels);
  cr_expect_eq(ingot_error_code(error), INGOT_INVALID_ARGUMENT, "'%s'", shapes);
  cr_expect(strstr(ingot_error_message(error), says), "'%s' does not say '%s'", ingot_error_message(error), says);
  ingot_error_free(error);
}

Test(api_gpu, an_open_shape_is_tuned_where_it_is_said) {
  uint32_t kernels = 0;
  expect_ok(build_for(NULL, 0, &kernels));
  cr_expect_eq(kernels, 0);
  expect_ok(build_for("image:2x1x8x8", 0, &kernels));
  cr_expect_gt(kernels, 2);
  expect_refused(NULL, 1, "that of input 'image' is open");
  expect_refused("picture:2x1x8x8", 1, "no input of the name in 'picture:2x1x8x8'");
  expect_refused("image:2x1x8", 1, "declares 4 axes, not 3");
  expect_refused("image:2x3x8x8", 1, "declares 1 for axis 1, not 3");
  expect_refused("image:2x", 1, "written like 1x3x8x8");
  expect_refused("image:x2", 1, "written like 1x3x8x8");
  expect_refused("image:-2x1x8x8", 1, "written like 1x3x8x8");
  expect_refused("image:2x1x8x8x1x1x1x1x1x1", 1, "4 axes");
}

// ---- what tuning measures ----------------------------------------------------------------------------------------------------

static char said[1 << 16];
static void hear(void *context, ingot_severity severity, const char *message) {
  size_t used = strlen(said);
  snprintf(said + used, sizeof said - used, "%s\n", message);
}

static void tune_model(const char *path, const char *shapes, double seconds) {
  ingot_config tuned = config;
  ingot_model *model;
  ingot_engine *engine;
  tuned.tuning_seconds = seconds;
  tuned.tuning_shapes = shapes;
  tuned.log = hear;
  tuned.log_most = INGOT_VERBOSE;
  said[0] = 0;
  expect_ok(ingot_model_open(path, &tuned, &model));
  expect_ok(ingot_engine_build(model, &tuned, &engine));
  ingot_engine_free(engine);
  ingot_model_free(model);
}

static void tune_product(double seconds) { tune_model("tests/emulator/faults/product.onnx", NULL, seconds); }

// How often a line of the last tuning has the text.
static int times_said(const char *text) {
  int count = 0;
  for (const char *at = said; (at = strstr(at, text)); at++) count++;
  return count;
}

Test(api_gpu, tuning_begins_with_what_is_chosen_without_it_and_ends_in_time) {
  tune_product(1e-9);
  cr_expect_eq(times_said(" us\n"), 1, "%s", said);
  cr_expect(strstr(said, "tuning measured 1 candidates of 1 sites"), "%s", said);
  cr_expect(strstr(said, "tuned 0 of 1 sites"), "%s", said);
  char first[256];
  cr_assert_eq(sscanf(strstr(said, "tuning y: "), "tuning y: %255[^:]", first), 1);
  tune_product(1e6);
  cr_expect_gt(times_said(" us\n"), 2, "%s", said);
  cr_expect(strstr(said, "0 of their candidates, and 0 sites that were not looked at, are left"), "%s", said);
  cr_expect(strstr(said, "tuned 1 of 1 sites"), "%s", said);
  cr_expect_eq(strncmp(strstr(said, "tuning y: ") + strlen("tuning y: "), first, strlen(first)), 0, "%s", said);
  cr_expect_eq(times_said("rejected"), 1, "%s", said);  // none: the sum says so
}

// The emulated GPU's cache holds no more than the weights. Who read another constant than the first candidate did would be rejected.
Test(api_gpu, tuning_reads_constants_from_memory_where_the_plan_does) {
  tune_product(1e-9);
  cr_expect_eq(times_said("constants are read from memory"), 0, "%s", said);
  tune_model("tests/open/deep_product.onnx", "x:4x2048", 2);
  cr_expect_eq(times_said("constants are read from memory"), 1, "%s", said);
  cr_expect_geq(times_said(" us\n"), 1, "%s", said);
  cr_expect_eq(times_said("tuning measures"), 0, "%s", said);  // with less than it should
  cr_expect_eq(times_said("rejected"), 1, "%s", said);
}

// Its clock counts what it does: a time by the host's would never be the same twice.
Test(api_gpu, times_are_the_devices) {
  ingot_engine *engine;
  ingot_session *session;
  double milliseconds[2];
  ingot_config watched = config;
  watched.time_limit = 1e6;
  expect_ok(ingot_engine_load_memory(good, good_size, &config, &engine));
  expect_ok(ingot_session_create(engine, &watched, &session));
  const ingot_binding *binding = ingot_engine_input(engine, 0);
  int64_t shape[8];
  for (int k = 0; k < ingot_binding_rank(binding); k++) shape[k] = ingot_binding_dims(binding)[k];
  ingot_tensor in = {.data = input,
                     .device = {INGOT_CPU, 0},
                     .ndim = ingot_binding_rank(binding),
                     .dtype = ingot_binding_dtype(binding),
                     .shape = shape};
  for (int i = 0; i < 2; i++) expect_ok(ingot_session_time(session, &in, 1, 1e-6, &milliseconds[i]));
  cr_expect_gt(milliseconds[0], 0);
  cr_expect_eq(milliseconds[0], milliseconds[1]);
  ingot_session_free(session);
  ingot_engine_free(engine);
}

// ---- results on the device ---------------------------------------------------------------------------------------------------

// Device memory of the caller's own.
static unsigned long long take_device_memory(size_t size) {
  void *library = dlopen(getenv("INGOT_LIBCUDA"), RTLD_NOW | RTLD_LOCAL), *context;
  int (*retain)(void **context, int device), (*push)(void *context), (*pop)(void **context);
  int (*take)(unsigned long long *address, size_t size);
  unsigned long long address = 0;
  *(void **)&retain = dlsym(library, "cuDevicePrimaryCtxRetain");
  *(void **)&push = dlsym(library, "cuCtxPushCurrent_v2");
  *(void **)&pop = dlsym(library, "cuCtxPopCurrent_v2");
  *(void **)&take = dlsym(library, "cuMemAlloc_v2");
  cr_assert(retain && push && pop && take);
  cr_assert(!retain(&context, 0) && !push(context) && !take(&address, size) && !pop(&context));
  return address;
}

Test(api_gpu, results_are_lent_and_written_on_the_device) {
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  ingot_tensor y;
  int64_t shape[] = {4, 8};
  float once[32], twice[32];
  ingot_tensor x = {.data = input, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
  expect_ok(ingot_model_open("tests/regress/square_product/model.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_session_create(engine, &config, &session));
  expect_ok(ingot_session_run(session, &x, 1, &y, 1));
  memcpy(once, y.data, sizeof once);
  expect_ok(ingot_session_run(session, &y, 1, &y, 1));
  memcpy(twice, y.data, sizeof twice);

  ingot_output lent = {.size = sizeof lent, .tensor.device = {INGOT_CUDA, 0}};
  expect_ok(ingot_session_run_into(session, &x, 1, &lent, 1));
  cr_expect_eq(lent.tensor.device.device_type, INGOT_CUDA);
  expect_ok(ingot_session_run(session, &lent.tensor, 1, &y, 1));
  cr_expect_arr_eq(y.data, twice, sizeof twice);

  // Device memory of the emulator is memory of this process. Not on a multiple of 256 bytes, and with a margin.
  float *given = (float *)(uintptr_t)(take_device_memory(1024) + 64);
  ingot_output mine = {sizeof mine, INGOT_OWNED_BY_CALLER, {.data = given, .device = {INGOT_CUDA, 0}}, sizeof once};
  expect_ok(ingot_session_run_into(session, &x, 1, &mine, 1));
  expect_ok(ingot_session_synchronize(session));
  cr_expect_arr_eq(given, once, sizeof once);
  ingot_tensor there = x;
  there.data = given;
  there.device = (ingot_place){INGOT_CUDA, 0};
  expect_ok(ingot_session_run(session, &there, 1, &y, 1));
  cr_expect_arr_eq(y.data, twice, sizeof twice);

  there.device.device_id = 1;
  ingot_error *error = ingot_session_run(session, &there, 1, &y, 1);
  cr_expect(strstr(ingot_error_message(error), "lies on GPU 1, but the session runs on GPU 0"));
  ingot_error_free(error);
  mine.capacity--;
  error = ingot_session_run_into(session, &x, 1, &mine, 1);
  cr_expect(strstr(ingot_error_message(error), "128 bytes, but the caller's memory has 127"));
  ingot_error_free(error);
  mine.capacity++;
  there.device.device_id = 0;
  error = ingot_session_run_into(session, &there, 1, &mine, 1);
  cr_expect(strstr(ingot_error_message(error), "share memory"));
  ingot_error_free(error);
  ingot_session_free(session);
  ingot_engine_free(engine);
}

// ---- order with the caller's stream, and results that stay -----------------------------------------------------------------------

typedef struct Driver {
  int (*retain)(void **context, int device), (*push)(void *context), (*pop)(void **context);
  int (*create)(void **stream, unsigned flags, int priority), (*destroy)(void *stream);
  int (*upload)(unsigned long long to, const void *from, size_t size, void *stream);
  int (*download)(void *to, unsigned long long from, size_t size, void *stream), (*wait)(void *stream);
} Driver;

static Driver open_driver(void) {
  void *library = dlopen(getenv("INGOT_LIBCUDA"), RTLD_NOW), *context;
  Driver d;
  *(void **)&d.retain = dlsym(library, "cuDevicePrimaryCtxRetain");
  *(void **)&d.push = dlsym(library, "cuCtxPushCurrent_v2");
  *(void **)&d.pop = dlsym(library, "cuCtxPopCurrent_v2");
  *(void **)&d.create = dlsym(library, "cuStreamCreateWithPriority");
  *(void **)&d.destroy = dlsym(library, "cuStreamDestroy_v2");
  *(void **)&d.upload = dlsym(library, "cuMemcpyHtoDAsync_v2");
  *(void **)&d.download = dlsym(library, "cuMemcpyDtoHAsync_v2");
  *(void **)&d.wait = dlsym(library, "cuStreamSynchronize");
  cr_assert(d.create && d.upload && d.download && d.wait && d.destroy);
  cr_assert(!d.retain(&context, 0) && !d.push(context));
  return d;
}

Test(api_gpu, a_session_is_ordered_with_the_callers_stream) {
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  ingot_tensor y;
  int64_t shape[] = {4, 8};
  float once[32], read[32];
  void *stream;
  ingot_result *taken, *second;
  ingot_tensor x = {.data = input, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
  expect_ok(ingot_model_open("tests/regress/square_product/model.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_session_create(engine, &config, &session));
  expect_ok(ingot_session_run(session, &x, 1, &y, 1));
  memcpy(once, y.data, sizeof once);

  // The input is made on a stream, the result is read on it, and nobody waits in between: the emulated device reports what is not ordered.
  uint64_t memory = take_device_memory(sizeof once);
  Driver driver = open_driver();
  cr_assert(!driver.create(&stream, 1, 0) && !driver.upload(memory, input, sizeof once, stream));
  ingot_tensor there = x;
  there.data = (void *)(uintptr_t)memory;
  there.device = (ingot_place){INGOT_CUDA, 0};
  ingot_output lent = {.size = sizeof lent, .tensor.device = {INGOT_CUDA, 0}};
  expect_ok(ingot_session_follow(session, stream));
  expect_ok(ingot_session_run_into(session, &there, 1, &lent, 1));
  expect_ok(ingot_session_take_output(session, 0, &taken));
  expect_ok(ingot_session_precede(session, stream));
  cr_assert(!driver.download(read, (unsigned long long)(uintptr_t)lent.tensor.data, sizeof read, stream));
  cr_assert(!driver.wait(stream));
  cr_expect_arr_eq(read, once, sizeof once);

  // The same in one call, with other contents; a run that is refused leaves the order as good.
  float more[32], twice[32];
  for (int i = 0; i < 32; i++) more[i] = input[i] * 2;
  ingot_tensor y_more, x_more = x;
  x_more.data = more;
  expect_ok(ingot_session_run(session, &x_more, 1, &y_more, 1));
  memcpy(twice, y_more.data, sizeof twice);
  ingot_output in_one_call = {.size = sizeof in_one_call, .tensor.device = {INGOT_CUDA, 0}};
  cr_assert(!driver.upload(memory, more, sizeof more, stream));
  expect_error(ingot_session_run_ordered(session, stream, &there, 0, &in_one_call, 1), INGOT_INVALID_ARGUMENT, "no default");
  expect_ok(ingot_session_run_ordered(session, stream, &there, 1, &in_one_call, 1));
  cr_assert(!driver.download(read, (unsigned long long)(uintptr_t)in_one_call.tensor.data, sizeof read, stream));
  cr_assert(!driver.upload(memory, input, sizeof once, stream) && !driver.wait(stream));
  cr_expect_arr_eq(read, twice, sizeof twice);

  // What nobody takes is written where it was.
  ingot_output kept = lent, again = lent;
  expect_ok(ingot_session_run_into(session, &there, 1, &kept, 1));
  expect_ok(ingot_session_run_into(session, &there, 1, &again, 1));
  cr_expect_eq(again.tensor.data, kept.tensor.data);

  // What was taken is not written to by the next run, and may be its input.
  ingot_output other = lent;
  there.data = lent.tensor.data;
  expect_ok(ingot_session_run_into(session, &there, 1, &other, 1));
  expect_ok(ingot_session_take_output(session, 0, &second));
  cr_expect_neq(other.tensor.data, lent.tensor.data);
  expect_ok(ingot_session_precede(session, stream));
  cr_assert(!driver.download(read, (unsigned long long)(uintptr_t)lent.tensor.data, sizeof read, stream) &&
            !driver.wait(stream));
  cr_expect_arr_eq(read, once, sizeof once);
  ingot_result_free(taken);
  ingot_result_free(second);
  cr_expect(!driver.destroy(stream));
  ingot_session_free(session);
  ingot_engine_free(engine);
}

// The emulated device reads and writes pinned memory when a copy's turn comes, not when it is asked for.
Test(api_gpu, inputs_and_outputs_may_lie_in_pinned_memory) {
  enum { SIZE = 1 << 16, BYTES = SIZE * sizeof(float) };
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  ingot_pinned *in, *out, *none = NULL;
  int64_t shape[] = {SIZE};
  ingot_tensor y;
  expect_ok(ingot_model_open("tests/open/flat.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_ok(ingot_session_create(engine, &config, &session));
  expect_ok(ingot_pinned_new(&config, BYTES, &in));
  expect_ok(ingot_pinned_new(&config, BYTES, &out));
  float *pageable = malloc(BYTES), *expected = malloc(BYTES), *pinned = ingot_pinned_data(in);
  void *stream;
  Driver driver = open_driver();
  cr_assert(!driver.create(&stream, 1, 0));
  ingot_tensor x = {.data = pageable, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape};
  ingot_output place = {.size = sizeof place, .owner = INGOT_OWNED_BY_CALLER, .capacity = BYTES};
  place.tensor = (ingot_tensor){.data = ingot_pinned_data(out), .device = {INGOT_CUDA_HOST, 0}};
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < SIZE; i++) pageable[i] = (float)((i * 7 + round * 13) % 32) * 0.25f;
    memcpy(pinned, pageable, BYTES);
    x.data = pageable;
    expect_ok(ingot_session_run(session, &x, 1, &y, 1));
    memcpy(expected, y.data, BYTES);
    x.data = pinned;
    expect_ok(ingot_session_run_into(session, &x, 1, &place, 1));
    cr_expect(!memcmp(expected, place.tensor.data, BYTES));
    memset(place.tensor.data, 0, BYTES);
    // With the result on the GPU the input is the caller's again as well.
    ingot_output there = {.size = sizeof there, .tensor.device = {INGOT_CUDA, 0}};
    expect_ok(ingot_session_run_into(session, &x, 1, &there, 1));
    memset(pinned, 0, BYTES);
    expect_ok(ingot_session_synchronize(session));
    cr_assert(!driver.download(pageable, (unsigned long long)(uintptr_t)there.tensor.data, BYTES, stream));
    cr_assert(!driver.wait(stream));
    cr_expect(!memcmp(expected, pageable, BYTES));
  }
  cr_expect(!driver.destroy(stream));
  ingot_config no_such = config;
  no_such.device_index = 99;
  expect_error(ingot_pinned_new(&no_such, BYTES, &none), INGOT_UNSUPPORTED, "99");
  cr_expect_null(none);
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_pinned_free(in);
  ingot_pinned_free(out);
  free(pageable);
  free(expected);
}

// ---- sequences whose elements lie on the GPU -----------------------------------------------------------------------------------

static ingot_tensor sequence_of(ingot_tensor *elements, int64_t *count) {
  return (ingot_tensor){.data = elements, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_TENSORS, 64, 1}, .shape = count};
}

Test(api_gpu, elements_of_a_sequence_may_lie_on_the_gpu) {
  ingot_model *model;
  ingot_engine *engine;
  ingot_session *session;
  expect_ok(ingot_model_open("tests/regress/given_sequence_concat/model.onnx", &config, &model));
  expect_ok(ingot_engine_build(model, &config, &engine));
  expect_ok(ingot_session_create(engine, &config, &session));
  ingot_model_free(model);
  float rows[] = {-1, 2, 3, -4, 5, 6};
  int64_t shape[] = {2, 3}, count = 1;
  ingot_tensor elements[2] = {
      {.data = rows, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape}};
  ingot_tensor given = sequence_of(elements, &count);
  ingot_output on_gpu = {.size = sizeof on_gpu, .owner = INGOT_OWNED_BY_SESSION, .tensor.device = {INGOT_CUDA, 0}};
  expect_ok(ingot_session_run_into(session, &given, 1, &on_gpu, 1));
  cr_assert_eq(on_gpu.tensor.device.device_type, INGOT_CUDA);
  elements[1] = on_gpu.tensor;  // one on the host and one on the GPU, which the session lent
  count = 2;
  ingot_tensor out;
  expect_ok(ingot_session_run(session, &given, 1, &out, 1));
  cr_assert_eq(out.shape[0], 4);
  for (int i = 0; i < 12; i++) cr_expect_eq(((float *)out.data)[i], rows[i % 6] > 0 ? rows[i % 6] : 0);
  elements[0].device.device_type = INGOT_CUDA_HOST + 5;
  ingot_error *error = ingot_session_run(session, &given, 1, &out, 1);
  cr_assert(error && strstr(ingot_error_message(error), "element 0"));
  ingot_error_free(error);
  ingot_session_free(session);
  ingot_engine_free(engine);
}
