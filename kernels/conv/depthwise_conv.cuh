// Depthwise convolution: one filter a channel, so there is no product to speak of, only memory traffic.
//
// Tiling, channels last: a thread makes TW neighbouring positions of V channels, reading 16 bytes of channels at a time; the columns that
// its positions share are read once. Channels first: a thread makes TW neighbouring positions of one channel, a warp a run of a
// row. Memory traffic per output: one element written, about (TW * STRIDE_W + KERNEL_W - STRIDE_W) / TW * KERNEL_H elements read,
// of which memory sees about STRIDE_W * STRIDE_H and L1 the rest. Limit: memory bandwidth (4.8 TB/s on an H200).
// Reached there: 3x3 on 32 x 144 x 56 x 56, f16, 22.8 us (2.5 TB/s, 1.14 times cuDNN); 7x7 on 96 channels 45.6 us (1.55 times);
// channels first, f32, 42 us (2.7 TB/s, 3.2 times).
#pragma once
#include "kernels/common/output.cuh"

// P: the geometry (conv_problem.c), TW, V, CHANNELS (all of them), CHANNELS_LAST; filters as [tap][channel] if PACKED, else with strides. P::Sizes: see
// window.cuh; P::Strips: the same where TW positions along a row are one.
template <class P, class T> struct Depthwise {
  static constexpr int TW = P::TW, V = P::V;
  static constexpr int SPAN = (TW - 1) * P::STRIDE_W + (P::KERNEL_W - 1) * P::DILATION_W + 1;
  static constexpr bool KEEP_COLUMNS = SPAN <= 16;  // in registers

  static __device__ __forceinline__ void load_filter(const T *w, int tap, int d, int h, int kw, int channel, float *out) {
    T raw[V];
    if constexpr (P::PACKED) load_elements<V, (int)sizeof(T) * V>(w + (i64)tap * P::CHANNELS + channel, raw);
    else
#pragma unroll
      for (int v = 0; v < V; v++) raw[v] = w[(channel + v) * P::W_GROUP + d * P::W_D + h * P::W_H + kw * P::W_W];
#pragma unroll
    for (int v = 0; v < V; v++) out[v] = widen<float>(raw[v]);
  }
  static __device__ __forceinline__ void load_pixel(const T *row, int column, const typename P::Sizes &sizes, float *out) {
    T raw[V];
#pragma unroll
    for (int v = 0; v < V; v++) raw[v] = T();
    if ((u32)column < (u32)sizes.in_w()) load_elements<V, (int)sizeof(T) * V>(row + column * sizes.x_w(), raw);
#pragma unroll
    for (int v = 0; v < V; v++) out[v] = widen<float>(raw[v]);
  }

  // sums[t] for output columns ow0 + t. x points at (image, channel).
  static __device__ __forceinline__ void run(const T *__restrict__ x, const T *__restrict__ w, int channel, int od, int oh,
                                             int ow0, const typename P::Sizes &sizes, float (&sums)[TW][V]) {
#pragma unroll
    for (int t = 0; t < TW; t++)
#pragma unroll
      for (int v = 0; v < V; v++) sums[t][v] = 0;
    const int first = ow0 * P::STRIDE_W - P::PAD_W;
    for (int kd = 0; kd < P::KERNEL_D; kd++) {
      const int id = od * P::STRIDE_D - P::PAD_D + kd * P::DILATION_D;
      if ((u32)id >= (u32)sizes.in_d()) continue;
#pragma unroll(P::KERNEL_H *P::KERNEL_W <= 9 ? P::KERNEL_H : 1)
      for (int kh = 0; kh < P::KERNEL_H; kh++) {
        const int ih = oh * P::STRIDE_H - P::PAD_H + kh * P::DILATION_H;
        if ((u32)ih >= (u32)sizes.in_h()) continue;
        const T *row = x + id * sizes.x_d() + ih * sizes.x_h();
        float columns[KEEP_COLUMNS ? SPAN : 1][V];
        if constexpr (KEEP_COLUMNS) {
#pragma unroll
          for (int i = 0; i < SPAN; i++) load_pixel(row, first + i, sizes, columns[i]);
        }
#pragma unroll
        for (int kw = 0; kw < P::KERNEL_W; kw++) {
          float filter[V];
          load_filter(w, (kd * P::KERNEL_H + kh) * P::KERNEL_W + kw, kd, kh, kw, channel, filter);
#pragma unroll
          for (int t = 0; t < TW; t++) {
            const int i = t * P::STRIDE_W + kw * P::DILATION_W;
            float pixel[V];
            if constexpr (!KEEP_COLUMNS) load_pixel(row, first + i, sizes, pixel);
#pragma unroll
            for (int v = 0; v < V; v++) sums[t][v] += (KEEP_COLUMNS ? columns[KEEP_COLUMNS ? i : 0][v] : pixel[v]) * filter[v];
          }
        }
      }
    }
  }
};

template <class P, class T, class Output>
DEVICE void depthwise_conv(const T *__restrict__ x, const T *__restrict__ w, Output output, const typename P::Sizes &sizes,
                           const typename P::Strips &strips) {
  typedef Depthwise<P, T> Kernel;
  constexpr int GROUPS = P::CHANNELS / P::V;
  const i64 thread = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= (i64)strips.rows() * GROUPS) return;
  float sums[P::TW][P::V];
  if constexpr (P::CHANNELS_LAST) {
    const int channel = (int)(thread % GROUPS) * P::V;
    const u32 strip = (u32)(thread / GROUPS);
    const int line = (int)strips.by_out_line(strip), plane = (int)strips.by_out_plane(strip),
              image = (int)strips.by_out_image(strip), ow0 = ((int)strip - line * strips.out_w()) * P::TW,
              oh = line - plane * strips.out_h(), od = plane - image * strips.out_d();
    Kernel::run(x + image * sizes.x_image() + channel * sizes.x_c(), w, channel, od, oh, ow0, sizes, sums);
    output.begin(0);
    const u32 row = (u32)(line * sizes.out_w() + ow0);
#pragma unroll
    for (int t = 0; t < P::TW; t++)
      if (ow0 + t < sizes.out_w()) store_columns<P::V>(output, row + t, (u32)channel, P::CHANNELS, sums[t]);
  } else {
    const int ow0 = (int)(thread % strips.out_w()) * P::TW;
    const i64 rest = thread / strips.out_w();
    const int oh = (int)(rest % sizes.out_h()), od = (int)(rest / sizes.out_h() % sizes.out_d());
    const u32 plane = (u32)(rest / ((i64)sizes.out_h() * sizes.out_d()));
    const int channel = (int)(plane % P::CHANNELS), image = (int)(plane / P::CHANNELS);
    Kernel::run(x + image * sizes.x_image() + channel * sizes.x_c(), w, channel, od, oh, ow0, sizes, sums);
    output.begin(plane);
    float values[P::TW];
#pragma unroll
    for (int t = 0; t < P::TW; t++) values[t] = sums[t][0];
    store_columns<P::TW>(output, (u32)(od * sizes.out_h() + oh), (u32)ow0, (u32)sizes.out_w(), values);
  }
}
