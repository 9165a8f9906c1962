// What a device says of itself: what implementations, passes and the cost model may depend on.
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum DeviceKind { DEVICE_CPU, DEVICE_CUDA } DeviceKind;
typedef struct DeviceInfo {
  DeviceKind kind;
  char name[128];
  int sm;                // 75, 80, 86, 89, 90, 100, 120
  int multiprocessors;   // CPU: threads
  int shared_per_block;  // bytes, opt-in limit
  int shared_per_multiprocessor;
  int64_t l2_bytes, memory_bytes;
  bool cublaslt, cudnn;  // the libraries were found
} DeviceInfo;
