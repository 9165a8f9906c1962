// See version.h.
#include "lower/version.h"

#include <string.h>

#include "base/checked.h"
#include "cuda/cublaslt.h"
#include "cuda/cudnn.h"

static Hash128 with(Hash128 hash, const void *bytes, size_t size) { return hash128_combine(hash, hash128_bytes(bytes, size)); }

// Addresses are of no account.
static Hash128 with_arguments(Hash128 hash, const Launch *launch) {
  for (int i = 0; i < launch->arg_count; i++) {
    const LaunchArg *arg = &launch->args[i];
    hash = with(hash, &arg->kind, sizeof arg->kind);
    if (arg->kind == ARG_I32) hash = with(hash, &arg->i32, sizeof arg->i32);
    if (arg->kind == ARG_I64) hash = with(hash, &arg->i64, sizeof arg->i64);
    if (arg->kind == ARG_F32) hash = with(hash, &arg->f32, sizeof arg->f32);
  }
  return hash;
}

static Hash128 launch_hash(const Launch *launch, const Compiler *compiler, int sm) {
  const unsigned shape[] = {launch->grid[0],    launch->grid[1],      launch->grid[2],    launch->block[0],
                            launch->block[1],   launch->block[2],     launch->cluster[0], launch->cluster[1],
                            launch->cluster[2], launch->shared_bytes, launch->cooperative};
  Hash128 hash = launch->source ? compiler_key(compiler, launch->source, sm) : launch->code;
  hash = with(hash, launch->entry, strlen(launch->entry));
  return with_arguments(with(hash, shape, sizeof shape), launch);
}

static const char *kernels_version(const Emission *emission, const Compiler *compiler, int sm, Arena *arena) {
  Hash128 hash = {0};
  char hex[33];
  for (uint32_t i = 0; i < emission->launch_count; i++)
    if (emission->launches[i].kind == LAUNCH_KERNEL)
      hash = hash128_combine(hash, launch_hash(&emission->launches[i], compiler, sm));
  hash128_hex(hash, hex);
  return arena_printf(arena, "kernels %s", hex);
}

Status way_version(const Site *site, const Implementation *implementation, const Emission *emission, const Machine *machine,
                   const Compiler *compiler, Arena *arena, const char **out) {
  const CublasLt *lt;
  Cudnn *dnn;
  switch (implementation->library) {
    case LIBRARY_NONE: *out = kernels_version(emission, compiler, site->device->sm, arena); return OK;
    case LIBRARY_CUBLASLT:
      TRY(cuda_cublaslt(machine->cuda, &lt));
      *out = arena_printf(arena, "cuBLASLt %zu", lt->version);
      return OK;
    case LIBRARY_CUDNN:
      TRY(cuda_cudnn(machine->cuda, &dnn));
      *out = arena_printf(arena, "cuDNN %zu", dnn->version);
      return OK;
    case LIBRARY_ONEDNN: break;
  }
  FAIL(ERROR_INTERNAL, "%s is measured on no chip", implementation->name);
}
