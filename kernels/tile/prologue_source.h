// The generated part of a kernel's source that works on an operand before it is multiplied: `struct Prologue` of kernels/tile/prologue.cuh, of a site's prologue. The operand is rows x k;
// what the program reads beside it may differ along k alone. (What differed by rows, a gate of each image, was tried: 2% slower than a step of its own on an H200.)
#pragma once
#include "kernels/common/anchor_source.h"

// Whether kernels take a prologue before a product of these sizes: whole chunks along k, and where it pays. Every tile of columns works on the operand anew, between its arrival and its use; a step
// of its own reads and writes it once. On an H200 the latter costs 0.5 us where little is read, since it begins while the step before it ends, and the former as much for each four pieces of 64 k;
// where the operand is large, memory decides.
bool prologue_takes_sizes(int64_t k, double rows, int64_t columns);
// Whether kernels take the site's prologue, which is also where it has none: 16-bit elements, and such sizes, k being this axis of input 0.
bool prologue_supported(const Site *site, int k_axis, int64_t rows, int64_t columns);
// Adds `struct Prologue` for blocks that multiply `depth` of k, or names NoPrologue that. Refuses where its table finds no room in shared memory beside the tile's bytes.
MUST_CHECK Status prologue_emit(Text *text, const Site *site, int k_axis, int64_t depth, size_t tile_bytes);
// The kernel's parameters for it (", const f16 *p1"), the expression that makes it, and the launch's arguments.
void prologue_parameters(Text *text, const Site *site);
void prologue_construct(Text *text, const Site *site);
void prologue_arguments(Emission *emission, Launch *launch, const Site *site);
