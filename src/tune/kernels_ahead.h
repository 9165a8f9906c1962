// The kernels of a site's candidates, compiled by threads of the background while others are measured. Equal ones are compiled once.
#pragma once
#include "base/background.h"
#include "base/map.h"
#include "cuda/compiler.h"

typedef struct KernelJob KernelJob;

typedef struct KernelsAhead {
  Compiler *compiler;
  Background *background;
  const Log *log;
  Arena *arena;
  StringMap *by_key;
  KernelJob *last;
  int waiting;  // handed over, and not asked for yet
} KernelsAhead;

KernelsAhead kernels_ahead(Compiler *compiler, Background *background, const Log *log, Arena *arena);
// The source's text stays until the job is asked for or the background is freed.
KernelJob *kernels_ahead_add(KernelsAhead *kernels, const KernelSource *source);
// *out is held until kernels_ahead_free.
MUST_CHECK Status kernels_ahead_get(KernelsAhead *kernels, KernelJob *job, Cubin *out);
// Once all were asked for, or the background is freed. What failed and was not asked for is logged.
void kernels_ahead_free(KernelsAhead *kernels);
