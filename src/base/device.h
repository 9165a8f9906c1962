// What a device says of itself: what implementations, passes and the cost model may depend on.
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum DeviceKind { DEVICE_CPU, DEVICE_CUDA } DeviceKind;

// What the cost model (kernels/cost.h) is fed with, from base/chips.c. A CPU's multiprocessors are its threads.
typedef struct DeviceRates {
  double clock;        // a multiprocessor's, in MHz: clocks in a microsecond
  double memory;       // GB/s, at its peak
  double reached;      // GB/s that products see, which read tiles of their operands again and find some in L2
  double l2_bytes;     // that a multiprocessor reads of it in a clock
  double f32, f64;     // multiply-adds of a multiprocessor in a clock
  double tensor;       // of operands of 16 bits, by tensor cores; half as many of 32 bits, twice as many of 8
  double warp_tensor;  // of them what the instructions of single warps get
  double threads;      // that a multiprocessor holds at once
  double launch;       // microseconds that a step takes that does nothing
} DeviceRates;

typedef struct DeviceInfo {
  DeviceKind kind;
  char name[128];
  int sm;                // 75, 80, 86, 89, 90, 100, 120
  int multiprocessors;   // CPU: threads
  int shared_per_block;  // bytes, opt-in limit
  int shared_per_multiprocessor;
  int64_t l2_bytes, memory_bytes;
  bool cublaslt, cudnn;  // the libraries were found
  DeviceRates rates;
} DeviceInfo;
