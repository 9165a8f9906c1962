// Chips that plans can be made for where they are not: what implementations and the cost model ask of a device, one row a chip.
#pragma once
#include "base/device.h"
#include "base/status.h"

typedef struct Chip {
  const char *name;  // "RTX 4090"
  int sm, multiprocessors;
  int shared_kilobytes;  // one block may have; a multiprocessor has one more
  int l2_megabytes, memory_gigabytes;
} Chip;
extern const Chip chips[];  // the first of an architecture stands for it; ends with a row without a name

// By a chip's name, whatever its case, its spaces left out or not, or as "sm_90a": the first of the architecture, whose suffix may be left out.
// An error names what there is.
MUST_CHECK Status chip_find(const char *name, DeviceInfo *out);
