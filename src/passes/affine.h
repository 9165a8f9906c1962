// Pointwise programs as scales and shifts of some of their operands, by channel, and which weights may take those: what rules ask for that put scales and sums into
// weights.
//
// Such rules reassociate arithmetic. They compose scales and shifts in double, and round each weight once more, to its own type. What they refuse with weight_fits and
// shift_fits keeps results within 2^-14 of their own scale; tricks that add and subtract a large number to round are left alone.
#pragma once
#include "passes/rule.h"

enum { AFFINE_VARIABLES = 8, AFFINE_CODE = 128 };

// What a value of a program is for one channel: its variables, each times a scale, and a shift.
typedef struct Affine {
  bool is_map;     // false: it is something else
  unsigned reads;  // a bit for each variable
  double scales[AFFINE_VARIABLES], shift;
  double most;       // the largest shift met on the way, in units of the value
  double high, low;  // the largest and the smallest scale
} Affine;

// All else that the node reads are constants: one value for each channel, or one for all.
typedef struct AffineProgram {
  const Node *node;
  const Value *variables[AFFINE_VARIABLES];
  int count, channel_axis;
  int64_t channels;
} AffineProgram;

// The first `end` values of the program, at most AFFINE_CODE.
void affine_evaluate(const AffineProgram *program, int64_t channel, int end, Affine *values);
// A pointwise node whose result is like its one variable, and which reads nothing else but constants by channel.
bool affine_read(const Node *node, const Value *variable, int channel_axis, int64_t channels, AffineProgram *out);
// Its result; false where that is no map, or leaves the range of double.
bool affine_of(const AffineProgram *program, int64_t channel, Affine *out);

// Maps for the match at hand, in memory that the rule's next match has again: networks have hundreds of products of thousands of channels.
Affine *affine_maps(Rewrite *r, int64_t count);

// Maps of one variable, one after the other.
Affine affine_after(Affine inner, Affine outer);
// The value becomes what a convolution or product like another one gives of x and these weights, and behind it the shifts, by the channels along `axis` of its result.
MUST_CHECK Status affine_replace(Rewrite *r, Value *value, const Node *like, Value *x, const Tensor *weights, int axis,
                                 const Affine *maps);

bool weights_become_half(const Rewrite *r, DType dtype);  // later, where half precision is asked for
// Whether a weight keeps its digits: all of them below f32, half a unit of the last one from f32 on. Those that become half precision stay in its range.
bool weight_fits(DType dtype, double weight, bool becomes_half);
// Whether shifts show no rounding beside a result of inputs about 1, the sum of the weights' magnitudes: the largest, times the rounding unit, is at most 2^-14 of
// it; of weights that become half precision, sixteen such results are the most.
bool shift_fits(DType dtype, double most, double sum, bool becomes_half);
