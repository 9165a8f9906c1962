// Device memory that lasts from call to call, for inputs that come on the host and results that nobody has room for. Calls of all shapes share it, since a result is
// lent until the next call only: the first at a shape mostly allocates nothing. What a shape has used stays its own where larger ones want more, so that addresses
// repeat and what was recorded stays right; all of it is a few times what the largest call wants.
#pragma once
#include "run/runner.h"

// The newest, and so the largest, by number in a stage's graph; storage NULL until used. Each stage of the chain that a call runs through has its own, as it reads what
// the one before wrote.
typedef struct CallMemory {
  RunTensor *inputs, *outputs;
  int input_count, output_count;
} CallMemory;

typedef struct CallMemories {
  CallMemory **stages;
  int count;
} CallMemories;

void call_memories_free(CallMemories *memories);
// Of the stage at this place of the chain, with room for so many inputs and outputs.
MUST_CHECK Status call_memory_of(CallMemories *memories, int stage, int inputs, int outputs, CallMemory **out);
// *mine, one shape's, is where such a tensor goes: where it went before, else in *newest, which is made anew where it is too small. What is there may be written over.
MUST_CHECK Status call_memory_place(Device *device, const RunTensor *type, RunTensor *newest, RunTensor *mine);
void call_memory_drop(RunTensor *tensors, int count);  // one shape's
// No later call writes there.
void call_memory_let_go(RunTensor *tensors, int count, const Storage *storage);
void call_memories_let_go(CallMemories *memories, const Storage *storage);
