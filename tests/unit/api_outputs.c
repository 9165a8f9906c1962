// Who owns a result: lent by the session, or written to memory of the caller's and never past it.
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_test.h"

#define MODEL "examples/digits/digits.onnx"
enum { PIXELS = 64, CLASSES = 10, IMAGES = 3 };

static ingot_engine *engine;
static ingot_session *session;
static uint8_t images[IMAGES * PIXELS];
static float expected[IMAGES * CLASSES];

static ingot_session *open_session(void) {
  ingot_config config;
  ingot_session *opened;
  ingot_model *model;
  expect_ok(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  config.threads = 1;
  if (!engine) {
    expect_ok(ingot_model_open(MODEL, &config, &model));
    expect_ok(ingot_engine_build(model, &config, &engine));
    ingot_model_free(model);
  }
  expect_ok(ingot_session_create(engine, &config, &opened));
  return opened;
}

static int64_t input_shape[] = {IMAGES, 1, 8, 8};
static ingot_tensor input;

static void set_up(void) {
  session = open_session();
  for (int i = 0; i < IMAGES * PIXELS; i++) images[i] = (uint8_t)(i * 37);
  input =
      (ingot_tensor){.data = images, .device = {INGOT_CPU, 0}, .ndim = 4, .dtype = {INGOT_UINT, 8, 1}, .shape = input_shape};
  ingot_tensor out;
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));
  memcpy(expected, out.data, sizeof expected);
}
static void tear_down(void) {
  ingot_session_free(session);
  ingot_engine_free(engine);
}
TestSuite(api_outputs, .init = set_up, .fini = tear_down);

// Room for the results with a margin on both sides that must stay as it is.
typedef struct Room {
  float before[16], data[IMAGES * CLASSES], after[16];
} Room;

static void paint(Room *room) {
  for (size_t i = 0; i < sizeof *room / sizeof(float); i++) ((float *)room)[i] = 42;
}
static void expect_margins(const Room *room) {
  for (int i = 0; i < 16; i++) cr_assert(room->before[i] == 42 && room->after[i] == 42, "written past the caller's memory");
}
static void expect_untouched(const Room *room) {
  expect_margins(room);
  for (int i = 0; i < IMAGES * CLASSES; i++) cr_assert_eq(room->data[i], 42, "a refused call wrote");
}

static ingot_output bytes_of(Room *room, size_t capacity) {
  return (ingot_output){
      sizeof(ingot_output), INGOT_OWNED_BY_CALLER, {.data = room ? room->data : NULL, .device = {INGOT_CPU, 0}}, capacity};
}
static ingot_output shaped(Room *room, int64_t *shape) {
  ingot_output out = bytes_of(room, 0);
  out.tensor.ndim = 2;
  out.tensor.dtype = (ingot_dtype){INGOT_FLOAT, 32, 1};
  out.tensor.shape = shape;
  return out;
}

Test(api_outputs, what_stood_in_the_array_does_not_matter) {
  ingot_tensor out;
  Room room;
  memset(&out, 0xa5, sizeof out);
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));
  cr_expect_arr_eq(out.data, expected, sizeof expected);
  paint(&room);
  out.data = room.data;  // a leftover: plain runs write to nobody's memory
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));
  expect_untouched(&room);
  cr_expect_arr_eq(out.data, expected, sizeof expected);
}

Test(api_outputs, an_array_serves_another_session_and_outlives_the_first) {
  ingot_session *other = open_session();
  ingot_tensor out, copy;
  expect_ok(ingot_session_run(session, &input, 1, &out, 1));
  copy = out;
  expect_ok(ingot_session_run(other, &input, 1, &out, 1));
  cr_expect_neq(out.data, copy.data);
  ingot_session_free(session);
  expect_ok(ingot_session_run(other, &input, 1, &copy, 1));  // what it lent is gone, and is not looked at
  cr_expect_arr_eq(copy.data, expected, sizeof expected);
  session = other;
}

