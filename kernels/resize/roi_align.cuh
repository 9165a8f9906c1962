// One bin of a region: as kernels/resize/roi_align.c. read(y, x) gives an element of the plane.
#pragma once
#include "kernels/program/scalar.cuh"
#include "kernels/common/index.cuh"
#include "kernels/program/element.cuh"

template <class A> struct Neighbours {
  int low, high;
  A upper;
  bool outside;
};
template <class A> DEVICE Neighbours<A> neighbours(A at, int size) {
  if (size == 0 || !(at >= -1 && at <= (A)size)) return Neighbours<A>{0, 0, 0, true};
  at = x_max(at, (A)0);
  const int low = (int)at;
  if (low >= size - 1) return Neighbours<A>{size - 1, size - 1, 0, false};
  return Neighbours<A>{low, low + 1, at - (A)low, false};
}

template <class A, bool MAX, bool HALF_PIXEL, int HEIGHT, int WIDTH, int SAMPLING, class Read>
DEVICE A roi_bin(const A (&corner)[4], A scale, int bin_y, int bin_x, int rows, int columns, Read read) {
  const A offset = HALF_PIXEL ? (A)0.5 : (A)0;
  const A left = corner[0] * scale - offset, top = corner[1] * scale - offset;
  A height = corner[3] * scale - offset - top, width = corner[2] * scale - offset - left;
  if (!HALF_PIXEL) {
    height = x_max(height, (A)1);
    width = x_max(width, (A)1);
  }
  const A bin_height = height / HEIGHT, bin_width = width / WIDTH;
  const int samples_y = SAMPLING ? SAMPLING : (int)x_min(x_ceil(bin_height), (A)65536);
  const int samples_x = SAMPLING ? SAMPLING : (int)x_min(x_ceil(bin_width), (A)65536);
  A sum = 0, most = 0;
  bool first = true;
  for (int iy = 0; iy < samples_y; iy++) {
    const Neighbours<A> y = neighbours(top + ((A)bin_y + ((A)iy + (A)0.5) / (A)samples_y) * bin_height, rows);
    if (y.outside) {  // all its samples are zero
      most = first ? (A)0 : x_max(most, (A)0);
      first = false;
      continue;
    }
    for (int ix = 0; ix < samples_x; ix++) {
      const Neighbours<A> x = neighbours(left + ((A)bin_x + ((A)ix + (A)0.5) / (A)samples_x) * bin_width, columns);
      A corners[4] = {0, 0, 0, 0};
      if (!x.outside) {
        corners[0] = (1 - y.upper) * (1 - x.upper) * read(y.low, x.low);
        corners[1] = (1 - y.upper) * x.upper * read(y.low, x.high);
        corners[2] = y.upper * (1 - x.upper) * read(y.high, x.low);
        corners[3] = y.upper * x.upper * read(y.high, x.high);
      }
      sum += corners[0] + corners[1] + corners[2] + corners[3];
      const A largest = x_max(x_max(corners[0], corners[1]), x_max(corners[2], corners[3]));
      most = first ? largest : x_max(most, largest);
      first = false;
    }
  }
  const int count = samples_y * samples_x;
  return MAX ? most : sum / (A)(count > 1 ? count : 1);
}
