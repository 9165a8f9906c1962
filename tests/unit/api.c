// The public interface as a caller meets it: build, save, load, run; what it refuses and what it says then.
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/api_test.h"

#define MODEL "examples/digits/digits.onnx"
enum { PIXELS = 64, CLASSES = 10 };

static ingot_config config;
static ingot_engine *engine;
static ingot_session *session;

static ingot_engine *build(const char *disabled) {
  ingot_model *model;
  ingot_engine *built;
  config.disabled_passes = disabled;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &built));
  ingot_model_free(model);  // an engine does not need its model
  return built;
}

static void set_up(void) {
  ingot_config_init(&config);
  config.device = INGOT_DEVICE_CPU;
  config.threads = 2;
  engine = build(NULL);
  expect_ok(ingot_session_create(engine, &config, &session));
}
static void tear_down(void) {
  ingot_session_free(session);
  ingot_engine_free(engine);
}
TestSuite(api, .init = set_up, .fini = tear_down);

static uint8_t *noise(int64_t count, unsigned seed) {
  uint8_t *images = malloc((size_t)count * PIXELS + 1);
  for (int64_t i = 0; i < count * PIXELS; i++) images[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
  return images;
}

static ingot_error *classify(ingot_session *with, uint8_t *images, int64_t count, ingot_tensor *out) {
  int64_t shape[] = {count, 1, 8, 8};
  ingot_tensor input = {.data = images, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = shape};
  return ingot_session_run(with, &input, 1, out, 1);
}

static ingot_tensor image_tensor(void *data, int64_t *shape) {
  return (ingot_tensor){.data = data, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = shape};
}

// ---- describing --------------------------------------------------------------------------------------------------------------

Test(api, describes_inputs_and_outputs) {
  cr_assert_eq(ingot_engine_input_count(engine), 1);
  cr_assert_eq(ingot_engine_output_count(engine), 1);
  const ingot_binding *image = ingot_engine_input(engine, 0), *answer = ingot_engine_output(engine, 0);
  cr_expect_str_eq(ingot_binding_name(image), "image");
  cr_expect_str_eq(ingot_binding_dtype_name(image), "u8");
  cr_expect_eq(ingot_binding_dtype(image).bits, 8);
  cr_expect_eq(ingot_binding_rank(image), 4);
  cr_expect_eq(ingot_binding_dims(image)[0], -1);
  cr_expect_eq(ingot_binding_dims(image)[3], 8);
  cr_expect_str_eq(ingot_binding_dim_name(image, 0), "batch");
  cr_expect_str_eq(ingot_binding_dim_name(image, 1), "");
  cr_expect_str_eq(ingot_binding_name(answer), "probabilities");
  cr_expect_str_eq(ingot_binding_dim_name(answer, 0), "batch");
  cr_expect_not_null(strstr(ingot_session_device(session), "threads"));
  char *text = ingot_engine_text(engine);
  cr_assert_not_null(text);
  cr_expect_not_null(strstr(text, "conv("));
  free(text);
}

Test(api, reports_passes_and_version) {
  int count = ingot_engine_pass_count(engine), fused = 0;
  cr_assert_gt(count, 5);
  for (int i = 0; i < count; i++) {
    const ingot_pass *pass = ingot_engine_pass(engine, i);
    fused += !strcmp(ingot_pass_name(pass), "fold_scale") ? ingot_pass_changes(pass) : 0;
    cr_expect_gt(ingot_pass_nodes_after(pass), 0);
    cr_expect_geq(ingot_pass_seconds(pass), 0);
  }
  cr_expect_eq(fused, 4, "%d batch norms folded", fused);
  cr_expect_str_eq(ingot_version(), "0.1.0");
}

// ---- running -----------------------------------------------------------------------------------------------------------------

Test(api, batches_agree_with_single_images) {
  enum { MOST = 9 };
  uint8_t *images = noise(MOST, 1);
  float single[MOST][CLASSES];
  for (int i = 0; i < MOST; i++) {
    ingot_tensor out;
    expect_ok(classify(session, images + i * PIXELS, 1, &out));
    cr_assert_eq(out.ndim, 2);
    cr_assert_eq(out.shape[0], 1);
    cr_assert_eq(out.shape[1], CLASSES);
    memcpy(single[i], out.data, sizeof single[i]);
    float sum = 0;
    for (int k = 0; k < CLASSES; k++) sum += single[i][k];
    cr_expect_float_eq(sum, 1, 1e-5);
  }
  const int64_t batches[] = {MOST, 1, 4, MOST, 2};
  for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
    ingot_tensor out;
    expect_ok(classify(session, images, batches[b], &out));
    cr_assert_eq(out.shape[0], batches[b]);
    for (int64_t i = 0; i < batches[b] * CLASSES; i++)
      cr_assert_float_eq(((float *)out.data)[i], single[i / CLASSES][i % CLASSES], 1e-5);
  }
  free(images);
}

