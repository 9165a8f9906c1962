// Convolutions and their relatives.
#pragma once
#include "ir/op.h"

extern const OpDef op_conv, op_conv_transpose, op_deform_conv, op_col2im;
