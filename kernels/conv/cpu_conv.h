// The geometry that convolutions, transposed convolutions and pools give to oneDNN, and the layouts they read and write.
#pragma once
#include "kernels/common/cpu_anchor.h"
#include "kernels/meaning.h"

// large[i] and small[i] are the sizes along the spatial axes of what the window slides over and of its positions: pad_end is set so that they fit,
// whatever ceil_mode or output_padding made of them.
bool cpu_window_fits(const Window *window, const int64_t *large, const int64_t *small);  // else oneDNN refuses it
OnednnWindow cpu_window(const Window *window, const int64_t *large, const int64_t *small);

// Strides of a packed tensor of these dims, row-major or with the channels innermost.
void cpu_image_strides(int rank, const int64_t *dims, bool channels_last, int64_t *strides);

extern const CpuTactic cpu_conv, cpu_conv_transpose, cpu_own_conv, cpu_own_conv_transpose;
