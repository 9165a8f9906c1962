// What a measurement of a way depends on beyond the chip: the version of the library that the way is from, or the hash of Ingot's own kernels with how they are
// launched.
#pragma once
#include "cuda/compiler.h"
#include "kernels/implementation.h"

// emission: of the way; NULL is fine for a library's.
MUST_CHECK Status way_version(const Site *site, const Implementation *implementation, const Emission *emission,
                              const Machine *machine, const Compiler *compiler, Arena *arena, const char **out);
