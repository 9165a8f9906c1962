// Transposed convolutions taken apart: the phases together read what the definition says, for every small stride, dilation, kernel and pad;
// and packed filters hold every tap once.
#include <criterion/criterion.h>
#include <string.h>

#include "base/arena.h"
#include "base/checked.h"
#include "kernels/conv/phases.h"

enum { OUT = 9 };

// Output o adds up inputs i for which o = i * stride + tap * dilation - pad.
static void expect_phases(const PhasedAxis *axis) {
  int64_t seen = 0, meant = 0;
  for (int64_t o = 0; o < OUT; o++)
    for (int64_t tap = 0; tap < axis->kernel; tap++) meant += (o + axis->pad - tap * axis->dilation) % axis->stride == 0;
  for (int64_t p = 0; p < axis->phases; p++) {
    AxisPhase phase = axis_phase(axis, p);
    cr_assert_leq(phase.taps, ceil_div(axis->kernel, axis->step));
    for (int64_t q = 0; p + q * axis->stride < OUT; q++)
      for (int64_t j = 0; j < phase.taps; j++) {
        int64_t tap = phase.first + (phase.taps - 1 - j) * axis->step, in = q - phase.pad + j * (axis->dilation / axis->common);
        cr_assert(tap >= 0 && tap < axis->kernel);
        cr_assert_eq(in * axis->stride + tap * axis->dilation - axis->pad, p + q * axis->stride,
                     "stride %d, dilation %d, kernel %d, pad %d: phase %d", (int)axis->stride, (int)axis->dilation,
                     (int)axis->kernel, (int)axis->pad, (int)p);
        seen++;
      }
  }
  cr_assert_eq(seen, meant);
}

// Of all phases: each tap of the kernel has one place, and no two have the same.
static void expect_places(const PhasedAxis *axis) {
  Arena *arena = arena_new();
  const PhasedAxis point = phased_axis(1, 1, 1, 0, 1), axes[3] = {point, *axis, *axis};
  int64_t kernel = axis->kernel * axis->kernel, lines = axis->phases * axis->phases;
  TapPlace *places;
  bool *taken = arena_array(arena, bool, (size_t)kernel), *seen = arena_array(arena, bool, (size_t)kernel);
  int64_t count = phases_places(axes, arena, &places);
  if (axis->phases == axis->stride) cr_assert_eq(count, kernel);
  for (int64_t i = 0; i < count; i++) {
    cr_assert(places[i].tap >= 0 && places[i].tap < kernel && !taken[places[i].tap] && !seen[places[i].kernel]);
    taken[places[i].tap] = seen[places[i].kernel] = true;
  }
  MergedPhases merged;
  if (phases_merge(axes, &merged)) {
    int64_t window = merged.kernel[1] * merged.kernel[2];
    bool *filled = arena_array(arena, bool, (size_t)(lines * window));
    cr_assert_eq(merged_places(axes, &merged, arena, &places), count);
    for (int64_t i = 0; i < count; i++) {
      cr_assert(places[i].block < lines && places[i].tap >= 0 && places[i].tap < window);
      bool *place = &filled[places[i].block * window + places[i].tap];
      cr_assert(!*place);
      *place = true;
    }
  }
  arena_free(arena);
}

Test(conv_phases, phases_read_what_the_definition_says) {
  for (int64_t stride = 1; stride <= 6; stride++)
    for (int64_t dilation = 1; dilation <= 6; dilation++)
      for (int64_t kernel = 1; kernel <= 6; kernel++)
        for (int64_t pad = -4; pad <= 7; pad++) {
          PhasedAxis axis = phased_axis(stride, dilation, kernel, pad, OUT);
          expect_phases(&axis);
          expect_places(&axis);
        }
}

Test(conv_phases, a_kernel_no_larger_than_the_stride_is_a_product) {
  PhasedAxis point = phased_axis(1, 1, 1, 0, 1), axis = phased_axis(2, 1, 2, 0, 14);
  MergedPhases merged;
  cr_assert(phases_merge((const PhasedAxis[3]){point, axis, axis}, &merged));
  for (int i = 0; i < 3; i++) cr_assert(merged.kernel[i] == 1 && merged.pad[i] == 0);
  PhasedAxis dilated = phased_axis(2, 3, 2, 0, 14);
  cr_assert(!phases_merge((const PhasedAxis[3]){point, axis, dilated}, &merged), "its phases read every third input");
}
