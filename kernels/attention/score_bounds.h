// What a score program says about places: where all that it gives is -inf, as a causal mask's other half, no kernel needs to look; and where between these it only scales.
#pragma once
#include "kernels/attention/attention.h"

enum { SCORE_FAR = 1 << 29 };

// A place is a key's number less its query's.
typedef struct ScoreBounds {
  int behind, ahead;  // scores of places below and above are -inf; -SCORE_FAR, SCORE_FAR: there are none known
  double scale;       // scores between are the product's sums times this, above 0; 0: they are something else
} ScoreBounds;

// A mask's number so low that nothing outweighs it (below -1e30) is taken for -inf where each row keeps a key: keys behind, and no operand to mask them. What -inf is added to is
// taken for a number.
ScoreBounds score_bounds(const Attention *a);
