// Counts the kernel nodes of every CUDA graph that a program instantiates, without the program's help: so that versions of Ingot which never said it are counted
// like today's. Linked with the driver, and opened in its place (INGOT_LIBCUDA); each count is a line of the file that INGOT_BENCH_NODES names.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef int Result;
typedef struct Graph Graph;
typedef struct Node Node;

static void *driver_function(const char *name) {
  static void *driver;
  if (!driver) driver = dlopen(DRIVER, RTLD_NOW);
  return driver ? dlsym(driver, name) : NULL;
}

static void count(Graph *graph) {
  Result (*nodes_of)(Graph *, Node **, size_t *) = driver_function("cuGraphGetNodes");
  Result (*type_of)(Node *, int *) = driver_function("cuGraphNodeGetType");
  size_t total = 0, kernels = 0;
  if (!nodes_of || nodes_of(graph, NULL, &total)) return;
  Node **nodes = calloc(total + 1, sizeof *nodes);
  if (!nodes || nodes_of(graph, nodes, &total)) return;
  for (size_t i = 0; i < total; i++) {
    int type = 0;  // CU_GRAPH_NODE_TYPE_KERNEL
    kernels += !type_of || (!type_of(nodes[i], &type) && type == 0);
  }
  free(nodes);
  const char *path = getenv("INGOT_BENCH_NODES");
  FILE *file = path ? fopen(path, "a") : NULL;
  if (file) fprintf(file, "%zu\n", kernels), fclose(file);
}

__attribute__((visibility("default"))) Result cuGraphInstantiateWithFlags(void **exec, Graph *graph, unsigned long long flags) {
  Result (*next)(void **, Graph *, unsigned long long) = driver_function("cuGraphInstantiateWithFlags");
  if (!next) return 500;  // CUDA_ERROR_NOT_FOUND
  count(graph);
  return next(exec, graph, flags);
}
