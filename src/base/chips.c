// See chips.h. Numbers are those of NVIDIA's data sheets and of the CUDA programming guide's table of compute capabilities.
#include "base/chips.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cpu_level.h"
#include "base/text.h"

// clang-format off: one line a chip
const Chip chips[] = {
    // name, sm, multiprocessors, KiB of shared memory, MiB of L2, GB    clock memory reached L2 f32 f64 tensor warp_tensor threads launch
    {"T4", 75, 40, 64, 4, 16, {1590, 320, 227, 64, 64, 2, 512, 512, 1024, 2.5}},
    {"A100", 80, 108, 163, 40, 80, {1410, 2039, 1600, 64, 64, 32, 1024, 1000, 2048, 2.5}},
    {"A10", 86, 72, 99, 6, 24, {1695, 600, 425, 64, 128, 2, 512, 512, 1536, 2.5}},
    {"L4", 89, 58, 99, 48, 24, {2040, 300, 212, 64, 128, 2, 512, 512, 1536, 2.5}},
    {"RTX 4090", 89, 128, 99, 72, 24, {2520, 1008, 714, 64, 128, 2, 256, 256, 1536, 2.5}},
    {"H100", 90, 132, 227, 50, 80, {1980, 3350, 3400, 64, 128, 64, 2048, 1620, 2048, 2.5}},
    {"H200", 90, 132, 227, 50, 141, {1980, 4800, 3400, 64, 128, 64, 2048, 1620, 2048, 2.5}},
    {"B200", 100, 148, 227, 126, 180, {1965, 8000, 5670, 64, 128, 64, 4096, 1024, 2048, 2.5}},
    {"RTX 5090", 120, 170, 99, 96, 32, {2407, 1792, 1270, 64, 128, 2, 256, 256, 1536, 2.5}},
    {0},
};
// By instructions, of one thread on a server's core alone; memory serves several, but not all.
static const DeviceRates cpus[] = {
    [CPU_GENERIC] = {2500, 10, 10, 16, 4, 2, 4, 4, 1, 3},
    [CPU_AVX2] = {2500, 10, 10, 32, 16, 8, 16, 16, 1, 3},
    [CPU_AVX512] = {2500, 10, 10, 32, 32, 16, 32, 32, 1, 3},
    [CPU_VNNI] = {2500, 10, 10, 32, 32, 16, 64, 64, 1, 3},
};
// clang-format on
enum { MEMORY_THREADS = 8 };  // a CPU's that its memory has enough for

static bool same_name(const char *given, const char *name) {
  while (*given || *name) {
    if (*name == ' ' && *given != ' ') name++;
    if (tolower((unsigned char)*given) != tolower((unsigned char)*name)) return false;
    given += *given != 0, name += *name != 0;
  }
  return true;
}

// "sm_90" and "sm_90a" are the same here: kernels are compiled for all of an architecture's instructions.
static bool same_architecture(const char *given, int sm) {
  char plain[16], full[16];
  snprintf(plain, sizeof plain, "sm_%d", sm);
  snprintf(full, sizeof full, "sm_%da", sm);
  return !strcmp(given, plain) || (sm >= 90 && !strcmp(given, full));
}

static void describe(const Chip *chip, DeviceInfo *out) {
  *out = (DeviceInfo){.kind = DEVICE_CUDA,
                      .sm = chip->sm,
                      .multiprocessors = chip->multiprocessors,
                      .shared_per_block = chip->shared_kilobytes << 10,
                      .shared_per_multiprocessor = (chip->shared_kilobytes + (chip->sm > 75)) << 10,
                      .l2_bytes = (int64_t)chip->l2_megabytes << 20,
                      .memory_bytes = (int64_t)chip->memory_gigabytes << 30,
                      .rates = chip->rates};
  snprintf(out->name, sizeof out->name, "%s", chip->name);
}

static Status unknown(const char *name) {
  Arena *scratch = arena_scratch();
  Text text = text_new(scratch);
  for (const Chip *chip = chips; chip->name; chip++) {
    bool first = chip == chips || chip[-1].sm != chip->sm;
    if (first) text_add(&text, "%ssm_%d%s", chip == chips ? "" : ", ", chip->sm, chip->sm >= 90 ? "a" : "");
    text_add(&text, ", %s", chip->name);
  }
  Status status =
      status_make(ERROR_INVALID_ARGUMENT, "no chip or architecture is called '%s': there are %s", name, text_get(&text));
  arena_free(scratch);
  return status;
}

Status chip_find(const char *name, DeviceInfo *out) {
  for (const Chip *chip = chips; chip->name; chip++)
    if (same_name(name, chip->name) || same_architecture(name, chip->sm)) {
      describe(chip, out);
      return OK;
    }
  return unknown(name);
}

// ---- rates -------------------------------------------------------------------------------------------------------------------

// Whether a driver's "NVIDIA H100 80GB HBM3" is an "H100": not an "H1", nor does an A10G become an A10.
static bool names_chip(const char *given, const char *name) {
  size_t length = strlen(name);
  for (const char *at = given; (at = strstr(at, name)); at++)
    if ((at == given || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length])) return true;
  return false;
}

// Of its architecture, else of the one before it.
static const Chip *chip_like(const DeviceInfo *device) {
  const Chip *found = chips;
  for (const Chip *chip = chips; chip->name; chip++)
    if (chip->sm == device->sm && names_chip(device->name, chip->name)) return chip;
  for (const Chip *chip = chips; chip->name && chip->sm <= device->sm; chip++)
    if (chip->sm > found->sm) found = chip;
  return found;
}

// Whether what is told is another number than the row's, by more than chips of one name differ.
static bool differs(double told, double row) { return told > 0 && fabs(told - row) > row / 20; }

void chip_take_rates(DeviceInfo *device, double clock, double memory) {
  DeviceRates *rates = &device->rates;
  *rates = chip_like(device)->rates;
  if (differs(clock, rates->clock)) rates->clock = clock;
  if (!differs(memory, rates->memory)) return;
  rates->reached *= memory / rates->memory;
  rates->memory = memory;
}

void cpu_take_rates(DeviceInfo *device) {
  DeviceRates *rates = &device->rates;
  *rates = cpus[cpu_level()];
  rates->memory *= MIN(device->multiprocessors, MEMORY_THREADS);
  rates->reached *= MIN(device->multiprocessors, MEMORY_THREADS);
}
