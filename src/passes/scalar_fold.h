// Computing what instructions make of constants.
#pragma once
#include "ir/program.h"

typedef enum Fold {
  FOLD_NOTHING,  // an operand is no constant, or devices differ in the result: which of two zeros is the smaller
  FOLD_EXACTLY,  // every device would get the same bits
  FOLD_ROUNDED,  // a function that devices compute within a few units
} Fold;

Fold scalar_foldable(const Program *program, int instruction);
// The constant that an instruction of constants comes to, appended; -1 where it is not computed.
int scalar_fold(Program *program, int instruction);
