// Convolutions by cuDNN's graph interface, as parameters of a routine. Its arguments: image, weights, result, then the bias and what is added
// where there are, then the workspace.
#pragma once
#include "kernels/conv/cudnn_problem.h"

enum { CUDNN_MAX_ENGINES = 16 };

typedef struct GraphCall {
  CudnnProblem problem;
  int64_t engine;  // the library's number of it
  int place;       // in the library's list, where an engine may stand several times, set differently
  size_t version;
} GraphCall;
extern const LibraryRoutine cudnn_graph_routine;
size_t cudnn_graph_workspace(const void *state);  // bytes, of what the routine opened

typedef struct CudnnEngine {
  void *config;   // a CudnnBackend while its graph lives
  int64_t index;  // the library's number of the engine
} CudnnEngine;
// What the library proposes, the best first; of at most CUDNN_MAX_ENGINES only the numbers are left.
MUST_CHECK Status cudnn_graph_engines(const CudnnProblem *problem, CudaContext *cuda, CudnnEngine *engines, int *count);
