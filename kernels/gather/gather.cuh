// Indices of gathers and scatters: negative ones count from the end; those outside, which the CPU reports, must not read or write
// outside memory here and count as invalid.
#pragma once
#include "kernels/elementwise/element.cuh"

template <class T>
DEVICE i64 wrapped_index(T index, i64 size) {
  i64 at = (i64)index;
  return at < 0 ? at + size : at;
}
DEVICE bool valid_index(i64 at, i64 size) { return (u64)at < (u64)size; }
