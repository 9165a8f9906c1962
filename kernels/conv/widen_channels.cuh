// An image of few channels, as the tensor-core convolution copies it: channels fastest, with zeros behind them up to 8 or 16 bytes, so that a tap
// is one copy. A thread makes a pixel. Limit: memory, one reading of the image and one writing of the wider one.
#pragma once
#include "kernels/common/types.cuh"

// P: the geometry of the convolution (conv_emit_geometry); its C channels become WIDE; `pixels` of all images, of Sizes of its own.
template <class P, class Word> DEVICE void widen_channels(const Word *x, Word *out, const typename P::Sizes &sizes) {
  struct alignas(sizeof(Word) * P::WIDE) Pixel {
    Word channels[P::WIDE];
  };
  const u32 pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= (u32)sizes.rows()) return;
  const u32 line = sizes.by_out_line(pixel), plane = sizes.by_out_plane(pixel), image = sizes.by_out_image(pixel),
            w = pixel - line * (u32)sizes.out_w(), h = line - plane * (u32)sizes.out_h(),
            d = plane - image * (u32)sizes.out_d();
  const Word *from = x + (i64)image * sizes.x_image() + (i64)d * sizes.x_d() + (i64)h * sizes.x_h() + (i64)w * sizes.x_w();
  Pixel made;
#pragma unroll
  for (int c = 0; c < P::WIDE; c++) made.channels[c] = c < P::C ? from[c * sizes.x_c()] : (Word)0;
  ((Pixel *)out)[pixel] = made;
}
