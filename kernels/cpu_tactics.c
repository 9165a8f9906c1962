// Every way to compute a site on the CPU, preferred first. What none of them supports runs its reference.
#include "kernels/cpu_tactic.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/rowwise/rowwise.h"

const CpuTactic *const cpu_tactics[] = {
    &elementwise_cpu,
    &rowwise_cpu,
    NULL,
};
