// One order for what programs may say in several: operands that commute, the listing of instructions, the numbers of inputs.
#pragma once
#include "ir/program.h"

// Whether the opcode gives the same bits with its two operands exchanged; of NaN, that it is one.
bool opcode_commutes(Opcode op, DType dtype);

// The program in that order. Of operands that commute the deeper stands first, then inputs in the order of `place`, then constants; instructions are listed as results need
// them. listed[k] is the input that is number k now. The first `fixed` inputs keep their numbers, and stand first in the listing.
Program *program_in_order(Arena *arena, const Program *program, const int *place, int fixed, int *listed);
