// Chips: what implementations and the cost model ask of a device, one row a chip. Plans can be made for those that are not here; a GPU that is here is
// predicted by the row of its name or of its architecture.
#pragma once
#include "base/device.h"
#include "base/status.h"

typedef struct Chip {
  const char *name;  // "RTX 4090"
  int sm, multiprocessors;
  int shared_kilobytes;  // one block may have; a multiprocessor has one more
  int l2_megabytes, memory_gigabytes;
  DeviceRates rates;
} Chip;
extern const Chip chips[];  // the first of an architecture stands for it; ends with a row without a name

// By a chip's name, whatever its case, its spaces left out or not, or as "sm_90a": the first of the architecture, whose suffix may be left out.
// An error names what there is.
MUST_CHECK Status chip_find(const char *name, DeviceInfo *out);

// Fills device->rates of a GPU that is here, by its name and architecture, and by what the driver says: its clock in MHz and its memory's rate in GB/s; 0: it does not
// say. What is within a twentieth of the row's is that chip, so that plans made elsewhere are those that are made where it is.
void chip_take_rates(DeviceInfo *device, double clock, double memory);
// Fills those of a CPU, by its instructions and its number of threads.
void cpu_take_rates(DeviceInfo *device);
