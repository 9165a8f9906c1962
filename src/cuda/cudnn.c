// Opening cuDNN, its errors, and handing its handle from thread to thread.
#include "cuda/cudnn.h"
#include <dlfcn.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/library.h"

static const struct {
  const char *name;
  size_t offset;
} rows[] = {
#define CUDNN_ROW(name, result, parameters) {#name, offsetof(Cudnn, name)},
    CUDNN_TABLE(CUDNN_ROW)
#undef CUDNN_ROW
};

static Status fill(Cudnn *dnn) {
  static const char *const names[] = {"libcudnn.so.9", NULL};
  void *library;
  TRY(library_open("cuDNN", "INGOT_CUDNN", names, dnn->arena, &library, &dnn->path));
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    void *function = dlsym(library, rows[i].name);
    if (!function) FAIL(ERROR_UNSUPPORTED, "%s has no %s: cuDNN 9 is needed", dnn->path, rows[i].name);
    memcpy((char *)dnn + rows[i].offset, &function, sizeof function);
  }
  dnn->version = dnn->cudnnGetVersion();
  CUDNN_TRY(dnn, cudnnCreate(&dnn->handle));
  return OK;
}

Status cudnn_open(Cudnn **out) {
  Arena *arena = arena_scratch();
  Cudnn *dnn = arena_new_of(arena, Cudnn);
  dnn->arena = arena;
  Status status = fill(dnn);
  if (status) {
    arena_free(arena);
    return status;
  }
  arena_keep(arena);
  pthread_mutex_init(&dnn->mutex, NULL);
  *out = dnn;
  return OK;
}

void cudnn_close(Cudnn *dnn) {
  if (!dnn) return;
  dnn->cudnnDestroy(dnn->handle);
  pthread_mutex_destroy(&dnn->mutex);
  arena_free(dnn->arena);
}

Status cudnn_check_version(const Cudnn *dnn, size_t version) {
  if (dnn->version == version) return OK;
  FAIL(ERROR_UNSUPPORTED, "the call was made for cuDNN %zu, and here is %zu", version, dnn->version);
}

Status cudnn_error(const Cudnn *dnn, CudnnResult result, const char *call) {
  // Thousands are the kind: 2000 bad parameter, 3000 not supported, 4000 internal, 5000 execution.
  bool memory = result == 4003 || result == 4004;
  ErrorCode code = memory ? ERROR_OUT_OF_MEMORY : result / 1000 == 3 ? ERROR_UNSUPPORTED : ERROR_DEVICE;
  char detail[512] = "";
  dnn->cudnnGetLastErrorString(detail, sizeof detail);
  return status_make(code, "%.*s: %s (%d) %s", (int)strcspn(call, "("), call, dnn->cudnnGetErrorString(result), result, detail);
}

Status cudnn_begin(Cudnn *dnn, CudaStream stream) {
  pthread_mutex_lock(&dnn->mutex);
  CudnnResult result = dnn->cudnnSetStream(dnn->handle, stream);
  if (!result) return OK;
  pthread_mutex_unlock(&dnn->mutex);
  return cudnn_error(dnn, result, "cudnnSetStream");
}

void cudnn_end(Cudnn *dnn) { pthread_mutex_unlock(&dnn->mutex); }
