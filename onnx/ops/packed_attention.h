// Attention of com.microsoft whose projections come out of one product, whatever that was made of.
#pragma once
#include "onnx/ops/common.h"

// projected: [B, S, Dq + Dk + Dv]. The numbers of the inputs that hold the bias, the mask, the past and a term to add; -1: none.
MUST_CHECK Status translate_packed_attention(Translation *t, Builder *b, Value *projected, int bias, int mask, int past,
                                             int added);
