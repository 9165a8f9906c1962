// Where a convolution reads: from an output position and a tap to an input element. A position is prepared once, a tap costs an addition
// and a test. Where the kernel is small (the sum of its three sizes is at most 32, so 3x3, 7x7 and 15x15 are) the test is one AND with
// bits prepared for each tap of each axis. A transposed convolution is one of these for each phase of its outputs (kernels/conv/phases.h),
// which differ in their taps and padding: known when a block begins.
//
// P::Sizes says how large images are and how they lie: functions that give constants, or arguments of the kernel. rows(), of the output; in_d(), in_h(), in_w(), out_d(), out_h(),
// out_w(); x_image(), x_c(), x_d(), x_h(), x_w(), strides in elements; by_out_line(n), by_out_plane(n) and by_out_image(n), a row's number divided by the positions of each.
#pragma once
#include "kernels/common/types.cuh"

// The taps and padding along one axis, of a convolution and of a phase of a transposed one: axis_phase in kernels/conv/phases.c.
template <int KERNEL, int PAD> struct WholeAxis {
  static constexpr int taps = KERNEL, pad = PAD;
  __device__ __forceinline__ u32 divide(u32 n) const { return n / (u32)KERNEL; }
  __device__ __forceinline__ int kernel_tap(int tap) const { return tap; }
};
template <int STRIDE, int DILATION, int KERNEL, int COMMON, int STEP, int INVERSE, i64 FULL_PAD> struct PhasedAxis {
  static constexpr int REST = (int)((FULL_PAD % STRIDE + STRIDE) % STRIDE), WHOLE = (int)((FULL_PAD - REST) / STRIDE);
  static constexpr int SIZE = KERNEL, MOST = (KERNEL + STEP - 1) / STEP;
  int taps, pad, first, before;
  __device__ __forceinline__ PhasedAxis(u32 phase) {
    const u32 at = phase + (u32)REST, turn = at / (u32)COMMON % (u32)STEP;
    first = STEP > 65535 ? (int)((u64)turn * INVERSE % STEP) : (int)(turn * (u32)INVERSE % (u32)STEP);
    taps = at % (u32)COMMON == 0 && first < KERNEL ? (KERNEL - 1 - first) / STEP + 1 : 0;
    pad = (taps - 1) * (DILATION / COMMON) - WHOLE - ((int)at - first * DILATION) / STRIDE;
    before = first * (KERNEL / STEP) + min(first, KERNEL % STEP);
  }
  // By the phase's taps, which are MOST, one fewer, or none at all.
  __device__ __forceinline__ u32 divide(u32 n) const {
    constexpr u32 FEWER = MOST > 1 ? MOST - 1 : 1;
    return KERNEL % STEP == 0 || taps == MOST ? n / (u32)MOST : n / FEWER;
  }
  __device__ __forceinline__ int kernel_tap(int tap) const { return first + (taps - 1 - tap) * STEP; }
};

template <class P, bool PHASED = P::PHASED> struct Phase {
  typename P::Sizes sizes;
  WholeAxis<P::KERNEL_D, P::PAD_D> d;
  WholeAxis<P::KERNEL_H, P::PAD_H> h;
  WholeAxis<P::KERNEL_W, P::PAD_W> w;
  __device__ __forceinline__ Phase(const typename P::Sizes &of, u32) : sizes(of) {}
  __device__ __forceinline__ int limit(int k_end) const { return k_end; }
  __device__ __forceinline__ int packed_tap() const { return 0; }
};
template <class P> struct Phase<P, true> {
  typename P::Sizes sizes;
  typename P::AxisD d;
  typename P::AxisH h;
  typename P::AxisW w;
  __device__ __forceinline__ Phase(const typename P::Sizes &of, u32 index)
      : sizes(of),
        d(index / (u32)(P::PHASES_H * P::PHASES_W)),
        h(index / (u32)P::PHASES_W % (u32)P::PHASES_H),
        w(index % (u32)P::PHASES_W) {}
  __device__ __forceinline__ int limit(int k_end) const { return min(k_end, d.taps * h.taps * w.taps * P::C); }
  // Taps that lie before this phase's in a packed filter.
  __device__ __forceinline__ int packed_tap() const {
    return (d.before * P::AxisH::SIZE + d.taps * h.before) * P::AxisW::SIZE + d.taps * h.taps * w.before;
  }
};

