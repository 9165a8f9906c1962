// CUDA's built-in names for a host's C++ compiler: what NVRTC knows without being told, over the emulator's functions. Goes before every
// kernel. Nothing here is the kernel's own: a finding shows the line that called.
#pragma GCC system_header
#define EMULATED 1
typedef decltype(sizeof 0) size_t;
#define __device__
#define __host__
#define __global__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
// Thread-local at block scope means static, and goes with extern too: a block's shared memory is the thread-local memory of its copy of
// the module.
#define __shared__ thread_local
#define __align__(n) alignas(n)
#define __restrict__ __restrict
#define __grid_constant__

// clang-format off
struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
#define EMULATED_VECTOR(T, name) \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; }; \
  struct name##3 { T x, y, z; }; \
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; }; \
  static __forceinline__ name##2 make_##name##2(T x, T y) { return {x, y}; } \
  static __forceinline__ name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
// clang-format on
#define uint3 emulated_uint3
EMULATED_VECTOR(int, int)
EMULATED_VECTOR(unsigned, uint)
EMULATED_VECTOR(float, float)
EMULATED_VECTOR(double, double)
EMULATED_VECTOR(long long, longlong)
EMULATED_VECTOR(unsigned long long, ulonglong)
#undef uint3
#undef EMULATED_VECTOR

