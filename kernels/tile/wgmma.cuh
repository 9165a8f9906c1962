// Hopper's warpgroup products: 128 threads multiply a 64 x 16 by a 16 x N piece that both lie in shared memory, asynchronously, the sums in
// registers. Operands are described by 64-bit descriptors of a layout whose 16-byte chunks are permuted in lines of 128 bytes
// (chunk ^ line % 8, counted from a 1024-byte boundary). sm_90a only.
#pragma once
#include "kernels/tile/async.cuh"

#ifdef EMULATED
DEVICE void wgmma_fence() { emulated_wgmma_fence(); }
DEVICE void wgmma_commit() { emulated_wgmma_commit(); }
template <int N> DEVICE void wgmma_wait() { emulated_wgmma_wait(N); }
#else
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most N groups of products are under way.
template <int N> DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
#endif

// from: shared address of the first line. k fastest: lines of 64 k elements, eight lines (one after the other) at a time `group` bytes
// apart. Rows fastest: lines of 64 rows for one k, eight k at a time `group` bytes apart, the next 64 rows `block` bytes on.
DEVICE u64 wgmma_descriptor(u32 from, u32 group, u32 block) {
  return (u64)((from & 0x3ffff) >> 4) | (u64)(block >> 4) << 16 | (u64)(group >> 4) << 32 | 1ull << 62;
}

#define WGMMA_SUMS_32                                                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, " \
  "%25, %26, %27, %28, %29, %30, %31"
#define WGMMA_SUMS_64                                                                                                     \
  WGMMA_SUMS_32                                                                                                           \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, " \
  "%55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_SUMS_128                                                                                                      \
  WGMMA_SUMS_64                                                                                                             \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, "   \
  "%87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, " \
  "%109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_FLOATS_8(i)                                                                                       \
  "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), "+f"(sums[i + 4]), "+f"(sums[i + 5]), \
      "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define WGMMA_FLOATS_32(i) WGMMA_FLOATS_8(i), WGMMA_FLOATS_8(i + 8), WGMMA_FLOATS_8(i + 16), WGMMA_FLOATS_8(i + 24)
#define WGMMA_FLOATS_64(i) WGMMA_FLOATS_32(i), WGMMA_FLOATS_32(i + 32)
#define WGMMA_FLOATS_128(i) WGMMA_FLOATS_64(i), WGMMA_FLOATS_64(i + 64)
// The operands after COUNT sums: a, b, whether to add, and whether rows are fastest in a and in b.
#define WGMMA(N, COUNT, TYPE, A, B, ADD, ROWS_A, ROWS_B)                                                                     \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" ADD ", 0;\nwgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE \
               " {" WGMMA_SUMS_##COUNT "}, %" A ", %" B ", p, 1, 1, %" ROWS_A ", %" ROWS_B ";\n}\n"                          \
               : WGMMA_FLOATS_##COUNT(0)                                                                                     \
               : "l"(a), "l"(b), "r"((int)add), "n"(ROWS_FAST_A), "n"(ROWS_FAST_B))

