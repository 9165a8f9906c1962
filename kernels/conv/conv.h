// Convolutions and their relatives.
#pragma once
#include "ir/op.h"

int64_t terms_of_conv(const Node *node);  // of each result: the weights of its filter

extern const OpDef op_conv, op_conv_transpose, op_deform_conv, op_col2im;
