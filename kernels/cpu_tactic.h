// Ways to compute a site on the CPU: oneDNN for matrix products and convolutions; own loops; strip-wise programs; plain loops for
// the rest. The reference serves every site nothing else does (the executor calls it on row-major copies).
#pragma once
#include "base/thread.h"
#include "kernels/site.h"

typedef struct CpuCall {
  void *const *inputs;  // NULL where absent; pointers to element 0 as the site's strides see it
  void *const *outputs;
  void *workspace;  // 64-byte aligned
  ThreadPool *pool;
} CpuCall;

typedef struct CpuTactic {
  const char *name;
  const OpDef *op;
  bool (*supports)(const Site *site);
  // Makes the state (in the arena; foreign handles released through arena_on_free) and says how much workspace a run needs. Constants
  // (site->inputs[i].constant) may be packed here, once.
  Status (*prepare)(const Site *site, Arena *arena, ThreadPool *pool, void **state, size_t *workspace_bytes);
  Status (*run)(void *state, const CpuCall *call);  // one thread at a time for one state
} CpuTactic;

extern const CpuTactic *const cpu_tactics[];  // kernels/cpu_tactics.c, NULL-terminated, preferred first
