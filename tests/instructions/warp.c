// Shuffles, votes, atomics, named barriers.
#include <string.h>
#include "tests/instructions/lab.h"

static void words(uint32_t *out, int count) {
  for (int i = 0; i < count; i++) out[i] = lab_word((uint32_t)i);
}

static Status run_words(Lab *lab, const char *kernel, unsigned block, const uint32_t *in, size_t in_count,
                        const uint32_t *expected, size_t count) {
  void *from, *to;
  TRY(lab_memory(lab, in, in_count * 4, &from));
  TRY(lab_memory(lab, NULL, count * 4, &to));
  TRY(lab_launch(lab, "warp.cuh", kernel, (Shape){.grid = 1, .block = block}, LAB_ARGUMENTS(&from, &to)));
  return lab_expect(lab, to, expected, count);
}

static Status shuffles(Lab *lab, const Trial *trial) {
  uint32_t in[64], expected[64 * 8];
  words(in, 64);
  for (int i = 0; i < 64; i++) {
    int lane = i % 32, first = i - lane, half = lane % 16;
    uint32_t *to = expected + i * 8, other = in[first + (lane ^ 1)];
    to[0] = in[first + ((lane * 7 + 3) & 31)];
    to[1] = in[lane < 5 ? i : i - 5];
    to[2] = in[half + 9 < 16 ? i + 9 : i];
    to[3] = in[first + (lane ^ 6)];
    to[4] = other, to[5] = ~other;
    to[6] = in[first + lane / 8 * 8 + (lane + 2) % 8];
    to[7] = lane < 16 ? in[first + (lane ^ 8)] : 0;
  }
  return run_words(lab, "shuffles", 64, in, 64, expected, 64 * 8);
}

static Status votes(Lab *lab, const Trial *trial) {
  uint32_t in[64], expected[64 * 8], count = 0;
  words(in, 64);
  for (int i = 0; i < 64; i++) count += (in[i] & 2) != 0;
  for (int i = 0; i < 64; i++) {
    int first = i / 32 * 32;
    uint32_t *to = expected + i * 8, odd = 0, match = 0;
    for (int lane = 0; lane < 32; lane++) {
      odd |= (in[first + lane] & 1) << lane;
      match |= (uint32_t)(in[first + lane] % 5 == in[i] % 5) << lane;
    }
    to[0] = odd, to[1] = first == 0, to[2] = first != 0, to[3] = match, to[4] = count, to[5] = 0, to[6] = 1;
    to[7] = (uint32_t)__builtin_popcount(in[i]) + (uint32_t)__builtin_ffs((int)in[i]) * 100 +
            (uint32_t)__builtin_clz(in[i]) * 10000;
  }
  return run_words(lab, "votes", 64, in, 64, expected, 64 * 8);
}

static Status atomics(Lab *lab, const Trial *trial) {
  enum { COUNT = 512 };
  uint32_t in[COUNT], out[16] = {[1] = UINT32_MAX, [3] = UINT32_MAX, [8] = 0x80000000u}, expected[16];
  words(in, COUNT);
  memcpy(expected, out, sizeof out);
  uint64_t wide = 0;
  float sum = 0;
  for (int i = 0; i < COUNT; i++) {
    expected[0] += in[i];
    expected[1] = MIN(expected[1], in[i]);
    expected[2] = MAX(expected[2], in[i]);
    expected[3] &= in[i] | 0xff;
    expected[4] |= in[i] & 0xff00;
    expected[5] ^= in[i];
    wide += (uint64_t)in[i] << 8;
    if ((int32_t)in[i] > (int32_t)expected[8]) expected[8] = in[i];
    sum += (float)(in[i] & 15);
  }
  memcpy(&expected[6], &wide, 8);
  memcpy(&expected[9], &sum, 4);
  expected[10] = COUNT;
  void *from, *to;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, out, sizeof out, &to));
  TRY(lab_launch(lab, trial->file, "atomics", (Shape){.grid = COUNT / 128, .block = 128}, LAB_ARGUMENTS(&from, &to)));
  return lab_expect(lab, to, expected, 16);
}

static Status named(Lab *lab, const Trial *trial) {
  uint32_t in[64], expected[128];
  words(in, 64);
  for (int i = 0; i < 64; i++) expected[i] = in[63 - i] + 1, expected[64 + i] = in[63 - i];
  return run_words(lab, "named", 128, in, 64, expected, 128);
}

static Status last_block(Lab *lab, const Trial *trial) {
  enum { BLOCKS = 7 };
  uint32_t in[BLOCKS * 64], expected[64] = {0}, zero = 0;
  words(in, BLOCKS * 64);
  for (int i = 0; i < BLOCKS * 64; i++) expected[i % 64] += in[i] * 3;
  void *from, *to, *left, *counter;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_memory(lab, NULL, sizeof in, &left));
  TRY(lab_memory(lab, &zero, sizeof zero, &counter));
  TRY(lab_launch(lab, trial->file, "last_block", (Shape){.grid = BLOCKS, .block = 64},
                 LAB_ARGUMENTS(&from, &to, &left, &counter)));
  return lab_expect(lab, to, expected, 64);
}

static const Trial trials[] = {
    {"warp/shuffles", "warp.cuh", 75, shuffles, 0},
    {"warp/votes and matches", "warp.cuh", 75, votes, 0},
    {"warp/atomics", "warp.cuh", 75, atomics, 0},
    {"warp/named barriers", "warp.cuh", 75, named, 0},
    {"warp/the last block sums up", "warp.cuh", 75, last_block, 0},
};
const TrialTable warp_trials = {trials, COUNT_OF(trials)};
