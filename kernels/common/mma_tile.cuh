// The tensor-core tile engine of matmul and convolution: a block multiplies a BM x K by a K x BN piece.
//
// Shared memory holds STAGES pieces of BK deep. Two asynchronous groups or more are under way while one is multiplied, and inside a piece
// the fragments of the next step of k are loaded while the tensor cores work on this one. Operands lie as global memory has them,
// k or rows fastest; either way their 16-byte chunks are permuted within a line so that eight lanes reading eight lines touch all banks
// once, with no padding. What differs between matmul and convolution is only where a chunk comes from: that is the
// operand's copy type, whose copy(to) brings its next piece; what is done with the first operand before it is multiplied, prologue.cuh says.
#pragma once
#include "kernels/common/output.cuh"
#include "kernels/common/ptx.cuh"

// Where chunk `chunk` of line `line` lies within the line. WORDS: read as single words down a column, four lines at a time.
template <int CHUNKS, bool WORDS> DEVICE int swizzle(int line, int chunk) {
  if constexpr (WORDS) return CHUNKS >= 8 ? chunk ^ ((line & 3) * 2) : chunk ^ ((line & 2) & (CHUNKS - 1));
  else if constexpr (CHUNKS >= 8) return chunk ^ (line & 7);
  else if constexpr (CHUNKS == 4) return chunk ^ ((line >> 1) & 3);
  else if constexpr (CHUNKS == 2) return chunk ^ ((line >> 2) & 1);
  else return chunk;
}

// One operand's piece in shared memory: ROWS (of m or n) x BK elements of SIZE bytes.
template <bool K_FAST, int ROWS, int BK, int SIZE> struct SharedOperand {
  static constexpr int LINES = K_FAST ? ROWS : BK, CHUNKS = (K_FAST ? BK : ROWS) * SIZE / 16, PER_CHUNK = 16 / SIZE;
  static constexpr bool WORDS = !K_FAST && SIZE == 4;
  static constexpr int BYTES = LINES * CHUNKS * 16;

  static __device__ __forceinline__ u32 offset(int line, int chunk) {
    return (u32)(line * CHUNKS + swizzle<CHUNKS, WORDS>(line, chunk)) * 16;
  }
  static __device__ __forceinline__ u32 word(u32 base, int k, int row) {
    return load_shared(base + offset(k, row / 4) + (row % 4) * 4);
  }

  // The fragment of 16 rows from `row` on, of step `step` of k.
  static __device__ __forceinline__ void load_a(u32 (&out)[4], u32 base, int row, int step, int lane) {
    if constexpr (K_FAST) {
      load_matrices(out, base + offset(row + lane % 16, step * 2 + lane / 16));
    } else if constexpr (SIZE == 2) {
      load_matrices_transposed(out, base + offset(step * 16 + lane % 8 + lane / 16 * 8, row / 8 + lane / 8 % 2));
    } else {
      int k = step * 8 + lane % 4, m = row + lane / 4;
      out[0] = word(base, k, m), out[1] = word(base, k, m + 8), out[2] = word(base, k + 4, m),
      out[3] = word(base, k + 4, m + 8);
    }
  }
  // The fragments of columns row .. row + 7 and row + 8 .. row + 15.
  static __device__ __forceinline__ void load_b(u32 (&out)[4], u32 base, int row, int step, int lane) {
    if constexpr (K_FAST) {
      load_matrices(out, base + offset(row + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
    } else if constexpr (SIZE == 2) {
      load_matrices_transposed(out, base + offset(step * 16 + lane % 16, row / 8 + lane / 16));
    } else {
      int k = step * 8 + lane % 4, n = row + lane / 4;
      out[0] = word(base, k, n), out[1] = word(base, k + 4, n), out[2] = word(base, k, n + 8),
      out[3] = word(base, k + 4, n + 8);
    }
  }
};

// Brings one 16-byte chunk, of which `valid` bytes exist, with accesses of COPY bytes; at narrow alignments through registers.
template <int COPY> DEVICE void copy_chunk(u32 to, const char *from, int valid) {
  if constexpr (COPY == 16) {
    copy_async<16>(to, from, valid);
  } else if constexpr (COPY >= 4) {
#pragma unroll
    for (int i = 0; i < 16; i += COPY) copy_async<COPY>(to + i, from + i, min(max(valid - i, 0), COPY));
  } else {
    union {
      uint4 raw;
      u16 halves[8];
    } word;
#pragma unroll
    for (int i = 0; i < 8; i++) word.halves[i] = 2 * i < valid ? ((const u16 *)from)[i] : (u16)0;
    store_shared<16>(to, word.raw);
  }
}

// A matrix in memory whose lines are OUTER elements apart: lines of k if K_FAST, else lines of rows. ROW_COUNT x k_end elements exist.
template <class Shared, bool K_FAST, int ROWS, int BK, int SIZE, int COPY, int THREADS, i64 OUTER, int ROW_COUNT, bool WHOLE_K>
struct MatrixCopy {
  static_assert(THREADS % Shared::CHUNKS == 0, "a thread keeps its chunk");
  static constexpr int STEP = THREADS / Shared::CHUNKS, PASSES = (Shared::LINES + STEP - 1) / STEP;
  const char *from;
  int line, chunk, row, k, k_end;

  __device__ __forceinline__ MatrixCopy(const void *matrix, int row0, int k_begin, int end) {
    line = (int)threadIdx.x / Shared::CHUNKS, chunk = (int)threadIdx.x % Shared::CHUNKS;
    row = row0 + (K_FAST ? line : chunk * Shared::PER_CHUNK);
    k = k_begin + (K_FAST ? chunk * Shared::PER_CHUNK : line);
    k_end = end;
    from = (const char *)matrix + (K_FAST ? row * OUTER + k : k * OUTER + row) * SIZE;
  }
  __device__ __forceinline__ void copy(u32 to) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      if (Shared::LINES % STEP && line + pass * STEP >= Shared::LINES) break;
      int valid = 16;
      if constexpr (K_FAST) {
        if (!WHOLE_K) valid = min(max((k_end - k) * SIZE, 0), 16);
        if (ROW_COUNT % ROWS && row + pass * STEP >= ROW_COUNT) valid = 0;
      } else {
        if (ROW_COUNT % ROWS) valid = min(max((ROW_COUNT - row) * SIZE, 0), 16);
        if (!WHOLE_K && k + pass * STEP >= k_end) valid = 0;
      }
      copy_chunk<COPY>(to + Shared::offset(line + pass * STEP, chunk), from + pass * (STEP * OUTER * SIZE), valid);
    }
    from += (K_FAST ? (i64)BK : BK * OUTER) * SIZE;
    k += BK;
  }
};

