// See cudnn_backend.h.
#include "cuda/cudnn_backend.h"

typedef struct Owned {
  const Cudnn *dnn;
  CudnnBackend descriptor;
} Owned;

static void destroy(void *context) {
  Owned *owned = context;
  if (owned->descriptor) owned->dnn->cudnnBackendDestroyDescriptor(owned->descriptor);
}

Status backend_new(const Cudnn *dnn, Arena *arena, BackendKind kind, CudnnBackend *out) {
  Owned *owned = arena_new_of(arena, Owned);
  owned->dnn = dnn;
  arena_on_free(arena, destroy, owned);
  CUDNN_TRY(dnn, cudnnBackendCreateDescriptor((int)kind, &owned->descriptor));
  *out = owned->descriptor;
  return OK;
}

Status backend_set(const Cudnn *dnn, CudnnBackend descriptor, BackendAttribute name, BackendType type, int64_t count,
                   const void *values) {
  CUDNN_TRY(dnn, cudnnBackendSetAttribute(descriptor, (int)name, (int)type, count, values));
  return OK;
}

Status backend_set_descriptor(const Cudnn *dnn, CudnnBackend descriptor, BackendAttribute name, CudnnBackend value) {
  return backend_set(dnn, descriptor, name, BACKEND_TYPE_DESCRIPTOR, 1, &value);
}

Status backend_get(const Cudnn *dnn, CudnnBackend descriptor, BackendAttribute name, BackendType type, int64_t room,
                   int64_t *count, void *values) {
  CUDNN_TRY(dnn, cudnnBackendGetAttribute(descriptor, (int)name, (int)type, room, count, values));
  return OK;
}

Status backend_finalize(const Cudnn *dnn, CudnnBackend descriptor) {
  CUDNN_TRY(dnn, cudnnBackendFinalize(descriptor));
  return OK;
}
