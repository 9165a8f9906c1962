// Kernels of one thread for each point of a domain (or for a few neighbours): the frame that movement and window kernels
// share. The frame gives the thread its coordinates; static extents and strides are constants in the text, open ones arguments. The body is the
// operator's. Threads follow the memory order of a tensor, normally the output, so that its accesses coalesce.
#pragma once
#include "kernels/program/generate.h"

enum { POINT_THREADS = 256 };

// The site's present inputs as x0, x1 ... and its outputs as y0, y1 ...: kernel parameters, and the launch's arguments for them.
void site_parameters(Text *text, const Site *site);
void site_arguments(Emission *emission, Launch *launch, const Site *site);

// A kernel while it is written: only its body tells which sizes are arguments. `before` stands in front of the kernel, `body` behind the coordinates i0, i1 ... of a point of `domain`, in the memory order of its
// strides. Threads without a point return. vector > 1: a thread has that many neighbours along the axis that is innermost in memory, i of it being the first. Or a block of `threads` for each point: the
// coordinates are those of the block.
typedef struct Points {
  const Site *site;
  const char *entry, *more;  // more: parameters behind all others, ", T name, ..."
  const TensorDesc *domain;
  int vector, threads;
  bool blocks;
  KernelArguments arguments;
  Text before, body;
} Points;

Points points_begin(const Site *site, Arena *arena, const char *entry, const char *more, const TensorDesc *domain, int vector);
Points points_begin_blocks(const Site *site, Arena *arena, const char *entry, const char *more, const TensorDesc *domain,
                           int threads);
// A size or stride as an expression; one that non-negative coordinates are less than, as unsigned.
const char *points_size(Points *points, Extent extent, bool wide);
const char *points_limit(Points *points, Extent extent);
char *points_offset(Points *points, const TensorDesc *desc, const char *const *names);  // see desc_offset
// For a tensor that broadcasts to the domain.
char *points_offset_broadcast(Points *points, const TensorDesc *desc);
// y0's stored value for the result `acc` (computed as `accumulator`) at i0, i1 ...: with the site's epilogue, which
// epilogue_program_emit has put into the text before.
char *points_epilogue(Points *points, DType accumulator, const char *acc);
// Closes the kernel and adds its launch; arguments for `more` may follow. In two steps where other kernels' launches come first.
Launch *points_end(Points *points, Emission *emission);
const char *points_source(Points *points);
Launch *points_launch(const Points *points, const char *source, Emission *emission);

// Innermost in memory, of the axes longer than 1; -1: none. table: of open dims, NULL: of the sizes of now.
int points_inner_axis(const DimTable *table, const TensorDesc *domain);

// The offset, in elements, of the element whose coordinate along axis i is names[i] (NULL: i0, i1 ...). Axes of size 1 need no name.
char *desc_offset(Arena *arena, const TensorDesc *desc, const char *const *names);
// The same where dims may be open: those of now are constants where the table is NULL.
char *desc_open_offset(Arena *arena, const DimTable *table, KernelArguments *arguments, const TensorDesc *desc,
                       const char *const *names);
// The largest power of two, at most `most`, of neighbours along `axis` that may be moved at once; 1 where they are no neighbours. table: of open dims, NULL: for the sizes of now.
int desc_vector_width(const DimTable *table, const TensorDesc *desc, int axis, int most);
// Floats of up to 32 bits, f64, integers: what sums of a dtype are made in: f32, f64, i64, u64.
DType accumulator_dtype(DType dtype);
// A launch that copies an input to an output of the same dims.
MUST_CHECK Status emit_copy(Emission *emission, const Site *site, int input, int output);
