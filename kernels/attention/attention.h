// What attention looks like in a graph: a product, a softmax along its last axis, and another product:
//
//   y = softmax(score(q k, operands...)) v
//
// score is a scalar program: a scale, a bias, a mask; what of it is not in the softmax or behind the product stands between them. There may be views, too, that regroup
// batch axes, and the second product may have an epilogue. It is no operator: rules outline it as a region, and implementations read the region's body with the same
// function.
#pragma once
#include "base/arena.h"
#include "kernels/fused.h"

enum { ATTENTION_NODES = 12, ATTENTION_INPUTS = 9 };

// An input of score; NULL: the product's sum.
typedef struct AttentionInput {
  const Value *value, *over;  // it broadcasts to the dims of `over`
} AttentionInput;

typedef struct Attention {
  Node *scores, *softmax, *product;
  Fused first, last;             // what the two products are, with what stands behind them
  Node *nodes[ATTENTION_NODES];  // these and what is between
  int node_count;
  Program *score;
  AttentionInput inputs[ATTENTION_INPUTS];  // score's
  bool zero_nan;                            // a row whose weights are NaN has none
} Attention;

// Reads the attention that ends in this product, alone or with its epilogue. NULL: it is one; else why it is none. Types may be symbolic.
const char *attention_read(Node *product, Arena *arena, Attention *out);
