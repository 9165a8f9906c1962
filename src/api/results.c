// Results that a caller takes from a session, to keep them while it runs on. What a session lends it owns, with at most a stage that writes results there again (run.c), so one can go.
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"

struct ingot_result {
  pid_t process;
  RunTensor tensor;
};

static Status take(ingot_session *session, int index, ingot_result **out) {
  if (index < 0 || index >= ingot_engine_output_count(session->engine))
    FAIL(ERROR_INVALID_ARGUMENT, "ingot_session_take_output: the model has no output number %d", index);
  RunTensor *tensor = &session->outputs[index];
  const char *name = session->engine->outputs[index].name;
  if (!tensor->storage) FAIL(ERROR_INVALID_ARGUMENT, "output '%s' is no tensor that the last run lent", name);
  if (tensor->dtype == DTYPE_STRING) FAIL(ERROR_INVALID_ARGUMENT, "output '%s' holds strings, which stay the session's", name);
  Storage *storage = tensor->storage;
  ingot_result *result = malloc(sizeof *result);
  if (!result) return status_out_of_memory();
  if (storage->staged) runner_let_go(session->runner, storage);
  // Where a kernel wrote it goes now: a result on the host is freed without the session.
  if (session->destinations[index].host && storage->host_memory) storage_release_device(storage);
  *result = (ingot_result){.process = session->process, .tensor = *tensor};
  *tensor = (RunTensor){0};
  *out = result;
  return OK;
}

ingot_error *ingot_session_take_output(ingot_session *session, int index, ingot_result **out) {
  Status status = api_require("ingot_session_take_output", "session", session, "out", out, NULL);
  if (!status) status = api_check_process(session);
  return api_error(status ? status : take(session, index, out));
}

void ingot_result_free(ingot_result *result) {
  if (!result) return;
  // A child process has no part in the driver's state of the other.
  if (result->process == getpid() || result->tensor.storage->owns_host) run_tensor_drop(&result->tensor);
  free(result);
}
