// An executable's launches, recorded as one CUDA graph. A call that brings other addresses changes the arguments of those kernels in it that reach
// the caller's memory; where a library's routine does, whose nodes are its own, the graph holds for the recorded addresses alone.
#pragma once
#include "run/steps.h"

typedef struct RecordedNode {
  uint32_t step, launch;
  CudaGraphNode node;
  void **pointers;  // the arguments that are addresses, as the graph has them
} RecordedNode;

typedef struct Recording {
  CudaGraph graph;  // stays as long as exec: its nodes are what exec's are called by
  CudaGraphExec exec;
  RecordedNode *nodes;  // that reach the caller's memory, in the order of the launches
  CudaEvent *events;    // by step, while it is made: a run takes no memory that it could not have
  uint32_t node_count;
  bool follows;  // other addresses can be put into it, and that pays
} Recording;

// Finds the nodes; the arena's memory is all it takes.
void recording_lay_out(Recording *recording, const Steps *steps, const CudaContext *context, Arena *arena);
// Enqueues nothing. streams: at most so many of the plan's run side by side. Where it fails there is no recording.
MUST_CHECK Status recording_make(Recording *recording, const Steps *steps, int streams, CudaContext *context);
// After steps_bind, of a recording that follows. Where it fails, the recording is to be dropped.
MUST_CHECK Status recording_patch(Recording *recording, const Steps *steps, CudaContext *context);
void recording_drop(Recording *recording, CudaContext *context);
