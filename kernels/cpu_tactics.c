// Every way to compute a site on the CPU, preferred first. What none of them supports runs its reference.
#include "kernels/cpu_tactic.h"
#include "kernels/conv/cpu_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/cpu_gather.h"
#include "kernels/matmul/cpu_matmul.h"
#include "kernels/pad/cpu_pad.h"
#include "kernels/pool/cpu_pool.h"
#include "kernels/recurrent/cpu_recurrent.h"
#include "kernels/resize/cpu_resize.h"
#include "kernels/rowwise/rowwise.h"

const CpuTactic *const cpu_tactics[] = {
    &cpu_conv,
    &cpu_own_conv,
    &cpu_own_conv_transpose,
    &cpu_conv_transpose,
    &cpu_matmul,
    &cpu_own_matmul,
    &cpu_pool,
    &cpu_concat,
    &cpu_gather,
    &cpu_pad,
    &cpu_resize,
    &cpu_recurrent,
    &elementwise_cpu_move,
    &elementwise_cpu,
    &rowwise_cpu,
    NULL,
};