// The order in which blocks take tiles: down eight tiles of rows before the next column, so that neighbours in time share operands
// in L2.
template <unsigned TILES_M, unsigned TILES_N> DEVICE void tile_position(unsigned tile, int &tile_m, int &tile_n) {
  constexpr unsigned GROUP = 8;
  unsigned first = tile / (GROUP * TILES_N) * GROUP, within = tile % (GROUP * TILES_N);
  unsigned height = TILES_M - first < GROUP ? TILES_M - first : GROUP;
  tile_m = (int)(first + within % height);
  tile_n = (int)(within / height);
}

// Sixteen rows of WN columns go from a warp's fragments through its own corner of shared memory to the output, so that a lane gets
// neighbouring columns. sums: four for each eight columns. What the epilogue reads is asked for GROUP places ahead, since it comes from afar;
// of every other 32 columns pairs of 16 bytes are swapped, so that lanes which take 32 bytes each meet in no bank.
template <int WN> struct FragmentStore {
  static constexpr int PITCH = WN + 8, FLOATS = 16 * PITCH;
  static __device__ __forceinline__ constexpr int swapped(int column) { return column ^ ((column >> 5 & 1) << 2); }
  template <int ROWS, int COLUMNS, class Output>
  static __device__ __forceinline__ void store(float *corner, const float *sums, int m0, int n0, int lane,
                                               const Output &output) {
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
        inside[i] = m < ROWS && n < COLUMNS && output.inside((u32)m, (u32)n);
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

// Multiplies `pieces` pieces and hands the result of the tile at (m0, n0) to output. T: BM, BN, BK, WM, WN (a warp's part), STAGES,
// A_K_FAST, B_K_FAST, and the output's size M x N.
template <class T, class Mma> struct MmaTile {
  static constexpr int BM = T::BM, BN = T::BN, BK = T::BK, WM = T::WM, WN = T::WN, STAGES = T::STAGES;
  static constexpr int WARPS_N = BN / WN, WARPS = BM / WM * WARPS_N, THREADS = WARPS * 32;
  static constexpr int FRAGMENTS_M = WM / 16, FRAGMENTS_N = WN / 8, STEPS = BK / Mma::STEP;
  static_assert(WM % 16 == 0 && WN % 16 == 0 && STEPS % 2 == 0 && STAGES >= 2, "shapes the loop is written for");
  typedef SharedOperand<T::A_K_FAST, BM, BK, Mma::SIZE> SharedA;
  typedef SharedOperand<T::B_K_FAST, BN, BK, Mma::SIZE> SharedB;
  static constexpr int STAGE_BYTES = SharedA::BYTES + SharedB::BYTES;

  template <class CopyA, class CopyB, class Output>
  static __device__ __forceinline__ void run(u8 *shared, CopyA &copy_a, CopyB &copy_b, int pieces, int m0, int n0,
                                             const Output &output) {
    constexpr bool AHEAD = CopyA::PREPARES && STAGES >= 3;  // finishes a piece while the one before it is multiplied
    constexpr int UNDER_WAY = STAGES - 2 - AHEAD;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int warp_m = warp / WARPS_N * WM, warp_n = warp % WARPS_N * WN;
    const u32 base = shared_address(shared);
    float sums[FRAGMENTS_M][FRAGMENTS_N][4];
#pragma unroll
    for (int i = 0; i < FRAGMENTS_M; i++)
#pragma unroll
      for (int j = 0; j < FRAGMENTS_N; j++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[i][j][c] = 0;

    int fetched = 0;  // pieces whose copy was started
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++) {
      if (fetched < pieces) {
        copy_a.copy(base + stage * STAGE_BYTES);
        copy_b.copy(base + stage * STAGE_BYTES + SharedA::BYTES);
        fetched++;
      }
      copy_commit();
    }
    u32 a[2][FRAGMENTS_M][4], b[2][FRAGMENTS_N / 2][4];
    auto load_fragments = [&](int buffer, u32 stage_base, int step) {
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; i++) SharedA::load_a(a[buffer][i], stage_base, warp_m + i * 16, step, lane);
#pragma unroll
      for (int j = 0; j < FRAGMENTS_N / 2; j++)
        SharedB::load_b(b[buffer][j], stage_base + SharedA::BYTES, warp_n + j * 16, step, lane);
    };
    copy_a.begin();
    copy_wait<UNDER_WAY>();
    copy_a.finish(base);
    __syncthreads();
    u32 reading = base, writing = base + (STAGES - 1) * STAGE_BYTES;
    const u32 last = base + (STAGES - 1) * STAGE_BYTES;
    if (pieces > 0) load_fragments(0, reading, 0);
#pragma unroll 1
    for (int piece = 0; piece < pieces; piece++) {
#pragma unroll
      for (int step = 0; step < STEPS; step++) {
        if (step == STEPS - 1) {
          copy_wait<UNDER_WAY>();
          reading = reading == last ? base : reading + STAGE_BYTES;
          if constexpr (!AHEAD) copy_a.finish(reading);
          __syncthreads();
        }
        if (step < STEPS - 1 || piece + 1 < pieces) load_fragments((step + 1) % 2, reading, (step + 1) % STEPS);
        if (step == 0) {
          if (fetched < pieces) {
            copy_a.copy(writing);
            copy_b.copy(writing + SharedA::BYTES);
            fetched++;
          }
          copy_commit();
          writing = writing == last ? base : writing + STAGE_BYTES;
          if constexpr (AHEAD) copy_a.finish(reading == last ? base : reading + STAGE_BYTES);
        }
        if constexpr (Mma::SIZE == 4) {
#pragma unroll
          for (int c = 0; c < 4; c++) {
#pragma unroll
            for (int i = 0; i < FRAGMENTS_M; i++) a[step % 2][i][c] = Mma::prepare(a[step % 2][i][c]);
#pragma unroll
            for (int j = 0; j < FRAGMENTS_N / 2; j++) b[step % 2][j][c] = Mma::prepare(b[step % 2][j][c]);
          }
        }
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; i++)
#pragma unroll
          for (int j = 0; j < FRAGMENTS_N; j++) Mma::multiply(sums[i][j], a[step % 2][i], &b[step % 2][j / 2][j % 2 * 2]);
      }
    }
    // The last piece's barrier lies behind all reads of its fragments, and no copy is under way: the corners may take the stages' memory.
    float *corner = (float *)shared + warp * FragmentStore<WN>::FLOATS;
#pragma unroll
    for (int i = 0; i < FRAGMENTS_M; i++)
      FragmentStore<WN>::template store<T::M, T::N>(corner, &sums[i][0][0], m0 + warp_m + i * 16, n0 + warp_n, lane, output);
  }
};
