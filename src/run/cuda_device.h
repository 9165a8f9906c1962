// What tuning and engine building ask of a CUDA device beyond the common interface.
#pragma once
#include "run/device.h"
#include "tune/tune.h"

// Fills in the device's own context, compiler and limits.
MUST_CHECK Status cuda_device_tune(Device *device, const PlanStep *steps, int count, TuneOptions *options,
                                   TuningDatabase *database, TuneReport *report);
// What is planned from here on is planned by it; it outlives the device, or the next call.
void cuda_device_use_tuning(Device *device, const TuningDatabase *database);
// Until told otherwise, the kernels that sizes near those at hand take (SelectOptions.other_rung).
void cuda_device_take_other_rung(Device *device, bool other);
// Kernels used from here on are the ones cuda_device_kernels returns.
void cuda_device_record_kernels(Device *device);

// For tests: sites of the implementation's operator are computed by it in its way of this number, or not at all. *taken is set
// when a site was. NULL ends it.
void cuda_device_force(Device *device, const Implementation *implementation, int way, bool *taken);
