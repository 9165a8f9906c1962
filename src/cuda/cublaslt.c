// Opening cuBLASLt and naming its errors.
#include "cuda/cublaslt.h"
#include <dlfcn.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/library.h"

enum { CUBLAS_ALLOC_FAILED = 3, CUBLAS_NOT_SUPPORTED = 15 };

static const struct {
  const char *name;
  size_t offset;
} rows[] = {
#define CUBLASLT_ROW(name, result, parameters) {#name, offsetof(CublasLt, name)},
    CUBLASLT_TABLE(CUBLASLT_ROW)
#undef CUBLASLT_ROW
};

static Status fill(CublasLt *lt) {
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so", NULL};
  void *library;
  TRY(library_open("cuBLASLt", "INGOT_CUBLASLT", names, lt->arena, &library, &lt->path));
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    void *function = dlsym(library, rows[i].name);
    if (!function) FAIL(ERROR_UNSUPPORTED, "%s has no %s: cuBLASLt 12 or newer is needed", lt->path, rows[i].name);
    memcpy((char *)lt + rows[i].offset, &function, sizeof function);
  }
  lt->version = lt->cublasLtGetVersion();
  CUBLASLT_TRY(lt, cublasLtCreate(&lt->handle));
  return OK;
}

Status cublaslt_open(CublasLt **out) {
  Arena *arena = arena_scratch();
  CublasLt *lt = arena_new_of(arena, CublasLt);
  lt->arena = arena;
  Status status = fill(lt);
  if (status) {
    arena_free(arena);
    return status;
  }
  arena_keep(arena);
  *out = lt;
  return OK;
}

void cublaslt_close(CublasLt *lt) {
  if (!lt) return;
  lt->cublasLtDestroy(lt->handle);
  arena_free(lt->arena);
}

Status cublaslt_error(const CublasLt *lt, CublasResult result, const char *call) {
  ErrorCode code = result == CUBLAS_ALLOC_FAILED    ? ERROR_OUT_OF_MEMORY
                   : result == CUBLAS_NOT_SUPPORTED ? ERROR_UNSUPPORTED
                                                    : ERROR_DEVICE;
  return status_make(code, "%.*s: %s (%d)", (int)strcspn(call, "("), call, lt->cublasLtGetStatusName(result), result);
}
