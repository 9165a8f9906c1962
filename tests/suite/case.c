// Runs one case of the backend suite; see case.h. Test data is read and compared with what Ingot's own tests share; everything that is
// tested goes through the public interface.
#include "tests/suite/case.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/text.h"
#include "ingot/ingot.h"
#include "onnx/tensor.h"

typedef struct Case {
  const SuiteOptions *options;
  Arena *arena;
  const char *folder, *host;
  ingot_config config;
} Case;

// ---- the public interface's types beside those of the tests ------------------------------------------------------------------

static Status status_of(ingot_error *error) {
  if (!error) return OK;
  Status status = status_make((ErrorCode)ingot_error_code(error), "%s", ingot_error_message(error));
  ingot_error_free(error);
  return status;
}

typedef struct TypeRow {
  DType dtype;
  uint8_t code, bits;
} TypeRow;
static const TypeRow types[] = {
    {DTYPE_F32, INGOT_FLOAT, 32},
    {DTYPE_F64, INGOT_FLOAT, 64},
    {DTYPE_F16, INGOT_FLOAT, 16},
    {DTYPE_BF16, INGOT_BFLOAT, 16},
    {DTYPE_I8, INGOT_INT, 8},
    {DTYPE_I16, INGOT_INT, 16},
    {DTYPE_I32, INGOT_INT, 32},
    {DTYPE_I64, INGOT_INT, 64},
    {DTYPE_U8, INGOT_UINT, 8},
    {DTYPE_U16, INGOT_UINT, 16},
    {DTYPE_U32, INGOT_UINT, 32},
    {DTYPE_U64, INGOT_UINT, 64},
    {DTYPE_BOOL, INGOT_BOOL, 8},
    {DTYPE_STRING, INGOT_STRING, 64},
    {DTYPE_C64, INGOT_COMPLEX, 64},
    {DTYPE_C128, INGOT_COMPLEX, 128},
    {DTYPE_I2, INGOT_INT, 2},
    {DTYPE_U2, INGOT_UINT, 2},
    {DTYPE_I4, INGOT_INT, 4},
    {DTYPE_U4, INGOT_UINT, 4},
    {DTYPE_F4E2M1, INGOT_FLOAT4_E2M1FN, 4},
    {DTYPE_F8E4M3FN, INGOT_FLOAT8_E4M3FN, 8},
    {DTYPE_F8E4M3FNUZ, INGOT_FLOAT8_E4M3FNUZ, 8},
    {DTYPE_F8E5M2, INGOT_FLOAT8_E5M2, 8},
    {DTYPE_F8E5M2FNUZ, INGOT_FLOAT8_E5M2FNUZ, 8},
    {DTYPE_F8E8M0, INGOT_FLOAT8_E8M0FNU, 8},
};

static ingot_tensor tensor_to_public(Tensor *tensor) {
  ingot_tensor out = {
      .data = tensor->data, .device = {INGOT_CPU, 0}, .ndim = tensor->rank, .dtype = {.lanes = 1}, .shape = tensor->dims};
  for (size_t i = 0; i < COUNT_OF(types); i++)
    if (types[i].dtype == tensor->dtype) {
      out.dtype.code = types[i].code;
      out.dtype.bits = types[i].bits;
    }
  return out;
}

static Status tensor_from_public(const ingot_tensor *given, Tensor *out) {
  *out = (Tensor){.dtype = DTYPE_COUNT, .rank = given->ndim, .data = (char *)given->data + given->byte_offset};
  for (size_t i = 0; i < COUNT_OF(types); i++)
    if (types[i].code == given->dtype.code && types[i].bits == given->dtype.bits) out->dtype = types[i].dtype;
  if (out->dtype == DTYPE_COUNT || given->ndim < 0 || given->ndim > MAX_RANK || given->device.device_type != INGOT_CPU)
    FAIL(ERROR_MISMATCH, "a result of code %d, %d bits, rank %d", given->dtype.code, given->dtype.bits, given->ndim);
  memcpy(out->dims, given->shape, (size_t)given->ndim * sizeof *out->dims);
  return OK;
}

// ---- comparing ---------------------------------------------------------------------------------------------------------------

