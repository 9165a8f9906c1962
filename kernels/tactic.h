// Tactics: ways to compute a site on a GPU. Hand-written kernels, generated ones, cuBLASLt and cuDNN are tactics alike. A
// tactic says whether it can do a site, lists candidate configurations best guess first, and emits launches for one of them.
// A family defines its tactics beside its device code and lists them in kernels/cuda_tactics.c, preferred first.
#pragma once
#include "base/text.h"
#include "base/hash.h"
#include "kernels/common/library_routine.h"
#include "kernels/recipe.h"
#include "kernels/site.h"

typedef struct Candidate {
  int config[12];  // the tactic's own numbers: tile sizes, stages, splits, an algorithm's index
  char name[64];   // what `inspect` prints: "128x128x32 s4 splitk2"
} Candidate;

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

typedef enum ArgKind { ARG_BUFFER, ARG_I32, ARG_I64, ARG_F32, ARG_BYTES } ArgKind;
typedef struct LaunchArg {
  ArgKind kind;
  union {
    BufferRef buffer;
    int32_t i32;
    int64_t i64;
    float f32;
    struct {
      const void *data;
      size_t size;
    } bytes;  // a struct passed by value
  };
} LaunchArg;

typedef enum LaunchKind { LAUNCH_KERNEL, LAUNCH_LIBRARY } LaunchKind;
typedef struct Launch {
  LaunchKind kind;
  // LAUNCH_KERNEL: `source` is a complete translation unit (it #includes "kernels/..." files by path); entry is extern "C".
  const char *source, *entry;
  unsigned grid[3], block[3];
  unsigned cluster[3];    // all 0: no cluster
  unsigned shared_bytes;  // dynamic shared memory
  // LAUNCH_LIBRARY: arguments are buffers, in the routine's order.
  const LibraryRoutine *routine;
  const void *parameters;  // of the routine: data without a pointer
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
  size_t workspace_bytes;  // 256-byte aligned at run time, private to the site's launches
} Emission;

typedef struct Tactic {
  const char *name;  // "mma_matmul", "cudnn_conv"
  const OpDef *op;   // the operator it serves
  bool general;      // slow but does everything: tried only when nothing else supports the site
  bool (*supports)(const Site *site);
  // Fills at most `limit` candidates, best guess first; returns how many. At least 1 where supports() is true.
  int (*candidates)(const Site *site, CudaContext *cuda, Candidate *out, int limit);
  // cuda is NULL when building for a GPU that is not here: library tactics then return ERROR_UNSUPPORTED.
  Status (*emit)(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out);
  bool library;  // computes through cuBLASLt or cuDNN, which have to be opened first
} Tactic;

extern const Tactic *const cuda_tactics[];  // NULL-terminated, preferred first

Launch *emit_kernel(Emission *emission, const char *source, const char *entry, const unsigned grid[3], const unsigned block[3]);
void emit_buffer(Emission *emission, Launch *launch, BufferKind kind, int index);
void emit_workspace(Emission *emission, Launch *launch, size_t offset);
void emit_report(Emission *emission, Launch *launch);  // arguments for REPORT_PARAMETERS
void emit_i32(Emission *emission, Launch *launch, int32_t value);
void emit_i64(Emission *emission, Launch *launch, int64_t value);
void emit_f32(Emission *emission, Launch *launch, float value);
void emit_bytes(Emission *emission, Launch *launch, const void *data, size_t size);
// The parameters are copied.
Launch *emit_library(Emission *emission, const LibraryRoutine *routine, const void *parameters, const char *label);
// Its number, for BUFFER_PACKED.
MUST_CHECK Status emit_packed(Emission *emission, Recipe *recipe, Value *constant, int *index);
