// The launches of one emission, ready to go: kernels loaded, routines open, arguments laid out, addresses patched in place. The executors run
// them for a plan's step, the tuner for a way.
#pragma once
#include "cuda/compiler.h"
#include "cuda/context.h"
#include "kernels/implementation.h"

typedef struct ReadyLaunch {
  const Launch *launch;
  CudaFunction function;
  LoadedModule *module;  // taken for it
  CudaShared *library;   // taken for it
  const HostState *host;
  void **arguments;  // pointers to the values, as the driver wants them
  void **pointers;   // the values of buffer arguments
} ReadyLaunch;

typedef struct LaunchSet {
  const Emission *emission;
  ReadyLaunch *launches;
  // Addresses: set them, then call launch_set_patch.
  void **inputs, **outputs, **packed;
  void *workspace;
  IndexReport *report;  // on the host, where kernels reach it; NULL: nobody listens
  uint64_t step;
} LaunchSet;

LaunchSet *launch_set_new(const Emission *emission, const Site *site, Arena *arena);  // addresses start as NULL
// Appends the sources of its kernels to `out`; returns how many.
int launch_set_sources(const LaunchSet *set, const char *label, int sm, KernelSource *out);
// Takes the compiled kernels in the same order, and opens what calls of libraries and of the host need; returns how many kernels it took
// through *taken.
MUST_CHECK Status launch_set_load(LaunchSet *set, const Machine *machine, const Cubin *cubins, int *taken);
// Drops all of that, also after a load that failed half way; the GPU is done with them (cuda_settle).
void launch_set_unload(LaunchSet *set, const Machine *machine);
void launch_set_patch(LaunchSet *set);
// What the host computes is there when it returns, the rest is enqueued. overlap: a kernel may begin while the one before it on the stream ends.
MUST_CHECK Status launch_set_run_one(const LaunchSet *set, uint32_t launch, const Machine *machine, CudaStream stream,
                                     bool overlap);
MUST_CHECK Status launch_set_run(const LaunchSet *set, const Machine *machine, CudaStream stream);
