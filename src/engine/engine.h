// An engine: the optimised graph with its weights, the kernels compiled for it, what tuning measured, and what the passes
// did. In a file: a header, a table of sections, then the sections, each on a page boundary with a checksum:
//
//   graph    the text form; constants are @offsets into the weights
//   weights  tensors, 256-byte aligned
//   kernels  cubins by architecture and content hash; empty for an engine built for a CPU
//   tuning   of the tuning database, what plans choose
//   disabled the passes that were left out, which later stages leave out too
//   passes   one line a pass: name, changes, nodes before and after; not how long it took, so that the same build gives the same bytes
//   rewrites one line an application of a rule: pass, rule, place, operators before and after
//   plans    where the constants are that plans name by content, as offsets into the weights, then each plan: what it depends on, and its text
//
// Loading copies the file: what was verified is what runs, whoever shortens or rewrites the file meanwhile.
// A file is a stranger's: sizes, offsets, checksums, counts, and the graph itself are checked before anything is used.
#pragma once
#include "base/file.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/opening.h"
#include "ir/graph.h"

typedef struct EngineKernel {
  Hash128 hash;  // of the source, see src/cuda/compiler.h
  int sm;
  Bytes cubin;
} EngineKernel;

typedef struct EnginePass {
  const char *name;
  int changes;
  double seconds;  // 0 of an engine from a file
  int nodes_before, nodes_after;
} EnginePass;

typedef struct EngineRewrite {
  const char *pass, *rule;
  const char *place;           // the ONNX node where the rule applied
  const char *before, *after;  // operators: "pad, conv"
} EngineRewrite;

// A plan for calls of one combination of shapes, as plan_print gives it.
typedef struct EnginePlan {
  const char *inputs;   // the types of the calls it is for: "f32[1,3,224,224] i64[1]"
  const char *needs;    // plan_needs
  int multiprocessors;  // of the chip that it was made for: of several plans that run on one, the nearest is taken
  const char *text;     // ends in NUL, too
  size_t length;
} EnginePlan;

// The bytes that plans call by this name: a flat tensor of bytes.
typedef struct EngineContent {
  Hash128 name;
  Tensor tensor;
} EngineContent;

// How it was built. What was not asked for then cannot be had from the engine.
typedef struct EngineOptions {
  bool tf32;
  DType precision;       // DTYPE_F16 or DTYPE_BF16; DTYPE_COUNT: the model's own
  bool measured;         // with a time for tuning, or a database
  const char *disabled;  // passes left out, as in PassOptions; "": none
} EngineOptions;

typedef struct Engine {
  Arena *arena;  // owns everything below
  Graph *graph;
  EngineOptions built;
  Opening opening;  // of its file
  EngineKernel *kernels;
  uint32_t kernel_count, kernel_capacity;
  const char *tuning;
  const struct TuningDatabase *tried;  // with all that tuning tried while it was built; NULL of an engine from a file
  EnginePass *passes;
  uint32_t pass_count, pass_capacity;
  EngineRewrite *rewrites;
  uint32_t rewrite_count, rewrite_capacity;
  EnginePlan *plans;
  uint32_t plan_count, plan_capacity;
  EngineContent **contents;
  uint32_t content_count, content_capacity;
  IntMap *content_names;  // EngineContent, by the low half of its name
} Engine;

// What plans call by this name; NULL where there is nothing.
const EngineContent *engine_content(const Engine *engine, Hash128 name);
// The tensor's bytes outlive the engine, or are its own.
void engine_add_content(Engine *engine, Hash128 name, const Tensor *tensor);

// Steps of a plan, launches of kernels in them, and how many of these are of kernels that the engine does not have.
typedef struct EnginePlanCounts {
  int steps, kernels, missing;
} EnginePlanCounts;
EnginePlanCounts engine_plan_counts(const Engine *engine, const EnginePlan *plan);

Engine *engine_new(Arena *arena);
// Replaces the file atomically.
MUST_CHECK Status engine_write(const Engine *engine, const char *path);
MUST_CHECK Status engine_write_memory(const Engine *engine, Arena *arena, Bytes *out);  // the bytes of such a file
// threads: to read and check large files; 0: one a core.
MUST_CHECK Status engine_read(const char *path, size_t size_limit, int threads, const OpDef *const *ops, Engine **out);
MUST_CHECK Status engine_read_memory(const void *bytes, size_t size, int threads, const OpDef *const *ops, Arena *arena,
                                     Engine **out);
void engine_free(Engine *engine);
