// See matmul_problem.h.
#include "kernels/matmul/matmul_problem.h"

#include <math.h>
#include <stdlib.h>

static bool has_arithmetic(DType dtype) {
  DTypeKind kind = dtype_kind(dtype);
  return kind == KIND_FLOAT || kind == KIND_SIGNED || kind == KIND_UNSIGNED;
}

// Wide enough for the operands and for the result asked for.
static DType accumulator_of(DType a, DType b, DType result) {
  if (dtype_is_float(a) || dtype_is_float(b))
    return a == DTYPE_F64 || b == DTYPE_F64 || result == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  if (dtype_bits(a) == 64 || dtype_bits(b) == 64 || dtype_bits(result) == 64) return a == DTYPE_U64 ? DTYPE_U64 : DTYPE_I64;
  return a == DTYPE_U32 ? DTYPE_U32 : DTYPE_I32;
}

bool matmul_problem(const Site *site, MatmulProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1], *y = &site->outputs[0];
  if (a->rank < 2 || b->rank < 2 || y->rank < 2 || !has_arithmetic(a->dtype) || !has_arithmetic(b->dtype)) return false;
  int rank = y->rank, batch_axes = rank - 2;
  *p = (MatmulProblem){.m = y->dims[rank - 2], .n = y->dims[rank - 1], .k = a->dims[a->rank - 1]};
  p->a_m = a->strides[a->rank - 2], p->a_k = a->strides[a->rank - 1];
  p->b_k = b->strides[b->rank - 2], p->b_n = b->strides[b->rank - 1];
  p->accumulator = accumulator_of(a->dtype, b->dtype, (DType)node_int(site->node, "dtype", a->dtype));
  broadcast_strides(a, rank, p->a_batch);
  broadcast_strides(b, rank, p->b_batch);

  // Rows: y's row axis, then batch axes from the inside out while they extend it. Walks are built outermost first.
  int first_row = rank - 2;
  int64_t rows = p->m;
  bool b_batched = false;
  for (int axis = 0; axis < batch_axes; axis++) b_batched |= p->b_batch[axis] != 0;
  for (int axis = batch_axes - 1; axis >= 0 && !b_batched; axis--) {
    if (y->dims[axis] != 1 && rows != 1 && p->a_batch[axis] != p->a_m * rows) break;
    if (y->dims[axis] != 1 && rows == 1) p->a_m = p->a_batch[axis];
    rows *= y->dims[axis];
    first_row = axis;
  }
  p->m = rows;
  p->batch = 1;
  for (int axis = 0; axis < first_row; axis++) {
    walk_add(&p->output.batch, axis, y->dims[axis], 1);
    p->batch *= y->dims[axis];
  }
  for (int axis = first_row; axis <= rank - 2; axis++) walk_add(&p->output.row, axis, y->dims[axis], 1);
  walk_add(&p->output.column, rank - 1, p->n, 1);
  return p->m <= INT32_MAX && p->n <= INT32_MAX && p->k <= INT32_MAX && p->batch <= (int64_t)65535 * 65535;
}

// The stride of the axis that is not contiguous and those of the batch axes decide the alignment.
static int operand_vector(const TensorDesc *desc, const int64_t *batch, int batch_axes, int64_t outer_stride,
                          int64_t outer_extent) {
  int vector = 1;
  while (vector * 2 * (int)dtype_size(desc->dtype) <= 16) {
    int next = vector * 2;
    if (desc->offset % next || (outer_extent > 1 && outer_stride % next)) break;
    bool aligned = true;
    for (int i = 0; i < batch_axes; i++) aligned &= batch[i] % next == 0;
    if (!aligned) break;
    vector = next;
  }
  return vector;
}

// An axis of one element counts as contiguous.
static int contiguous_vector(const TensorDesc *desc, const int64_t *batch, int batch_axes, int64_t k_stride, int64_t k,
                             int64_t other_stride, int64_t other, bool *k_fast) {
  bool k_contiguous = k_stride == 1 || k == 1, other_contiguous = other_stride == 1 || other == 1;
  *k_fast = k_contiguous || (!other_contiguous && k_stride != 0 && llabs(k_stride) < llabs(other_stride));
  if (k_contiguous) return operand_vector(desc, batch, batch_axes, other_stride, other);
  if (other_contiguous) return operand_vector(desc, batch, batch_axes, k_stride, k);
  return 0;
}

int matmul_a_vector(const Site *site, const MatmulProblem *p, bool *k_fast) {
  return contiguous_vector(&site->inputs[0], p->a_batch, site->outputs[0].rank - 2, p->a_k, p->k, p->a_m, p->m, k_fast);
}
int matmul_b_vector(const Site *site, const MatmulProblem *p, bool *k_fast) {
  return contiguous_vector(&site->inputs[1], p->b_batch, site->outputs[0].rank - 2, p->b_k, p->k, p->b_n, p->n, k_fast);
}

int64_t split_depth(int64_t k, int bk, int splits) { return ceil_div(ceil_div(k, bk), splits) * bk; }

static int resident_blocks(const DeviceInfo *device, const TileCost *tile) {
  int by_shared = device->shared_per_multiprocessor / MAX(tile->shared_bytes + 1024, 1);
  int by_registers = 65536 / (tile->registers * tile->threads);
  int by_threads = (device->sm == 75 ? 1024 : 1536) / tile->threads;
  return MAX(1, MIN(MIN(by_shared, by_registers), by_threads));
}