// sums[64][N] = a[64][16] * b[16][N], added to what they were where `add` says so; the thread's sums are the 16-row fragments of its warp: of columns 8j + 2 (lane % 4) and the next,
// rows lane / 4 (sums[4j], [4j + 1]) and lane / 4 + 8.
#ifdef EMULATED
template <bool ROWS_FAST_A, bool ROWS_FAST_B, int COUNT>
DEVICE void wgmma(MmaF16, float (&sums)[COUNT], u64 a, u64 b, bool add = true) {
  for (int i = 0; !add && i < COUNT; i++) sums[i] = 0;
  emulated_wgmma('h', 2 * COUNT, ROWS_FAST_A, ROWS_FAST_B, sums, a, b);
}
template <bool ROWS_FAST_A, bool ROWS_FAST_B, int COUNT>
DEVICE void wgmma(MmaBf16, float (&sums)[COUNT], u64 a, u64 b, bool add = true) {
  for (int i = 0; !add && i < COUNT; i++) sums[i] = 0;
  emulated_wgmma('b', 2 * COUNT, ROWS_FAST_A, ROWS_FAST_B, sums, a, b);
}
#else
#define WGMMA_TYPE(Tag, TYPE)                                                                                              \
  template <bool ROWS_FAST_A, bool ROWS_FAST_B> DEVICE void wgmma(Tag, float(&sums)[32], u64 a, u64 b, bool add = true) {  \
    WGMMA("64", 32, TYPE, "32", "33", "34", "35", "36");                                                                   \
  }                                                                                                                        \
  template <bool ROWS_FAST_A, bool ROWS_FAST_B> DEVICE void wgmma(Tag, float(&sums)[64], u64 a, u64 b, bool add = true) {  \
    WGMMA("128", 64, TYPE, "64", "65", "66", "67", "68");                                                                  \
  }                                                                                                                        \
  template <bool ROWS_FAST_A, bool ROWS_FAST_B> DEVICE void wgmma(Tag, float(&sums)[128], u64 a, u64 b, bool add = true) { \
    WGMMA("256", 128, TYPE, "128", "129", "130", "131", "132");                                                            \
  }
WGMMA_TYPE(MmaF16, "f16")
WGMMA_TYPE(MmaBf16, "bf16")
#endif

// The same with a 64 x 16 piece of a that lies in registers: of a warp's sixteen rows, pairs of neighbours along k as mma.sync's fragments have them, which are packed
// sums of another product. They must stay what they are until the product has been waited for.
#ifdef EMULATED
template <bool ROWS_FAST_B, int COUNT> DEVICE void wgmma_registers(MmaF16, float (&sums)[COUNT], const u32 (&a)[4], u64 b) {
  emulated_wgmma_registers('h', 2 * COUNT, ROWS_FAST_B, sums, a, b);
}
template <bool ROWS_FAST_B, int COUNT> DEVICE void wgmma_registers(MmaBf16, float (&sums)[COUNT], const u32 (&a)[4], u64 b) {
  emulated_wgmma_registers('b', 2 * COUNT, ROWS_FAST_B, sums, a, b);
}
#else
#define WGMMA_REGISTERS(N, COUNT, TYPE, A0, A1, A2, A3, B, ROWS_B)                                                    \
  asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE \
               " {" WGMMA_SUMS_##COUNT "}, {%" A0 ", %" A1 ", %" A2 ", %" A3 "}, %" B ", p, 1, 1, %" ROWS_B ";\n}\n"  \
               : WGMMA_FLOATS_##COUNT(0)                                                                              \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(ROWS_FAST_B))
#define WGMMA_REGISTERS_TYPE(Tag, TYPE)                                                                      \
  template <bool ROWS_FAST_B> DEVICE void wgmma_registers(Tag, float(&sums)[32], const u32(&a)[4], u64 b) {  \
    WGMMA_REGISTERS("64", 32, TYPE, "32", "33", "34", "35", "36", "37");                                     \
  }                                                                                                          \
  template <bool ROWS_FAST_B> DEVICE void wgmma_registers(Tag, float(&sums)[64], const u32(&a)[4], u64 b) {  \
    WGMMA_REGISTERS("128", 64, TYPE, "64", "65", "66", "67", "68", "69");                                    \
  }                                                                                                          \
  template <bool ROWS_FAST_B> DEVICE void wgmma_registers(Tag, float(&sums)[128], const u32(&a)[4], u64 b) { \
    WGMMA_REGISTERS("256", 128, TYPE, "128", "129", "130", "131", "132", "133");                             \
  }
WGMMA_REGISTERS_TYPE(MmaF16, "f16")
WGMMA_REGISTERS_TYPE(MmaBf16, "bf16")
#endif

// Between the last wait and the first use of the sums. Without it the compiler may move them while products are under way, and
// then waits after each product (it says so: C7514).
template <int COUNT> DEVICE void wgmma_settle(float (&sums)[COUNT]) {
#ifndef EMULATED
#pragma unroll
  for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(sums[i])::"memory");
#endif
}
