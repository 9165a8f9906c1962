// Indices that tensors hold: negative ones count from the end. One that is outside reads and writes nothing, and is reported: into memory
// of the host, which looks when the results are fetched and then says what the CPU says. Nothing is spent on those inside.
#pragma once
#include "kernels/program/element.cuh"

// As in kernels/implementation.h. Whoever reports last is heard.
struct IndexReport {
  i64 index, size;
  u64 step;
};

template <class T> DEVICE i64 wrapped_index(T index, i64 size) {
  i64 at = (i64)index;
  return at < 0 ? at + size : at;
}

// A report of NULL is not written.
DEVICE void report_index(IndexReport *report, u64 step, i64 index, i64 size) {
  if (!report) return;
  volatile IndexReport *heard = report;
  heard->index = index;
  heard->size = size;
  heard->step = step;
}

// Whether the index is inside; *at is then its place.
template <class T> DEVICE bool find_index(T index, i64 size, IndexReport *report, u64 step, i64 *at) {
  *at = wrapped_index(index, size);
  if ((u64)*at < (u64)size) return true;
  report_index(report, step, (i64)index, size);
  return false;
}