extern "C" {
// --- Where a thread is. The same for all its life, which `const` tells the compiler.
uint3 emulated_thread_index() __attribute__((const));
uint3 emulated_block_index() __attribute__((const));
dim3 emulated_block_dim() __attribute__((const));
dim3 emulated_grid_dim() __attribute__((const));
#define threadIdx (emulated_thread_index())
#define blockIdx (emulated_block_index())
#define blockDim (emulated_block_dim())
#define gridDim (emulated_grid_dim())
#define warpSize 32

// --- Meeting others (warp.c, barrier.c).
void emulated_barrier(int id, int threads);  // threads 0: all of the block
void emulated_barrier_arrive(int id, int threads);
int emulated_barrier_reduce(int kind, int predicate);  // 0 and, 1 or, 2 count
void emulated_syncwarp(unsigned mask);
void emulated_shuffle(int kind, unsigned mask, void *value, int size, int lane, int width);  // 0 idx, 1 up, 2 down, 3 xor
unsigned emulated_ballot(unsigned mask, int predicate);
unsigned emulated_match(unsigned mask, const void *value, int size);
unsigned emulated_active_mask();
void emulated_thread_fence();
unsigned long long emulated_clock();
// kind: 0 add, 1 min, 2 max, 3 and, 4 or, 5 xor, 6 exchange, 7 compare and exchange; type: 'i' 'u' 'l' (i64) 'U' (u64) 'f' 'd'
void emulated_atomic(int kind, char type, void *address, const void *operand, const void *compare, void *old);

// --- Instructions of kernels/common.
unsigned emulated_shared_address(const void *shared);
void emulated_store_shared(unsigned to, const void *value, int bytes);
void emulated_load_shared(unsigned from, void *value, int bytes);
void emulated_copy_async(unsigned to, const void *from, int bytes, int valid);
void emulated_copy_commit();
void emulated_copy_wait(int groups);
void emulated_load_matrices(unsigned *out, int count, bool transposed, unsigned from);
void emulated_store_matrices(const unsigned *in, int count, bool transposed, unsigned to);
// type: 'h' f16, 'b' bf16, 't' tf32; k: elements of k
void emulated_mma(char type, int k, float *sums, const unsigned *a, const unsigned *b);
void emulated_fence_proxy();
void emulated_mbarrier_init(unsigned barrier, unsigned count);
void emulated_mbarrier_invalidate(unsigned barrier);
unsigned long long emulated_mbarrier_arrive(unsigned barrier, unsigned expected_bytes, unsigned arrivals);
void emulated_mbarrier_expect(unsigned barrier, unsigned bytes);
void emulated_mbarrier_arrive_copies(unsigned barrier);
void emulated_mbarrier_wait(unsigned barrier, unsigned parity);
bool emulated_mbarrier_test(unsigned barrier, unsigned parity);
bool emulated_mbarrier_test_state(unsigned barrier, unsigned long long state);
void emulated_fence_mbarrier_init();
void emulated_bulk_load(unsigned to, const void *from, unsigned bytes, unsigned barrier, unsigned blocks);  // blocks 0: the own
void emulated_bulk_send(unsigned to, unsigned from, unsigned bytes, unsigned barrier);
void emulated_bulk_store(void *to, unsigned from, unsigned bytes);
void emulated_bulk_commit();
void emulated_bulk_wait(int groups, bool read);
void emulated_tensor_prefetch(const void *map);
void emulated_tensor_load(unsigned to, const void *map, int rank, const int *place, const unsigned short *offset, unsigned barrier, unsigned blocks);
void emulated_tensor_store(const void *map, int rank, const int *place, unsigned from);
bool emulated_elect();
void emulated_registers(int count, bool raise);
unsigned emulated_load_acquire(const unsigned *from);
void emulated_release_add(unsigned *to, unsigned value);
void emulated_grid_wait();
void emulated_grid_launch_next();
unsigned emulated_cluster_rank();
unsigned emulated_cluster_size();
void emulated_cluster_arrive();
void emulated_cluster_wait();
unsigned emulated_cluster_address(unsigned shared, unsigned rank);
void emulated_wgmma_fence();
void emulated_wgmma_commit();
void emulated_wgmma_wait(int groups);
void emulated_wgmma_registers(char type, int n, bool rows_fast_b, float *sums, const unsigned *a, unsigned long long b);
void emulated_wgmma(char type, int n, bool rows_fast_a, bool rows_fast_b, float *sums, unsigned long long a, unsigned long long b);

// --- The host's mathematics, in its single and double precision.
#define EMULATED_MATH(name) float name##f(float); double name(double);
EMULATED_MATH(floor) EMULATED_MATH(ceil) EMULATED_MATH(rint) EMULATED_MATH(trunc) EMULATED_MATH(round) EMULATED_MATH(sqrt)
EMULATED_MATH(exp) EMULATED_MATH(exp2) EMULATED_MATH(log) EMULATED_MATH(log2) EMULATED_MATH(log10) EMULATED_MATH(log1p) EMULATED_MATH(expm1)
EMULATED_MATH(sin) EMULATED_MATH(cos) EMULATED_MATH(tan) EMULATED_MATH(asin) EMULATED_MATH(acos) EMULATED_MATH(atan) EMULATED_MATH(sinh)
EMULATED_MATH(cosh) EMULATED_MATH(tanh) EMULATED_MATH(asinh) EMULATED_MATH(acosh) EMULATED_MATH(atanh) EMULATED_MATH(erf) EMULATED_MATH(erfc)
EMULATED_MATH(fabs) EMULATED_MATH(rsqrt)
#undef EMULATED_MATH
float atan2f(float, float); double atan2(double, double);
float powf(float, float); double pow(double, double);
float fmodf(float, float); double fmod(double, double);
float fmaf(float, float, float); double fma(double, double, double);
float fminf(float, float); double fmin(double, double);
float fmaxf(float, float); double fmax(double, double);
float ldexpf(float, int); double ldexp(double, int);
void sincosf(float, float *, float *); void sincos(double, double *, double *);
void sincospif(float, float *, float *); void sincospi(double, double *, double *);
int abs(int);
}

