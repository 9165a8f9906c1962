// Where instructions are tried: one device, its compiler, and memory that goes when the trial is over. See main.c.
#pragma once
#include "base/checked.h"
#include "cuda/compiler.h"
#include "cuda/context.h"

typedef struct Lab {
  CudaContext *context;
  Compiler *compiler;
  int sm;
  void *memory[32];  // of the trial
  size_t sizes[32];
  int memory_count;
} Lab;

// One line of a table. The kernels of `file` need an architecture of at least `sm`, or with `only` that one; number: for run, which of several
// variants.
typedef struct Trial {
  const char *name, *file;
  int sm;
  Status (*run)(Lab *lab, const struct Trial *trial);
  int number;
  bool only;
} Trial;

typedef struct TrialTable {
  const Trial *trials;
  int count;
} TrialTable;
extern const TrialTable warp_trials, async_trials, tensor_trials, im2col_trials, cluster_trials, blocks_trials, matrix_trials;

// A kernel of wrong code, and a part of what must be found when it runs.
Status findings_run(Lab *lab, const char *filter, int *passed, int *total);

static inline bool sm_has(int device, int sm, bool only) { return only ? device == sm : device >= sm; }

Status lab_open(Lab *lab, int device);  // the context
void lab_close(Lab *lab);
Status lab_compile(Lab *lab, const char *file, int sm, Cubin *out);
void lab_clear(Lab *lab);  // frees memory
// Device memory: with a copy of the data, or NULL: of bytes 0xcd.
Status lab_memory(Lab *lab, const void *data, size_t size, void **out);
typedef struct Shape {
  unsigned grid, block, cluster, shared;  // cluster 0: none
  bool overlaps;                          // the launch before it
  bool cooperative;
} Shape;
Status lab_launch(Lab *lab, const char *file, const char *kernel, Shape shape, void **arguments);
Status lab_finish(Lab *lab);  // waits
// Waits, then compares 32-bit words on the device with those expected.
Status lab_expect(Lab *lab, const void *device, const uint32_t *expected, size_t count);
uint32_t lab_word(uint32_t i);  // some data: never the same twice in a row
#define LAB_ARGUMENTS(...) ((void *[]){__VA_ARGS__})
