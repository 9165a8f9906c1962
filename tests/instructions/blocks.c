// Blocks that are in place at once: releases and acquisitions in device memory.
#include <string.h>
#include "tests/instructions/lab.h"

enum { THREADS = 128, BLOCKS = 4, WORDS = THREADS * BLOCKS, ROUNDS = 7 };

static void round_of(uint32_t *words) {
  uint32_t before[WORDS];
  memcpy(before, words, sizeof before);
  for (uint32_t b = 0; b < BLOCKS; b++)
    for (uint32_t i = 0; i < THREADS; i++) {
      const uint32_t *four = &before[(b + 1) % BLOCKS * THREADS + i / 4 * 4];
      words[b * THREADS + i] = before[b * THREADS + i] * 3 + four[0] + four[1] * 2 + four[2] * 5 + four[3] * 7 + i;
    }
}

static Status rounds(Lab *lab, const Trial *trial) {
  uint32_t expected[WORDS], nothing = 0;
  int count = ROUNDS;
  void *counter, *words, *to;
  for (uint32_t i = 0; i < WORDS; i++) expected[i] = i;
  for (int i = 0; i < ROUNDS; i++) round_of(expected);
  TRY(lab_memory(lab, &nothing, sizeof nothing, &counter));
  TRY(lab_memory(lab, NULL, 2 * sizeof expected, &words));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  Shape shape = {.grid = BLOCKS, .block = THREADS, .cooperative = true};
  TRY(lab_launch(lab, trial->file, "rounds", shape, LAB_ARGUMENTS(&counter, &words, &to, &count)));
  return lab_expect(lab, to, expected, WORDS);
}

static Status too_many(Lab *lab, const Trial *trial) {
  int count = 0;
  void *none = NULL;
  Shape shape = {.grid = 1 << 20, .block = THREADS, .cooperative = true};
  Status status = lab_launch(lab, trial->file, "rounds", shape, LAB_ARGUMENTS(&none, &none, &none, &count));
  if (!status) FAIL(ERROR_INTERNAL, "a million blocks are in place at once");
  bool told = strstr(status_message(status), "720") != NULL;
  if (!told) return status;
  status_free(status);
  return OK;
}

static const Trial trials[] = {
    {"blocks/red.release and ld.acquire", "blocks.cuh", 75, rounds},
    {"blocks/too many to be in place", "blocks.cuh", 75, too_many},
};
const TrialTable blocks_trials = {trials, COUNT_OF(trials)};
