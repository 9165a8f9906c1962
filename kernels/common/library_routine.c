// See library_routine.h.
#include "kernels/common/library_routine.h"

#include <string.h>

typedef struct Opening {
  const LibraryRoutine *routine;
  const void *parameters;
  CudaContext *cuda;
} Opening;

static Status make(void *argument, Arena *arena, void **out) {
  const Opening *opening = argument;
  return opening->routine->open(opening->parameters, opening->cuda, arena, out);
}

Status library_routine_open(CudaContext *cuda, const LibraryRoutine *routine, const void *parameters, CudaShared **out) {
  Hash128 key =
      hash128_combine(hash128_bytes(routine->name, strlen(routine->name)), hash128_bytes(parameters, routine->parameter_bytes));
  Opening opening = {routine, parameters, cuda};
  return status_context(cuda_shared_take(cuda, key, make, &opening, out), "opening %s", routine->name);
}