Test(api_outputs, the_callers_memory_by_bytes) {
  Room room;
  paint(&room);
  ingot_output out = bytes_of(&room, sizeof room.data);
  expect_ok(ingot_session_run_into(session, &input, 1, &out, 1));
  cr_expect_arr_eq(room.data, expected, sizeof expected);
  expect_margins(&room);
  cr_expect_eq(out.tensor.data, room.data);
  cr_assert_eq(out.tensor.ndim, 2);
  cr_expect_eq(out.tensor.shape[0], IMAGES);
  cr_expect_eq(out.tensor.shape[1], CLASSES);
  cr_expect_eq(out.tensor.dtype.code, INGOT_FLOAT);
  out = bytes_of(&room, sizeof room.data - 1);
  paint(&room);
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1),
                 "'probabilities' is f32[3, 10], 120 bytes, but the caller's memory has 119");
  expect_untouched(&room);
}

Test(api_outputs, the_callers_memory_by_shape) {
  Room room;
  int64_t shape[] = {IMAGES, CLASSES}, small[] = {IMAGES - 1, CLASSES}, turned[] = {CLASSES, IMAGES};
  int64_t strides[] = {CLASSES, 1}, other[] = {1, IMAGES};
  paint(&room);
  ingot_output out = shaped(&room, shape);
  out.tensor.strides = strides;
  expect_ok(ingot_session_run_into(session, &input, 1, &out, 1));
  cr_expect_arr_eq(room.data, expected, sizeof expected);
  expect_margins(&room);
  cr_expect_eq(out.tensor.shape, shape);
  paint(&room);
  out = shaped(&room, small);
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1),
                 "is f32[3, 10], but the caller's memory is said to be f32[2, 10]");
  out = shaped(&room, turned);
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "f32[10, 3]");
  out = shaped(&room, shape);
  out.tensor.dtype.bits = 64;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "f64[3, 10]");
  out = shaped(&room, shape);
  out.tensor.ndim = 1;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "f32[3]");
  out = shaped(&room, shape);
  out.tensor.strides = other;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "row-major");
  out = shaped(&room, NULL);
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "shape is NULL");
  expect_untouched(&room);
}

Test(api_outputs, byte_offset_counts) {
  Room room;
  paint(&room);
  ingot_output out = bytes_of(&room, sizeof room.data);
  out.tensor.data = room.before;
  out.tensor.byte_offset = sizeof room.before;
  expect_ok(ingot_session_run_into(session, &input, 1, &out, 1));
  cr_expect_arr_eq(room.data, expected, sizeof expected);
  expect_margins(&room);
}

Test(api_outputs, lent_where_it_is_asked_for) {
  ingot_output out = {.size = sizeof out};
  expect_ok(ingot_session_run_into(session, &input, 1, &out, 1));
  cr_expect_arr_eq(out.tensor.data, expected, sizeof expected);
  cr_expect_eq(out.tensor.device.device_type, INGOT_CPU);
  out.tensor.device = (ingot_place){INGOT_CUDA, 0};
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "GPU");
  out.tensor.device = (ingot_place){99, 0};
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "device type 99");
}

Test(api_outputs, malformed_outputs_are_refused) {
  Room room;
  paint(&room);
  ingot_output out = bytes_of(&room, sizeof room.data);
  out.size = 0;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "size is 0");
  out.size = sizeof out + 8;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "size is");
  out = bytes_of(&room, sizeof room.data);
  out.owner = (ingot_owner)7;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "owner 7");
  out = bytes_of(NULL, 120);
  out.tensor.data = NULL;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "data is NULL");
  expect_invalid(ingot_session_run_into(session, &input, 1, NULL, 1), "outputs is NULL");
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, -1), "1 output");
  expect_untouched(&room);
}

