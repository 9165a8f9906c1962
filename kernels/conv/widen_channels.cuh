// An image of few channels, as the tensor-core convolution copies it: channels fastest, with zeros behind them up to 8 or 16 bytes, so that a tap
// is one copy. A thread makes a pixel. Limit: memory, one reading of the image and one writing of the wider one.
#pragma once
#include "kernels/common/types.cuh"

// P: the geometry of the convolution (conv_emit_geometry); its C channels become WIDE; PIXELS of all images.
template <class P, class Word> DEVICE void widen_channels(const Word *x, Word *out) {
  struct alignas(sizeof(Word) * P::WIDE) Pixel {
    Word channels[P::WIDE];
  };
  const u32 pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= (u32)P::PIXELS) return;
  const u32 w = pixel % (u32)P::IN_W, line = pixel / (u32)P::IN_W, h = line % (u32)P::IN_H, plane = line / (u32)P::IN_H,
            d = plane % (u32)P::IN_D, image = plane / (u32)P::IN_D;
  const Word *from = x + (i64)image * P::X_IMAGE + (i64)d * P::X_D + (i64)h * P::X_H + (i64)w * P::X_W;
  Pixel made;
#pragma unroll
  for (int c = 0; c < P::WIDE; c++) made.channels[c] = c < P::C ? from[c * P::X_C] : (Word)0;
  ((Pixel *)out)[pixel] = made;
}
