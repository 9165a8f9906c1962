// What kernels that compute an output tile by tile with a sum over K share: the order of tiles and splits by what they cost, and the kernel's
// frame (entry, grid, split-K) around a body that multiplies.
#pragma once
#include "kernels/common/anchor_source.h"
#include "kernels/tile/way_list.h"

// Splits of K worth trying for a tile: fills at most `limit` numbers (1 first), returns how many.
int split_choices(const DeviceInfo *device, const TileCost *tile, const TiledProduct *product, int *out, int limit);

// A kernel of tiles over batch x rows x columns.
typedef struct TiledKernel {
  const char *name;      // the entry is name_kernel, and what a profile shows is name
  const char *operands;  // parameters of the operands: "const f16 *a, const f16 *b"
  const char *body;      // statements; in scope are batch, tile, k_begin, k_end and output
  const OutputWalk *output;
  DType accumulator;
  int threads, bm, bn, bk, splits;
  int64_t neighbours;  // of the batch that read the same: their blocks run one after the other; 0: 1
  Extent k;
  unsigned shared_bytes;
  const char *declarations;    // what `body` needs behind the arguments' struct; NULL: nothing
  Extent rows;                 // where open though the walk says what they are now: it has one run at most in every tensor
  KernelArguments *arguments;  // of open sizes, of the walks too where they have a table; NULL: there are none
} TiledKernel;
// text holds what the body needs; the kernel's includes come last: `include` is the one that the body calls. The launch has the output's
// arguments; the operands' are for the caller to add in front through `bind`.
MUST_CHECK Status tiled_kernel_emit(const TiledKernel *kernel, const Site *site, Text *text, const char *include,
                                    void (*bind)(Emission *emission, Launch *launch, const void *context), const void *context,
                                    Emission *emission);