Test(api, an_empty_batch_gives_an_empty_answer) {
  uint8_t nothing[1];
  ingot_tensor out;
  expect_ok(classify(session, nothing, 0, &out));
  cr_expect_eq(out.ndim, 2);
  cr_expect_eq(out.shape[0], 0);
}

Test(api, byte_offset_and_row_major_strides_are_understood) {
  uint8_t *images = noise(2, 3);
  int64_t shape[] = {1, 1, 8, 8}, strides[] = {64, 64, 8, 1}, other[] = {64, 64, 1, 8};
  ingot_tensor plain, input = image_tensor(images, shape), out;
  expect_ok(classify(session, images + PIXELS, 1, &plain));
  float expected[CLASSES];
  memcpy(expected, plain.data, sizeof expected);
  input.byte_offset = PIXELS;
  input.strides = strides;
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));
  cr_expect_arr_eq(out.data, expected, sizeof expected);
  input.strides = other;
  expect_error(ingot_session_run(session, &input, 1, &out, 1), INGOT_INVALID_ARGUMENT, "row-major");
  input.strides = NULL;
  input.byte_offset = UINT64_MAX;
  expect_error(ingot_session_run(session, &input, 1, &out, 1), INGOT_INVALID_ARGUMENT, "byte_offset");
  free(images);
}

Test(api, passes_change_no_answer) {
  ingot_engine *plain = build("all");
  ingot_session *other;
  expect_ok(ingot_session_create(plain, &config, &other));
  uint8_t *images = noise(5, 4);
  ingot_tensor a, b;
  expect_ok(classify(session, images, 5, &a));
  expect_ok(classify(other, images, 5, &b));
  for (int i = 0; i < 5 * CLASSES; i++) cr_expect_float_eq(((float *)a.data)[i], ((float *)b.data)[i], 1e-5);
  ingot_session_free(other);
  ingot_engine_free(plain);
  free(images);
}

Test(api, shapes_can_be_set_before_the_first_run) {
  int64_t shape[] = {6, 1, 8, 8};
  const int64_t *shapes[] = {shape};
  expect_ok(ingot_session_set_shapes(session, shapes, 1));
  size_t arena = ingot_session_memory(session, INGOT_MEMORY_ARENA);
  cr_expect_gt(arena, 0);
  cr_expect_geq(ingot_session_memory(session, INGOT_MEMORY_UNPACKED), arena);
  cr_expect_gt(ingot_session_memory(session, INGOT_MEMORY_WEIGHTS), 80000);
  shape[3] = 9;
  expect_error(ingot_session_set_shapes(session, shapes, 1), INGOT_INVALID_ARGUMENT, "image");
  expect_error(ingot_session_set_shapes(session, shapes, 2), INGOT_INVALID_ARGUMENT, "1 input");
}

Test(api, plans_read_back_from_text_give_the_same_bits) {
  enum { COUNT = 3 };
  uint8_t *images = noise(COUNT, 11);
  ingot_config checked = config;
  ingot_session *other;
  ingot_tensor one, two;
  checked.check_plans = true;
  expect_ok(ingot_session_create(engine, &checked, &other));
  expect_ok(classify(session, images, COUNT, &one));
  expect_ok(classify(other, images, COUNT, &two));
  cr_expect(!memcmp(one.data, two.data, COUNT * CLASSES * sizeof(float)));
  ingot_session_free(other);
  free(images);
}

