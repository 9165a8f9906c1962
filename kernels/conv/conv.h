// Convolutions and their relatives.
#pragma once
#include "kernels/op.h"

extern const OpDef op_conv, op_conv_transpose, op_deform_conv, op_col2im;