Test(api_outputs, shared_memory_is_refused) {
  static float both[IMAGES * CLASSES];
  ingot_tensor shared = input, lent;
  shared.data = both;
  ingot_output out = {sizeof out, INGOT_OWNED_BY_CALLER, {.data = both, .device = {INGOT_CPU, 0}}, sizeof both};
  cr_assert_leq(sizeof images, 2 * sizeof both);
  shared.data = (char *)both + 8;
  input_shape[0] = 1;
  expect_invalid(ingot_session_run_into(session, &shared, 1, &out, 1), "output 'probabilities' and input 'image' share memory");
  input_shape[0] = IMAGES;
  expect_ok(ingot_session_run(session, &input, 1, &lent, 1));
  out.tensor.data = lent.data;
  expect_invalid(ingot_session_run_into(session, &input, 1, &out, 1), "the session lent");
  out.tensor.data = both;
  for (int i = 0; i < 2; i++)
    expect_ok(ingot_session_run_into(session, &input, 1, &out, 1));  // the caller's stays the caller's
  cr_expect_arr_eq(both, expected, sizeof both);
}

// ---- results as inputs of the next run ---------------------------------------------------------------------------------------

// x to x @ w, of the same shape: were the result written over its input, it would show.
Test(api_outputs, what_was_lent_may_be_the_next_input) {
  ingot_config plain;
  ingot_model *model;
  ingot_engine *square;
  ingot_session *kept, *fresh;
  float x[32], copy[32];
  int64_t shape[] = {4, 8};
  for (int i = 0; i < 32; i++) x[i] = (float)(i % 7) / 7;
  ingot_tensor in = {.data = x, .device = {INGOT_CPU, 0}, .ndim = 2, .dtype = {INGOT_FLOAT, 32, 1}, .shape = shape}, lent,
               apart;
  expect_ok(ingot_config_init(&plain));
  plain.device = INGOT_DEVICE_CPU;
  expect_ok(ingot_model_open("tests/regress/square_product/model.onnx", &plain, &model));
  expect_ok(ingot_engine_build(model, &plain, &square));
  ingot_model_free(model);
  expect_ok(ingot_session_create(square, &plain, &kept));
  expect_ok(ingot_session_create(square, &plain, &fresh));
  expect_ok(ingot_session_run(kept, &in, 1, &lent, 1));
  for (int i = 0; i < 4; i++) {
    memcpy(copy, lent.data, sizeof copy);
    in.data = copy;
    expect_ok(ingot_session_run(fresh, &in, 1, &apart, 1));
    expect_ok(ingot_session_run(kept, &lent, 1, &lent, 1));  // the same array, even
    cr_assert_arr_eq(lent.data, apart.data, sizeof copy);
  }
  char *odd = malloc(sizeof x + 1);
  memcpy(odd + 1, copy, sizeof copy);
  in.data = odd + 1;  // on no address for floats
  expect_ok(ingot_session_run(fresh, &in, 1, &apart, 1));
  cr_assert_arr_eq(lent.data, apart.data, sizeof copy);
  free(odd);
  ingot_session_free(kept);
  ingot_session_free(fresh);
  ingot_engine_free(square);
}

// What was taken stays as it is while the session runs on, once, and may be an input like any other.
Test(api_outputs, a_result_may_be_taken) {
  ingot_tensor first, second;
  ingot_result *taken = NULL, *again = NULL;
  expect_ok(ingot_session_run(session, &input, 1, &first, 1));
  expect_ok(ingot_session_take_output(session, 0, &taken));
  expect_invalid(ingot_session_take_output(session, 0, &again), "is no tensor that the last run lent");
  memset(images, 0, sizeof images);
  expect_ok(ingot_session_run(session, &input, 1, &second, 1));
  cr_expect_neq(first.data, second.data);
  cr_expect(!memcmp(first.data, expected, sizeof expected), "what was taken has changed");
  cr_expect(memcmp(second.data, expected, sizeof expected), "the second run is of other images");
  ingot_result_free(taken);
}

Test(api_outputs, the_callers_memory_is_not_taken) {
  Room room;
  ingot_output out = bytes_of(&room, sizeof room.data);
  ingot_result *taken = NULL;
  expect_ok(ingot_session_run_into(session, &input, 1, &out, 1));
  expect_invalid(ingot_session_take_output(session, 0, &taken), "is no tensor that the last run lent");
}