Test(api, profiles_and_times) {
  uint8_t *images = noise(2, 5);
  int64_t shape[] = {2, 1, 8, 8};
  ingot_tensor input = image_tensor(images, shape);
  ingot_profile *profile;
  expect_ok(ingot_session_profile(session, &input, 1, &profile));
  for (int64_t batch = 3; batch < 80; batch++) {  // more shapes than plans are kept for: the profile's strings are its own
    uint8_t *more = noise(batch, 5);
    ingot_tensor out;
    expect_ok(classify(session, more, batch, &out));
    free(more);
  }
  cr_assert_gt(ingot_profile_step_count(profile), 3);
  bool conv = false;
  for (int i = 0; i < ingot_profile_step_count(profile); i++) {
    const char *origins = ingot_profile_origins(profile, i);
    cr_expect_geq(ingot_profile_milliseconds(profile, i), 0);
    cr_expect(ingot_profile_predicted(profile, i) > 0 && ingot_profile_predicted(profile, i) < 1e3);
    cr_expect_gt(strlen(ingot_profile_tactic(profile, i)), 0);
    cr_expect_gt(strlen(ingot_profile_name(profile, i)), 0);
    conv |= !strcmp(ingot_profile_op(profile, i), "conv") && strstr(origins, "stem.conv") && strstr(origins, "stem.norm");
  }
  ingot_profile_free(profile);
  cr_expect(conv, "no step says that it came from stem.conv and stem.norm");
  char *plan, *again;
  expect_ok(ingot_session_plan_text(session, &input, 1, &plan));
  expect_ok(ingot_session_plan_text(session, &input, 1, &again));
  cr_expect(strstr(plan, "buffer %") && strstr(plan, "stem.conv") && strstr(plan, "  host "), "%s", plan);
  cr_expect_str_eq(plan, again);
  free(plan);
  free(again);
  expect_ok(ingot_session_explain(session, &input, 1, "stem.norm", false, &plan));
  expect_ok(ingot_session_explain(session, &input, 1, "0", true, &again));
  cr_expect(strstr(plan, "(conv), from ") && strstr(plan, "\n* ") && strstr(plan, "reference"), "%s", plan);
  cr_expect(!strncmp(again, "{\"device\":", 10) && strstr(again, "\"chosen\":true"), "%s", again);
  free(plan);
  free(again);
  plan = NULL;
  ingot_error *unknown = ingot_session_explain(session, &input, 1, "nobody", false, &plan);
  cr_expect(ingot_error_code(unknown) == INGOT_NOT_FOUND && !plan);
  ingot_error_free(unknown);
  double milliseconds = -1;
  expect_ok(ingot_session_time(session, &input, 1, 0.02, &milliseconds));
  cr_expect_gt(milliseconds, 0);
  cr_expect_gt(ingot_session_memory(session, INGOT_MEMORY_ARENA), 0);
  free(images);
}

typedef struct Worker {
  ingot_session *session;
  unsigned seed;
  int wrong;
} Worker;

static void *work(void *context) {
  Worker *worker = context;
  uint8_t *images = noise(7, worker->seed);
  float first[7 * CLASSES];
  for (int i = 0; i < 40; i++) {
    int64_t count = i ? 1 + i % 7 : 7;
    ingot_tensor out;
    ingot_error *error = classify(worker->session, images, count, &out);
    if (!error && !i) memcpy(first, out.data, sizeof first);
    for (int64_t k = 0; !error && k < count * CLASSES; k++) worker->wrong += fabsf(((float *)out.data)[k] - first[k]) > 1e-5f;
    worker->wrong += error != NULL;
    ingot_error_free(error);
  }
  free(images);
  return NULL;
}

Test(api, two_sessions_in_two_threads) {
  ingot_session *other;
  expect_ok(ingot_session_create(engine, &config, &other));
  Worker workers[] = {{session, 1, 0}, {other, 2, 0}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) cr_assert_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  cr_expect_eq(workers[0].wrong, 0);
  cr_expect_eq(workers[1].wrong, 0);
  ingot_session_free(other);
}

Test(api, a_session_keeps_its_engine_alive) {
  ingot_engine *built = build(NULL);
  ingot_session *lasting;
  expect_ok(ingot_session_create(built, &config, &lasting));
  ingot_engine_free(built);
  uint8_t *images = noise(1, 6);
  ingot_tensor out;
  expect_ok(classify(lasting, images, 1, &out));
  ingot_session_free(lasting);
  free(images);
}

