// Movement on the CPU.
#pragma once
#include "kernels/cpu_tactic.h"

extern const CpuTactic cpu_concat, cpu_gather;
