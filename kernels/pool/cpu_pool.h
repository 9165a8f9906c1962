// Pooling on the CPU.
#pragma once
#include "kernels/cpu_tactic.h"

extern const CpuTactic cpu_pool;
