// A strips program shared among the threads of a pool: elementwise and rowwise nodes, and what other CPU implementations leave to do before or
// after a library's call. Each thread that is inside the loop takes one of as many scratch areas as the pool has threads.
#pragma once
#include "base/thread.h"
#include "kernels/program/strips.h"

typedef struct CpuStrips CpuStrips;
// workspace_bytes: what each run needs, 64-byte aligned.
CpuStrips *cpu_strips_new(Arena *arena, ThreadPool *pool, Strips *strips, size_t *workspace_bytes);
void cpu_strips_run(CpuStrips *strips, ThreadPool *pool, void *const *inputs, void *const *outputs, void *workspace);
// An elementwise program over y's dims; the inputs broadcast to it. y may be an input's memory, if it is laid out alike.
CpuStrips *cpu_strips_elementwise(Arena *arena, ThreadPool *pool, const Program *program, const TensorDesc *inputs,
                                  const TensorDesc *y, size_t *workspace_bytes);
// Copies x to y, of the same dims, converting floats.
CpuStrips *cpu_strips_copy(Arena *arena, ThreadPool *pool, const TensorDesc *x, const TensorDesc *y, size_t *workspace_bytes);
