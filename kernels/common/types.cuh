// The element types of device code: fixed-width integers, the narrow floats as structs around their bits, conversions that
// round to nearest even, and vectors of up to 16 bytes that move in one instruction. They are our own so that a kernel needs none
// of a toolkit's headers; NVRTC offers only the built-in types of C++. The conversions agree bit for bit with base/half.h.
// Compiles with NVRTC and nvcc for sm_75 and up.
#pragma once

#define DEVICE static __device__ __forceinline__

typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
constexpr i64 OPEN_STRIDE = 1ll << 62;  // in a template's place of a stride that an argument holds
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

// clang-format off
struct alignas(2) f16  { u16 bits; };
struct alignas(2) bf16 { u16 bits; };
struct f8e4m3fn   { u8 bits; };
struct f8e4m3fnuz { u8 bits; };
struct f8e5m2     { u8 bits; };
struct f8e5m2fnuz { u8 bits; };
struct f8e8m0     { u8 bits; };  // 2^(bits - 127), 255 is NaN
struct f4e2m1     { u8 bits; };  // one to a byte, in the low 4 bits
// clang-format on

DEVICE u32 float_bits(float x) { return __float_as_uint(x); }
DEVICE float float_of_bits(u32 bits) { return __uint_as_float(bits); }

// 2 to the power of x, within two units of the last place; what is smaller than a normal number is 0.
DEVICE float exp2_approximate(float x) {
#ifdef EMULATED
  return exp2f(x);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

// 1 / x, within a unit of the last place; of what is not normal, or whose reciprocal is not, as if it were 0.
DEVICE float reciprocal_approximate(float x) {
#ifdef EMULATED
  return 1.0f / x;
#else
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

template <class T> DEVICE constexpr T min_of(T a, T b) { return b < a ? b : a; }
template <class T> DEVICE constexpr T max_of(T a, T b) { return a < b ? b : a; }
template <class T> DEVICE constexpr T ceil_div(T a, T b) { return (a + b - 1) / b; }
template <class T> DEVICE constexpr T align_up(T a, T b) { return (a + b - 1) / b * b; }

// --- The general narrow float: exponent and mantissa widths, bias, and how the codes above the finite ones are spent.
enum NarrowSpecials { NARROW_IEEE, NARROW_FN, NARROW_FNUZ, NARROW_NUMBERS };

template <int EXPONENT, int MANTISSA, int BIAS, NarrowSpecials SPECIALS> struct NarrowFormat {
  static constexpr u32 sign_code = 1u << (EXPONENT + MANTISSA);
  static constexpr u32 infinity = ((1u << EXPONENT) - 1) << MANTISSA;
  static constexpr u32 largest = SPECIALS == NARROW_IEEE ? infinity - 1 : SPECIALS == NARROW_FN ? sign_code - 2 : sign_code - 1;

  static __device__ __forceinline__ u32 encode(float value, bool saturate) {
    u32 magnitude = float_bits(value) & 0x7fffffffu;
    u32 sign = float_bits(value) >> 31 ? sign_code : 0;
    if (magnitude > 0x7f800000u) {
      if (SPECIALS == NARROW_FNUZ) return sign_code;
      if (SPECIALS == NARROW_NUMBERS) return sign_code;
      return sign | (SPECIALS == NARROW_IEEE ? infinity | 1u << (MANTISSA - 1) : sign_code - 1);
    }
    u32 code = 0xffffffffu;
    if (magnitude < 0x7f800000u) {
      int float_exponent = (int)(magnitude >> 23);
      int exponent = float_exponent - 127 + BIAS;
      u32 significand = (magnitude & 0x7fffffu) | 0x800000u;
      int shift = 23 - MANTISSA + (exponent < 1 ? 1 - exponent : 0);
      if (float_exponent == 0 || shift > 25) {
        code = 0;
      } else {
        u32 kept = significand >> shift;
        code = (significand + (1u << (shift - 1)) - 1 + (kept & 1)) >> shift;
      }
      if (exponent > 1) code += (u32)(exponent - 1) << MANTISSA;
    }
    if (code > largest) {
      if (saturate || SPECIALS == NARROW_NUMBERS) return sign | largest;
      if (SPECIALS == NARROW_FNUZ) return sign_code;
      return sign | (SPECIALS == NARROW_IEEE ? infinity : sign_code - 1);
    }
    if (code == 0 && SPECIALS == NARROW_FNUZ) return 0;
    return sign | code;
  }

  static __device__ __forceinline__ float decode(u32 code) {
    u32 sign = code & sign_code ? 0x80000000u : 0;
    u32 magnitude = code & (sign_code - 1);
    if (SPECIALS == NARROW_FNUZ && (code & (2 * sign_code - 1)) == sign_code) return float_of_bits(0x7fc00000u);
    if (SPECIALS == NARROW_FN && magnitude == sign_code - 1) return float_of_bits(sign | 0x7fc00000u);
    if (SPECIALS == NARROW_IEEE && magnitude >= infinity) {
      u32 payload = (magnitude - infinity) << (23 - MANTISSA);
      return float_of_bits(sign | 0x7f800000u | payload | (payload ? 0x400000u : 0));
    }
    u32 exponent = magnitude >> MANTISSA, mantissa = magnitude & ((1u << MANTISSA) - 1);
    if (exponent == 0) {
      float unit = float_of_bits((u32)(127 + 1 - BIAS - MANTISSA) << 23);
      return float_of_bits(sign | float_bits((float)mantissa * unit));
    }
    return float_of_bits(sign | (exponent + 127 - BIAS) << 23 | mantissa << (23 - MANTISSA));
  }
};

// --- Narrow to float. Exact.
DEVICE float to_float(float x) { return x; }
DEVICE float to_float(f16 x) {
#ifdef EMULATED
  return NarrowFormat<5, 10, 15, NARROW_IEEE>::decode(x.bits);
#else
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(x.bits));
  return result;
#endif
}
DEVICE float to_float(bf16 x) { return float_of_bits((u32)x.bits << 16); }
DEVICE float to_float(f8e4m3fn x) {
#if __CUDA_ARCH__ >= 890 && !defined(EMULATED)
  u32 pair;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"((u16)x.bits));
  return to_float(f16{(u16)pair});
#else
  return NarrowFormat<4, 3, 7, NARROW_FN>::decode(x.bits);
#endif
}
DEVICE float to_float(f8e4m3fnuz x) { return NarrowFormat<4, 3, 8, NARROW_FNUZ>::decode(x.bits); }
DEVICE float to_float(f8e5m2 x) { return to_float(f16{(u16)(x.bits << 8)}); }  // the upper half of a half
DEVICE float to_float(f8e5m2fnuz x) { return NarrowFormat<5, 2, 16, NARROW_FNUZ>::decode(x.bits); }
DEVICE float to_float(f8e8m0 x) {
  if (x.bits == 255) return float_of_bits(0x7fc00000u);
  return float_of_bits(x.bits ? (u32)x.bits << 23 : 0x400000u);
}
DEVICE float to_float(f4e2m1 x) { return NarrowFormat<2, 1, 1, NARROW_NUMBERS>::decode(x.bits & 15u); }

// --- Float to narrow, to nearest even. from_float<f16>(x): out of range gives infinity, or NaN where a format has none.
// from_float_saturate<f8e4m3fn>(x): the largest finite value instead. f4 always saturates.
template <class T> DEVICE T from_float(float x);
template <class T> DEVICE T from_float_saturate(float x);

template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ f16 from_float<f16>(float x) {
#ifdef EMULATED
  if (x != x) return f16{(u16)0x7fff};
  return f16{(u16)NarrowFormat<5, 10, 15, NARROW_IEEE>::encode(x, false)};
#else
  f16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
  return result;
#endif
}
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) {
#if __CUDA_ARCH__ >= 800 && !defined(EMULATED)
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
  return result;
#else
  u32 bits = float_bits(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bf16{(u16)0x7fff};
  return bf16{(u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
#endif
}
#define NARROW_CONVERSIONS(Type, Format)                                                                               \
  template <> __device__ __forceinline__ Type from_float<Type>(float x) { return Type{(u8)Format::encode(x, false)}; } \
  template <> __device__ __forceinline__ Type from_float_saturate<Type>(float x) { return Type{(u8)Format::encode(x, true)}; }
typedef NarrowFormat<4, 3, 8, NARROW_FNUZ> FormatE4M3FNUZ;
typedef NarrowFormat<5, 2, 16, NARROW_FNUZ> FormatE5M2FNUZ;
typedef NarrowFormat<2, 1, 1, NARROW_NUMBERS> FormatE2M1;
NARROW_CONVERSIONS(f8e4m3fnuz, FormatE4M3FNUZ)
NARROW_CONVERSIONS(f8e5m2fnuz, FormatE5M2FNUZ)
NARROW_CONVERSIONS(f4e2m1, FormatE2M1)
#undef NARROW_CONVERSIONS
template <> __device__ __forceinline__ f8e4m3fn from_float<f8e4m3fn>(float x) {
  return f8e4m3fn{(u8)NarrowFormat<4, 3, 7, NARROW_FN>::encode(x, false)};
}
template <> __device__ __forceinline__ f8e5m2 from_float<f8e5m2>(float x) {
  return f8e5m2{(u8)NarrowFormat<5, 2, 15, NARROW_IEEE>::encode(x, false)};
}
template <> __device__ __forceinline__ f8e4m3fn from_float_saturate<f8e4m3fn>(float x) {
#if __CUDA_ARCH__ >= 890 && !defined(EMULATED)
  u16 pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return f8e4m3fn{(u8)pair};
#else
  return f8e4m3fn{(u8)NarrowFormat<4, 3, 7, NARROW_FN>::encode(x, true)};
#endif
}
template <> __device__ __forceinline__ f8e5m2 from_float_saturate<f8e5m2>(float x) {
#if __CUDA_ARCH__ >= 890 && !defined(EMULATED)
  u16 pair;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return f8e5m2{(u8)pair};
#else
  return f8e5m2{(u8)NarrowFormat<5, 2, 15, NARROW_IEEE>::encode(x, true)};
#endif
}

// ROUNDING 0 up, 1 down, 2 nearest (ties up); as e8m0_from_float of base/half.h.
template <int ROUNDING> DEVICE f8e8m0 e8m0_from_float(float x, bool saturate) {
  u32 bits = float_bits(x);
  if (bits == 0x80000000u) bits = 0;
  if (bits > 0x7f800000u) return f8e8m0{255};
  if (bits == 0x7f800000u) return f8e8m0{(u8)(saturate ? 254 : 255)};
  if (bits < 0x400000u) return f8e8m0{(u8)(saturate ? 0 : 255)};
  u32 code = bits >> 23;
  u32 fraction = code ? bits & 0x7fffffu : (bits & 0x3fffffu) << 1;
  if (ROUNDING == 0) code += fraction != 0;
  if (ROUNDING == 2) code += fraction >= 0x400000u;
  return f8e8m0{(u8)(code <= 254 ? code : saturate ? 254 : 255)};
}
template <> __device__ __forceinline__ f8e8m0 from_float<f8e8m0>(float x) { return e8m0_from_float<0>(x, false); }
template <> __device__ __forceinline__ f8e8m0 from_float_saturate<f8e8m0>(float x) { return e8m0_from_float<0>(x, true); }

// Double to half in one rounding; through float it would round twice.
DEVICE f16 f16_from_double(double x) {
#ifdef EMULATED
  // To odd: a sticky last bit keeps the second rounding from seeing a tie that is none.
  float near = (float)x;
  u32 bits = float_bits(near);
  if (x == x && (double)near != x && (fabs((double)near) < 3e38))
    bits = fabs((double)near) > fabs(x) ? (bits - 1) | 1 : bits | 1;
  return from_float<f16>(float_of_bits(bits));
#else
  f16 result;
  asm("cvt.rn.f16.f64 %0, %1;" : "=h"(result.bits) : "d"(x));
  return result;
#endif
}

// Two halves at once: a pair in one register, x in the low half.
DEVICE u32 pack_f16(float x, float y) {
#if __CUDA_ARCH__ >= 800 && !defined(EMULATED)
  u32 result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(y), "f"(x));
  return result;
#else
  return (u32)from_float<f16>(x).bits | (u32)from_float<f16>(y).bits << 16;
#endif
}
DEVICE u32 pack_bf16(float x, float y) {
#if __CUDA_ARCH__ >= 800 && !defined(EMULATED)
  u32 result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(y), "f"(x));
  return result;
#else
  return (u32)from_float<bf16>(x).bits | (u32)from_float<bf16>(y).bits << 16;
#endif
}

// --- Vectors: N elements that load and store as one access of up to 16 bytes. The address must be aligned to the size.
template <int BYTES> struct Word;
// clang-format off
template <> struct Word<1>  { typedef u8 type; };
template <> struct Word<2>  { typedef u16 type; };
template <> struct Word<4>  { typedef u32 type; };
template <> struct Word<8>  { typedef uint2 type; };
template <> struct Word<16> { typedef uint4 type; };
// clang-format on

template <class T, int N> struct Vector {
  static_assert(sizeof(T) * N <= 16, "a vector is at most 16 bytes");
  typedef typename Word<sizeof(T) * N>::type Raw;
  union {
    Raw raw;
    T at[N];
  };
  __device__ __forceinline__ Vector() {}
  __device__ __forceinline__ T &operator[](int i) { return at[i]; }
  __device__ __forceinline__ const T &operator[](int i) const { return at[i]; }
};

template <int N, class T> DEVICE Vector<T, N> load_vector(const T *from) {
  Vector<T, N> result;
  result.raw = *reinterpret_cast<const typename Vector<T, N>::Raw *>(from);
  return result;
}
// From memory that nobody writes while the kernel runs: through the read-only path.
template <int N, class T> DEVICE Vector<T, N> load_vector_readonly(const T *from) {
  Vector<T, N> result;
  result.raw = __ldg(reinterpret_cast<const typename Vector<T, N>::Raw *>(from));
  return result;
}
template <int N, class T> DEVICE void store_vector(T *to, const Vector<T, N> &value) {
  *reinterpret_cast<typename Vector<T, N>::Raw *>(to) = value.raw;
}
// For results that nobody reads soon: leaves the caches to others.
template <int N, class T> DEVICE void store_vector_streaming(T *to, const Vector<T, N> &value) {
  __stcs(reinterpret_cast<typename Vector<T, N>::Raw *>(to), value.raw);
}

#include "kernels/common/launch.cuh"
