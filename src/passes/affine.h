// Pointwise programs as scales and shifts of one of their operands, by channel: what rules that put scales into weights ask for.
#pragma once
#include "passes/rule.h"

enum { HALF_MOST = 65504 };

// scale * x + shift; `most` is the largest shift met on the way, in units of the result, `high` and `low` the largest and the smallest scale.
typedef struct Affine {
  double scale, shift, most, high, low;
} Affine;

extern const Affine affine_identity;
Affine affine_after(Affine inner, Affine outer);
// A pointwise node of the variable and of constants with one value for each channel, or one for all.
bool affine_by_channel(const Node *user, const Value *variable, int channel_axis, int64_t channels);
// The user's program as a map of its input `variable`, for one channel.
bool affine_of(const Node *user, const Value *variable, int64_t channel, Affine *out);
// The shifts as a node behind a convolution or product, computed in at least f32; the result itself where there are none.
MUST_CHECK Status affine_add_shifts(Rewrite *r, Value *result, int axis, int64_t channels, const Affine *maps, Value **out);
double value_as_stored(DType dtype, double value);
