// Operators whose result's size shows when they have run, in a form that a plan may hold: `nonzero_reserved`, `nms_reserved` give a flat result that has room for all there may
// be, zeros behind what there is, and beside it how many there are. `counted` is the part that there is.
#pragma once
#include "kernels/build.h"
#include "kernels/reference.h"

// The outputs of such an operator: `filled` of `room` elements, and the count.
MUST_CHECK Status reserved_output(Reference *r, const int64_t *values, int64_t filled, int64_t room, int64_t count);
// `counted` behind such an operator, whose first result is `room`.
Value *counted_of(Builder *b, Value *room, int64_t width, int axis);
