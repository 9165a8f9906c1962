// Convolution and transposed convolution without tensor cores: any element type, any strides, groups, dilation, exact fp32.
//
// Tiling: the product of kernels/matmul/simt_matmul.cuh over the image matrix, whose elements are fetched from where their tap lies. Threads
// run along channels where those are contiguous and come in vectors, else along output positions. Memory traffic per output: as there,
// with the image's repeats in L1 and L2. Limit: the fp32 issue rate for wide layers (67 TFLOP/s on an H200), address arithmetic for
// narrow ones. A block makes one phase of a transposed convolution.
// Reached on an H200, f32, against cuDNN's best: 3x3 of 64 channels at batch 32 264 us channels first (0.90 of its speed), 200 us
// channels last (1.34); of 512 at batch 1 18.4 us (5.8).
#pragma once
#include "kernels/conv/window.cuh"
#include "kernels/matmul/simt_matmul.cuh"

// The image matrix: BM rows x BK. P::VA channels at once, then threads run along k; else along rows.
template <class P, class T, class Acc> struct SimtImage {
  static constexpr int ROWS = P::BM, BK = P::BK, V = P::VA, THREADS = simt_threads<P>;
  static constexpr bool K_FAST = V > 1;
  static constexpr int PITCH = ROWS + 16 / (int)sizeof(Acc), VECTORS = ROWS * BK / V,
                       PASSES = (VECTORS + THREADS - 1) / THREADS;
  static_assert(K_FAST || THREADS % ROWS == 0, "a thread keeps its row");
  static constexpr int WINDOWS = K_FAST ? PASSES : 1;
  typedef typename P::Offset Offset;
  const T *image;
  const Phase<P> phase;
  Window<P, Offset> windows[WINDOWS];
  T held[PASSES][V];

  __device__ static int row_of(int index) { return K_FAST ? index / (BK / V) : index % ROWS; }
  __device__ static int k_of(int index) { return K_FAST ? index % (BK / V) * V : index / ROWS; }

  __device__ __forceinline__ SimtImage(const T *x, const Phase<P> &of, int m0) : image(x), phase(of) {
#pragma unroll
    for (int i = 0; i < WINDOWS; i++) windows[i] = Window<P, Offset>(m0 + row_of((int)threadIdx.x + i * THREADS), phase);
  }
  __device__ __forceinline__ void fetch(int k0, int k_end) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      int index = (int)threadIdx.x + pass * THREADS, k = k0 + k_of(index);
      const Tap<P> tap(k, phase);
      Offset at;
      bool inside = windows[K_FAST ? pass : 0].find(tap, phase.sizes, tap.template offset<Offset>(phase.sizes), at);
      if (inside && k < k_end && (VECTORS % THREADS == 0 || index < VECTORS)) {
        load_elements<V, (int)sizeof(T) * V>(image + at, held[pass]);
      } else {
#pragma unroll
        for (int i = 0; i < V; i++) held[pass][i] = T();
      }
    }
  }
  __device__ __forceinline__ void store(Acc *tile) const {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      int index = (int)threadIdx.x + pass * THREADS;
      if (VECTORS % THREADS == 0 || index < VECTORS) simt_store<V, K_FAST, PITCH>(tile, row_of(index), k_of(index), held[pass]);
    }
  }
};

// Filters in any layout, element by element: BN rows x BK.
template <class P, class T, class Acc> struct SimtFilters {
  static constexpr int ROWS = P::BN, BK = P::BK, THREADS = simt_threads<P>;
  static constexpr int PITCH = ROWS + 16 / (int)sizeof(Acc), PASSES = (ROWS * BK + THREADS - 1) / THREADS;
  const T *filters;
  const Phase<P> phase;
  int row0;
  T held[PASSES][1];

  __device__ __forceinline__ SimtFilters(const T *w, const Phase<P> &of, int first_row)
      : filters(w), phase(of), row0(first_row) {}
  __device__ __forceinline__ void fetch(int k0, int k_end) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      int index = (int)threadIdx.x + pass * THREADS, row = row0 + index / BK, k = k0 + index % BK;
      const Tap<P> tap(k, phase);
      held[pass][0] = T();
      if (row < P::N && k < k_end && index < ROWS * BK)
        held[pass][0] = filters[row * P::W_FILTER + tap.c * P::W_C + phase.d.kernel_tap(tap.d) * P::W_D +
                                phase.h.kernel_tap(tap.h) * P::W_H + phase.w.kernel_tap(tap.w) * P::W_W];
    }
  }
  __device__ __forceinline__ void store(Acc *tile) const {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      int index = (int)threadIdx.x + pass * THREADS;
      if (index < ROWS * BK) simt_store<1, true, PITCH>(tile, index / BK, index % BK, held[pass]);
    }
  }
};

// x points at the group's first channel, w at its first filter; flat ones of a phase at its taps in that. P adds to tile and geometry: FLAT_FILTERS (filters are rows of K
// contiguous elements, B_N apart, in vectors of VB), else their strides W_*.
template <class P, class TX, class TW, class Acc, class Output>
DEVICE void simt_conv(const TX *__restrict__ x, const TW *__restrict__ w, const Phase<P> &phase, unsigned tile, int k_begin,
                      int k_end, const Output &output) {
  const int m0 = simt_tile_m<P>(tile), n0 = simt_tile_n<P>(tile);
  SimtImage<P, TX, Acc> image(x, phase, m0);
  if constexpr (P::FLAT_FILTERS) {
    typedef SimtOperand<TW, Acc, P::BN, P::BK, simt_threads<P>, P::VB, true, P::B_N, 1, P::N> Filters;
    simt_matmul<P, Acc>(image, Filters(w, n0), m0, n0, k_begin, k_end, output, phase.sizes.rows());
  } else {
    simt_matmul<P, Acc>(image, SimtFilters<P, TW, Acc>(w, phase, n0), m0, n0, k_begin, k_end, output, phase.sizes.rows());
  }
}
