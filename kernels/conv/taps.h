// The loops under conv, conv_transpose and col2im. All three pair positions of a small grid with positions of a large one:
// for each kernel tap, large = small * stride + tap * dilation - pad. conv sums from large to small, the others from small
// to large. Ranges are clipped per tap, so that the inner loops run over rows without tests.
#pragma once
#include "kernels/meaning.h"

typedef struct Taps {
  int axes;
  int64_t small[MAX_RANK], large[MAX_RANK], kernel[MAX_RANK];
  int64_t stride[MAX_RANK], dilation[MAX_RANK], pad[MAX_RANK];
} Taps;

// How the sums are made: float inputs in double, double in double, integers modulo 2^64.
typedef enum TapsArithmetic { TAPS_FLOAT, TAPS_DOUBLE, TAPS_INT } TapsArithmetic;
TapsArithmetic taps_arithmetic(DType x, DType w);
MUST_CHECK Status taps_convert(const Reference *r, TapsArithmetic arithmetic, const Tensor *tensor, const void **out);
size_t taps_item_size(TapsArithmetic arithmetic);
void taps_store(TapsArithmetic arithmetic, Tensor *out, int64_t first, int64_t count, const void *sums);

Taps taps_from(const Window *window, const int64_t *small, const int64_t *large);
int64_t taps_small_count(const Taps *taps);
int64_t taps_large_count(const Taps *taps);
int64_t taps_kernel_count(const Taps *taps);

// sums (doubles, or 64-bit integers) += weights[tap] * data, over all taps of one kernel. weights NULL: all 1, and data has
// one small plane for each tap (col2im).
void taps_gather(const Taps *taps, TapsArithmetic arithmetic, const void *large, const void *weights, void *small_sums);
void taps_scatter(const Taps *taps, TapsArithmetic arithmetic, const void *small, const void *weights, void *large_sums);