static const char *shape_text(Arena *arena, const Tensor *tensor) {
  Text text = text_new(arena);
  text_add(&text, "%s[", dtype_name(tensor->dtype));
  for (int i = 0; i < tensor->rank; i++) text_add(&text, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
  text_add(&text, "]");
  return text_get(&text);
}

static Status compare(const Case *c, const char *name, const Tensor *actual, const Tensor *expected) {
  double rtol = c->options->fp16 ? 1e-2 : 1e-3, atol = c->options->fp16 ? 1e-2 : 1e-7;
  bool same = actual->dtype == expected->dtype && actual->rank == expected->rank;
  for (int i = 0; same && i < actual->rank; i++) same = actual->dims[i] == expected->dims[i];
  if (!same)
    FAIL(ERROR_MISMATCH, "output '%s' is %s, expected %s", name, shape_text(c->arena, actual), shape_text(c->arena, expected));
  if (actual->dtype == DTYPE_STRING) {
    if (!tensor_equal(actual, expected)) FAIL(ERROR_MISMATCH, "output '%s' differs", name);
    return OK;
  }
  Comparison result = tensor_compare(actual, expected, rtol, atol);
  if (!result.mismatches) return OK;
  int64_t at = result.first_mismatch;
  FAIL(ERROR_MISMATCH, "output '%s': %lld of %lld elements differ; [%lld] is %g, expected %g", name,
       (long long)result.mismatches, (long long)result.count, (long long)at, tensor_get_f(actual, at),
       tensor_get_f(expected, at));
}

// ---- the files ---------------------------------------------------------------------------------------------------------------

static Status read_value(const Case *c, const char *path, const ingot_binding *binding, HostValue *out) {
  static const ValueKind kinds[] = {
      [INGOT_TENSOR] = VALUE_TENSOR, [INGOT_SEQUENCE] = VALUE_SEQUENCE, [INGOT_OPTIONAL] = VALUE_OPTIONAL};
  return status_context(onnx_read_declared_file(path, kinds[ingot_binding_kind(binding)], c->arena, out), "reading");
}

static ingot_tensor value_to_public(const Case *c, HostValue *value) {
  if (value->kind == VALUE_TENSOR) return tensor_to_public(&value->tensor);
  if (value->kind == VALUE_OPTIONAL) return (ingot_tensor){0};
  ingot_tensor *elements = arena_array(c->arena, ingot_tensor, (size_t)value->count + 1);
  for (int i = 0; i < value->count; i++) elements[i] = tensor_to_public(&value->items[i].tensor);
  int64_t *count = arena_new_of(c->arena, int64_t);
  *count = value->count;
  return (ingot_tensor){.data = elements, .device = {INGOT_CPU, 0}, .ndim = 1, .dtype = {INGOT_TENSORS, 64, 1}, .shape = count};
}

// ---- running -----------------------------------------------------------------------------------------------------------------

static Status check_output(const Case *c, ingot_engine *engine, ingot_session *session, int index, const ingot_tensor *output,
                           const HostValue *expected) {
  static const char *const names[] = {
      [VALUE_TENSOR] = "a tensor", [VALUE_SEQUENCE] = "a sequence", [VALUE_OPTIONAL] = "an empty optional"};
  const char *name = ingot_binding_name(ingot_engine_output(engine, index));
  ingot_kind kind = ingot_session_output_kind(session, index);
  int length = ingot_session_output_length(session, index);
  ValueKind actual_kind = kind == INGOT_TENSOR ? VALUE_TENSOR : kind == INGOT_SEQUENCE ? VALUE_SEQUENCE : VALUE_OPTIONAL;
  if (actual_kind != expected->kind || (kind == INGOT_NOTHING && expected->count))
    FAIL(ERROR_MISMATCH, "output '%s' is %s, expected %s", name, names[actual_kind], names[expected->kind]);
  Tensor actual;
  if (kind == INGOT_TENSOR) {
    TRY(tensor_from_public(output, &actual));
    return compare(c, name, &actual, &expected->tensor);
  }
  if (length != expected->count)
    FAIL(ERROR_MISMATCH, "output '%s' has %d elements, expected %d", name, length, expected->count);
  for (int k = 0; k < length; k++) {
    ingot_tensor element;
    TRY(status_of(ingot_session_output_element(session, index, k, &element)));
    TRY(tensor_from_public(&element, &actual));
    TRY(status_context(compare(c, name, &actual, &expected->items[k].tensor), "element %d", k));
  }
  return OK;
}

static Status run_data_set(const Case *c, ingot_engine *engine, ingot_session *session, const char *data) {
  int input_count = ingot_engine_input_count(engine), output_count = ingot_engine_output_count(engine);
  ingot_tensor *inputs = arena_array(c->arena, ingot_tensor, (size_t)input_count + 1);
  ingot_tensor *outputs = arena_array(c->arena, ingot_tensor, (size_t)output_count + 1);
  for (int i = 0; i < input_count; i++) {
    HostValue *value = arena_new_of(c->arena, HostValue);
    const char *path = arena_printf(c->arena, "%s/input_%d.pb", data, i);
    if (ingot_binding_has_default(ingot_engine_input(engine, i)) && !file_exists(path)) continue;
    TRY(read_value(c, path, ingot_engine_input(engine, i), value));
    inputs[i] = value_to_public(c, value);
  }
  TRY(status_context(status_of(ingot_session_run(session, inputs, input_count, outputs, output_count)), "running"));
  for (int i = 0; i < output_count; i++) {
    HostValue expected;
    TRY(read_value(c, arena_printf(c->arena, "%s/output_%d.pb", data, i), ingot_engine_output(engine, i), &expected));
    TRY(status_context(check_output(c, engine, session, i, &outputs[i], &expected), "comparing"));
  }
  return OK;
}

static Status run_data_sets(const Case *c, ingot_engine *engine) {
  ingot_session *session;
  TRY(status_of(ingot_session_create(engine, &c->config, &session)));
  Status status = OK;
  for (int set = 0; !status; set++) {
    const char *data = arena_printf(c->arena, "%s/test_data_set_%d", c->folder, set);
    if (!file_exists(data)) {
      if (!set) status = status_make(ERROR_NOT_FOUND, "no test_data_set_0");
      break;
    }
    status = run_data_set(c, engine, session, data);
  }
  ingot_session_free(session);
  return status;
}

static Status build(const Case *c, ingot_engine **out) {
  ingot_model *model;
  const char *path = path_join(c->arena, c->folder, "model.onnx");
  TRY(status_context(status_of(ingot_model_open(path, &c->config, &model)), "importing"));
  Status status = status_of(ingot_engine_build(model, &c->config, out));
  ingot_model_free(model);
  return status_context(status, "building");
}

// Through a file that is gone before anything runs. Takes the engine.
static Status save_and_load(const Case *c, ingot_engine *engine, ingot_engine **out) {
  const char *folder = getenv("TMPDIR");
  char *path = path_join(c->arena, folder ? folder : "/tmp", "ingot-suite-XXXXXX");
  int file = mkstemp(path);
  Status status = file < 0 ? status_make(ERROR_IO, "cannot make '%s': %m", path) : OK;
  if (file >= 0) close(file);
  if (!status) status = status_context(status_of(ingot_engine_save(engine, path)), "saving");
  ingot_engine_free(engine);
  if (!status) status = status_context(status_of(ingot_engine_load(path, &c->config, out)), "loading");
  unlink(path);
  return status;
}

static void watch_log(void *context, ingot_severity severity, const char *message) {
  Case *c = context;
  if (strstr(message, "runs on the host")) c->host = arena_string(c->arena, message);
}

static Status run_case(Case *c) {
  ingot_engine *engine, *loaded;
  TRY(build(c, &engine));
  Status status = run_data_sets(c, engine);
  if (status) {
    ingot_engine_free(engine);
    return status;
  }
  TRY(save_and_load(c, engine, &loaded));
  status = status_context(run_data_sets(c, loaded), "loaded again");
  ingot_engine_free(loaded);
  return status;
}

Status suite_case_run(const char *folder, const SuiteOptions *options, Arena *arena, const char **host) {
  Case c = {.options = options, .arena = arena, .folder = folder, .host = ""};
  TRY(status_of(ingot_config_init(&c.config)));
  c.config.device = options->device == DEVICE_CUDA ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  c.config.precision = options->fp16 ? INGOT_FP16 : 0;
  c.config.threads = 1;
  c.config.check_plans = options->plan_text;
  c.config.log = watch_log;
  c.config.log_context = &c;
  Status status = run_case(&c);
  *host = c.host;
  return status;
}
