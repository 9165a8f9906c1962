// Copies between ordinary memory and the device, through two pinned buffers of the context: while one travels, the other is filled. Memory that is pinned
// already travels as it is. What is made on the host only to be uploaded is made in those buffers, several things at once by several threads.
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/memory.h"
#include "base/recover.h"
#include "base/thread.h"
#include "cuda/context.h"

enum { PART_ALIGNMENT = 256 };

// ---- memory that is pinned ----------------------------------------------------------------------------------------------------

// Less is copied to a buffer in the time that it takes to ask the driver, and to wait once more.
enum { DIRECT_FROM = 128 << 10 };

static bool is_pinned(CudaContext *context, const void *memory, size_t size) {
  unsigned kind = 0;
  if (size < DIRECT_FROM) return false;
  CudaResult result = context->driver->cuPointerGetAttribute(&kind, CUDA_POINTER_MEMORY_TYPE, cuda_address(memory));
  return !result && kind == CUDA_MEMORY_HOST;
}

// What the stream holds is waited for first, as long as the call may last; the copy then to its end: when the call is over, the memory is the caller's.
static Status finish_direct(CudaContext *context) {
  Status status = cuda_synchronize(context, context->stream);
  if (status) cuda_settle(context);
  return status;
}

static Status upload_direct(CudaContext *context, void *to, const void *from, size_t size) {
  TRY(cuda_synchronize(context, context->stream));
  TRY(cuda_copy_in(context, to, from, size, context->stream));
  return finish_direct(context);
}

static Status download_direct(CudaContext *context, void *to, const void *from, size_t size) {
  TRY(cuda_synchronize(context, context->stream));
  TRY(cuda_copy_out(context, to, from, size, context->stream));
  return finish_direct(context);
}

// ---- through the buffers ------------------------------------------------------------------------------------------------------

// A transfer that ended half way may have left a copy under way, which would write over what the next one puts into its buffer, or read
// what is not its own: the next one waits for it. Buffers that cannot be waited for are given up, which waits for them too.
static Status staging_settle(CudaContext *context) {
  if (!context->staging_in_use) return OK;
  Status status = cuda_synchronize(context, context->stream);
  if (status && budget_is_over(budget_current())) return status;
  for (int i = 0; status && i < CUDA_STAGING_BUFFERS; i++) {
    cuda_free_host(context, context->staging[i]);
    context->staging[i] = NULL;
  }
  status_free(status);
  context->staging_in_use = false;
  return OK;
}

// The caller holds staging_mutex. Idempotent, so that a failure half way is made good by the next call or by closing.
static Status staging_open(CudaContext *context) {
  TRY(staging_settle(context));
  for (int i = 0; i < CUDA_STAGING_BUFFERS; i++) {
    if (!context->staging[i]) TRY(cuda_alloc_host(context, CUDA_STAGING_BYTES, &context->staging[i]));
    if (!context->staging_events[i]) CUDA_TRY(context, cuEventCreate(&context->staging_events[i], CUDA_EVENT_DISABLE_TIMING));
  }
  return OK;
}

// While one buffer travels, the other is filled.
static Status upload_staged(CudaContext *context, char *to, const char *from, size_t size) {
  TRY(staging_open(context));
  size_t chunk = 0;
  for (size_t done = 0; done < size; chunk++) {
    int i = (int)(chunk % CUDA_STAGING_BUFFERS);
    size_t part = MIN(size - done, (size_t)CUDA_STAGING_BYTES);
    if (chunk >= CUDA_STAGING_BUFFERS) TRY(cuda_wait_event(context, context->staging_events[i]));
    memcpy(context->staging[i], from + done, part);
    TRY(cuda_copy_in(context, to + done, context->staging[i], part, context->stream));
    CUDA_TRY(context, cuEventRecord(context->staging_events[i], context->stream));
    done += part;
  }
  return cuda_synchronize(context, context->stream);
}

Status cuda_upload(CudaContext *context, void *to, const void *from, size_t size) {
  if (size == 0) return OK;
  if (is_pinned(context, from, size)) return upload_direct(context, to, from, size);
  pthread_mutex_lock(&context->staging_mutex);
  Status status = upload_staged(context, to, from, size);
  if (status) context->staging_in_use = true;
  pthread_mutex_unlock(&context->staging_mutex);
  return status;
}

