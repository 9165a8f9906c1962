// An operand of the tensor cores whose elements go through a program on their way: between the arrival of a piece in shared memory and its use, each
// thread works on the chunks that it brought itself, in place, so that nobody need wait for anybody; where there are stages enough, while the piece before is
// multiplied. What the program reads beside the element depends on k alone, and is brought into a table in shared memory while the first pieces come.
//
// The generated `Prologue` (kernels/tile/prologue_source.h) has Table, for the DEPTH of k that a block multiplies, fill(table, k_begin, k_end), and apply(word, table, at) for 8 neighbouring
// k of 16-bit elements. Cost per chunk: 16 bytes of shared memory read and written, what is read of the table, and the program.
#pragma once
#include "kernels/tile/ptx.cuh"

struct NoPrologue {};

// Chunks lie in k_end as a whole.
template <class Copy, class Prologue, class Shared, int BK, int THREADS> struct PreparedCopy {
  static constexpr int STEP = THREADS / Shared::CHUNKS, PASSES = (Shared::LINES + STEP - 1) / STEP;
  static constexpr bool PREPARES = true;
  Copy copies;
  const Prologue &prologue;
  typename Prologue::Table *table;
  int line, chunk, k_begin, k, k_end;

  __device__ __forceinline__ PreparedCopy(const Copy &of, const Prologue &with, int begin, int end)
      : copies(of), prologue(with) {
    __shared__ typename Prologue::Table shared;
    table = &shared;
    line = (int)threadIdx.x / Shared::CHUNKS, chunk = (int)threadIdx.x % Shared::CHUNKS;
    k_begin = begin, k = begin + chunk * Shared::PER_CHUNK, k_end = end;
  }
  __device__ __forceinline__ bool past(int pass) const { return Shared::LINES % STEP && line + pass * STEP >= Shared::LINES; }
  __device__ __forceinline__ void copy(u32 to) { copies.copy(to); }
  // The first copies are under way.
  __device__ __forceinline__ void begin() {
    prologue.template fill<THREADS>(*table, k_begin, k_end);
    __syncthreads();
  }
  // The piece at `stage` has come, as far as this thread brought it. Behind the last piece nothing is done.
  __device__ __forceinline__ void finish(u32 stage) {
    if (k < k_end) {
      uint4 words[PASSES];
#pragma unroll
      for (int pass = 0; pass < PASSES; pass++)
        if (!past(pass)) words[pass] = load_shared_chunk(stage + Shared::offset(line + pass * STEP, chunk));
      typename Prologue::Operands operands(*table, k - k_begin);
#pragma unroll
      for (int pass = 0; pass < PASSES; pass++)
        if (!past(pass))
          store_shared<16>(stage + Shared::offset(line + pass * STEP, chunk), prologue.apply(words[pass], operands));
    }
    k += BK;
  }
};
template <class Copy, class Shared, int BK, int THREADS> struct PreparedCopy<Copy, NoPrologue, Shared, BK, THREADS> : Copy {
  static constexpr bool PREPARES = false;
  __device__ __forceinline__ PreparedCopy(const Copy &of, const NoPrologue &, int, int) : Copy(of) {}
  __device__ __forceinline__ void begin() {}
  __device__ __forceinline__ void finish(u32) {}
};
