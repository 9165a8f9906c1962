// Where a grid coordinate reads along one axis: as kernels/resize/grid_sample.c, in float (double for f64).
#pragma once
#include "kernels/program/scalar.cuh"
#include "kernels/program/element.cuh"

enum { GRID_LINEAR, GRID_NEAREST, GRID_CUBIC };
enum { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION };

template <class A> struct GridTaps {
  int index[4];  // -1: zero
  A weight[4];
};

template <class A> DEVICE A grid_reflect(A at, A low, A high) {
  const A range = high - low;
  if (range <= 0) return low;
  const A distance = x_abs(at - low), turns = x_floor(distance / range), rest = distance - turns * range;
  return x_fmod(turns, (A)2) == 0 ? low + rest : high - rest;
}

template <int PADDING, bool ALIGN, class A> DEVICE int grid_element(A at, int size) {
  const A last = (A)(size - 1);
  if (at >= 0 && at <= last) return (int)at;
  if (PADDING == PADDING_ZEROS || at != at) return -1;
  if (PADDING == PADDING_BORDER) return at < 0 ? 0 : size - 1;
  return (int)x_min(x_max(grid_reflect(at, ALIGN ? (A)0 : (A)-0.5, ALIGN ? last : last + (A)0.5), (A)0), last);
}

template <int MODE, int PADDING, bool ALIGN, class A> DEVICE GridTaps<A> grid_taps(A coordinate, int size) {
  const A last = (A)(size - 1), low = ALIGN ? (A)0 : (A)-0.5, high = ALIGN ? last : last + (A)0.5;
  A place = ALIGN ? (coordinate + 1) / 2 * last : ((coordinate + 1) * (A)size - 1) / 2;
  if (MODE == GRID_NEAREST) place = x_round(place);
  if (place < low || place > high) {
    if (PADDING == PADDING_BORDER) place = x_min(x_max(place, (A)0), last);
    if (PADDING == PADDING_REFLECTION) place = grid_reflect(place, low, high);
  }
  GridTaps<A> taps;
  if (MODE == GRID_NEAREST) {
    taps.index[0] = grid_element<PADDING, ALIGN>(x_trunc(place), size);
    taps.weight[0] = 1;
    return taps;
  }
  const A base = x_floor(place), t = place - base, a = (A)-0.75;
#pragma unroll
  for (int k = 0; k < (MODE == GRID_LINEAR ? 2 : 4); k++) {
    taps.index[k] = grid_element<PADDING, ALIGN>(base + k - (MODE == GRID_LINEAR ? 0 : 1), size);
    const A d = x_abs(t + 1 - k);
    if (MODE == GRID_LINEAR) taps.weight[k] = k ? t : 1 - t;
    else taps.weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
  return taps;
}
