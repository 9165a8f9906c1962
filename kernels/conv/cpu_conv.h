// Convolutions and transposed convolutions on the CPU.
#pragma once
#include "kernels/common/cpu_anchor.h"
#include "kernels/meaning.h"

// Strides of a packed tensor of these dims, row-major or with the channels innermost.
void cpu_image_strides(int rank, const int64_t *dims, bool channels_last, int64_t *strides);
