// Page-locked memory of the host, for callers who want what goes to a GPU and comes back not to be copied on the way (cuda/staging.c).
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "base/recover.h"
#include "cuda/context.h"

struct ingot_pinned {
  pid_t process;
  CudaContext *context;  // without a stream
  void *data;
};

static Status take(const ingot_config *given, size_t bytes, ingot_pinned *out) {
  ingot_config config;
  TRY(api_config(given, &config));
  if (config.device == INGOT_DEVICE_CPU)
    FAIL(ERROR_INVALID_ARGUMENT, "page-locked memory is what a GPU reads, but the configuration's device is the CPU");
  Log log = api_log(&config);
  CudaContextOptions options = {.device = config.device_index, .context = config.cuda_context, .use_stream = true, .log = log};
  TRY(cuda_context_open(&options, &out->context));
  TRY(cuda_enter(out->context));
  Status status = cuda_alloc_host(out->context, bytes, &out->data);
  cuda_leave(out->context);
  return status_context(status, "%.1f MB of page-locked memory", (double)bytes / 1e6);
}

ingot_error *ingot_pinned_new(const ingot_config *config, size_t bytes, ingot_pinned **out) {
  Status status = api_require("ingot_pinned_new", "out", out, NULL);
  if (status) return api_error(status);
  ingot_pinned *memory = calloc(1, sizeof *memory);
  if (!memory) return api_error(status_out_of_memory());
  memory->process = getpid();
  status = API_LIMITED(config, take(config, bytes, memory));
  if (status) ingot_pinned_free(memory);
  else *out = memory;
  return api_error(status);
}

void *ingot_pinned_data(const ingot_pinned *memory) { return memory ? memory->data : NULL; }

void ingot_pinned_free(ingot_pinned *memory) {
  if (!memory) return;
  if (memory->context && memory->process == getpid()) {  // the driver's state is not a child process's
    bool entered = memory->data && cuda_enter_to_release(memory->context);
    cuda_free_host(memory->context, memory->data);
    if (entered) cuda_leave(memory->context);
    cuda_context_close(memory->context);
  }
  free(memory);
}
