// Elementwise: a scalar program at every point of a broadcast domain.
#pragma once
#include "kernels/cpu_tactic.h"

extern const OpDef op_elementwise;
extern const CpuTactic elementwise_cpu_move, elementwise_cpu;
