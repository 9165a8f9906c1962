// Moves a few neighbouring elements between memory and registers in the widest accesses their alignment allows.
#pragma once
#include "kernels/common/types.cuh"

// The widest access: a power of two that divides both the bytes to move and the alignment, at most 16.
DEVICE constexpr int access_width(int bytes, int alignment) {
  int width = 16;
  while (bytes % width || alignment % width) width /= 2;
  return width;
}

// `from` is aligned to ALIGNMENT bytes.
template <int COUNT, int ALIGNMENT, class T> DEVICE void load_elements(const T *from, T *out) {
  constexpr int WIDTH = access_width(COUNT * (int)sizeof(T), ALIGNMENT);
  if constexpr (WIDTH <= (int)sizeof(T)) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) out[i] = from[i];
  } else {
    typedef typename Word<WIDTH>::type Raw;
    constexpr int PER_WORD = WIDTH / (int)sizeof(T);
#pragma unroll
    for (int i = 0; i < COUNT / PER_WORD; i++) {
      union {
        Raw raw;
        T at[PER_WORD];
      } word;
      word.raw = reinterpret_cast<const Raw *>(from)[i];
#pragma unroll
      for (int j = 0; j < PER_WORD; j++) out[i * PER_WORD + j] = word.at[j];
    }
  }
}

template <int COUNT, int ALIGNMENT, class T> DEVICE void store_elements(T *to, const T *values) {
  constexpr int WIDTH = access_width(COUNT * (int)sizeof(T), ALIGNMENT);
  if constexpr (WIDTH <= (int)sizeof(T)) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) to[i] = values[i];
  } else {
    typedef typename Word<WIDTH>::type Raw;
    constexpr int PER_WORD = WIDTH / (int)sizeof(T);
#pragma unroll
    for (int i = 0; i < COUNT / PER_WORD; i++) {
      union {
        Raw raw;
        T at[PER_WORD];
      } word;
#pragma unroll
      for (int j = 0; j < PER_WORD; j++) word.at[j] = values[i * PER_WORD + j];
      reinterpret_cast<Raw *>(to)[i] = word.raw;
    }
  }
}

// A stored element as a number of the language: narrow floats as float, the rest as they are; and back.
template <class T> struct IsNarrow { static constexpr bool value = false; };
#define NARROW(Type) \
  template <> struct IsNarrow<Type> { static constexpr bool value = true; }
NARROW(f16);
NARROW(bf16);
NARROW(f8e4m3fn);
NARROW(f8e4m3fnuz);
NARROW(f8e5m2);
NARROW(f8e5m2fnuz);
NARROW(f8e8m0);
NARROW(f4e2m1);
#undef NARROW
template <class Wide, class T> DEVICE Wide widen(T value) {
  if constexpr (IsNarrow<T>::value) return (Wide)to_float(value);
  else return (Wide)value;
}
template <class T, class Wide> DEVICE T narrow(Wide value) {
  if constexpr (IsNarrow<T>::value) return from_float<T>((float)value);
  else return (T)value;
}
