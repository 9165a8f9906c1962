// See chips.h. Numbers are those of NVIDIA's data sheets and of the CUDA programming guide's table of compute capabilities.
#include "cuda/chips.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

// clang-format off: one line a chip
const Chip chips[] = {
    {"T4", 75, 40, 64, 4, 16},          {"A100", 80, 108, 163, 40, 80},
    {"A10", 86, 72, 99, 6, 24},         {"L4", 89, 58, 99, 48, 24},
    {"RTX 4090", 89, 128, 99, 72, 24},  {"H100", 90, 132, 227, 50, 80},
    {"H200", 90, 132, 227, 50, 141},    {"B200", 100, 148, 227, 126, 180},
    {"RTX 5090", 120, 170, 99, 96, 32}, {0},
};
// clang-format on

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
                      .memory_bytes = (int64_t)chip->memory_gigabytes << 30};
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
