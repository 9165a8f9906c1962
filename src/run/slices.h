// What a scan takes its slices from: with the scanned axis first, and on a GPU there, unless the host looks at them.
#pragma once
#include "run/loop_memory.h"

typedef struct Slices {
  RunTensor whole;
  bool reverse, known;
} Slices;

MUST_CHECK Status slices_begin(LoopMemory *memory, Device *device, int input, const RunTensor *given, int axis, Slices *slices);
// The slice of iteration `number`, in the place of the body's input.
MUST_CHECK Status slices_take(const Slices *slices, LoopMemory *memory, Device *device, int input, int64_t number,
                              RunTensor *out);
