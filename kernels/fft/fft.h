// Fourier transforms.
#pragma once
#include "kernels/op.h"

extern const OpDef op_dft;