// ---- saving ------------------------------------------------------------------------------------------------------------------

Test(api, a_saved_engine_answers_the_same) {
  char path[] = "/tmp/ingot-api-XXXXXX";
  int file = mkstemp(path);
  cr_assert_geq(file, 0);
  close(file);
  expect_ok(ingot_engine_save(engine, path));
  ingot_engine *loaded;
  ingot_session *other;
  expect_ok(ingot_engine_load(path, &config, &loaded));
  unlink(path);
  expect_ok(ingot_session_create(loaded, &config, &other));
  uint8_t *images = noise(3, 7);
  ingot_tensor a, b;
  expect_ok(classify(session, images, 3, &a));
  expect_ok(classify(other, images, 3, &b));
  cr_expect_arr_eq(a.data, b.data, 3 * CLASSES * sizeof(float));
  ingot_session_free(other);
  ingot_engine_free(loaded);
  free(images);
}

Test(api, files_that_are_not_there_or_not_engines) {
  ingot_engine *none = NULL;
  ingot_model *model = NULL;
  expect_error(ingot_engine_load("/nowhere/at/all.ingot", &config, &none), INGOT_IO, "/nowhere/at/all.ingot");
  expect_error(ingot_engine_load(MODEL, &config, &none), INGOT_CORRUPT, "not an engine");
  expect_error(ingot_engine_save(engine, "/nowhere/at/all.ingot"), INGOT_IO, "/nowhere/at");
  expect_error(ingot_model_open("/nowhere/at/all.onnx", &config, &model), INGOT_IO, "/nowhere/at/all.onnx");
  expect_error(ingot_model_open_memory("hello", 5, NULL, &config, &model), INGOT_INVALID_MODEL, "ONNX");
  cr_expect_null(none);
  cr_expect_null(model);
}

// ---- what is refused ---------------------------------------------------------------------------------------------------------

Test(api, wrong_inputs_are_refused_and_the_session_goes_on) {
  uint8_t *images = noise(2, 8);
  int64_t shape[] = {2, 1, 8, 8}, narrow[] = {2, 1, 8, 7}, flat[] = {2, 64}, negative[] = {-1, 1, 8, 8},
          huge[] = {INT64_MAX, 1, 8, 8};
  ingot_tensor out, input = image_tensor(images, shape), two[2] = {input, input};
  ingot_tensor wrong = input;
  wrong.dtype = (ingot_dtype){INGOT_FLOAT, 32, 1};
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "'image' is u8, but f32");
  wrong = input;
  wrong.dtype = (ingot_dtype){INGOT_FLOAT, 24, 1};
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "24 bits");
  wrong = input;
  wrong.shape = narrow;
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "axis 3 is 7");
  wrong.shape = flat;
  wrong.ndim = 2;
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "rank");
  wrong.ndim = 99;
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "rank 99");
  wrong = input;
  wrong.shape = negative;
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "negative");
  wrong.shape = huge;
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "too large");
  wrong = input;
  wrong.data = NULL;
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "no data");
  wrong = input;
  wrong.device = (ingot_place){INGOT_CUDA, 0};
  expect_error(ingot_session_run(session, &wrong, 1, &out, 1), INGOT_INVALID_ARGUMENT, "GPU");
  expect_error(ingot_session_run(session, two, 2, &out, 1), INGOT_INVALID_ARGUMENT, "1 input");
  expect_error(ingot_session_run(session, &input, 1, &out, 0), INGOT_INVALID_ARGUMENT, "1 output");
  expect_error(ingot_session_run(session, NULL, 1, &out, 1), INGOT_INVALID_ARGUMENT, "NULL");
  expect_error(ingot_session_run(NULL, &input, 1, &out, 1), INGOT_INVALID_ARGUMENT, "NULL");
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));
  cr_expect_eq(out.shape[0], 2);
  free(images);
}

Test(api, cuda_is_refused_where_there_is_none) {
  if (!access("/dev/nvidiactl", F_OK)) cr_skip_test("there is a GPU");
  ingot_session *none = NULL;
  ingot_config cuda = config;
  cuda.device = INGOT_DEVICE_CUDA;
  expect_error(ingot_session_create(engine, &cuda, &none), INGOT_UNSUPPORTED, "CUDA");
  cr_expect_null(none);
}

