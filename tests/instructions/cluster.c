// Clusters of two and of four blocks.
#include <stdlib.h>
#include "tests/instructions/lab.h"

enum { THREADS = 128, CLUSTERS = 2, MOST = 4 * CLUSTERS * THREADS };

typedef struct Words {
  uint32_t in[MOST], expected[MOST];
} Words;

static void fill(Words *w) {
  for (uint32_t i = 0; i < MOST; i++) w->in[i] = lab_word(i), w->expected[i] = 0xcdcdcdcd;
}

static Status run(Lab *lab, const Trial *trial, const char *kernel, const Words *w) {
  void *from, *to;
  Shape shape = {.grid = (unsigned)trial->number * CLUSTERS, .block = THREADS, .cluster = (unsigned)trial->number};
  TRY(lab_memory(lab, w->in, sizeof w->in, &from));
  TRY(lab_memory(lab, NULL, sizeof w->expected, &to));
  TRY(lab_launch(lab, trial->file, kernel, shape, LAB_ARGUMENTS(&from, &to)));
  return lab_expect(lab, to, w->expected, (size_t)shape.grid * THREADS);
}

static Status ranks(Lab *lab, const Trial *trial) {
  uint32_t expected[4 * CLUSTERS], size = (uint32_t)trial->number, count = size * CLUSTERS;
  for (uint32_t i = 0; i < count; i++) expected[i] = i % size * 100 + size;
  void *to;
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "ranks", (Shape){.grid = count, .block = THREADS, .cluster = size}, LAB_ARGUMENTS(&to)));
  return lab_expect(lab, to, expected, count);
}

static Status neighbours(Lab *lab, const Trial *trial) {
  Words w;
  fill(&w);
  uint32_t size = (uint32_t)trial->number;
  for (uint32_t b = 0; b < size * CLUSTERS; b++)
    for (uint32_t i = 0; i < THREADS; i++) {
      uint32_t next = b / size * size + (b + 1) % size;
      w.expected[b * THREADS + i] = w.in[next * THREADS + THREADS - 1 - i] + w.in[next * THREADS + i] * 2;
    }
  return run(lab, trial, "neighbours", &w);
}

static Status gather(Lab *lab, const Trial *trial) {
  Words w;
  fill(&w);
  uint32_t size = (uint32_t)trial->number;
  for (uint32_t c = 0; c < CLUSTERS; c++)
    for (uint32_t i = 0; i < THREADS; i++) {
      uint32_t sum = 0;
      for (uint32_t b = 0; b < size; b++) sum += w.in[(c * size + b) * THREADS + i] * (b + 1);
      w.expected[c * THREADS + i] = sum;
    }
  return run(lab, trial, "gather", &w);
}

static Status multicast(Lab *lab, const Trial *trial) {
  Words w;
  fill(&w);
  uint32_t size = (uint32_t)trial->number;
  for (uint32_t b = 0; b < size * CLUSTERS; b++)
    for (uint32_t i = 0; i < THREADS; i++) w.expected[b * THREADS + i] = w.in[b / size * THREADS + i] + b % size;
  return run(lab, trial, "multicast", &w);
}

static Status ring(Lab *lab, const Trial *trial) {
  Words w;
  fill(&w);
  uint32_t size = (uint32_t)trial->number;
  for (uint32_t b = 0; b < size * CLUSTERS; b++)
    for (uint32_t i = 0; i < THREADS; i++)
      w.expected[b * THREADS + i] = w.in[(b / size * size + (b + size - 1) % size) * THREADS + i] + 1;
  return run(lab, trial, "ring", &w);
}

static Status shares(Lab *lab, const Trial *trial) {
  enum { ROUNDS = 5, ROWS = ROUNDS * 8 };
  static uint32_t in[ROWS * 32], expected[4 * CLUSTERS * ROWS * 32];
  uint32_t size = (uint32_t)trial->number, blocks = size * CLUSTERS;
  for (uint32_t i = 0; i < ROWS * 32; i++) in[i] = lab_word(i);
  for (uint32_t i = 0; i < blocks * ROWS * 32; i++) {
    uint32_t byte = i % 256 * 4, at = byte ^ (byte >> 7 & 7) << 4;  // which word lies here
    expected[i] = in[i / 256 % ROUNDS * 256 + at / 4];
  }
  void *from, *to;
  CudaTensorMap map;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  uint64_t dims[] = {32, ROWS}, strides[] = {128};
  uint32_t box[] = {32, 8 / size}, steps[] = {1, 1};
  CUDA_TRY(lab->context, cuTensorMapEncodeTiled(&map, CUDA_TENSOR_U32, 2, from, dims, strides, box, steps, 0, CUDA_SWIZZLE_128,
                                                CUDA_L2_NONE, 0));
  int rounds = ROUNDS;
  Shape shape = {.grid = blocks, .block = THREADS, .cluster = size, .shared = 2048};
  TRY(lab_launch(lab, trial->file, "shares", shape, LAB_ARGUMENTS(&map, &to, &rounds)));
  return lab_expect(lab, to, expected, blocks * ROWS * 32);
}

#define OF_TWO_AND_FOUR(name, run) \
  {"cluster/" name ", 2 blocks", "cluster.cuh", 90, run, 2}, { "cluster/" name ", 4 blocks", "cluster.cuh", 90, run, 4 }
static const Trial trials[] = {
    OF_TWO_AND_FOUR("ranks", ranks),          OF_TWO_AND_FOUR("neighbours' memory", neighbours),
    OF_TWO_AND_FOUR("remote arrive", gather), OF_TWO_AND_FOUR("multicast", multicast),
    OF_TWO_AND_FOUR("bulk send", ring),       OF_TWO_AND_FOUR("tensor multicast", shares),
};
const TrialTable cluster_trials = {trials, COUNT_OF(trials)};
