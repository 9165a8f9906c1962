// Attention on tensor cores as the device code sees it (attention.cuh, wgmma_attention.cuh, piped_attention.cuh): what mma_attention.c lowers, and the text of its kernel (mma_attention_text.c).
#pragma once
#include "kernels/attention/score_bounds.h"
#include "kernels/common/anchor_source.h"

// Of a way: warps of a block that multiply, sixteen rows each so many times, keys of a tile, and which of the kernels it is.
enum { WARPS, FRAGMENTS, KEYS, FORM, CONFIG_COUNT };
typedef enum AttentionForm {
  BY_WARPS,       // attention.cuh
  BY_WARPGROUPS,  // wgmma_attention.cuh
  PIPED,          // piped_attention.cuh
} AttentionForm;

// A matrix for each of a batch, as it is copied to shared memory.
typedef struct Operand {
  int input;  // of the site
  Extent batch[MAX_RANK], outer;
  bool fast;  // along what is summed over
  int copy;   // bytes
} Operand;

typedef struct MmaAttention {
  Attention a;
  DType dtype;
  DimTable *table;  // of open sizes; NULL: all are taken for static
  Extent m, n, batch;
  int64_t d, dv;
  Operand q, k, v;
  Walk scores_batch;
  OutputWalk output;
  Site product;                        // the second: what its epilogue is written from
  int score_inputs[ATTENTION_INPUTS];  // the site's input for each of score's
  ScoreBounds bounds;
} MmaAttention;

// False where the region is no attention that the kernel can be written for. What is read is in the arena, or the site's.
bool mma_attention_read(const Site *site, Arena *arena, MmaAttention *out);
int mma_attention_padded(int64_t size);  // a head's size in shared memory
// A value that operands broadcast to, which ends in rows and columns, and the walk over its batch axes; false where it has no sizes.
bool mma_attention_batch(DimTable *table, Arena *arena, const Value *value, Walk *walk, TensorDesc *desc);
int mma_attention_blocks(const MmaAttention *m, const int *config);  // that a multiprocessor is to run at a time, at least
int mma_attention_threads(const int *config);
// The kernel, complete, for one way's config.
// arguments: of open sizes, which have the table of `m`.
MUST_CHECK Status mma_attention_text(Text *text, const Site *site, const MmaAttention *m, const int *config,
                                     KernelArguments *arguments);
