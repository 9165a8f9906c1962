// See extent.h.
#include "kernels/extent.h"

#include <string.h>

#include "base/checked.h"

enum {
  TYPICAL = 251,       // a prime: products of it and of usual sizes do not meet
  FEWEST = 16,         // sizes up to this are chosen for alike
  LARGEST_TILE = 256,  // that a kernel may want to know to divide a size
};

Extent extent_of(int64_t now, Dim dim) { return (Extent){.now = now, .open = !dim_is_static(dim), .dim = dim}; }

static Dim dim_of(DimTable *table, Extent a) { return a.open ? a.dim : dim_constant(table, a.now); }

static Extent result(const DimTable *table, int64_t now, Dim dim) {
  int64_t value;
  return dim_get_constant(table, dim, &value) ? extent_static(now) : (Extent){now, true, dim};
}

Extent extent_mul(DimTable *table, Extent a, Extent b) {
  if (!a.open && !b.open) return extent_static(a.now * b.now);
  return result(table, a.now * b.now, dim_mul(table, dim_of(table, a), dim_of(table, b)));
}

Extent extent_add(DimTable *table, Extent a, Extent b) {
  if (!a.open && !b.open) return extent_static(a.now + b.now);
  return result(table, a.now + b.now, dim_add(table, dim_of(table, a), dim_of(table, b)));
}

Extent extent_ceil_div(DimTable *table, Extent a, int64_t divisor) {
  int64_t now = ceil_div(a.now, divisor);
  if (!a.open) return extent_static(now);
  return result(table, now, dim_ceil_div(table, a.dim, dim_constant(table, divisor)));
}

bool extent_equal(Extent a, Extent b) { return a.now == b.now && a.open == b.open && (!a.open || a.dim == b.dim); }

int64_t extent_factor(const DimTable *table, Extent a, int64_t most) {
  int64_t factor = 1;
  if (a.open) most = MIN(most, dim_factor(table, a.dim));
  while (factor < most && a.now % (factor * 2) == 0) factor *= 2;
  return factor;
}

int64_t extent_typical(const DimTable *table, Extent a) { return a.open ? dim_typical(table, a.dim, TYPICAL) : a.now; }

int64_t extent_at(Extent a, Rung rung) {
  if (!a.open || rung == RUNG_NOW) return a.now;
  int64_t above = FEWEST, below = FEWEST;
  while (above < a.now) {
    below = above;
    above = above & (above - 1) ? above / 3 * 4 : above / 2 * 3;
  }
  return rung == RUNG_BELOW && above > a.now ? below : above;
}

int64_t extent_constant(const DimTable *table, Extent a) { return a.open ? -extent_factor(table, a, LARGEST_TILE) : a.now; }

// --- Arguments

static int number_of(KernelArguments *arguments, ArgumentForm form, Extent extent) {
  for (uint32_t i = 0; i < arguments->count; i++)
    if (arguments->list[i].form == form && extent_equal(arguments->list[i].extent, extent)) return (int)i;
  *ARENA_PUSH(arguments->arena, arguments->list, arguments->count, arguments->capacity) = (KernelArgument){form, extent};
  return (int)arguments->count - 1;
}

char *extent_text(KernelArguments *arguments, Extent extent, bool wide) {
  Arena *arena = arguments->arena;
  if (!extent.open) return arena_printf(arena, wide ? "%lldll" : "%lld", (long long)extent.now);
  return arena_printf(arena, "dims.d%d", number_of(arguments, wide ? ARGUMENT_LONG : ARGUMENT_INT, extent));
}

char *extent_divide(KernelArguments *arguments, const char *value, Extent extent, bool wide) {
  Arena *arena = arguments->arena;
  if (!extent.open) return arena_printf(arena, "%s / %lldu", value, (long long)extent.now);
  if (wide) return arena_printf(arena, "%s / (u64)%s", value, extent_text(arguments, extent, true));
  return arena_printf(arena, "divide(%s, dims.d%d)", value, number_of(arguments, ARGUMENT_DIVISOR, extent));
}

// n / d for n < 2^31 is (high half of n * m, + n) >> s with s = ceil(log2 d), m = floor(2^32 * (2^s - d) / d) + 1.
static int64_t divisor_of(int64_t by) {
  uint64_t divisor = (uint64_t)MAX(by, 1), shift = 0;
  while ((1ull << shift) < divisor) shift++;
  uint64_t multiplier = ((1ull << 32) * ((1ull << shift) - divisor)) / divisor + 1;
  return (int64_t)(multiplier | shift << 32);
}

int64_t kernel_argument_value(const KernelArgument *argument) {
  return argument->form == ARGUMENT_DIVISOR ? divisor_of(argument->extent.now) : argument->extent.now;
}

static const char *const types[] = {[ARGUMENT_INT] = "int", [ARGUMENT_LONG] = "i64", [ARGUMENT_DIVISOR] = "Divisor"};

void kernel_arguments_struct(Text *text, const KernelArguments *arguments) {
  text_add(text, "#include \"kernels/common/divisor.cuh\"\nstruct Dims {\n");
  for (uint32_t i = 0; i < arguments->count; i++) text_add(text, "  %s d%u;\n", types[arguments->list[i].form], i);
  text_add(text, "};\n");
}

void kernel_arguments_parameters(Text *text, const KernelArguments *arguments) {
  for (uint32_t i = 0; i < arguments->count; i++) text_add(text, ", const %s d%u", types[arguments->list[i].form], i);
}

void kernel_arguments_gather(Text *text, const KernelArguments *arguments) {
  text_add(text, "  const Dims dims{");
  for (uint32_t i = 0; i < arguments->count; i++) text_add(text, "%sd%u", i ? ", " : "", i);
  text_add(text, "};\n");
}
