// What the operators of attention share.
#pragma once
#include "onnx/ops/common.h"

Value *split_heads(Builder *b, Value *x, int64_t heads);  // [B, L, H * D] becomes [B, H, L, D]
Value *merge_heads(Builder *b, Value *x);                 // and back
// q[B, H, L, D] with k[B, G, S, D], G dividing H: [B, H, L, S].
Value *head_products(Builder *b, Value *q, Value *k);
Value *head_mix(Builder *b, Value *weights, Value *v);  // [B, H, L, S] with v[B, G, S, D]: [B, H, L, D]
// x of rank 4 with the first `turns` elements of its last axis turned, in pairs of halves or (interleaved) of neighbours. The tables
// broadcast against a half.
Value *rotary_turn(Builder *b, Value *x, Value *cosines, Value *sines, Dim turns, bool interleaved);