static void remember(void *context, ingot_severity severity, const char *message) {
  if (strstr(message, "no usable GPU") || strstr(message, "running on")) ++*(int *)context;
}

Test(api, the_choice_of_device_is_logged) {
  int lines = 0;
  ingot_session *other;
  ingot_config automatic = config;
  automatic.device = INGOT_DEVICE_AUTO;
  automatic.log = remember;
  automatic.log_context = &lines;
  automatic.log_most = INGOT_VERBOSE;
  expect_ok(ingot_session_create(engine, &automatic, &other));
  cr_expect_gt(lines, 0);
  ingot_session_free(other);
}

static bool refuse(void *context, const char *stage, double fraction, double seconds_left) { return false; }

Test(api, building_can_be_cancelled) {
  ingot_model *model;
  ingot_engine *none = NULL;
  ingot_config impatient = config;
  impatient.progress = refuse;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_error(ingot_engine_build(model, &impatient, &none), INGOT_CANCELLED, "cancelled");
  cr_expect_null(none);
  impatient.progress = NULL;
  impatient.precision = INGOT_FP16 | INGOT_BF16;
  expect_error(ingot_engine_build(model, &impatient, &none), INGOT_INVALID_ARGUMENT, "fp16 and bf16");
  char *text = ingot_model_text(model);
  cr_assert_not_null(text);
  cr_expect_not_null(strstr(text, "rowwise("));  // softmax, as imported
  free(text);
  ingot_model_free(model);
}

Test(api, limits_end_calls_and_leave_objects_usable) {
  ingot_model *model = NULL;
  ingot_engine *built = NULL;
  ingot_session *limited = NULL;
  ingot_cancellation *cancellation = ingot_cancellation_new();
  ingot_config tight = config;
  tight.memory_limit = 10000;
  expect_error(ingot_model_open(MODEL, &tight, &model), INGOT_LIMIT, "limit of 10000 bytes");
  tight.memory_limit = 0;
  tight.time_limit = 1e-9;
  expect_error(ingot_model_open(MODEL, &tight, &model), INGOT_LIMIT, "1e-09 s");
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_error(ingot_engine_build(model, &tight, &built), INGOT_LIMIT, "1e-09 s");
  tight.time_limit = -1;
  expect_error(ingot_engine_build(model, &tight, &built), INGOT_INVALID_ARGUMENT, "time_limit");
  tight.time_limit = 0;
  tight.cancellation = cancellation;
  ingot_cancellation_request(cancellation);
  expect_error(ingot_engine_build(model, &tight, &built), INGOT_CANCELLED, "cancelled");
  ingot_cancellation_reset(cancellation);
  expect_ok(ingot_engine_build(model, &tight, &built));
  ingot_model_free(model);

  tight.memory_limit = 4 << 20;  // enough for a few images, not for thousands
  expect_ok(ingot_session_create(built, &tight, &limited));
  uint8_t *images = noise(60000, 1);
  ingot_tensor out = {0};
  expect_error(classify(limited, images, 60000, &out), INGOT_LIMIT, "limit of 4194304 bytes");
  expect_ok(classify(limited, images, 4, &out));
  ingot_cancellation_request(cancellation);
  expect_error(classify(limited, images, 5, &out), INGOT_CANCELLED, "cancelled");
  ingot_cancellation_reset(cancellation);
  expect_ok(classify(limited, images, 5, &out));
  free(images);
  ingot_session_free(limited);
  ingot_engine_free(built);
  ingot_cancellation_free(cancellation);
}

static bool fits(ingot_engine *built, const ingot_config *tight, uint8_t *images, int count) {
  ingot_session *fresh = NULL;
  ingot_tensor out = {0};
  expect_ok(ingot_session_create(built, tight, &fresh));
  ingot_error *error = classify(fresh, images, count, &out);
  bool fit = !error;
  ingot_error_free(error);
  ingot_session_free(fresh);
  return fit;
}

