// Two hashes, neither meant to resist an attacker. hash_bytes: one 64-bit lane, for map keys. hash128_bytes: four lanes,
// for contents, which must run at memory speed and never collide by accident. Each step of either is invertible in the
// state, so nothing is lost before the final fold. Words are read little endian: the values go into files.
#include "base/hash.h"
#include <endian.h>
#include <stdio.h>
#include <string.h>

#define K1 0x9fb21c651e98df25ull
#define K2 0xd6e8feb86659fd93ull

static inline uint64_t read_word(const unsigned char *bytes) {
  uint64_t word;
  memcpy(&word, bytes, 8);
  return le64toh(word);
}

static inline uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static inline uint64_t finish(uint64_t x) {
  x = (x ^ x >> 32) * K1;
  x = (x ^ x >> 29) * K2;
  return x ^ x >> 32;
}

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed) {
  const unsigned char *at = bytes;
  uint64_t state = seed ^ (size + 1) * K1;
  for (size_t left = size; left;) {
    uint64_t word = 0;
    if (left >= 8) {
      word = read_word(at);
      at += 8;
      left -= 8;
    } else {
      for (; left; left--) word = word << 8 | at[left - 1];
    }
    state = (state ^ word) * K2;
    state ^= state >> 31;
  }
  return finish(state);
}

typedef struct Lanes {
  uint64_t a, b, c, d;
} Lanes;

static const Lanes START = {0x243f6a8885a308d3ull, 0x13198a2e03707344ull, 0xa4093822299f31d0ull, 0x082efa98ec4e6c89ull};

// One lane after the other, the last one fed by the first: every word reaches every lane within three steps.
static inline void absorb(Lanes *s, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  s->a = rotate(s->a ^ a * K1, 29) * K2 + s->b;
  s->b = rotate(s->b ^ b * K1, 29) * K2 + s->c;
  s->c = rotate(s->c ^ c * K1, 29) * K2 + s->d;
  s->d = rotate(s->d ^ d * K1, 29) * K2 + s->a;
}

static Hash128 squeeze(Lanes s, uint64_t size) {
  for (int i = 0; i < 4; i++) absorb(&s, size, 0, size, 0);
  return (Hash128){finish(s.a ^ rotate(s.c, 23)), finish(s.b ^ rotate(s.d, 41))};
}

Hash128 hash128_bytes(const void *bytes, size_t size) {
  const unsigned char *at = bytes;
  Lanes s = START;
  size_t left = size;
  for (; left >= 32; left -= 32, at += 32) absorb(&s, read_word(at), read_word(at + 8), read_word(at + 16), read_word(at + 24));
  if (left) {
    unsigned char tail[32] = {0};
    memcpy(tail, at, left);
    absorb(&s, read_word(tail), read_word(tail + 8), read_word(tail + 16), read_word(tail + 24));
  }
  return squeeze(s, size);
}

Hash128 hash128_combine(Hash128 a, Hash128 b) {
  Lanes s = START;
  absorb(&s, a.low, a.high, b.low, b.high);
  return squeeze(s, UINT64_MAX);  // no byte string has this size, so a combination never equals a hash of bytes
}

void hash128_hex(Hash128 hash, char out[33]) {
  snprintf(out, 33, "%016llx%016llx", (unsigned long long)hash.high, (unsigned long long)hash.low);
}
