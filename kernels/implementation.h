// Implementations: ways to compute a site, on a GPU and on the CPU. Hand-written kernels, generated ones, cuBLASLt, cuDNN, oneDNN, loops in C and
// the references are implementations alike. One says whether it takes a site, lists its ways best guess first, and lowers the site in one of
// them to launches, which are data. A family defines them beside its code; kernels/implementations.c lists them all, preferred first.
#pragma once
#include "base/text.h"
#include "base/hash.h"
#include "kernels/common/library_routine.h"
#include "kernels/cost.h"
#include "kernels/host_routine.h"
#include "kernels/recipe.h"
#include "kernels/site.h"

// Where an argument's pointer comes from when a plan is run.
// REPORT: where indices that are outside are reported; STEP: not an address, but the number to report them with.
typedef enum BufferKind { BUFFER_INPUT, BUFFER_OUTPUT, BUFFER_WORKSPACE, BUFFER_PACKED, BUFFER_REPORT, BUFFER_STEP } BufferKind;
// What kernels write there, see kernels/common/index.cuh. step 0: nothing was reported.
typedef struct IndexReport {
  int64_t index, size;
  uint64_t step;
} IndexReport;
#define REPORT_PARAMETERS ", IndexReport *report, u64 step"
typedef struct BufferRef {
  BufferKind kind;
  int index;      // input, output or packed-constant number
  size_t offset;  // bytes, inside the workspace
} BufferRef;

typedef enum ArgKind { ARG_BUFFER, ARG_I32, ARG_I64, ARG_F32 } ArgKind;
typedef struct LaunchArg {
  ArgKind kind;
  union {
    BufferRef buffer;
    int32_t i32;
    int64_t i64;
    float f32;
  };
} LaunchArg;

typedef enum LaunchKind { LAUNCH_KERNEL, LAUNCH_LIBRARY, LAUNCH_HOST } LaunchKind;
typedef struct Launch {
  LaunchKind kind;
  // LAUNCH_KERNEL: `source` is a complete translation unit (it #includes "kernels/..." files by path); entry is extern "C".
  const char *source, *entry;
  Hash128 code;  // of one read from text without its source, which is NULL: what it was compiled under
  unsigned grid[3], block[3];
  unsigned cluster[3];    // all 0: no cluster
  bool cooperative;       // all blocks are in place at once, so that they may wait for each other: one a multiprocessor fits
  unsigned shared_bytes;  // dynamic shared memory
  // LAUNCH_LIBRARY: arguments are buffers, in the routine's order.
  const LibraryRoutine *routine;
  const void *parameters;  // of the routine: data without a pointer
  // LAUNCH_HOST: arguments are every input, every output, the workspace.
  const HostRoutine *host;
  const HostParameters *site;
  LaunchArg *args;
  int arg_count;
  const char *label;  // what a profile shows
} Launch;

typedef struct Emission {
  Arena *arena;
  Launch *launches;
  uint32_t launch_count, launch_capacity;
  // Constants in forms of their own (packed weights): made once on the host when the plan is made, then uploaded. Those with equal keys share
  // memory across sites and sessions.
  const Recipe **packed;
  uint32_t packed_count, packed_capacity;
  size_t workspace_bytes;  // aligned (256 bytes on a GPU) at run time, private to the site's launches
} Emission;

// What a plan is made for, as far as it is here.
typedef struct Machine {
  CudaContext *cuda;  // NULL: a GPU that is not here, or the CPU
  HostStates *host;   // NULL: a GPU
} Machine;

typedef enum Backend { BACKEND_CUDA, BACKEND_CPU } Backend;
typedef enum Library { LIBRARY_NONE, LIBRARY_CUBLASLT, LIBRARY_CUDNN, LIBRARY_ONEDNN } Library;

typedef struct Implementation {
  const char *name;  // "mma_matmul", "cudnn_conv"
  Backend backend;
  const OpDef *op;       // the operator it serves; NULL: any
  bool general;          // slow but does everything: tried only when nothing else supports the site
  Library library;       // that it computes through
  bool takes_prologue;   // is asked about sites with a program in front of their first operand, too
  bool writes_anywhere;  // its results, like what it reads, may be parts of other tensors: with any offset and strides
  bool (*supports)(const Site *site);  // where not, it says why: REQUIRE
  // Of a library: whether own kernels are known to be faster, however large the site is; NULL: nowhere.
  bool (*yields)(const Site *site);
  // Fills at most `limit` ways, best guess first; returns how many. At least 1 where supports() is true. To be asked through implementation_ways.
  int (*ways)(const Site *site, const Machine *machine, Way *out, int limit);
  // Microseconds of the ways that `ways` leaves without (kernels/cost.h). NULL: those of the site's work in one launch.
  double (*cost)(const Site *site);
  double
      share;  // of the peak rate of products, that it reaches with large ones; 0: it computes with general instructions. Where there is no `cost`
  const HostRoutine *host;  // on the CPU: the routine that computes the whole site; then there is no `lower`
  // ERROR_UNSUPPORTED: the library does not do it, or is not here.
  Status (*lower)(const Site *site, const Way *way, const Machine *machine, Emission *out);
} Implementation;

// The ways, each with its cost; no two are the same, or have the same name.
int implementation_ways(const Implementation *implementation, const Site *site, const Machine *machine, Way *out, int limit);
// The cost of a way that was read from a plan's text, and knows its numbers only.
double implementation_cost(const Implementation *implementation, const Site *site, const Way *way);
MUST_CHECK Status implementation_lower(const Implementation *implementation, const Site *site, const Way *way,
                                       const Machine *machine, Emission *out);
// The one of that name for the site's operator and device; NULL: none.
const Implementation *implementation_named(const char *name, const Site *site);

enum { WAYS_ASKED = 24 };                              // that anybody asks an implementation for, but for tests
extern const Implementation *const implementations[];  // NULL-terminated, preferred first among those of one operator

// Whether it is one for the site's operator, prologue, results and device.
static inline bool implementation_serves(const Implementation *implementation, const Site *site) {
  return (!site->prologue || implementation->takes_prologue) && (implementation->writes_anywhere || site_writes_whole(site)) &&
         (implementation->backend == BACKEND_CPU) == (site->device->kind == DEVICE_CPU) &&
         (!implementation->op || implementation->op == site->node->op);
}

// The ways of an implementation that has one.
int one_way(const Site *site, const Machine *machine, Way *out, int limit);

Launch *emit_kernel(Emission *emission, const char *source, const char *entry, const unsigned grid[3], const unsigned block[3]);
void emit_buffer(Emission *emission, Launch *launch, BufferKind kind, int index);
void emit_workspace(Emission *emission, Launch *launch, size_t offset);
void emit_report(Emission *emission, Launch *launch);  // arguments for REPORT_PARAMETERS
void emit_i32(Emission *emission, Launch *launch, int32_t value);
void emit_i64(Emission *emission, Launch *launch, int64_t value);
void emit_arguments(Emission *emission, Launch *launch, const KernelArguments *arguments);
void emit_f32(Emission *emission, Launch *launch, float value);
// The parameters are copied.
Launch *emit_library(Emission *emission, const LibraryRoutine *routine, const void *parameters, const char *label);
// Its number, for BUFFER_PACKED.
MUST_CHECK Status emit_packed(Emission *emission, Recipe *recipe, Value *constant, int *index);
// The whole site by a routine of the host, which is not opened.
void emit_host(Emission *emission, const HostRoutine *routine, const Site *site, const Way *way);
