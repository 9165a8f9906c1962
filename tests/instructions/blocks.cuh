// Blocks of one launch that are in place at once, and meet at a counter in device memory. 128 threads a block.
#include "kernels/common/arrivals.cuh"

// In each round a block leaves words and reads those of the next, which are double-buffered: who has met knows that the round before is read.
extern "C" __global__ void __launch_bounds__(128) rounds(u32 *counter, u32 *words, u32 *out, int rounds) {
  const u32 i = threadIdx.x, next = (blockIdx.x + 1) % gridDim.x, size = gridDim.x * 128;
  u32 mine = blockIdx.x * 128 + i;
  for (int round = 0; round < rounds; round++) {
    u32 *here = words + (round & 1) * size;
    here[blockIdx.x * 128 + i] = mine;
    blocks_arrive(counter);
    blocks_wait(counter, (u32)(round + 1) * gridDim.x);
    const uint4 four = load_from_others(here + next * 128 + i / 4 * 4);
    mine = mine * 3 + four.x + four.y * 2 + four.z * 5 + four.w * 7 + i;
  }
  out[blockIdx.x * 128 + i] = mine;
}
