// Programs in double whose instructions can be shaken as rounding would, each by itself. For rules whose results are bounded by the size of what their programs compute
// on the way: 1 + tanh(x) near 0 is as far off as 1 is rounded, in double too.
#pragma once
#include "tests/random/draw.h"
#include "ir/program.h"

// A constant of a program that what one instruction gives is multiplied by.
typedef struct InsideFactor {
  Program *program;
  int instruction;
  double unit;  // half a unit in the last place of 1, in the type that the instruction was of
} InsideFactor;

typedef struct Inside {
  Arena *arena;
  InsideFactor *factors;
  uint32_t count, capacity;
} Inside;

// The program, with a factor behind each instruction that rounds: 1, until it is shaken.
Program *inside_open(Inside *inside, const Program *program);
void inside_shake(const Inside *inside, Draw *draw, double units);
