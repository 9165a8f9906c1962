// Where a mask is true. Blocks take pieces of it: they count theirs, one block turns the counts into places, and each piece is then listed from its place on. The order is
// that of the elements, whatever block comes first.
#pragma once
#include "kernels/scan/scan.cuh"

constexpr int MASK_THREADS = 256, MASK_ITEMS = 8, MASK_PIECE = MASK_THREADS * MASK_ITEMS;

// The thread's first element; bit i of the result: element i after it is there and true.
DEVICE u32 mask_first() { return blockIdx.x * MASK_PIECE + threadIdx.x * MASK_ITEMS; }
DEVICE u32 mask_bits(const u8 *mask, u32 n) {
  const u32 first = mask_first();
  u32 bits = 0;
#pragma unroll
  for (int i = 0; i < MASK_ITEMS; i++)
    if (first + i < n && mask[first + i]) bits |= 1u << i;
  return bits;
}

// How many are true in lower threads of the block, and in all in *total.
DEVICE u32 mask_before(u32 bits, u32 *total) {
  __shared__ u32 shared[MASK_THREADS / 32];
  u32 count = 0;
#pragma unroll
  for (int i = 0; i < MASK_ITEMS; i++) count += bits >> i & 1;
  return scan_block<RunningSum, MASK_THREADS / 32>(count, 0u, shared, total);
}

DEVICE void mask_count(const u8 *mask, u32 n, u32 *counts) {
  u32 total;
  mask_before(mask_bits(mask, n), &total);
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

// One block: each count becomes the sum of those before it.
DEVICE void mask_places(u32 *counts, u32 pieces, i64 *found) {
  __shared__ u32 shared[MASK_THREADS / 32];
  u32 carry = 0;
  for (u32 first = 0; first < pieces; first += MASK_THREADS) {
    const u32 at = first + threadIdx.x;
    u32 total;
    const u32 before = scan_block<RunningSum, MASK_THREADS / 32>(at < pieces ? counts[at] : 0u, 0u, shared, &total);
    if (at < pieces) counts[at] = carry + before;
    carry += total;
  }
  if (threadIdx.x == 0) *found = carry;
}

// Zeros behind what is listed; all blocks.
DEVICE void clear_rest(i64 *to, i64 begin, i64 end) {
  for (i64 i = begin + (i64)blockIdx.x * blockDim.x + threadIdx.x; i < end; i += (i64)gridDim.x * blockDim.x) to[i] = 0;
}