// A step of K taken apart. P::C_FAST: channels run fastest within a tap; else taps run fastest within a channel.
template <class P> struct Tap {
  int d, h, w, c;
  __device__ __forceinline__ Tap(int k, const Phase<P> &phase) {
    u32 tap = P::C_FAST ? (u32)k / (u32)P::C : (u32)k % (u32)P::TAPS;
    c = P::C_FAST ? (int)((u32)k % (u32)P::C) : (int)((u32)k / (u32)P::TAPS);
    const u32 line = phase.w.divide(tap), plane = phase.h.divide(line);
    w = (int)tap - (int)line * phase.w.taps, h = (int)line - (int)plane * phase.h.taps, d = (int)plane;
  }
  static constexpr bool BITS = P::KERNEL_D + P::KERNEL_H + P::KERNEL_W <= 32;
  __device__ __forceinline__ u32 bits() const {
    return 1u << d | 1u << (P::KERNEL_D + h) | 1u << (P::KERNEL_D + P::KERNEL_H + w);
  }
  // Elements from the first tap to this one.
  template <class Offset> __device__ __forceinline__ Offset offset(const typename P::Sizes &sizes) const {
    return (Offset)(d * P::DILATION_D) * (Offset)sizes.x_d() + (Offset)(h * P::DILATION_H) * (Offset)sizes.x_h() +
           (Offset)(w * P::DILATION_W) * (Offset)sizes.x_w() + (Offset)c * (Offset)sizes.x_c();
  }
};

DEVICE u32 inside_bits(int first, int dilation, int kernel, int size, u32 shift) {
  u32 bits = 0;
  for (int tap = 0; tap < kernel; tap++) bits |= (u32)((u32)(first + tap * dilation) < (u32)size) << (shift + tap);
  return bits;
}

// The position of one row of the image matrix. Offset: int where a tensor has fewer than 2^31 elements, else i64.
template <class P, class Offset> struct Window {
  Offset base;  // of the first tap, which may lie outside
  u32 inside;
  int d, h, w;  // the first tap's place

  __device__ __forceinline__ Window() {}
  __device__ __forceinline__ Window(int row, const Phase<P> &phase) {
    const typename P::Sizes &sizes = phase.sizes;
    const int line = (int)sizes.by_out_line((u32)row), plane = (int)sizes.by_out_plane((u32)row),
              image = (int)sizes.by_out_image((u32)row), ow = row - line * sizes.out_w(), oh = line - plane * sizes.out_h(),
              od = plane - image * sizes.out_d();
    d = od * P::STRIDE_D - phase.d.pad, h = oh * P::STRIDE_H - phase.h.pad, w = ow * P::STRIDE_W - phase.w.pad;
    base = (Offset)image * (Offset)sizes.x_image() + (Offset)d * (Offset)sizes.x_d() + (Offset)h * (Offset)sizes.x_h() +
           (Offset)w * (Offset)sizes.x_w();
    inside = row < sizes.rows();
    if constexpr (Tap<P>::BITS) {
      inside = inside_bits(d, P::DILATION_D, P::KERNEL_D, sizes.in_d(), 0) |
               inside_bits(h, P::DILATION_H, P::KERNEL_H, sizes.in_h(), P::KERNEL_D) |
               inside_bits(w, P::DILATION_W, P::KERNEL_W, sizes.in_w(), P::KERNEL_D + P::KERNEL_H);
      if (row >= sizes.rows()) inside = 0;
    }
  }
  // Whether the tap reads an element, and which. step: tap.offset(), for the caller to share between windows.
  __device__ __forceinline__ bool find(const Tap<P> &tap, const typename P::Sizes &sizes, Offset step, Offset &at) const {
    at = base + step;
    if constexpr (Tap<P>::BITS) {
      u32 need = tap.bits();
      return (inside & need) == need;
    } else {
      return inside && (u32)(d + tap.d * P::DILATION_D) < (u32)sizes.in_d() &&
             (u32)(h + tap.h * P::DILATION_H) < (u32)sizes.in_h() && (u32)(w + tap.w * P::DILATION_W) < (u32)sizes.in_w();
    }
  }
};
