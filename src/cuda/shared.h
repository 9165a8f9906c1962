// What is made once in a context for all who want the same: libraries' descriptors and execution plans. Whoever takes one has it until he
// drops it; the last to drop it frees it. From several threads.
#pragma once
#include "base/arena.h"
#include "cuda/context.h"

typedef struct CudaShared CudaShared;

// key: a hash of all that the thing is made of. make fills an arena of its own, whose end frees what it holds (arena_on_free); it may be called
// by two threads at once for one key: one thing is kept then.
MUST_CHECK Status cuda_shared_take(CudaContext *context, Hash128 key, Status (*make)(void *argument, Arena *arena, void **out),
                                   void *argument, CudaShared **out);
void *cuda_shared_get(const CudaShared *shared);                  // what make gave
void cuda_shared_drop(CudaContext *context, CudaShared *shared);  // NULL is fine
