// A file of device code, embedded as text by cmake/embed.cmake: its path relative to the repository ("kernels/common/types.cuh") and its
// content. Generated kernels include it by that path. Tables of them end with a NULL path.
#pragma once
typedef struct DeviceSource {
  const char *path, *text;
} DeviceSource;
