// Device memory of one loop, kept from iteration to iteration and, unless others were used since and all of it is much, from call to call: states, what an iteration yields, stacks, and what iterations read
// that only the host knows: their number, the condition.
#pragma once
#include "run/places.h"

// What the first stages of a body that is several leave for those behind; all shapes share it.
typedef struct LoopStage {
  Places *results;
  int count;
} LoopStage;

typedef struct LoopMemory {
  int inputs, outputs;  // of the body
  Places *given;        // one for each of the body's inputs
  Places *scanned;      // the same: what its slices are taken from
  Places *results;      // one for each of the body's outputs
  Places *stacks;       // the same: what its rows are put onto
  LoopStage *stages;    // of the chain that an iteration runs through, but for the last
  int stage_count;
  RunTensor numbers;     // of iterations, a block of them
  int64_t first_number;  // of the block; negative: none is there
  RunTensor yes;         // the condition of an iteration that happens
} LoopMemory;

MUST_CHECK Status loop_memory_new(const Graph *body, LoopMemory **out);
void loop_memory_free(LoopMemory *memory);  // NULL is fine
size_t loop_memory_bytes(const LoopMemory *memory);
// No iteration writes there again.
void loop_memory_let_go(LoopMemory *memory, Storage *storage);

// Places of as many results of this stage.
MUST_CHECK Status loop_memory_of_stage(LoopMemory *memory, int stage, int results, Places **out);
// The number of an iteration. on_device: something reads it there; the host has it in any case.
MUST_CHECK Status loop_memory_number(LoopMemory *memory, Device *device, int64_t number, bool on_device, RunTensor *out);
MUST_CHECK Status loop_memory_yes(LoopMemory *memory, Device *device, RunTensor *out);
// What came on the host for a GPU, in a place there, so that its address is that of the call before. The host's copy stays behind, but for what is `known`, which the host
// looks at, and strings.
MUST_CHECK Status loop_memory_bring(Places *places, Device *device, const RunTensor *given, bool known, RunTensor *out);
// A state before the first iteration: in one of the two places between which it takes turns, wherever it was, so that the first iteration's addresses are those of the third.
MUST_CHECK Status loop_memory_bring_state(Places *places, Device *device, const RunTensor *given, bool known, RunTensor *out);
