// Every .cuh under kernels/, embedded as text: path relative to the repository ("kernels/common/types.cuh") and content.
// Generated kernels include them by that path. The table ends with a NULL path.
#pragma once
typedef struct DeviceSource {
  const char *path, *text;
} DeviceSource;
extern const DeviceSource device_sources[];
