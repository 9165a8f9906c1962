// Kernels of one thread for each point of a domain (or for a few neighbours): the frame that movement and window kernels
// share. The frame gives the thread its coordinates, all extents and strides being constants in the text; the body is the
// operator's. Threads follow the memory order of a tensor, normally the output, so that its accesses coalesce.
#pragma once
#include "kernels/program/generate.h"

enum { POINT_THREADS = 256 };

// The site's present inputs as x0, x1 ... and its outputs as y0, y1 ...: kernel parameters, and the launch's arguments for them.
void site_parameters(Text *text, const Site *site);
void site_arguments(Emission *emission, Launch *launch, const Site *site);

// A kernel whose sizes may be open, while it is written: static extents and strides are constants in the text, open ones arguments behind the tensors'. `before` stands in front of the kernel, `body`
// behind the coordinates i0, i1 ... of a point of `domain`, in the memory order of its strides. Threads without a point return. vector > 1: a thread has that many neighbours along the axis that is innermost in
// memory, i of it being the first. Or a block of `threads` for each point: the coordinates are those of the block.
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
char *points_offset(Points *points, const TensorDesc *desc, const char *const *names);  // see desc_offset
// Closes the kernel and adds its launch; arguments for `more` may follow.
Launch *points_end(Points *points, Emission *emission);

// The same for the sizes of now, all constants in the text, written into a text at once. Opens `extern "C" __global__ void entry(parameters and `more`) {` and sets i0, i1 ... to the coordinates of a point of `domain`, in the
// memory order of its strides. Threads without a point return. vector > 1: a thread has that many neighbours along the axis
// that is innermost in memory, i of it being the first.
void points_open(Text *text, const Site *site, const char *entry, const char *more, const TensorDesc *domain, int vector);
// Adds the launch of a kernel opened so; more arguments may follow.
Launch *points_launch(Emission *emission, const Site *site, const char *source, const char *entry, const TensorDesc *domain,
                      int vector);
// The same with a block of `threads` for each point: i0, i1 ... are those of the block.
void points_open_blocks(Text *text, const Site *site, const char *entry, const char *more, const TensorDesc *domain,
                        int threads);
Launch *points_launch_blocks(Emission *emission, const Site *site, const char *source, const char *entry,
                             const TensorDesc *domain, int threads);
// Innermost in memory, of the axes longer than 1; -1: none. table: of open dims, NULL: of the sizes of now.
int points_inner_axis(const DimTable *table, const TensorDesc *domain);

// The offset, in elements, of the element whose coordinate along axis i is names[i] (NULL: i0, i1 ...). Axes of size 1 need no name.
char *desc_offset(Arena *arena, const TensorDesc *desc, const char *const *names);
// The same where dims may be open: those of now are constants where the table is NULL.
char *desc_open_offset(Arena *arena, const DimTable *table, KernelArguments *arguments, const TensorDesc *desc,
                       const char *const *names);
// The same as desc_offset for a tensor that broadcasts to `rank` axes with coordinates i0, i1 ...
char *desc_offset_broadcast(Arena *arena, const TensorDesc *desc, int rank);
// The largest power of two, at most `most`, of neighbours along `axis` that may be moved at once; 1 where they are no neighbours. table: of open dims, NULL: for the sizes of now.
int desc_vector_width(const DimTable *table, const TensorDesc *desc, int axis, int most);
// y0's stored value for the result `acc` (computed as `accumulator`) at i0, i1 ...: with the site's epilogue, which
// epilogue_program_emit has put into the text before.
char *site_epilogue(Arena *arena, const Site *site, DType accumulator, const char *acc);
// Floats of up to 32 bits, f64, integers: what sums of a dtype are made in: f32, f64, i64, u64.
DType accumulator_dtype(DType dtype);
// A launch that copies an input to an output of the same dims.
MUST_CHECK Status emit_copy(Emission *emission, const Site *site, int input, int output);
