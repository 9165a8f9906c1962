// Calls of the driver that fail on purpose. See fault.c.
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "tests/emulator/emulator.h"

extern pthread_mutex_t emulator_mutex;

// At the beginning of every function of the table: all of them may fail, save those that put an error into words.
CudaResult fault_check(const char *call);
#define MAY_FAIL()                             \
  do {                                         \
    CudaResult fault_ = fault_check(__func__); \
    if (fault_) return fault_;                 \
  } while (0)

// At the beginning of functions that give something back. They report an error, perhaps of earlier work, and do what they are for all the same.
#define GIVES_BACK() CudaResult fault = fault_check(__func__)

// For NVRTC: no call of the driver's, so that a context that is lost does not concern it.
CudaResult fault_due(const char *call);

// Counts objects that are alive: what a program must have given back at its end.
extern _Atomic int live_objects;
// The call that failed on purpose; NULL: none yet.
const char *emulator_failed_call(void);