static Status download_staged(CudaContext *context, char *to, const char *from, size_t size) {
  TRY(staging_open(context));
  size_t chunks = (size + CUDA_STAGING_BYTES - 1) / CUDA_STAGING_BYTES;
  for (size_t step = 0; step <= chunks; step++) {
    if (step < chunks) {
      int i = (int)(step % CUDA_STAGING_BUFFERS);
      size_t at = step * CUDA_STAGING_BYTES;
      TRY(cuda_copy_out(context, context->staging[i], from + at, MIN(size - at, (size_t)CUDA_STAGING_BYTES), context->stream));
      CUDA_TRY(context, cuEventRecord(context->staging_events[i], context->stream));
    }
    if (step > 0) {
      int i = (int)((step - 1) % CUDA_STAGING_BUFFERS);
      size_t at = (step - 1) * CUDA_STAGING_BYTES;
      TRY(cuda_wait_event(context, context->staging_events[i]));
      memcpy(to + at, context->staging[i], MIN(size - at, (size_t)CUDA_STAGING_BYTES));
    }
  }
  return OK;
}

Status cuda_download(CudaContext *context, void *to, const void *from, size_t size) {
  if (size == 0) return OK;
  if (is_pinned(context, to, size)) return download_direct(context, to, from, size);
  pthread_mutex_lock(&context->staging_mutex);
  Status status = download_staged(context, to, from, size);
  if (status) context->staging_in_use = true;
  pthread_mutex_unlock(&context->staging_mutex);
  return status;
}

// ---- what is made on its way --------------------------------------------------------------------------------------------------

// Consecutive parts that fit into one buffer together.
typedef struct Batch {
  const CudaMade *parts;
  int count;
  char *buffer;
  size_t offsets[CUDA_STAGING_PARTS];
  Status failures[CUDA_STAGING_PARTS];
} Batch;

static void gather(Batch *batch, const CudaMade *parts, int count) {
  size_t end = 0;
  batch->parts = parts;
  for (batch->count = 0; batch->count < MIN(count, (int)CUDA_STAGING_PARTS); batch->count++) {
    const CudaMade *part = &parts[batch->count];
    if (part->size > CUDA_STAGING_BYTES - end) break;
    batch->offsets[batch->count] = end;
    batch->failures[batch->count] = OK;
    end = MIN(align_up(end + part->size, PART_ALIGNMENT), (size_t)CUDA_STAGING_BYTES);
  }
}

static void make_parts(void *context, int64_t begin, int64_t end) {
  Batch *batch = context;
  for (int64_t i = begin; i < end; i++)
    batch->failures[i] = RECOVER_GUARD(batch->parts[i].make(batch->parts[i].context, batch->buffer + batch->offsets[i]));
}

static Status make_guarded(ThreadPool *pool, Batch *batch) {
  Status status = RECOVER_GUARD((parallel_for(pool, batch->count, 1, make_parts, batch), OK));
  for (int i = 0; i < batch->count; i++) {
    if (!status) status = batch->failures[i];
    else status_free(batch->failures[i]);
  }
  return status;
}

static Status send_batch(CudaContext *context, ThreadPool *pool, Batch *batch, size_t turn, double *seconds) {
  int buffer = (int)(turn % CUDA_STAGING_BUFFERS);
  if (turn >= CUDA_STAGING_BUFFERS) TRY(cuda_wait_event(context, context->staging_events[buffer]));
  batch->buffer = context->staging[buffer];
  double start = time_now();
  TRY(make_guarded(pool, batch));
  *seconds += time_now() - start;
  for (int i = 0; i < batch->count; i++)
    TRY(cuda_copy_in(context, batch->parts[i].to, batch->buffer + batch->offsets[i], batch->parts[i].size, context->stream));
  CUDA_TRY(context, cuEventRecord(context->staging_events[buffer], context->stream));
  return OK;
}

// Larger than a buffer: whole in ordinary memory first.
static Status send_large(CudaContext *context, const CudaMade *part, double *seconds) {
  void *bytes;
  double start = time_now();
  TRY(memory_take(part->size, &bytes));
  Status status = RECOVER_GUARD(part->make(part->context, bytes));
  *seconds += time_now() - start;
  if (!status) status = cuda_synchronize(context, context->stream);  // the buffers are free again
  if (!status) status = upload_staged(context, part->to, bytes, part->size);
  memory_free(bytes);
  return status;
}

static Status upload_made(CudaContext *context, ThreadPool *pool, const CudaMade *parts, int count, double *seconds) {
  TRY(staging_open(context));
  Batch batch;
  size_t turn = 0;
  for (int done = 0; done < count;) {
    gather(&batch, parts + done, count - done);
    if (batch.count) TRY(send_batch(context, pool, &batch, turn++, seconds));
    else TRY(send_large(context, &parts[done], seconds));
    done += MAX(batch.count, 1);
  }
  return cuda_synchronize(context, context->stream);
}

Status cuda_upload_made(CudaContext *context, ThreadPool *pool, const CudaMade *parts, int count, double *seconds) {
  *seconds = 0;
  if (count == 0) return OK;
  pthread_mutex_lock(&context->staging_mutex);
  Status status = upload_made(context, pool, parts, count, seconds);
  if (status) context->staging_in_use = true;
  pthread_mutex_unlock(&context->staging_mutex);
  return status;
}
