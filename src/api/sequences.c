// Results that are no tensors: sequences, element by element, and optionals without one.
#include "api/api.h"
#include "base/recover.h"

static const RunTensor *result_at(const ingot_session *session, int index) {
  if (!session || index < 0 || index >= ingot_engine_output_count(session->engine)) return NULL;
  return &session->outputs[index];
}

ingot_kind ingot_session_output_kind(const ingot_session *session, int index) {
  const RunTensor *result = result_at(session, index);
  if (!result || result->kind == VALUE_OPTIONAL) return INGOT_NOTHING;
  return result->kind == VALUE_SEQUENCE ? INGOT_SEQUENCE : INGOT_TENSOR;
}

int ingot_session_output_length(const ingot_session *session, int index) {
  const RunTensor *result = result_at(session, index);
  return result && result->list ? result->list->count : 0;
}

static Status element(ingot_session *session, int index, int element, ingot_tensor *out) {
  const RunTensor *result = result_at(session, index);
  int count = ingot_session_output_length(session, index);
  if (!result) FAIL(ERROR_INVALID_ARGUMENT, "ingot_session_output_element: the model has no output number %d", index);
  if (element < 0 || element >= count)
    FAIL(ERROR_INVALID_ARGUMENT, "output '%s' has no element number %d, but %d elements", session->engine->outputs[index].name,
         element, count);
  RunTensor *item = &result->list->items[element];
  *out = (ingot_tensor){.device = {INGOT_CPU, 0}, .ndim = item->rank, .dtype = api_dtype(item->dtype), .shape = item->dims};
  return run_tensor_host(item, &out->data);  // it is there since the run ended
}

ingot_error *ingot_session_output_element(ingot_session *session, int index, int number, ingot_tensor *out) {
  Status status = api_require("ingot_session_output_element", "session", session, "out", out, NULL);
  if (!status) status = RECOVER_GUARD(element(session, index, number, out));
  return api_error(status);
}
