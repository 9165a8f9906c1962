// Elements in memory and in arithmetic, for generated code: one struct for every dtype, Element_f32, Element_f16,
// Element_i4 ..., so that a generator can spell what to do from the dtype's name alone. Stored is what memory holds, Value
// what a scalar program computes in: float for floats up to 32 bits, int and unsigned for integers up to 32, bool. get() and
// set() convert, wrap() reduces a wider integer to the type, round() gives the value that storing and loading would.
#pragma once
#include "kernels/common/types.cuh"

template <class S> struct ElementNarrow {
  typedef S Stored;
  typedef float Value;
  DEVICE Value get(S stored) { return to_float(stored); }
  DEVICE S set(float value) { return from_float<S>(value); }
  DEVICE float round(float value) { return to_float(from_float<S>(value)); }
};
template <class S> struct ElementEight : ElementNarrow<S> {
  DEVICE S set(float value) { return from_float_saturate<S>(value); }
  DEVICE float round_saturate(float value) { return to_float(from_float_saturate<S>(value)); }
};
template <class S, class V> struct ElementPlain {
  typedef S Stored;
  typedef V Value;
  DEVICE V get(S stored) { return stored; }
  DEVICE S set(V value) { return (S)value; }
  DEVICE V round(V value) { return value; }
};
// LEAST and MOST bound what saturation gives; MOST of u64 is handled where it matters.
template <class S, class V, i64 LEAST, i64 MOST> struct ElementInteger : ElementPlain<S, V> {
  static constexpr i64 least = LEAST, most = MOST;
  DEVICE V wrap(i64 value) { return (S)value; }
};
// 4- and 2-bit integers: one to a byte, sign-extended.
template <int BITS> struct ElementSigned : ElementPlain<i8, int> {
  static constexpr i64 least = -(1 << (BITS - 1)), most = (1 << (BITS - 1)) - 1;
  DEVICE int wrap(i64 value) { return (int)((u32)value << (32 - BITS)) >> (32 - BITS); }
  DEVICE i8 set(int value) { return (i8)wrap(value); }
};
template <int BITS> struct ElementUnsigned : ElementPlain<u8, u32> {
  static constexpr i64 least = 0, most = (1 << BITS) - 1;
  DEVICE u32 wrap(i64 value) { return (u32)value & (u32)most; }
  DEVICE u8 set(u32 value) { return (u8)wrap(value); }
};
struct ElementPair {
  u64 words[1];
};
struct alignas(16) ElementQuad {
  u64 words[2];
};

// clang-format off
struct Element_f32 : ElementPlain<float, float> {};
struct Element_f64 : ElementPlain<double, double> {};
struct Element_f16 : ElementNarrow<f16> {};
struct Element_bf16 : ElementNarrow<bf16> {};
struct Element_f8e4m3fn : ElementEight<f8e4m3fn> {};
struct Element_f8e4m3fnuz : ElementEight<f8e4m3fnuz> {};
struct Element_f8e5m2 : ElementEight<f8e5m2> {  // has infinities, and keeps them
  DEVICE f8e5m2 set(float value) { return fabsf(value) == __int_as_float(0x7f800000) ? from_float<f8e5m2>(value) : from_float_saturate<f8e5m2>(value); }
};
struct Element_f8e5m2fnuz : ElementEight<f8e5m2fnuz> {};
struct Element_f4e2m1 : ElementEight<f4e2m1> {};
struct Element_f8e8m0 : ElementEight<f8e8m0> {
  template <int ROUNDING> static __device__ __forceinline__ float round_towards(float value, bool saturate) {
    return to_float(e8m0_from_float<ROUNDING>(value, saturate));
  }
};
struct Element_i8 : ElementInteger<i8, int, -128, 127> {};
struct Element_i16 : ElementInteger<i16, int, -32768, 32767> {};
struct Element_i32 : ElementInteger<int, int, -2147483648ll, 2147483647ll> {};
struct Element_i64 : ElementInteger<i64, i64, -9223372036854775807ll - 1, 9223372036854775807ll> {};
struct Element_u8 : ElementInteger<u8, u32, 0, 255> {};
struct Element_u16 : ElementInteger<u16, u32, 0, 65535> {};
struct Element_u32 : ElementInteger<u32, u32, 0, 4294967295ll> {};
struct Element_u64 : ElementInteger<u64, u64, 0, 9223372036854775807ll> {};
struct Element_i4 : ElementSigned<4> {};
struct Element_i2 : ElementSigned<2> {};
struct Element_u4 : ElementUnsigned<4> {};
struct Element_u2 : ElementUnsigned<2> {};
struct Element_bool {
  typedef u8 Stored;
  typedef bool Value;
  DEVICE bool get(u8 stored) { return stored != 0; }
  DEVICE u8 set(bool value) { return value; }
};
// Complex numbers are only moved.
struct Element_c64 : ElementPlain<ElementPair, ElementPair> {};
struct Element_c128 : ElementPlain<ElementQuad, ElementQuad> {};
// clang-format on

// Float to integer as src/ir/program.h says.
template <class E, class F> DEVICE typename E::Value element_truncate(F value) {
  constexpr int bytes = sizeof(typename E::Stored);
  constexpr i64 least = bytes == 8 ? -9223372036854775807ll - 1 : -2147483648ll;
  const F limit = -(F)least;
  if (E::least == 0 && bytes >= 4 && value >= limit) return E::wrap(value < 2 * limit ? (i64)(value - limit) + least : 0);
  return E::wrap(value >= -limit && value < limit ? (i64)value : least);
}
// The same, clamped to the type.
template <class E, class F> DEVICE typename E::Value element_saturate(F value) {
  if (value != value) return 0;
  if (value <= (F)E::least) return (typename E::Value)E::least;
  if (E::least == 0 && sizeof(typename E::Stored) == 8)
    return value >= (F)18446744073709551616.0 ? (typename E::Value)18446744073709551615ull : (typename E::Value)(u64)value;
  return value >= (F)E::most ? (typename E::Value)E::most : (typename E::Value)(i64)value;
}

// N adjacent elements where addresses are multiples of ALIGN elements (both powers of two), in accesses of up to 16 bytes.
template <class S, int N, int ALIGN> struct ElementChunk {
  static constexpr int most = 16 / (int)sizeof(S), least = N < ALIGN ? N : ALIGN;
  static constexpr int count = least < most ? least : most;
};
template <class E, int N, int ALIGN> DEVICE void element_load(const typename E::Stored *from, typename E::Value (&out)[N]) {
  constexpr int CHUNK = ElementChunk<typename E::Stored, N, ALIGN>::count;
#pragma unroll
  for (int i = 0; i < N; i += CHUNK) {
    Vector<typename E::Stored, CHUNK> vector = load_vector<CHUNK>(from + i);
#pragma unroll
    for (int j = 0; j < CHUNK; j++) out[i + j] = E::get(vector[j]);
  }
}
template <class E, int N, int ALIGN> DEVICE void element_store(typename E::Stored *to, const typename E::Stored (&in)[N]) {
  constexpr int CHUNK = ElementChunk<typename E::Stored, N, ALIGN>::count;
#pragma unroll
  for (int i = 0; i < N; i += CHUNK) {
    Vector<typename E::Stored, CHUNK> vector;
#pragma unroll
    for (int j = 0; j < CHUNK; j++) vector[j] = in[i + j];
    store_vector(to + i, vector);
  }
}
