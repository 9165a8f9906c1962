// See kernels_ahead.h.
#include "tune/kernels_ahead.h"

struct KernelJob {
  BackgroundJob job;
  KernelJob *before;
  Compiler *compiler;
  KernelSource source;
  Cubin cubin;
  bool got;
};

KernelsAhead kernels_ahead(Compiler *compiler, Background *background, const Log *log, Arena *arena) {
  return (KernelsAhead){compiler, background, log, arena, string_map_new(arena)};
}

static Status compile(void *context) {
  KernelJob *job = context;
  return compiler_compile(job->compiler, &job->source, &job->cubin);
}

KernelJob *kernels_ahead_add(KernelsAhead *kernels, const KernelSource *source) {
  char key[33];
  hash128_hex(compiler_key(kernels->compiler, source->source, source->sm), key);
  KernelJob *job = string_map_get(kernels->by_key, key);
  if (job) return job;
  job = arena_new_of(kernels->arena, KernelJob);
  *job = (KernelJob){
      .job = {.fn = compile, .context = job}, .before = kernels->last, .compiler = kernels->compiler, .source = *source};
  string_map_set(kernels->by_key, arena_string(kernels->arena, key), job);
  kernels->last = job;
  kernels->waiting++;
  background_add(kernels->background, &job->job);
  return job;
}

Status kernels_ahead_get(KernelsAhead *kernels, KernelJob *job, Cubin *out) {
  if (!job->got) {
    TRY(background_wait(kernels->background, &job->job));
    job->got = true;
    kernels->waiting--;
  }
  *out = job->cubin;
  return OK;
}

void kernels_ahead_free(KernelsAhead *kernels) {
  for (KernelJob *job = kernels->last; job; job = job->before) {
    if (job->job.status) log_add(kernels->log, LOG_WARNING, "compiling ahead: %s", status_message(job->job.status));
    status_free(job->job.status);
    compiler_release(kernels->compiler, &job->cubin, 1);
  }
  kernels->last = NULL;
}
