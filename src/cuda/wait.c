// Waiting for the GPU. The driver's own waits cannot be interrupted: a call that somebody watches, or that may be ended, asks, and
// sleeps in between. The sleeps grow with what was waited already, so that a short run is noticed at once and a long one costs nothing.
#include <time.h>
#include "base/budget.h"
#include "base/checked.h"
#include "base/thread.h"
#include "cuda/context.h"

#define AWAKE 2e-4  // a system wakes nobody in less than some fifty microseconds
#define LONGEST_NAP 5e-3
#define NAP_SHARE 0.0625  // of what was waited so far: a wait is longer than it had to be by at most so much

static void nap(double waited) {
  if (waited < AWAKE) return;
  double seconds = MIN(waited * NAP_SHARE, LONGEST_NAP);
  nanosleep(&(struct timespec){.tv_nsec = (long)(seconds * 1e9)}, NULL);
}

// What was asked for, or the budget's error: then the GPU goes on.
static Status wait_watched(CudaContext *context, CudaStream stream, CudaEvent event) {
  double start = time_now();
  for (;;) {
    CudaResult result = event ? context->driver->cuEventQuery(event) : context->driver->cuStreamQuery(stream);
    if (result != CUDA_NOT_READY) return result ? cuda_error(context, result, event ? "cuEventQuery" : "cuStreamQuery") : OK;
    TRY(budget_poll());
    nap(time_now() - start);
  }
}

Status cuda_synchronize(CudaContext *context, CudaStream stream) {
  if (budget_is_watched()) return wait_watched(context, stream, NULL);
  CUDA_TRY(context, cuStreamSynchronize(stream));
  return OK;
}

Status cuda_wait_event(CudaContext *context, CudaEvent event) {
  if (budget_is_watched()) return wait_watched(context, NULL, event);
  CUDA_TRY(context, cuEventSynchronize(event));
  return OK;
}

Status cuda_order(CudaContext *context, CudaStream first, CudaStream second) {
  if (first == second) return OK;
  if (!context->order) CUDA_TRY(context, cuEventCreate(&context->order, CUDA_EVENT_DISABLE_TIMING));
  CUDA_TRY(context, cuEventRecord(context->order, first));
  CUDA_TRY(context, cuStreamWaitEvent(second, context->order, 0));
  return OK;
}

Status cuda_stream_beside(CudaContext *context, int number, CudaStream *out) {
  CudaStream *stream = &context->beside[number];
  if (!*stream) CUDA_TRY(context, cuStreamCreateWithPriority(stream, CUDA_STREAM_NON_BLOCKING, 0));
  *out = *stream;
  return OK;
}

void cuda_settle(CudaContext *context) {
  if (budget_is_watched()) status_free(wait_watched(context, context->stream, NULL));
  CudaResult result = context->driver->cuStreamSynchronize(context->stream);
  if (!result) return;
  cuda_note(context, "waiting for the GPU", cuda_error(context, result, "cuStreamSynchronize"));
  context->driver->cuStreamSynchronize(context->stream);
}
