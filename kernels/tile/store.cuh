// From sums in registers to the output, whose epilogue is done on the way (kernels/common/output.cuh).
#pragma once
#include "kernels/common/output.cuh"

// Sixteen rows of WN columns go from a warp's fragments through its own corner of shared memory to the output, so that a lane gets
// neighbouring columns. sums: four for each eight columns. What the epilogue reads is asked for GROUP places ahead, since it comes from afar;
// of every other 32 columns pairs of 16 bytes are swapped, so that lanes which take 32 bytes each meet in no bank.
template <int WN> struct FragmentStore {
  static constexpr int PITCH = WN + 8, FLOATS = 16 * PITCH;
  static __device__ __forceinline__ constexpr int swapped(int column) { return column ^ ((column >> 5 & 1) << 2); }
  // ROWS, COLUMNS below 0: `rows`, `columns` say how many.
  template <int ROWS, int COLUMNS, class Output>
  static __device__ __forceinline__ void store(float *corner, const float *sums, int m0, int n0, int lane, const Output &output,
                                               int rows = ROWS, int columns = COLUMNS) {
    constexpr int V = Output::VECTOR, PER_ROW = WN / V, TURNS = 16 * PER_ROW / 32, GROUP = TURNS < 4 ? TURNS : 4,
                  PART = V < 4 ? V : 4;
#pragma unroll
    for (int j = 0; j < WN / 8; j++) {
      float *at = corner + lane / 4 * PITCH + swapped(j * 8 + lane % 4 * 2);
      store_elements<2, 8>(at, sums + j * 4);
      store_elements<2, 8>(at + 8 * PITCH, sums + j * 4 + 2);
    }
    __syncwarp();
#pragma unroll 1
    for (int first = 0; first < TURNS; first += GROUP) {
      typename Output::template Operands<V> operands[GROUP];
      bool inside[GROUP];
#pragma unroll
      for (int i = 0; i < GROUP; i++) {
        const int index = (first + i) * 32 + lane, m = m0 + index / PER_ROW, n = n0 + index % PER_ROW * V;
        inside[i] = m < (ROWS < 0 ? rows : ROWS) && n < (COLUMNS < 0 ? columns : COLUMNS) && output.inside((u32)m, (u32)n);
        if (inside[i]) output.template load<V>((u32)m, (u32)n, operands[i]);
      }
#pragma unroll
      for (int i = 0; i < GROUP; i++) {
        const int index = (first + i) * 32 + lane, row = index / PER_ROW, column = index % PER_ROW * V;
        float values[V];
#pragma unroll
        for (int part = 0; part < V; part += PART)
          load_elements<PART, PART * 4>(corner + row * PITCH + swapped(column + part), values + part);
        if (inside[i]) output.template store<V>((u32)(m0 + row), (u32)(n0 + column), values, operands[i]);
      }
    }
    __syncwarp();
  }
};
