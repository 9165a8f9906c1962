// Calls of libraries as data: a routine that is known by name, a block of parameters, and arguments that are addresses. What a call needs of
// the parameters, descriptors and execution plans, is made once in a context for all equal blocks.
#pragma once
#include "cuda/shared.h"

typedef struct LibraryRoutine {
  const char *name;        // stands for the meaning of the block: another meaning has another name
  size_t parameter_bytes;  // of the block: data without pointers, zero where nothing was set
  // How many addresses a run takes; -1 where the block makes no sense. Blocks come from texts, too.
  int (*arguments)(const void *parameters);
  // Makes the state, in the arena; handles are released through arena_on_free. ERROR_UNSUPPORTED: the library here does not do it.
  Status (*open)(const void *parameters, CudaContext *cuda, Arena *arena, void **state);
  // Enqueues the work; can be captured into a CUDA graph. Several sessions may run one state at once.
  Status (*run)(const void *state, void *const *arguments, CudaStream stream);
} LibraryRoutine;

// The one of that name; NULL: none. library_routines.c lists them all.
const LibraryRoutine *library_routine_named(const char *name);

// To be dropped with cuda_shared_drop.
MUST_CHECK Status library_routine_open(CudaContext *cuda, const LibraryRoutine *routine, const void *parameters,
                                       CudaShared **out);
