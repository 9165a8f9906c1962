// N neighbours in memory as values of an accumulator, and back to memory as stored elements. ALIGN: elements that addresses are
// multiples of.
#pragma once
#include "kernels/program/element.cuh"

template <class E, int N, int ALIGN, class A> DEVICE void load_as(const typename E::Stored *from, A (&out)[N]) {
  typename E::Value values[N];
  element_load<E, N, ALIGN>(from, values);
#pragma unroll
  for (int i = 0; i < N; i++) out[i] = (A)values[i];
}
