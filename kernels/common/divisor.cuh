// Division by a size that is an argument of the kernel: a multiplication and a shift, which the host finds (divisor_of in kernels/extent.c).
#pragma once
#include "kernels/common/types.cuh"

struct Divisor {
  u32 multiplier, shift;
};
// n < 2^31
DEVICE u32 divide(u32 n, Divisor by) { return (__umulhi(n, by.multiplier) + n) >> by.shift; }
