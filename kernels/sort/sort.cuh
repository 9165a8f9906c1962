// Sorting rows by keys. An element becomes an unsigned key whose order is the order wanted: the bits of a float rearranged, NaN largest,
// -0 equal to 0; reversed where the largest come first. A Slot is a key with the element's place: comparing both makes ties go to
// the lower place, so that the result is one whatever the network does.
#pragma once
#include "kernels/program/element.cuh"

template <bool LARGEST> DEVICE u64 ordered(u64 key) { return LARGEST ? ~key : key; }
template <bool LARGEST> DEVICE u64 sort_key(float value) {
  if (value == 0) value = 0;
  const u32 bits = float_bits(value);
  const u32 key = value != value ? 0xffffffffu : bits >> 31 ? ~bits : bits | 0x80000000u;
  return ordered<LARGEST>(key) & 0xffffffffu;
}
template <bool LARGEST> DEVICE u64 sort_key(double value) {
  if (value == 0) value = 0;
  const u64 bits = (u64)__double_as_longlong(value);
  return ordered<LARGEST>(value != value ? ~0ull : bits >> 63 ? ~bits : bits | 0x8000000000000000ull);
}
template <bool LARGEST> DEVICE u64 sort_key(int value) { return ordered<LARGEST>((u32)value ^ 0x80000000u) & 0xffffffffu; }
template <bool LARGEST> DEVICE u64 sort_key(u32 value) { return ordered<LARGEST>(value) & 0xffffffffu; }
template <bool LARGEST> DEVICE u64 sort_key(i64 value) { return ordered<LARGEST>((u64)value ^ 0x8000000000000000ull); }
template <bool LARGEST> DEVICE u64 sort_key(u64 value) { return ordered<LARGEST>(value); }
template <bool LARGEST> DEVICE u64 sort_key(bool value) { return ordered<LARGEST>(value) & 0xffffffffu; }

// Keys of 32 bits share one word with the place.
struct NarrowSlot {
  u64 word;
  DEVICE NarrowSlot make(u64 key, u32 place) { return NarrowSlot{key << 32 | place}; }
  DEVICE NarrowSlot last() { return NarrowSlot{~0ull}; }  // behind all others
  __device__ __forceinline__ u32 place() const { return (u32)word; }
  __device__ __forceinline__ bool before(const NarrowSlot &other) const { return word < other.word; }
};
struct WideSlot {
  u64 key;
  u64 at;
  DEVICE WideSlot make(u64 key, u32 place) { return WideSlot{key, place}; }
  DEVICE WideSlot last() { return WideSlot{~0ull, ~0ull}; }
  __device__ __forceinline__ u32 place() const { return (u32)at; }
  __device__ __forceinline__ bool before(const WideSlot &other) const {
    return key < other.key || (key == other.key && at < other.at);
  }
};

// One comparison of the bitonic network: `pair` of N/2, at distance `stride` in blocks of `size`. base: number of slots[0] in the row.
template <class Slot> DEVICE void sort_pair(Slot *slots, i64 base, i64 pair, i64 size, i64 stride) {
  const i64 i = pair / stride * stride * 2 + pair % stride;
  const bool ascending = ((base + i) & size) == 0;
  const Slot a = slots[i], b = slots[i + stride];
  if (b.before(a) == ascending) {
    slots[i] = b;
    slots[i + stride] = a;
  }
}
// Sorts N slots in shared memory, by all threads of a block.
template <class Slot, int N, int THREADS> DEVICE void sort_shared(Slot *slots) {
  for (int size = 2; size <= N; size *= 2)
    for (int stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (int pair = threadIdx.x; pair < N / 2; pair += THREADS) sort_pair(slots, 0, pair, size, stride);
    }
  __syncthreads();
}
