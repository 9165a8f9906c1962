// Where the candidates of one site run: device memory for its tensors, which all of them read alike, and constants in the forms they want.
//
// Random inputs come from one block of random elements for each type, uploaded once for all sites: the device copies it until a tensor is full.
// Made on the host, element by element, inputs took longer than all that was measured with them.
#pragma once
#include "base/log.h"
#include "cuda/context.h"
#include "kernels/recipe.h"
#include "kernels/site.h"

typedef struct RandomBlocks {
  CudaContext *cuda;
  void *blocks[DTYPE_COUNT];
} RandomBlocks;
void random_blocks_free(RandomBlocks *random);

typedef struct PackedForm PackedForm;

typedef struct Rig {
  const Site *site;
  CudaContext *cuda;
  RandomBlocks *random;
  const Log *log;
  Arena *arena;
  bool sketch;  // constants have any content: for what only the time is asked of
  bool cold;    // a run of the whole plan touches so much that constants are not in the L2 cache when they are read
  // By number of input and output. The rest is private but for these.
  void **input_at, **output_at;  // element 0, inside of the allocations
  void **inputs, **outputs;      // allocations
  size_t *input_bytes, *output_bytes;
  PackedForm *forms;  // newest first
  size_t form_bytes;  // of those that no candidate uses now
  void *reserve;      // memory that candidates use one after another
  size_t reserve_bytes;
} Rig;

// site, cuda, random, log, arena and sketch are set. To be closed also where it fails.
MUST_CHECK Status rig_open(Rig *rig);
void rig_close(Rig *rig);
// Memory for a candidate, to be given back with cuda_free. Where it is short, forms that were kept are given up first.
MUST_CHECK Status rig_alloc(Rig *rig, size_t size, void **out);
// Memory until the next one asks, and the rig's.
MUST_CHECK Status rig_reserve(Rig *rig, size_t size, void **out);
// The constant, made by the recipe or kept from an earlier candidate; in use until rig_unuse.
MUST_CHECK Status rig_pack(Rig *rig, const Recipe *recipe, void **out);
void rig_unuse(Rig *rig);  // the GPU is done with them
