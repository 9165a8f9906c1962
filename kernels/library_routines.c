// Every routine of a library, by name: so that calls of them can be read from text.
#include <string.h>
#include "kernels/common/library_routine.h"
#include "kernels/conv/cudnn_call.h"
#include "kernels/conv/cudnn_graph.h"
#include "kernels/matmul/cublaslt_problem.h"

static const LibraryRoutine *const routines[] = {&cublaslt_routine, &cudnn_conv_routine, &cudnn_graph_routine};

const LibraryRoutine *library_routine_named(const char *name) {
  for (size_t i = 0; i < sizeof routines / sizeof *routines; i++)
    if (!strcmp(routines[i]->name, name)) return routines[i];
  return NULL;
}
