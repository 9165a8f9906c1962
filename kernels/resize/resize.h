// Sampling at fractional places: resize, grid_sample, roi_align.
#pragma once
#include "ir/op.h"

extern const OpDef op_resize, op_grid_sample, op_roi_align;

// How one axis of a resize computes its output coordinates: output i is the sum over k of weight[i * taps + k] times input
// index[i * taps + k], or the extrapolation value where outside[i]. Resize is separable, so this table is all of it; a
// nearest resize has one tap of weight 1.
typedef struct ResizeAxis {
  int64_t in, out;
  int taps;
  int32_t *index;
  double *weight;
  bool *outside;  // NULL: never
  bool identity;  // in == out and every output is its own input
} ResizeAxis;
// roi: the region's start and end along this axis in [0, 1], for tf_crop_and_resize.
MUST_CHECK Status resize_axis(const Node *node, int axis, int64_t in, int64_t out, const double roi[2], Arena *arena,
                              ResizeAxis *table);
