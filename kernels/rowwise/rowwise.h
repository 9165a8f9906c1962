// Rowwise: a scalar program whose reductions run over some axes of a broadcast domain.
#pragma once
#include "kernels/cpu_tactic.h"

extern const OpDef op_rowwise;
extern const CpuTactic rowwise_cpu;
