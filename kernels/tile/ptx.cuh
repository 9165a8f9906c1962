// The instructions that C++ has no name for: asynchronous copies into shared memory, fragment loads, tensor-core products. One
// function an instruction; older chips get the same result from the instructions they have. Where EMULATED is defined the text is compiled
// for a host instead, and each function calls what tests/emulator has for its instruction.
#pragma once
#include "kernels/common/types.cuh"

DEVICE u32 shared_address(const void *shared) { return (u32)__cvta_generic_to_shared(shared); }

template <int BYTES> DEVICE void store_shared(u32 to, typename Word<BYTES>::type value) {
#ifdef EMULATED
  emulated_store_shared(to, &value, BYTES);
#else
  if constexpr (BYTES == 4) asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
  if constexpr (BYTES == 8) asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(to), "r"(value.x), "r"(value.y) : "memory");
  if constexpr (BYTES == 16)
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w)
                 : "memory");
#endif
}
DEVICE u32 load_shared(u32 from) {
  u32 value;
#ifdef EMULATED
  emulated_load_shared(from, &value, 4);
#else
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
#endif
  return value;
}
DEVICE uint4 load_shared_chunk(u32 from) {
  uint4 value;
#ifdef EMULATED
  emulated_load_shared(from, &value, 16);
#else
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(from)
               : "memory");
#endif
  return value;
}

// Starts copying BYTES (4, 8 or 16) from global to shared memory; both addresses are aligned to BYTES. Of the source only the first
// `valid` bytes are read, the rest arrives as zeros; with valid 0 the source may be any address. Before sm_80 the copy is done
// when the call returns.
template <int BYTES> DEVICE void copy_async(u32 to, const void *from, int valid) {
#if defined(EMULATED) && __CUDA_ARCH__ >= 800
  emulated_copy_async(to, from, BYTES, valid);
#elif __CUDA_ARCH__ >= 800
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES), "r"(valid) : "memory");
#else
  typedef typename Word<BYTES>::type Raw;
  union {
    Raw raw;
    u16 halves[BYTES / 2];
  } word;
#pragma unroll
  for (int i = 0; i < BYTES / 2; i++) word.halves[i] = 0;
  if (valid >= BYTES) {
    word.raw = *(const Raw *)from;
  } else {
#pragma unroll
    for (int i = 0; i < BYTES / 2; i++)
      if (2 * i < valid) word.halves[i] = ((const u16 *)from)[i];
  }
  store_shared<BYTES>(to, word.raw);
