// Boxes of a class that overlap no better one. A block takes a class: it lists the boxes whose score is good enough, then takes the best again and again and drops those that
// overlap it. Sums and quotients are doubles, as the reference's: a threshold cuts the same.
#pragma once
#include "kernels/sort/nonzero.cuh"

constexpr int NMS_THREADS = 256;
constexpr u32 NMS_GONE = 0xffffffffu;

struct NmsBox {
  double y1, x1, y2, x2;
};

template <class E, bool CENTRED> DEVICE NmsBox nms_box(const typename E::Stored *boxes, u32 number) {
  const typename E::Stored *at = boxes + (i64)number * 4;
  const double a = E::get(at[0]), b = E::get(at[1]), c = E::get(at[2]), d = E::get(at[3]);
  if (CENTRED) return NmsBox{b - d / 2, a - c / 2, b + d / 2, a + c / 2};
  return NmsBox{fmin(a, c), fmin(b, d), fmax(a, c), fmax(b, d)};
}

DEVICE bool nms_overlap(const NmsBox &a, const NmsBox &b, double threshold) {
  const double height = fmin(a.y2, b.y2) - fmax(a.y1, b.y1), width = fmin(a.x2, b.x2) - fmax(a.x1, b.x1);
  const double area_a = (a.y2 - a.y1) * (a.x2 - a.x1), area_b = (b.y2 - b.y1) * (b.x2 - b.x1);
  if (height <= 0 || width <= 0 || area_a <= 0 || area_b <= 0) return false;
  const double shared = height * width, all = area_a + area_b - shared;
  return all > 0 && shared / all > threshold;
}

// What is no number is as bad as can be.
template <class S> DEVICE double nms_score(const typename S::Stored *scores, u32 number) {
  const double score = S::get(scores[number]);
  return score != score ? -__longlong_as_double(0x7ff0000000000000ll) : score;
}

// A box with its score; the number is NMS_GONE where there is none. Of equal scores the lower number is better.
struct NmsBest {
  double score;
  u32 number;
  DEVICE NmsBest better(const NmsBest &a, const NmsBest &b) {
    if (a.number == NMS_GONE) return b;
    if (b.number == NMS_GONE) return a;
    return a.score > b.score || (a.score == b.score && a.number < b.number) ? a : b;
  }
};

// The best of all threads of the block, told to all.
DEVICE NmsBest nms_best(NmsBest mine, NmsBest *shared) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const NmsBest other = {__shfl_xor_sync(0xffffffffu, mine.score, distance),
                           __shfl_xor_sync(0xffffffffu, mine.number, distance)};
    mine = NmsBest::better(mine, other);
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = mine;
  __syncthreads();
  NmsBest best = shared[0];
#pragma unroll
  for (int i = 1; i < NMS_THREADS / 32; i++) best = NmsBest::better(best, shared[i]);
  __syncthreads();
  return best;
}

// The numbers of boxes with a score above the threshold (or all), in order; returns how many.
template <class S, bool LIMITED> DEVICE u32 nms_list(const typename S::Stored *scores, u32 boxes, double least, u32 *list) {
  __shared__ u32 shared[NMS_THREADS / 32];
  u32 count = 0;
  for (u32 first = 0; first < boxes; first += NMS_THREADS) {
    const u32 at = first + threadIdx.x;
    const bool taken = at < boxes && (!LIMITED || (double)S::get(scores[at]) > least);
    u32 total;
    const u32 before = scan_block<RunningSum, NMS_THREADS / 32>((u32)taken, 0u, shared, &total);
    if (taken) list[count + before] = at;
    count += total;
  }
  __syncthreads();
  return count;
}

// One class: chosen[i] are its boxes, best first; returns how many, at most `most`.
template <class E, class S, bool CENTRED, bool LIMITED>
DEVICE u32 nms_choose(const typename E::Stored *boxes, const typename S::Stored *scores, u32 count, u32 most, double threshold,
                      double least, u32 *list, u32 *chosen) {
  __shared__ NmsBest shared[NMS_THREADS / 32];
  const u32 listed = nms_list<S, LIMITED>(scores, count, least, list);
  NmsBox last = {0, 0, 0, 0};
  u32 found = 0, last_number = NMS_GONE;
  while (found < most) {
    NmsBest mine = {0, NMS_GONE};
    for (u32 i = threadIdx.x; i < listed; i += NMS_THREADS) {
      const u32 number = list[i];
      if (number == NMS_GONE) continue;
      if (number == last_number || (found && nms_overlap(last, nms_box<E, CENTRED>(boxes, number), threshold))) {
        list[i] = NMS_GONE;  // nobody else looks at it
        continue;
      }
      mine = NmsBest::better(mine, NmsBest{nms_score<S>(scores, number), number});
    }
    const NmsBest best = nms_best(mine, shared);
    if (best.number == NMS_GONE) break;
    if (threadIdx.x == 0) chosen[found] = best.number;
    last = nms_box<E, CENTRED>(boxes, best.number);
    last_number = best.number;
    found++;
  }
  return found;
}

// Puts the chosen of all classes behind each other, as rows of batch, class and box, with zeros behind them; a block a class.
DEVICE void nms_rows(const u32 *counts, const u32 *chosen, u32 batches, u32 classes, u32 room, i64 *rows, i64 *found) {
  __shared__ u32 shared[NMS_THREADS / 32];
  const u32 all = batches * classes, mine = blockIdx.x;
  u32 begin = 0, sum = 0;
  for (u32 first = 0; first < all; first += NMS_THREADS) {
    const u32 at = first + threadIdx.x, count = at < all ? counts[at] : 0;
    u32 total, before;
    scan_block<RunningSum, NMS_THREADS / 32>(count, 0u, shared, &total);
    scan_block<RunningSum, NMS_THREADS / 32>(at < mine ? count : 0u, 0u, shared, &before);
    sum += total;
    begin += before;
  }
  for (u32 i = threadIdx.x; mine < all && i < counts[mine]; i += NMS_THREADS) {
    i64 *row = rows + (i64)(begin + i) * 3;
    row[0] = mine / classes;
    row[1] = mine % classes;
    row[2] = chosen[(i64)mine * room + i];
  }
  clear_rest(rows, (i64)sum * 3, (i64)all * room * 3);
  if (mine == 0 && threadIdx.x == 0) *found = sum;
}
