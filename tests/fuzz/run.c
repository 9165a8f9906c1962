// Running whatever engine a fuzzer came by. See fuzz.h.
#include "tests/fuzz/fuzz.h"

enum { MOST = 16, MOST_BYTES = 1 << 18 };

void fuzz_config(ingot_config *config) {
  fuzz_passed(ingot_config_init(config));
  config->device = INGOT_DEVICE_CPU;
  config->threads = 1;
  config->memory_limit = FUZZ_MEMORY;
  config->time_limit = FUZZ_SECONDS;
}

int fuzz_passed(ingot_error *error) {
  if (!error) return 1;
  FUZZ_EXPECT(*ingot_error_message(error), "an error without a message, code %d", ingot_error_code(error));
  FUZZ_EXPECT(ingot_error_code(error) != INGOT_INTERNAL, "an internal error: %s", ingot_error_message(error));
  ingot_error_free(error);
  return 0;
}

// Open dims are 1, 2 or 3; elements small, so that as indices and sizes they reach somewhere. Returns 0 where it would be large.
static int make_tensor(const ingot_binding *binding, int rank, int number, int64_t *dims, ingot_tensor *out) {
  ingot_dtype dtype = ingot_binding_dtype(binding);
  size_t bytes = ((size_t)dtype.bits + 7) / 8, element = bytes;
  if (rank < 0 || rank > 16 || !bytes || dtype.code == INGOT_STRING) return 0;
  for (int k = 0; k < rank; k++) {
    bool open = ingot_binding_rank(binding) < 0 || ingot_binding_dims(binding)[k] < 0;
    dims[k] = open ? 1 + (number + k) % 3 : ingot_binding_dims(binding)[k];
    if (dims[k] > MOST_BYTES || (bytes *= (size_t)dims[k]) > MOST_BYTES) return 0;
  }
  uint8_t *data = malloc(bytes + 1);
  for (size_t i = 0; i < bytes; i++)
    data[i] = dtype.code == INGOT_FLOAT ? (uint8_t)(i * 37 + (size_t)number) : i % element ? 0 : (uint8_t)(i / element % 3);
  *out = (ingot_tensor){.data = data, .device = {INGOT_CPU, 0}, .ndim = rank, .dtype = dtype, .shape = dims};
  return 1;
}

enum { ELEMENTS = 3 };
typedef struct Elements {
  ingot_tensor tensors[ELEMENTS];
  int64_t dims[ELEMENTS][16], count;
} Elements;

// A sequence of vectors; of optionals each second one has no element.
static int make_input(const ingot_binding *binding, int number, int64_t *dims, Elements *elements, ingot_tensor *out) {
  elements->count = 0;
  switch (ingot_binding_kind(binding)) {
    case INGOT_TENSOR: return make_tensor(binding, ingot_binding_rank(binding), number, dims, out);
    case INGOT_OPTIONAL: *out = (ingot_tensor){0}; return number % 2 || make_tensor(binding, 1, number, dims, out);
    default: break;
  }
  while (elements->count < ELEMENTS) {
    int64_t k = elements->count;
    if (!make_tensor(binding, 1, number + (int)k, elements->dims[k], &elements->tensors[k])) return 0;
    elements->count++;
  }
  *out = (ingot_tensor){.data = elements->tensors,
                        .device = {INGOT_CPU, 0},
                        .ndim = 1,
                        .dtype = {INGOT_TENSORS, 64, 1},
                        .shape = &elements->count};
  return 1;
}

static void free_input(ingot_tensor *input, Elements *elements) {
  for (int64_t k = 0; k < elements->count; k++) free(elements->tensors[k].data);
  if (input->data != elements->tensors) free(input->data);
}

void fuzz_run_engine(ingot_engine *engine) {
  static int64_t dims[MOST][16];
  static Elements elements[MOST];
  ingot_tensor inputs[MOST], outputs[MOST];
  ingot_config config;
  ingot_session *session = NULL;
  int count = ingot_engine_input_count(engine), output_count = ingot_engine_output_count(engine), made = 0;
  if (count > MOST || output_count > MOST) return;
  fuzz_config(&config);
  if (!fuzz_passed(ingot_session_create(engine, &config, &session))) return;
  while (made < count && make_input(ingot_engine_input(engine, made), made, dims[made], &elements[made], &inputs[made])) made++;
  for (int round = 0; made == count && round < 2; round++)
    if (!fuzz_passed(ingot_session_run(session, inputs, count, outputs, output_count))) break;
  for (int i = 0; i < made; i++) free_input(&inputs[i], &elements[i]);
  ingot_session_free(session);
}