#endif
}
// Copies started since the last commit form a group; copy_wait<N> waits until at most N groups of this thread are under way.
DEVICE void copy_commit() {
#if defined(EMULATED) && __CUDA_ARCH__ >= 800
  emulated_copy_commit();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int N> DEVICE void copy_wait() {
#if defined(EMULATED) && __CUDA_ARCH__ >= 800
  emulated_copy_wait(N);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// One, two or four 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
#define LOAD_MATRICES(COUNT, TRANSPOSED, FROM, OUTPUTS, ...)                                             \
  asm volatile("ldmatrix.sync.aligned.m8n8.x" #COUNT TRANSPOSED ".shared.b16 {" OUTPUTS "}, [" FROM "];" \
               : __VA_ARGS__                                                                             \
               : "r"(from)                                                                               \
               : "memory")
template <int COUNT> DEVICE void load_matrices(u32 (&out)[COUNT], u32 from) {
#ifdef EMULATED
  emulated_load_matrices(out, COUNT, false, from);
#else
  if constexpr (COUNT == 1) LOAD_MATRICES(1, "", "%1", "%0", "=r"(out[0]));
  if constexpr (COUNT == 2) LOAD_MATRICES(2, "", "%2", "%0, %1", "=r"(out[0]), "=r"(out[1]));
  if constexpr (COUNT == 4)
    LOAD_MATRICES(4, "", "%4", "%0, %1, %2, %3", "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]));
#endif
}
template <int COUNT> DEVICE void load_matrices_transposed(u32 (&out)[COUNT], u32 from) {
#ifdef EMULATED
  emulated_load_matrices(out, COUNT, true, from);
#else
  if constexpr (COUNT == 1) LOAD_MATRICES(1, ".trans", "%1", "%0", "=r"(out[0]));
  if constexpr (COUNT == 2) LOAD_MATRICES(2, ".trans", "%2", "%0, %1", "=r"(out[0]), "=r"(out[1]));
  if constexpr (COUNT == 4)
    LOAD_MATRICES(4, ".trans", "%4", "%0, %1, %2, %3", "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]));
#endif
}
#undef LOAD_MATRICES
#if __CUDA_ARCH__ >= 900
// The way back.
#define STORE_MATRICES(COUNT, TRANSPOSED, INPUTS, ...)                                                                   \
  asm volatile("stmatrix.sync.aligned.m8n8.x" #COUNT TRANSPOSED ".shared.b16 [%0], {" INPUTS "};" ::"r"(to), __VA_ARGS__ \
               : "memory")
template <int COUNT> DEVICE void store_matrices(u32 to, const u32 (&in)[COUNT]) {
#ifdef EMULATED
  emulated_store_matrices(in, COUNT, false, to);
#else
  if constexpr (COUNT == 1) STORE_MATRICES(1, "", "%1", "r"(in[0]));
  if constexpr (COUNT == 2) STORE_MATRICES(2, "", "%1, %2", "r"(in[0]), "r"(in[1]));
  if constexpr (COUNT == 4) STORE_MATRICES(4, "", "%1, %2, %3, %4", "r"(in[0]), "r"(in[1]), "r"(in[2]), "r"(in[3]));
#endif
}
template <int COUNT> DEVICE void store_matrices_transposed(u32 to, const u32 (&in)[COUNT]) {
#ifdef EMULATED
  emulated_store_matrices(in, COUNT, true, to);
#else
  if constexpr (COUNT == 1) STORE_MATRICES(1, ".trans", "%1", "r"(in[0]));
  if constexpr (COUNT == 2) STORE_MATRICES(2, ".trans", "%1, %2", "r"(in[0]), "r"(in[1]));
  if constexpr (COUNT == 4) STORE_MATRICES(4, ".trans", "%1, %2, %3, %4", "r"(in[0]), "r"(in[1]), "r"(in[2]), "r"(in[3]));
#endif
}
#undef STORE_MATRICES
#endif

// sums[16][8] += a[16][32 bytes of k] * b[32 bytes of k][8], accumulated in fp32. STEP: the elements of k.
struct MmaF16 {
  static constexpr int STEP = 16, SIZE = 2;
  static __device__ __forceinline__ u32 prepare(u32 pair) { return pair; }
  static __device__ __forceinline__ void multiply(float (&sums)[4], const u32 *a, const u32 *b) {
#if defined(EMULATED) && __CUDA_ARCH__ >= 800
    emulated_mma('h', 16, sums, a, b);
#elif defined(EMULATED)
    for (int half = 0; half < 2; half++) emulated_mma('h', 8, sums, a + 2 * half, b + half);
#elif __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
    for (int half = 0; half < 2; half++)
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                   : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                   : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
  }
};
#if __CUDA_ARCH__ >= 800
struct MmaBf16 {
  static constexpr int STEP = 16, SIZE = 2;
  static __device__ __forceinline__ u32 prepare(u32 pair) { return pair; }
  static __device__ __forceinline__ void multiply(float (&sums)[4], const u32 *a, const u32 *b) {
#ifdef EMULATED
    emulated_mma('b', 16, sums, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
  }
};
struct MmaTf32 {
  static constexpr int STEP = 8, SIZE = 4;
  // The product ignores the 13 low bits of an operand; rounding first halves the error that cutting them off would make.
  static __device__ __forceinline__ u32 prepare(u32 bits) {
#ifdef EMULATED
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
#else
    u32 rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(float_of_bits(bits)));
    return rounded;
#endif
  }
  static __device__ __forceinline__ void multiply(float (&sums)[4], const u32 *a, const u32 *b) {
#ifdef EMULATED
    emulated_mma('t', 8, sums, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
  }
};
#endif
