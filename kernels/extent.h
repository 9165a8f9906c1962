// A size or a stride as a kernel's generator sees it: what it is now, and how it follows from the symbols of the model. A static one is written into
// the kernel. An open one differs from call to call: the kernel takes it as an argument, so that one kernel serves every call, and what
// is written into the kernel should not follow from what the size is now. That is for speed alone: a model whose symbols do not hold what they say
// gets other kernels, not other results, since every decision is also checked against the sizes of now.
#pragma once
#include "base/text.h"
#include "ir/dim.h"

typedef struct Extent {
  int64_t now;
  bool open;
  Dim dim;  // where open, in the table that the arithmetic is given
} Extent;

static inline Extent extent_static(int64_t value) { return (Extent){.now = value}; }
Extent extent_of(int64_t now, Dim dim);  // static where the dim is
// table: may be NULL where all are static.
Extent extent_mul(DimTable *table, Extent a, Extent b);
Extent extent_add(DimTable *table, Extent a, Extent b);
Extent extent_ceil_div(DimTable *table, Extent a, int64_t divisor);
// Equal now, and provably so whatever the symbols are.
bool extent_equal(Extent a, Extent b);
static inline bool extent_is(Extent a, int64_t value) { return !a.open && a.now == value; }
// The largest power of two, at most `most` (one too), that divides it now and whatever the symbols are.
int64_t extent_factor(const DimTable *table, Extent a, int64_t most);
// To order open ones by, the same for every call: what it would be if every symbol had one and the same middling value.
int64_t extent_typical(const DimTable *table, Extent a);
// To choose a kernel's form by: of open sizes a few stand for all, powers of two and what lies halfway between, since each form is a kernel to compile.
typedef enum Rung { RUNG_NOW, RUNG_BELOW, RUNG_ABOVE } Rung;
// The size of now, or the one of those that is at most or at least that; a static one's is always its size.
int64_t extent_at(Extent a, Rung rung);
// What a kernel's template is told: a static one; of an open one, which an argument holds, a number below 0: minus a power of two that divides it always.
int64_t extent_constant(const DimTable *table, Extent a);

// What a kernel takes besides its tensors: open extents, and divisors by them.
typedef enum ArgumentForm { ARGUMENT_INT, ARGUMENT_LONG, ARGUMENT_DIVISOR } ArgumentForm;
typedef struct KernelArgument {
  ArgumentForm form;
  Extent extent;
} KernelArgument;
typedef struct KernelArguments {
  Arena *arena;
  DimTable *table;  // of the extents; NULL where nothing is computed with them, or all are static
  KernelArgument *list;
  uint32_t count, capacity;
} KernelArguments;

// What the driver is given for it: the int, the i64 or the two halves of a Divisor (kernels/common/divisor.cuh).
int64_t kernel_argument_value(const KernelArgument *argument);
// An expression of the extent: a number, or a member of `dims` (kernel_arguments_struct). wide: as i64 (suffix ll), else as int.
char *extent_text(KernelArguments *arguments, Extent extent, bool wide);
// An expression of an unsigned value divided by the extent. Without `wide` the value is less than 2^31.
char *extent_divide(KernelArguments *arguments, const char *value, Extent extent, bool wide);
// `struct Dims { int d0; Divisor d1; };` and what it needs; what stands in the kernel's parameters (", const int d0, ..."), and at its start.
void kernel_arguments_struct(Text *text, const KernelArguments *arguments);
void kernel_arguments_parameters(Text *text, const KernelArguments *arguments);
void kernel_arguments_gather(Text *text, const KernelArguments *arguments);