// A multiprocessor takes its share of the blocks in turns. Blocks that run together hide each other's latency: with few warps resident
// the arithmetic units wait. Memory is a bound of its own, and a split pays for writing and reading its partial sums.
double tile_microseconds(const DeviceInfo *device, const TileCost *tile, int64_t m, int64_t n, int64_t k, int64_t batch,
                         int splits, int size) {
  enum { START_CLOCKS = 1500, STEP_CLOCKS = 60 };
  const double clocks_per_us = 1600, l2_bytes_per_clock = 40,
               memory_bytes_per_us = device->sm >= 90   ? 3e6
                                     : device->sm == 80 ? 1.4e6
                                                        : 6e5;
  const double launch_us = 2.0;
  double tiles_m = ceil((double)m / tile->bm), tiles_n = ceil((double)n / tile->bn);
  double blocks = tiles_m * tiles_n * (double)batch * splits;
  double steps = (double)split_depth(k, tile->bk, splits) / tile->bk;
  double share = ceil(blocks / MAX(device->multiprocessors, 1));
  double together = fmin(share, resident_blocks(device, tile));
  double warps = together * tile->threads / 32;
  double step_math = (double)tile->bm * tile->bn * tile->bk / (tile->rate * fmin(1, warps / 8));
  double step_bytes = (double)(tile->bm + tile->bn) * tile->bk * size / l2_bytes_per_clock;
  double turn = START_CLOCKS + steps * fmax(fmax(step_math, step_bytes) * together, STEP_CLOCKS);
  double compute = share / together * turn / clocks_per_us;
  double traffic = (double)batch * ((double)m * k + (double)k * n + (double)m * n) * size / memory_bytes_per_us;
  double cost = fmax(compute, traffic);
  if (splits > 1) cost += launch_us + 2.0 * splits * (double)batch * m * n * 4 / (2 * memory_bytes_per_us);
  return cost;
}

int split_choices(const DeviceInfo *device, const TileCost *tile, int64_t m, int64_t n, int64_t k, int64_t batch, int *out,
                  int limit) {
  static const int splits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32};
  double blocks = ceil((double)m / tile->bm) * ceil((double)n / tile->bn) * (double)batch;
  int count = 0;
  for (size_t i = 0; i < COUNT_OF(splits) && count < limit; i++) {
    // Beyond four blocks a multiprocessor, or under two steps a split, cutting finer only costs.
    bool useful = blocks * splits[i] <= 4.0 * device->multiprocessors && k >= (int64_t)splits[i] * tile->bk * 2;
    // The last split must not be empty.
    if (splits[i] == 1 || (useful && ceil_div(k, split_depth(k, tile->bk, splits[i])) == splits[i])) out[count++] = splits[i];
  }
  return count;
}

void candidate_offer(CandidateList *list, double cost, const Candidate *candidate) {
  int limit = MIN(list->limit, (int)COUNT_OF(list->cost)), at = list->count;
  while (at > 0 && list->cost[at - 1] > cost) at--;
  if (at >= limit) return;
  if (list->count < limit) list->count++;
  for (int i = list->count - 1; i > at; i--) list->cost[i] = list->cost[i - 1], list->items[i] = list->items[i - 1];
  list->cost[at] = cost;
  list->items[at] = *candidate;
}

void batch_grid(int64_t tiles, int64_t batch, unsigned grid[3]) {
  grid[0] = (unsigned)tiles;
  grid[1] = (unsigned)MIN(batch, 65535);
  grid[2] = (unsigned)ceil_div(batch, 65535);
}

Status emit_split_reduce(Emission *emission, const Site *site, const OutputWalk *walk, DType accumulator, int splits) {
  enum { THREADS = 128 };
  Text text = text_new(emission->arena);
  int64_t batch = walk_count(&walk->batch), rows = walk_count(&walk->row), columns = walk_count(&walk->column);
  const char *type = device_type(accumulator);
  text_add(&text, "#include \"kernels/common/output.cuh\"\n");
  TRY(output_emit(&text, site, walk, accumulator));
  text_add(&text,
           "#include \"kernels/matmul/split_reduce.cuh\"\nextern \"C\" __global__ void __launch_bounds__(%d) "
           "split_reduce_kernel(const %s *sums, ",
           THREADS, type);
  output_parameters(&text, site);
  text_add(&text, ") {\n  split_reduce<%s, %d, %lld, %lld, %lld>(sums, ", type, splits, (long long)batch, (long long)rows,
           (long long)columns);
  output_construct(&text, site);
  text_add(&text, ");\n}\n");
  int vector = columns % 4 == 0 ? 4 : columns % 2 == 0 ? 2 : 1;
  unsigned grid[3] = {(unsigned)ceil_div(batch * rows * columns / vector, THREADS), 1, 1}, block[3] = {THREADS, 1, 1};
  Launch *launch = emit_kernel(emission, text_get(&text), "split_reduce_kernel", grid, block);
  launch->label = "split_reduce";
  emit_workspace(emission, launch, 0);
  output_arguments(emission, launch, site);
  return OK;
}