// Whatever a fresh session does under a limit of memory, one does that remembers calls of other shapes: it lets go of what they left.
Test(api, what_other_shapes_left_makes_room_under_a_limit) {
  static const int counts[] = {40, 300, 310, 310, 300, 40, 310, 305, 300};
  ingot_model *model = NULL;
  ingot_engine *built = NULL;
  ingot_session *limited = NULL;
  ingot_config tight = config;
  expect_ok(ingot_model_open(MODEL, &config, &model));
  expect_ok(ingot_engine_build(model, &config, &built));
  uint8_t *images = noise(310, 1);
  tight.memory_limit = 1 << 18;
  while (!fits(built, &tight, images, 40) || !fits(built, &tight, images, 300) || !fits(built, &tight, images, 310))
    tight.memory_limit += tight.memory_limit / 16;
  expect_ok(ingot_session_create(built, &tight, &limited));
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    ingot_tensor out = {0};
    ingot_error *error = classify(limited, images, counts[i], &out);
    cr_expect(!error, "call %zu, of %d images: %s", i, counts[i], error ? ingot_error_message(error) : "");
    ingot_error_free(error);
  }
  free(images);
  ingot_session_free(limited);
  ingot_engine_free(built);
  ingot_model_free(model);
}

Test(api, null_is_harmless_where_it_may_be) {
  ingot_model_free(NULL);
  ingot_engine_free(NULL);
  ingot_session_free(NULL);
  ingot_error_free(NULL);
  cr_expect_eq(ingot_error_code(NULL), INGOT_OK);
  cr_expect_str_eq(ingot_error_message(NULL), "");
  ingot_model *model = NULL;
  expect_error(ingot_model_open(NULL, NULL, &model), INGOT_INVALID_ARGUMENT, "NULL");
  expect_error(ingot_engine_build(NULL, NULL, NULL), INGOT_INVALID_ARGUMENT, "NULL");
}

// A caller built against an older header has a shorter struct: what it lacks takes its default.
Test(api, a_shorter_config_is_understood) {
  ingot_config old = config;
  old.size = offsetof(ingot_config, tuning_seconds);
  old.log = (void (*)(void *, ingot_severity, const char *))1;  // beyond the end: must not be looked at
  ingot_session *other;
  expect_ok(ingot_session_create(engine, &old, &other));
  ingot_session_free(other);
}

Test(api, half_precision_is_near) {
  ingot_model *model;
  ingot_engine *half;
  ingot_session *other;
  ingot_config narrow = config;
  narrow.precision = INGOT_FP16;
  expect_ok(ingot_model_open(MODEL, &narrow, &model));
  expect_ok(ingot_engine_build(model, &narrow, &half));
  expect_ok(ingot_session_create(half, &narrow, &other));
  cr_expect_str_eq(ingot_binding_dtype_name(ingot_engine_output(half, 0)), "f32");
  uint8_t *images = noise(4, 10);
  ingot_tensor a, b;
  expect_ok(classify(session, images, 4, &a));
  expect_ok(classify(other, images, 4, &b));
  for (int i = 0; i < 4 * CLASSES; i++) cr_expect_float_eq(((float *)a.data)[i], ((float *)b.data)[i], 1e-2);
  ingot_session_free(other);
  ingot_engine_free(half);
  ingot_model_free(model);
  free(images);
}

// A pool of the caller's that does the tasks one after the other, the last first.
static void backwards(void *context, int count, void (*task)(void *argument, int index), void *argument) {
  ++*(int *)context;
  cr_assert(count >= 1 && count <= 3);
  for (int i = count - 1; i >= 0; i--) task(argument, i);
}

Test(api, the_callers_threads_do_the_work) {
  enum { COUNT = 2000 };  // enough for loops that are worth sharing
  int calls = 0;
  ingot_config lent = config;
  ingot_session *borrowing = NULL;
  ingot_tensor ours = {0}, theirs = {0};
  uint8_t *images = noise(COUNT, 1);
  lent.threads = 3;
  lent.parallel = backwards;
  lent.parallel_context = &calls;
  expect_ok(ingot_session_create(engine, &lent, &borrowing));
  expect_ok(classify(session, images, COUNT, &ours));
  expect_ok(classify(borrowing, images, COUNT, &theirs));
  cr_expect_gt(calls, 0);
  for (int i = 0; i < COUNT * 10; i++)
    cr_assert_float_eq(((float *)ours.data)[i], ((float *)theirs.data)[i], 1e-5, "element %d", i);
  ingot_session_free(borrowing);
  free(images);
}
