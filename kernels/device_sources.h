// Every .cuh under kernels/, as text.
#pragma once
#include "base/device_source.h"

extern const DeviceSource device_sources[];
