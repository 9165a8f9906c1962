// Random numbers.
#pragma once
#include "ir/op.h"

extern const OpDef op_random;

// The generator, so that every device makes the same numbers: Philox 4x32 with 10 rounds (Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", 2011), keyed by the seed. Element i is word i % 4 of block i / 4.
void random_block(uint64_t seed, uint64_t block, uint32_t out[4]);
// [0, 1), 24 bits: exact in f32.
static inline double random_uniform(uint32_t word) { return (word >> 8) * 0x1p-24; }
