// Fragments (ldmatrix, stmatrix), products of a warp (mma.sync) and of a warpgroup (wgmma, fed by tensor copies). Operands are small whole
// numbers, so that every order of adding gives the same sum.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/half.h"
#include "tests/instructions/lab.h"

// number: matrices; negative: transposed.
static Status fragments(Lab *lab, const Trial *trial) {
  int count = abs(trial->number);
  bool transposed = trial->number < 0, back = lab->sm >= 90;
  uint32_t in[128], expected[256];
  for (uint32_t i = 0; i < 128; i++) in[i] = lab_word(i);
  const uint16_t *elements = (const uint16_t *)in;
  for (int m = 0; m < count; m++)
    for (int lane = 0; lane < 32; lane++) {
      int a = lane / 4, b = lane % 4 * 2;
      uint32_t low = elements[m * 64 + (transposed ? b * 8 + a : a * 8 + b)],
               high = elements[m * 64 + (transposed ? (b + 1) * 8 + a : a * 8 + b + 1)];
      expected[m * 32 + lane] = low | high << 16;
    }
  memcpy(expected + count * 32, in, (size_t)count * 128);
  char kernel[32];
  snprintf(kernel, sizeof kernel, "%s_%d", transposed ? "transposed" : "fragments", count);
  void *from, *to;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof expected, &to));
  TRY(lab_launch(lab, trial->file, kernel, (Shape){.grid = 1, .block = 32}, LAB_ARGUMENTS(&from, &to)));
  return lab_expect(lab, to, expected, (size_t)count * (back ? 64 : 32));
}

// Between -7 and 8.
static float small(uint32_t i) { return (float)(int)(lab_word(i) % 16) - 7; }

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
static uint16_t narrow(int type, float x) { return type == 'h' ? half_from_float(x) : bf16_from_float(x); }

// number: the type as the wrappers' letters have it.
static Status product(Lab *lab, const Trial *trial) {
  int type = trial->number, depth = type == 't' ? 8 : 16;
  float a[16][16], b[8][16];
  uint32_t a_words[128] = {0}, b_words[64] = {0}, expected[128];
  for (int row = 0; row < 24; row++)
    for (int k = 0; k < depth; k++) {
      float x = small((uint32_t)(row * 16 + k));
      uint32_t *word = row < 16 ? &a_words[row * 8] : &b_words[(row - 16) * 8];
      if (row < 16) a[row][k] = x;
      else b[row - 16][k] = x;
      if (type == 't') word[k] = bits_of(x);
      else word[k / 2] |= (uint32_t)narrow(type, x) << k % 2 * 16;
    }
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 8; column++) {
      float sum = (float)(1 + column % 2 + row / 8 * 2);
      for (int k = 0; k < depth; k++) sum += a[row][k] * b[column][k];
      expected[row * 8 + column] = bits_of(sum);
    }
  void *left, *right, *out;
  TRY(lab_memory(lab, a_words, sizeof a_words, &left));
  TRY(lab_memory(lab, b_words, sizeof b_words, &right));
  TRY(lab_memory(lab, NULL, sizeof expected, &out));
  const char *kernel = type == 'h' ? "product_f16" : type == 'b' ? "product_bf16" : "product_tf32";
  TRY(lab_launch(lab, trial->file, kernel, (Shape){.grid = 1, .block = 32}, LAB_ARGUMENTS(&left, &right, &out)));
  return lab_expect(lab, out, expected, 128);
}

enum { SIDE = 64, PIECES = 5, DEPTH = SIDE * PIECES };

// As it lies in memory: [64][DEPTH], or with rows fastest [DEPTH][64].
static Status operand(Lab *lab, bool rows_fast, uint32_t seed, float (*values)[DEPTH], CudaTensorMap *map) {
  static uint16_t data[SIDE * DEPTH];
  for (int row = 0; row < SIDE; row++)
    for (int k = 0; k < DEPTH; k++) {
      values[row][k] = small(seed + (uint32_t)(row * DEPTH + k));
      data[rows_fast ? k * SIDE + row : row * DEPTH + k] = half_from_float(values[row][k]);
    }
  void *memory;
  TRY(lab_memory(lab, data, sizeof data, &memory));
  uint64_t dims[] = {rows_fast ? SIDE : DEPTH, rows_fast ? DEPTH : SIDE}, strides[] = {dims[0] * 2};
  uint32_t box[] = {64, 64}, steps[] = {1, 1};
  CUDA_TRY(lab->context, cuTensorMapEncodeTiled(map, CUDA_TENSOR_F16, 2, memory, dims, strides, box, steps, 0, CUDA_SWIZZLE_128,
                                                CUDA_L2_256, 0));
  return OK;
}

// number: bit 0: rows fastest in a; bit 1: in b.
static Status warpgroup(Lab *lab, const Trial *trial) {
  static const char *const kernels[] = {"product_kk", "product_rk", "product_kr", "product_rr"};
  static float a[SIDE][DEPTH], b[SIDE][DEPTH];
  static uint32_t expected[SIDE * SIDE];
  CudaTensorMap left, right;
  TRY(operand(lab, trial->number & 1, 1, a, &left));
  TRY(operand(lab, trial->number & 2, 100000, b, &right));
  for (int row = 0; row < SIDE; row++)
    for (int column = 0; column < SIDE; column++) {
      float sum = 0;
      for (int k = 0; k < DEPTH; k++) sum += a[row][k] * b[column][k];
      expected[row * SIDE + column] = bits_of(sum);
    }
  void *out;
  int pieces = PIECES;
  TRY(lab_memory(lab, NULL, sizeof expected, &out));
  Shape shape = {.grid = 1, .block = 256, .shared = 2 * 2 * 8192 + 1024};
  TRY(lab_launch(lab, trial->file, kernels[trial->number], shape, LAB_ARGUMENTS(&left, &right, &out, &pieces)));
  return lab_expect(lab, out, expected, SIDE * SIDE);
}

static const Trial trials[] = {
    {"matrices/1", "matrix.cuh", 75, fragments, 1},
    {"matrices/2", "matrix.cuh", 75, fragments, 2},
    {"matrices/4", "matrix.cuh", 75, fragments, 4},
    {"matrices/1 transposed", "matrix.cuh", 75, fragments, -1},
    {"matrices/2 transposed", "matrix.cuh", 75, fragments, -2},
    {"matrices/4 transposed", "matrix.cuh", 75, fragments, -4},
    {"mma/f16", "matrix.cuh", 75, product, 'h'},
    {"mma/bf16", "matrix.cuh", 80, product, 'b'},
    {"mma/tf32", "matrix.cuh", 80, product, 't'},
    {"wgmma/k fastest in both", "warpgroup.cuh", 90, warpgroup, 0, true},
    {"wgmma/rows fastest in a", "warpgroup.cuh", 90, warpgroup, 1, true},
    {"wgmma/rows fastest in b", "warpgroup.cuh", 90, warpgroup, 2, true},
    {"wgmma/rows fastest in both", "warpgroup.cuh", 90, warpgroup, 3, true},
};
const TrialTable matrix_trials = {trials, COUNT_OF(trials)};
