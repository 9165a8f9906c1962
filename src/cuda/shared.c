// See shared.h. Things are malloc'ed and linked: there are few, and threads add them under the context's mutex, which is not held while one is
// made, since that may open a library.
#include "cuda/shared.h"

#include <stdlib.h>

#include "base/recover.h"

struct CudaShared {
  CudaShared *next;
  Hash128 key;
  int users;
  Arena *arena;
  void *thing;
};

// The caller holds the mutex.
static CudaShared *find(CudaContext *context, Hash128 key) {
  CudaShared *shared = context->shared;
  while (shared && (shared->key.low != key.low || shared->key.high != key.high)) shared = shared->next;
  if (shared) shared->users++;
  return shared;
}

static void destroy(CudaShared *shared) {
  arena_free(shared->arena);
  free(shared);
}

// Whichever is kept: `made`, or that of a thread that was faster.
static CudaShared *keep(CudaContext *context, CudaShared *made) {
  pthread_mutex_lock(&context->mutex);
  CudaShared *other = find(context, made->key);
  if (!other) {
    made->next = context->shared;
    context->shared = made;
  }
  pthread_mutex_unlock(&context->mutex);
  if (other) destroy(made);
  return other ? other : made;
}

Status cuda_shared_take(CudaContext *context, Hash128 key, Status (*make)(void *argument, Arena *arena, void **out),
                        void *argument, CudaShared **out) {
  pthread_mutex_lock(&context->mutex);
  *out = find(context, key);
  pthread_mutex_unlock(&context->mutex);
  if (*out) return OK;
  CudaShared *made = calloc(1, sizeof *made);
  if (!made) return status_out_of_memory();
  *made = (CudaShared){.key = key, .users = 1, .arena = arena_try_new()};
  if (!made->arena) {
    free(made);
    return status_out_of_memory();
  }
  Status status = RECOVER_GUARD(make(argument, made->arena, &made->thing));
  if (status) destroy(made);
  else *out = keep(context, made);
  return status;
}

void *cuda_shared_get(const CudaShared *shared) { return shared->thing; }

void cuda_shared_drop(CudaContext *context, CudaShared *shared) {
  if (!shared) return;
  pthread_mutex_lock(&context->mutex);
  bool last = !--shared->users;
  if (last) {
    CudaShared **at = &context->shared;
    while (*at != shared) at = &(*at)->next;
    *at = shared->next;
  }
  pthread_mutex_unlock(&context->mutex);
  if (last) destroy(shared);
}
