// A loop nest over several tensors: the axes of a common domain, and how far each tensor moves along each. Sorting the axes by
// the output's memory order and merging those that every tensor walks as one turns most sites into one or two loops; what is
// left becomes text in which static extents and strides are constants, so that the compiler divides by multiplying, and open ones arguments.
#pragma once
#include "kernels/implementation.h"

enum { NEST_AXES = MAX_RANK + 2 };

typedef struct Nest {
  Arena *arena;
  DimTable *table;             // of open extents; NULL: all are taken for static
  KernelArguments *arguments;  // what text asks for
  int rank;
  Extent extents[NEST_AXES];
  int count;  // tensors
  uint32_t capacity;
  Extent (*strides)[NEST_AXES];  // [tensor][axis], in elements
} Nest;

Nest nest_new(DimTable *table, KernelArguments *arguments, int rank, const Extent *extents);
// Adds a tensor that broadcasts to the domain as numpy does; returns its number.
int nest_add(Nest *nest, const TensorDesc *desc);
int nest_add_strides(Nest *nest, const Extent *strides);
// A tensor that is not there: its offset is the coordinate along an axis, which survives merging that way.
int nest_add_index(Nest *nest, int axis);
bool nest_broadcasts(const Nest *nest, const TensorDesc *desc, int axis, int to);  // along the nest's axis `to`
bool nest_is_open(const Nest *nest);                                               // an extent or a stride is
// Drops axes of extent 1, sorts the first `outer` axes by the tensor's strides (largest outermost), and the rest likewise, and
// merges axes within each part. *outer becomes the number of axes left of the first part. At least one axis stays.
void nest_collapse(Nest *nest, int tensor, int *outer);
void nest_insert(Nest *nest, int axis);  // an axis of extent 1 before `axis`
// Whether coordinates and offsets fit 31 bits.
bool nest_is_small(const Nest *nest);
// Adds `const int c0 = ..., c1 = ...;` for axes [first, first + count) from the linear index named `index` (an unsigned expression),
// the last axis fastest. The last axis advances in steps of `inner_scale` (0: of 1).
void nest_emit_coordinates(Text *text, const Nest *nest, int first, int count, const char *index, int64_t inner_scale);
// The offset of a tensor over axes [first, first + count), an expression in c0, c1 ...; "0" where it does not move.
char *nest_offset(const Nest *nest, int tensor, int first, int count);
// The largest power of two, at most `most`, of elements that every address with coordinates that are multiples of it along `axis` is
// aligned to. base: the tensor's TensorDesc.offset.
int nest_alignment(const Nest *nest, int tensor, int axis, int64_t base, int most);