static __forceinline__ void __syncthreads() { emulated_barrier(0, 0); }
static __forceinline__ int __syncthreads_and(int p) { return emulated_barrier_reduce(0, p); }
static __forceinline__ int __syncthreads_or(int p) { return emulated_barrier_reduce(1, p); }
static __forceinline__ int __syncthreads_count(int p) { return emulated_barrier_reduce(2, p); }
static __forceinline__ void __syncwarp(unsigned mask = 0xffffffffu) { emulated_syncwarp(mask); }
static __forceinline__ void __threadfence() { emulated_thread_fence(); }
static __forceinline__ void __threadfence_block() { emulated_thread_fence(); }
static __forceinline__ void __threadfence_system() { emulated_thread_fence(); }
static __forceinline__ void __nanosleep(unsigned) {}
static __forceinline__ long long clock64() { return (long long)emulated_clock(); }

#define EMULATED_SHUFFLE(name, kind, Number)                                                        \
  template <class T> static __forceinline__ T name(unsigned mask, T value, Number lane, int width = 32) { \
    emulated_shuffle(kind, mask, &value, sizeof value, (int)lane, width);                           \
    return value;                                                                                   \
  }
EMULATED_SHUFFLE(__shfl_sync, 0, int)
EMULATED_SHUFFLE(__shfl_up_sync, 1, unsigned)
EMULATED_SHUFFLE(__shfl_down_sync, 2, unsigned)
EMULATED_SHUFFLE(__shfl_xor_sync, 3, int)
#undef EMULATED_SHUFFLE
static __forceinline__ unsigned __ballot_sync(unsigned mask, int p) { return emulated_ballot(mask, p); }
static __forceinline__ int __any_sync(unsigned mask, int p) { return emulated_ballot(mask, p) != 0; }
static __forceinline__ int __all_sync(unsigned mask, int p) { return emulated_ballot(mask, !p) == 0; }
template <class T> static __forceinline__ unsigned __match_any_sync(unsigned mask, T value) { return emulated_match(mask, &value, sizeof value); }
static __forceinline__ unsigned __activemask() { return emulated_active_mask(); }

#define EMULATED_ATOMIC(name, kind, T, type)                    \
  static __forceinline__ T name(T *address, T value) {          \
    T old;                                                      \
    emulated_atomic(kind, type, address, &value, &value, &old); \
    return old;                                                 \
  }
#define EMULATED_ATOMICS(T, type)        \
  EMULATED_ATOMIC(atomicAdd, 0, T, type) \
  EMULATED_ATOMIC(atomicMin, 1, T, type) \
  EMULATED_ATOMIC(atomicMax, 2, T, type) \
  EMULATED_ATOMIC(atomicExch, 6, T, type)
#define EMULATED_INTEGER_ATOMICS(T, type)                       \
  EMULATED_ATOMICS(T, type)                                     \
  EMULATED_ATOMIC(atomicAnd, 3, T, type)                        \
  EMULATED_ATOMIC(atomicOr, 4, T, type)                         \
  EMULATED_ATOMIC(atomicXor, 5, T, type)                        \
  static __forceinline__ T atomicCAS(T *address, T compare, T value) { \
    T old;                                                      \
    emulated_atomic(7, type, address, &value, &compare, &old);  \
    return old;                                                 \
  }
EMULATED_INTEGER_ATOMICS(int, 'i')
EMULATED_INTEGER_ATOMICS(unsigned, 'u')
EMULATED_INTEGER_ATOMICS(unsigned long long, 'U')
EMULATED_ATOMICS(float, 'f')
EMULATED_ATOMICS(double, 'd')
#undef EMULATED_INTEGER_ATOMICS
#undef EMULATED_ATOMICS
#undef EMULATED_ATOMIC

