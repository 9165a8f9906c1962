// Runs of a candidate one behind another, as the steps of a plan are: recorded as one CUDA graph, whose launches the GPU does not wait for. Where a run
// of the whole plan touches more than the L2 cache holds, a constant is no longer in it when the next run comes to read it, while what the step before
// wrote is: there each run of a round reads constants of its own, as many copies as are twice the cache, while inputs and outputs are the same. More
// than 64 copies are not made: of constants below a 32nd of the cache some part stays in it, which is what memory gives in a fraction of a microsecond.
#pragma once
#include "lower/launches.h"
#include "tune/rig.h"

typedef struct RoundConstant RoundConstant;

typedef struct Rounds {
  int runs;  // of a round
  // Private.
  Rig *rig;
  LaunchSet *set;
  RoundConstant *constants;
  int constant_count, copies;  // 0 copies: constants are read where they are
  char *copied;
  size_t copy_bytes;
  CudaGraph graph;
  CudaGraphExec exec;  // NULL: it cannot be recorded, and runs launch by launch, as a plan does then
} Rounds;

// Of at least so many runs. The set is loaded, and has its addresses: they are the same afterwards. The rig holds the copies.
MUST_CHECK Status rounds_open(Rig *rig, LaunchSet *set, int runs, Arena *arena, Rounds *out);
MUST_CHECK Status rounds_run(void *rounds, CudaStream stream);  // enqueues one round
void rounds_close(Rounds *rounds);                              // the GPU is done with it
