// Which coordinate of x a coordinate outside it repeats. `at` is relative to x's first element.
#pragma once
#include "kernels/program/element.cuh"

DEVICE int pad_edge(int at, int size) { return at < 0 ? 0 : at >= size ? size - 1 : at; }
DEVICE int pad_wrap(int at, int size) {
  at %= size;
  return at < 0 ? at + size : at;
}
DEVICE int pad_reflect(int at, int size) {
  if (size == 1) return 0;
  const int period = 2 * (size - 1);
  at = pad_wrap(at, period);
  return at < size ? at : period - at;
}