template <class To, class From> static __forceinline__ To emulated_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}
static __forceinline__ unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
static __forceinline__ float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
static __forceinline__ int __float_as_int(float x) { return emulated_bits<int>(x); }
static __forceinline__ float __int_as_float(int x) { return emulated_bits<float>(x); }
static __forceinline__ long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
static __forceinline__ double __longlong_as_double(long long x) { return emulated_bits<double>(x); }
// As a GPU does it: nothing is left of a quotient whose divisor is beyond 2^126.
static __forceinline__ float __fdividef(float a, float b) { return __builtin_fabsf(b) > 0x1p126f ? a * 0.0f : a / b; }
static __forceinline__ float __expf(float a) { return expf(a); }
static __forceinline__ float __logf(float a) { return logf(a); }
static __forceinline__ double __dadd_rn(double a, double b) { return a + b; }
static __forceinline__ double __dmul_rn(double a, double b) { return a * b; }
static __forceinline__ float __fadd_rn(float a, float b) { return a + b; }
static __forceinline__ float __fmul_rn(float a, float b) { return a * b; }
static __forceinline__ float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static __forceinline__ int __popc(unsigned x) { return __builtin_popcount(x); }
static __forceinline__ int __ffs(int x) { return __builtin_ffs(x); }
static __forceinline__ int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static __forceinline__ unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
template <class T> static __forceinline__ T __ldg(const T *from) { return *from; }
template <class T> static __forceinline__ void __stcs(T *to, T value) { *to = value; }
static __forceinline__ size_t __cvta_generic_to_shared(const void *p) { return emulated_shared_address(p); }
#define EMULATED_LEAST(T)                                                 \
  static __forceinline__ T min(T a, T b) { return b < a ? b : a; }        \
  static __forceinline__ T max(T a, T b) { return a < b ? b : a; }
EMULATED_LEAST(int)
EMULATED_LEAST(unsigned)
EMULATED_LEAST(long long)
EMULATED_LEAST(unsigned long long)
#undef EMULATED_LEAST
static __forceinline__ float min(float a, float b) { return fminf(a, b); }
static __forceinline__ float max(float a, float b) { return fmaxf(a, b); }
static __forceinline__ double min(double a, double b) { return fmin(a, b); }
static __forceinline__ double max(double a, double b) { return fmax(a, b); }

// --- What the emulator finds by dlsym: where shared variables lie, each kernel with the sizes of its parameters, and the dynamic shared memory.
static thread_local char emulated_anchor;
extern "C" __attribute__((visibility("default"))) void *emulated_anchor_address() { return &emulated_anchor; }
template <size_t... I> struct EmulatedIndices {};
template <size_t N, size_t... I> struct EmulatedCount : EmulatedCount<N - 1, N - 1, I...> {};
template <size_t... I> struct EmulatedCount<0, I...> { typedef EmulatedIndices<I...> type; };
struct EmulatedKernel {
  const char *name;
  void (*invoke)(void **arguments);
  unsigned parameter_count, max_threads;
  const unsigned *parameter_sizes;
};
template <auto F, class T> struct EmulatedInvoke;
template <auto F, class... A> struct EmulatedInvoke<F, void (*)(A...)> {
  static constexpr unsigned count = sizeof...(A), sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
  template <size_t... I> __attribute__((no_sanitize_thread)) static void call(void **arguments, EmulatedIndices<I...>) {
    F(*(A *)arguments[I]...);
  }
  __attribute__((no_sanitize_thread)) static void invoke(void **arguments) { call(arguments, typename EmulatedCount<sizeof...(A)>::type()); }
};
#define EMULATED_KERNEL(function, bounds)                                                                                       \
  extern "C" __attribute__((visibility("default"))) const EmulatedKernel emulated_kernel_##function = {                         \
      #function, EmulatedInvoke<&function, decltype(&function)>::invoke, EmulatedInvoke<&function, decltype(&function)>::count, \
      (unsigned)(bounds), EmulatedInvoke<&function, decltype(&function)>::sizes};
#define EMULATED_DYNAMIC(name)                                                                                           \
  asm(".section .tbss,\"awT\",@nobits\n.balign 16\n.globl " name "\n.type " name ", @object\n.size " name ", 232448\n" name \
      ":\n.zero 232448\n.previous\n");                                                                                   \
  extern thread_local char emulated_dynamic[] asm(name);                                                                 \
  extern "C" __attribute__((visibility("default"))) void *emulated_dynamic_address() { return emulated_dynamic; }
