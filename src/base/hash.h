// Hashes for content addressing (caches, checksums). 64 and 128 bits, stable across machines and versions of Ingot.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct Hash128 {
  uint64_t low, high;
} Hash128;

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed);
Hash128 hash128_bytes(const void *bytes, size_t size);
Hash128 hash128_combine(Hash128 a, Hash128 b);
void hash128_hex(Hash128 hash, char out[33]);
static inline uint64_t hash_mix(uint64_t a, uint64_t b) {
  return (a ^ (b + 0x9e3779b97f4a7c15ull + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccdull;
}
