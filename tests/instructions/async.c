// Barriers in shared memory, bulk copies, overlapping launches.
#include "tests/instructions/lab.h"

static Status arrivals(Lab *lab, const Trial *trial) {
  uint32_t in[128], expected[385];
  for (uint32_t i = 0; i < 128; i++) in[i] = lab_word(i);
  for (uint32_t turn = 0; turn < 3; turn++)
    for (int i = 0; i < 128; i++) expected[turn * 128 + (uint32_t)i] = in[127 - i] + turn;
  expected[384] = 17;
  void *from, *to;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "arrivals", (Shape){.grid = 1, .block = 128}, LAB_ARGUMENTS(&from, &to)));
  return lab_expect(lab, to, expected, 385);
}

static Status copies(Lab *lab, const Trial *trial) {
  uint32_t in[512], expected[512];
  for (uint32_t i = 0; i < 512; i++) in[i] = lab_word(i);
  for (int i = 0; i < 512; i++) expected[i] = in[i / 256 * 256 + 255 - i % 256];
  void *from, *to;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "copies", (Shape){.grid = 1, .block = 64}, LAB_ARGUMENTS(&from, &to)));
  return lab_expect(lab, to, expected, 512);
}

static Status pipeline(Lab *lab, const Trial *trial) {
  enum { TILES = 11 };
  uint32_t in[TILES * 256], expected[TILES * 64];
  for (uint32_t i = 0; i < TILES * 256; i++) in[i] = lab_word(i);
  for (uint32_t i = 0; i < TILES * 64; i++) {
    const uint32_t *tile = in + i / 64 * 256 + i % 64;
    expected[i] = (tile[0] + tile[64] + tile[128] + tile[192]) * (i / 64 + 1);
  }
  void *from, *to;
  int tiles = TILES;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "pipeline", (Shape){.grid = 1, .block = 96}, LAB_ARGUMENTS(&from, &to, &tiles)));
  return lab_expect(lab, to, expected, TILES * 64);
}

static Status there_and_back(Lab *lab, const Trial *trial) {
  uint32_t in[512], expected[513];
  for (uint32_t i = 0; i < 512; i++) in[i] = lab_word(i), expected[i] = in[i] + i;
  expected[512] = expected[100] + 1;
  void *from, *to;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "there_and_back", (Shape){.grid = 1, .block = 64}, LAB_ARGUMENTS(&from, &to)));
  return lab_expect(lab, to, expected, 513);
}

static Status store_groups(Lab *lab, const Trial *trial) {
  enum { TILES = 7 };
  uint32_t expected[TILES * 128];
  for (uint32_t i = 0; i < TILES * 128; i++) expected[i] = i / 128 * 1000 + i % 128;
  void *to;
  int tiles = TILES;
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "store_groups", (Shape){.grid = 1, .block = 64}, LAB_ARGUMENTS(&to, &tiles)));
  return lab_expect(lab, to, expected, TILES * 128);
}

static Status written_then_loaded(Lab *lab, const Trial *trial) {
  uint32_t in[64], expected[64];
  for (uint32_t i = 0; i < 64; i++) in[i] = lab_word(i);
  for (int i = 0; i < 64; i++) expected[i] = in[63 - i] ^ 0xff;
  void *from, *between, *to;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof in, &between));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "written_then_loaded", (Shape){.grid = 1, .block = 64},
                 LAB_ARGUMENTS(&from, &between, &to)));
  return lab_expect(lab, to, expected, 64);
}

static Status elect(Lab *lab, const Trial *trial) {
  uint32_t expected[128];
  for (int i = 0; i < 128; i++) expected[i] = 11;
  void *to;
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "elect", (Shape){.grid = 1, .block = 128}, LAB_ARGUMENTS(&to)));
  return lab_expect(lab, to, expected, 128);
}

static Status overlap(Lab *lab, const Trial *trial) {
  uint32_t count = 1024, expected[1024];
  for (uint32_t i = 0; i < count; i++) expected[i] = (count - 1 - i) * 3;
  void *between, *to;
  TRY(lab_memory(lab, NULL, sizeof expected, &between));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, "before", (Shape){.grid = count / 128, .block = 128}, LAB_ARGUMENTS(&between)));
  TRY(lab_launch(lab, trial->file, "after", (Shape){.grid = count / 128, .block = 128, .overlaps = true},
                 LAB_ARGUMENTS(&between, &to, &count)));
  return lab_expect(lab, to, expected, count);
}

static const Trial trials[] = {
    {"mbarrier/arrive, wait, test_wait", "async.cuh", 80, arrivals, 0},
    {"mbarrier/arrive after cp.async", "async.cuh", 80, copies, 0},
    {"bulk/pipeline of three stages", "bulk.cuh", 90, pipeline, 0},
    {"bulk/load, change, store", "bulk.cuh", 90, there_and_back, 0},
    {"bulk/groups of stores", "bulk.cuh", 90, store_groups, 0},
    {"bulk/of memory just written", "bulk.cuh", 90, written_then_loaded, 0},
    {"elect.sync", "bulk.cuh", 90, elect, 0},
    {"griddepcontrol/two launches", "bulk.cuh", 90, overlap, 0},
};
const TrialTable async_trials = {trials, COUNT_OF(trials)};
