// A transposed convolution taken apart into convolutions without stride. Along an axis of stride s, output o adds up the inputs
// (o + pad - tap * dilation) / s over those taps for which that is whole, and which taps they are depends on o's phase alone, o mod s. So the outputs
// of one phase are a dense convolution with every (s / gcd(s, dilation))-th tap, turned around. Its numbers follow from the phase by
// arithmetic, here and in kernels/conv/window.cuh.
#pragma once
#include "kernels/implementation.h"

typedef struct PhasedAxis {
  int64_t stride, dilation, kernel, pad;  // of the transposed convolution
  int64_t phases;                         // those that have outputs; phase p makes p, p + stride, ...
  int64_t common, step;  // gcd(stride, dilation), and what is left of the stride: taps of one phase are so far apart
  int64_t inverse;       // of dilation / common, modulo step
} PhasedAxis;

// One phase along an axis: its q-th output reads, with tap j of `taps`, input q - pad + j * (dilation / common).
typedef struct AxisPhase {
  int64_t taps, pad;
  int64_t first;   // tap j is the kernel's first + (taps - 1 - j) * step
  int64_t before;  // taps of the phases whose first tap comes before this one's
} AxisPhase;

PhasedAxis phased_axis(int64_t stride, int64_t dilation, int64_t kernel, int64_t pad, int64_t out);
AxisPhase axis_phase(const PhasedAxis *axis, int64_t phase);

// Where a kernel's tap goes in packed filters: line `block` * filters + filter, place `tap`.
typedef struct TapPlace {
  int64_t kernel, block, tap;
} TapPlace;
// Each phase's taps side by side within a filter's line, phases ordered by their first taps along each axis.
int64_t phases_places(const PhasedAxis axes[3], Arena *arena, TapPlace **out);

// All phases made by one convolution, each by filters of its own: what they read together is a window of `kernel` positions, where the
// taps that a phase lacks are zeros. False where a dilated axis has several phases.
typedef struct MergedPhases {
  int64_t kernel[3], pad[3];
} MergedPhases;
bool phases_merge(const PhasedAxis axes[3], MergedPhases *out);
int64_t merged_places(const PhasedAxis axes[3], const MergedPhases *merged, Arena *arena, TapPlace **out);
