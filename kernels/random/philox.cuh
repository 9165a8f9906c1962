// The generator of kernels/random/random.c, bit for bit: Philox with 4 words and 10 rounds, keyed by the seed, counting blocks.
#pragma once
#include "kernels/program/element.cuh"

struct PhiloxBlock {
  u32 words[4];
};

DEVICE PhiloxBlock philox(u64 seed, u64 block) {
  u32 key0 = (u32)seed, key1 = (u32)(seed >> 32);
  u32 c0 = (u32)block, c1 = (u32)(block >> 32), c2 = 0, c3 = 0;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u64 a = (u64)0xD2511F53u * c0, b = (u64)0xCD9E8D57u * c2;
    c0 = (u32)(b >> 32) ^ c1 ^ key0;
    c1 = (u32)b;
    c2 = (u32)(a >> 32) ^ c3 ^ key1;
    c3 = (u32)a;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return PhiloxBlock{{c0, c1, c2, c3}};
}

// [0, 1), 24 bits.
DEVICE double uniform_of(u32 word) { return (word >> 8) * (1.0 / 16777216.0); }

// The lane-th word of a block by selection, so that the block stays in registers.
DEVICE u32 philox_word(const PhiloxBlock &block, int lane) {
  return lane == 0 ? block.words[0] : lane == 1 ? block.words[1] : lane == 2 ? block.words[2] : block.words[3];
}
DEVICE double random_uniform(u64 seed, u64 index) { return uniform_of(philox_word(philox(seed, index / 4), (int)(index & 3))); }
DEVICE double random_normal(u64 seed, u64 index) {
  const PhiloxBlock block = philox(seed, index / 4);
  const int lane = (int)(index & 3);
  const double u0 = uniform_of(philox_word(block, lane & 2)), u1 = uniform_of(philox_word(block, lane | 1));
  const double radius = sqrt(-2 * log(1 - u0)), angle = 2 * 3.14159265358979323846 * u1;
  return radius * (lane & 1 ? sin(angle) : cos(angle));
}
