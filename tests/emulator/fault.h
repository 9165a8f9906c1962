// Calls of the driver that fail on purpose. See fault.c.
#pragma once
#include <pthread.h>
#include "emulator.h"

extern pthread_mutex_t emulator_mutex;

// At the beginning of every function of the table that may fail.
CudaResult fault_check(const char *call);
#define MAY_FAIL()                             \
  do {                                         \
    CudaResult fault_ = fault_check(__func__); \
    if (fault_) return fault_;                 \
  } while (0)

// Counts objects that are alive: what a program must have given back at its end.
extern int live_objects;
