// Addresses of a GPU that get memory behind them as it is needed: what grows stays where it is, so that graphs recorded over it stay valid.
#pragma once
#include "cuda/context.h"

typedef struct CudaRange {
  CudaAddress base;
  size_t addresses, bytes;  // reserved; with memory behind them, from the base on
} CudaRange;

// Whether the device can, and its memory is the driver's and not a caller's allocator's.
MUST_CHECK Status cuda_range_offered(CudaContext *context, bool *out);
// Memory behind at least the first `bytes`. *moved: the base is another, and what lay there is gone; it is where the range is new or outgrows its
// addresses. After an error the range is as it was, or empty.
MUST_CHECK Status cuda_range_grow(CudaContext *context, CudaRange *range, size_t bytes, bool *moved);
void cuda_range_close(CudaContext *context, CudaRange *range);  // waits for what uses it; an empty one is fine
