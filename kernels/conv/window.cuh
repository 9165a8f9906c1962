// Where a convolution reads: from an output position and a tap to an input element. A position is prepared once, a tap costs an addition
// and a test. Where the kernel is small (the sum of its three sizes is at most 32, so 3x3, 7x7 and 15x15 are) the test is one AND with
// bits prepared for each tap of each axis.
#pragma once
#include "kernels/common/types.cuh"

// A step of K taken apart. P::C_FAST: channels run fastest within a tap; else taps run fastest within a channel.
template <class P> struct Tap {
  int d, h, w, c;
  __device__ __forceinline__ Tap(int k) {
    u32 tap = P::C_FAST ? (u32)k / (u32)P::C : (u32)k % (u32)P::TAPS;
    c = P::C_FAST ? (int)((u32)k % (u32)P::C) : (int)((u32)k / (u32)P::TAPS);
    w = (int)(tap % (u32)P::KERNEL_W), h = (int)(tap / (u32)P::KERNEL_W % (u32)P::KERNEL_H), d = (int)(tap / (u32)(P::KERNEL_W * P::KERNEL_H));
  }
  static constexpr bool BITS = !P::TRANSPOSED && P::KERNEL_D + P::KERNEL_H + P::KERNEL_W <= 32;
  __device__ __forceinline__ u32 bits() const { return 1u << d | 1u << (P::KERNEL_D + h) | 1u << (P::KERNEL_D + P::KERNEL_H + w); }
  // Elements from the first tap to this one (not for transposed convolutions).
  template <class Offset> __device__ __forceinline__ Offset offset() const {
    return (Offset)(d * P::DILATION_D) * (Offset)P::X_D + (Offset)(h * P::DILATION_H) * (Offset)P::X_H + (Offset)(w * P::DILATION_W) * (Offset)P::X_W +
           (Offset)c * (Offset)P::X_C;
  }
};

DEVICE u32 inside_bits(int first, int dilation, int kernel, int size, u32 shift) {
  u32 bits = 0;
  for (int tap = 0; tap < kernel; tap++) bits |= (u32)((u32)(first + tap * dilation) < (u32)size) << (shift + tap);
  return bits;
}

// The position of one row of the image matrix. Offset: int where a tensor has fewer than 2^31 elements, else i64.
template <class P, class Offset> struct Window {
  Offset base;  // of the first tap, which may lie outside; transposed: of the image
  u32 inside;
  int d, h, w;  // the first tap's place; transposed: the output position plus the padding

  __device__ __forceinline__ Window() {}
  __device__ __forceinline__ Window(int row) {
    u32 index = (u32)row;
    int ow = (int)(index % (u32)P::OUT_W), oh = (int)(index / (u32)P::OUT_W % (u32)P::OUT_H),
        od = (int)(index / ((u32)P::OUT_W * P::OUT_H) % (u32)P::OUT_D), image = (int)(index / ((u32)P::OUT_W * P::OUT_H * P::OUT_D));
    base = (Offset)image * (Offset)P::X_IMAGE;
    if constexpr (P::TRANSPOSED) {
      d = od + P::PAD_D, h = oh + P::PAD_H, w = ow + P::PAD_W;
      inside = row < P::M;
    } else {
      d = od * P::STRIDE_D - P::PAD_D, h = oh * P::STRIDE_H - P::PAD_H, w = ow * P::STRIDE_W - P::PAD_W;
      base += (Offset)d * (Offset)P::X_D + (Offset)h * (Offset)P::X_H + (Offset)w * (Offset)P::X_W;
      inside = row < P::M;
      if constexpr (Tap<P>::BITS) {
        inside = inside_bits(d, P::DILATION_D, P::KERNEL_D, P::IN_D, 0) | inside_bits(h, P::DILATION_H, P::KERNEL_H, P::IN_H, P::KERNEL_D) |
                 inside_bits(w, P::DILATION_W, P::KERNEL_W, P::IN_W, P::KERNEL_D + P::KERNEL_H);
        if (row >= P::M) inside = 0;
      }
    }
  }
  // Whether the tap reads an element, and which. step: tap.offset(), for the caller to share between windows.
  __device__ __forceinline__ bool find(const Tap<P> &tap, Offset step, Offset &at) const {
    if constexpr (P::TRANSPOSED) {
      int id = d - tap.d * P::DILATION_D, ih = h - tap.h * P::DILATION_H, iw = w - tap.w * P::DILATION_W;
      bool whole = id >= 0 && ih >= 0 && iw >= 0 && id % P::STRIDE_D == 0 && ih % P::STRIDE_H == 0 && iw % P::STRIDE_W == 0;
      id /= P::STRIDE_D, ih /= P::STRIDE_H, iw /= P::STRIDE_W;
      at = base + (Offset)id * (Offset)P::X_D + (Offset)ih * (Offset)P::X_H + (Offset)iw * (Offset)P::X_W + (Offset)tap.c * (Offset)P::X_C;
      return inside && whole && id < P::IN_D && ih < P::IN_H && iw < P::IN_W;
    } else {
      at = base + step;
      if constexpr (Tap<P>::BITS) {
        u32 need = tap.bits();
        return (inside & need) == need;
      } else {
        return inside && (u32)(d + tap.d * P::DILATION_D) < (u32)P::IN_D && (u32)(h + tap.h * P::DILATION_H) < (u32)P::IN_H &&
               (u32)(w + tap.w * P::DILATION_W) < (u32)P::IN_W;
      }
    }
  }
};
