// A matmul site as the kernels see it: one batch walk, rows, columns, and four strides. Batch axes that b does not have and that
// continue a's rows become rows, so that [batch, sequence, features] times [features, n] is one tall product.
#pragma once
#include "kernels/tile/tiled_kernel.h"

typedef struct MatmulProblem {
  DimTable *table;  // of open sizes; NULL: all are taken for static
  Extent m, n, k, batch;
  Extent a_m, a_k, b_k, b_n;  // strides in elements
  DType accumulator;
  OutputWalk output;
  Extent a_batch[MAX_RANK], b_batch[MAX_RANK];  // strides along the output's batch axes
} MatmulProblem;

// False where the kernels cannot take it: types without arithmetic, or more than 2^31 - 1 rows, columns or depth.
bool matmul_problem(const Site *site, MatmulProblem *out);
bool matmul_problem_static(const Site *site, MatmulProblem *out);  // of the sizes of now

// For which a tile is chosen, with open sizes as the rung says.
TiledProduct matmul_product(const MatmulProblem *problem, DType dtype, Rung rung);
// Elements of a and b that may be copied at once along the contiguous axis, of at most 16 bytes; 0 where neither axis is. *k_fast says
// whether that axis is k.
int matmul_a_vector(const Site *site, const MatmulProblem *problem, bool *k_fast);
int matmul_b_vector(const Site *site, const MatmulProblem *problem, bool *k_fast);
