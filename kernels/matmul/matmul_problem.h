// A matmul site as the kernels see it: one batch walk, rows, columns, and four strides. Batch axes that b does not have and that
// continue a's rows become rows, so that [batch, sequence, features] times [features, n] is one tall product.
#pragma once
#include "kernels/common/anchor_source.h"

typedef struct MatmulProblem {
  int64_t m, n, k, batch;
  int64_t a_m, a_k, b_k, b_n;  // strides in elements
  DType accumulator;
  OutputWalk output;
  int64_t a_batch[MAX_RANK], b_batch[MAX_RANK];  // strides along the output's batch axes
} MatmulProblem;

// False where the kernels cannot take it: types without arithmetic, or more than 2^31 - 1 rows, columns or depth.
bool matmul_problem(const Site *site, MatmulProblem *out);

// Elements of a and b that may be copied at once along the contiguous axis, of at most 16 bytes; 0 where neither axis is. *k_fast says
// whether that axis is k.
int matmul_a_vector(const Site *site, const MatmulProblem *problem, bool *k_fast);
int matmul_b_vector(const Site *site, const MatmulProblem *problem, bool *k_fast);

// A piece of work for one block, as the cost model sees it.
typedef struct TileCost {
  int bm, bn, bk, threads;
  int shared_bytes, registers;  // registers: of one thread, roughly
  double rate;                  // multiply-adds per clock that a full multiprocessor does with this tile
} TileCost;
// Estimated microseconds for batch products of m x n x k with elements of `size` bytes, K cut into `splits` parts.
double tile_microseconds(const DeviceInfo *device, const TileCost *tile, int64_t m, int64_t n, int64_t k, int64_t batch,
                         int splits, int size);

// Splits of K worth trying for a tile: fills at most `limit` numbers (1 first), returns how many.
int split_choices(const DeviceInfo *device, const TileCost *tile, int64_t m, int64_t n, int64_t k, int64_t batch, int *out,
                  int limit);
int64_t split_depth(int64_t k, int bk, int splits);  // k of one split: whole steps of bk

// Keeps the `limit` cheapest of a stream of candidates, cheapest first.
typedef struct CandidateList {
  Candidate *items;
  double cost[64];
  int count, limit;
} CandidateList;
void candidate_offer(CandidateList *list, double cost, const Candidate *candidate);

// Adds the launch that sums the partial products of `splits` splits and applies the epilogue. workspace: accumulators at offset 0.
MUST_CHECK Status emit_split_reduce(Emission *emission, const Site *site, const OutputWalk *walk, DType accumulator,
                                    int splits);

// Blocks of a kernel laid over the grid: x tiles and splits, y and z the batch (in 65535s). BATCH_INDEX is the expression for it.
void batch_grid(int64_t tiles, int64_t batch, unsigned grid[3]);
#define BATCH_INDEX "blockIdx.y + blockIdx.z * 65535u"
