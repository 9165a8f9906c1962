// See phases.h.
#include "kernels/conv/phases.h"

#include "base/checked.h"

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

// x with a * x = 1 modulo m, a and m having no common factor.
static int64_t inverse_modulo(int64_t a, int64_t m) {
  int64_t r = m, next_r = a % m, x = 0, next_x = 1;
  while (next_r) {
    int64_t quotient = r / next_r, swap_r = r - quotient * next_r, swap_x = x - quotient * next_x;
    r = next_r, x = next_x;
    next_r = swap_r, next_x = swap_x;
  }
  return (x % m + m) % m;
}

PhasedAxis phased_axis(int64_t stride, int64_t dilation, int64_t kernel, int64_t pad, int64_t out) {
  PhasedAxis axis = {stride, dilation, kernel, pad, MIN(stride, MAX(out, 1)), gcd(stride, dilation), 0, 0};
  axis.step = stride / axis.common;
  axis.inverse = inverse_modulo(dilation / axis.common, axis.step);
  return axis;
}

AxisPhase axis_phase(const PhasedAxis *axis, int64_t phase) {
  int64_t rest = (axis->pad % axis->stride + axis->stride) % axis->stride, whole = (axis->pad - rest) / axis->stride;
  int64_t at = phase + rest, first = at / axis->common % axis->step * axis->inverse % axis->step;
  bool any = at % axis->common == 0 && first < axis->kernel;
  AxisPhase out = {.first = first};
  out.taps = any ? (axis->kernel - 1 - first) / axis->step + 1 : 0;
  out.pad = (out.taps - 1) * (axis->dilation / axis->common) - whole - (at - first * axis->dilation) / axis->stride;
  out.before = first * (axis->kernel / axis->step) + MIN(first, axis->kernel % axis->step);
  return out;
}

static int64_t kernel_tap(const PhasedAxis axes[3], const AxisPhase phase[3], const int64_t tap[3]) {
  int64_t index = 0;
  for (int i = 0; i < 3; i++) index = index * axes[i].kernel + phase[i].first + (phase[i].taps - 1 - tap[i]) * axes[i].step;
  return index;
}

static int64_t tap_index(const int64_t extent[3], const int64_t tap[3]) {
  return (tap[0] * extent[1] + tap[1]) * extent[2] + tap[2];
}

// Visits the taps of all phases; merged NULL: packed phase by phase.
static int64_t list_places(const PhasedAxis axes[3], const MergedPhases *merged, Arena *arena, TapPlace **out) {
  int64_t count = 0, phases[3] = {axes[0].phases, axes[1].phases, axes[2].phases};
  *out = arena_array(arena, TapPlace, (size_t)(axes[0].kernel * axes[1].kernel * axes[2].kernel));
  for (int64_t block = 0; block < phases[0] * phases[1] * phases[2]; block++) {
    const int64_t at[3] = {block / phases[2] / phases[1], block / phases[2] % phases[1], block % phases[2]};
    AxisPhase phase[3];
    for (int i = 0; i < 3; i++) phase[i] = axis_phase(&axes[i], at[i]);
    const int64_t taps[3] = {phase[0].taps, phase[1].taps, phase[2].taps};
    const int64_t start =
        (phase[0].before * axes[1].kernel + taps[0] * phase[1].before) * axes[2].kernel + taps[0] * taps[1] * phase[2].before;
    for (int64_t n = 0; n < taps[0] * taps[1] * taps[2]; n++) {
      int64_t tap[3] = {n / taps[2] / taps[1], n / taps[2] % taps[1], n % taps[2]};
      TapPlace place = {kernel_tap(axes, phase, tap), merged ? block : 0, start + n};
      for (int i = 0; i < 3 && merged; i++) tap[i] += merged->pad[i] - phase[i].pad;
      if (merged) place.tap = tap_index(merged->kernel, tap);
      (*out)[count++] = place;
    }
  }
  return count;
}

int64_t phases_places(const PhasedAxis axes[3], Arena *arena, TapPlace **out) { return list_places(axes, NULL, arena, out); }
int64_t merged_places(const PhasedAxis axes[3], const MergedPhases *merged, Arena *arena, TapPlace **out) {
  return list_places(axes, merged, arena, out);
}

static bool merge_axis(const PhasedAxis *axis, int64_t *kernel, int64_t *pad) {
  int64_t low = INT64_MAX, high = INT64_MIN;  // of the inputs read, from the output's number in its phase
  if (axis->phases > 1 && axis->dilation != axis->common) return false;
  for (int64_t p = 0; p < axis->phases; p++) {
    AxisPhase phase = axis_phase(axis, p);
    if (!phase.taps) continue;
    low = MIN(low, -phase.pad);
    high = MAX(high, phase.taps - 1 - phase.pad);
  }
  *kernel = low > high ? 0 : high - low + 1;
  *pad = -low;
  return *kernel > 0;
}

bool phases_merge(const PhasedAxis axes[3], MergedPhases *out) {
  for (int i = 0; i < 3; i++)
    if (!merge_axis(&axes[i], &out->kernel[i], &out->pad[i])) return false;
  return true;
}
