// Who computes a row, and how many share it; see rowwise_plan.h.
//
// What decides is bytes in flight: memory answers after some 700 ns, so a multiprocessor keeps up with it while about 32 KB are
// asked for at any time. A thread asks for 64 bytes at once (`unroll`), in pieces of 16; the pieces of neighbouring threads make whole
// lines. Rows that fit into a block's registers are read once: that is worth narrower pieces of a line. Rows that do not are split
// over blocks where the bytes pay for the launch more a pass that this costs.
#include "kernels/rowwise/rowwise_plan.h"

enum {
  BLOCK_THREADS = 256,  // of columns that have company
  ROW_THREADS = 512,    // of rows that have company
  MOST_THREADS = 1024,
  // On a multiprocessor. Where all loads of a row are on their way at once, more threads would only be more to combine.
  WANTED_THREADS = 1024,
  HELD_THREADS = 512,
  REGISTER_BYTES = 128,  // of a row, in a thread
  FLIGHT_BYTES = 64,     // a thread asks for at once
  PARTIAL_BYTES = 256,   // of accumulators, in a thread
  SHARED_BYTES = 32768,
  MANY_SPLITS = 64,
  // What neighbouring threads read side by side: if possible; at least, where rows are many; and where they are few.
  LINE_BYTES = 128,
  NARROW_BYTES = 64,
  SECTOR_BYTES = 32,
  // What one multiprocessor gets from memory on its own, and its share when all ask; and what a launch more costs.
  BLOCK_BYTES_A_CLOCK = 40,
  SHARE_BYTES_A_CLOCK = 24,
  LAUNCH_CLOCKS = 4000,
};

static int power_of_two_at_least(int64_t n, int most) {
  int power = 1;
  while (power < n && power < most) power *= 2;
  return power;
}

static DType main_dtype(const RowPlan *p) { return row_plan_operand(p, p->main)->dtype; }
// Bytes of the main tensor that a thread of a column reads at once.
static int column_bytes(const RowPlan *p) { return p->vector * (int)dtype_size(main_dtype(p)); }

// Bytes of element inputs that a step of a thread reads; or as registers hold them: only f16 stays packed in two halves.
static int64_t step_bytes(const RowPlan *p, bool held) {
  int64_t bytes = 0;
  for (int t = 0; t < p->input_count; t++) {
    DType dtype = p->site->inputs[t].dtype;
    int64_t size = held && dtype != DTYPE_F16 ? MAX((int64_t)dtype_size(dtype), 4) : (int64_t)dtype_size(dtype);
    if (p->used[t] && !row_plan_still(p, t)) bytes += size * (extent_is(p->nest.strides[t][p->axis], 0) ? 1 : p->vector);
  }
  return MAX(bytes, 1);
}
static int64_t partial_bytes(const RowPlan *p) {
  int64_t bytes = 0;
  for (int i = 0; i < p->program->count; i++)
    if (p->needed[i] && row_plan_reduces(p, i)) bytes += (int64_t)row_plan_partial_bytes(p, i);
  return bytes;
}

// How many steps of a row a thread may keep; 0: keeping it would save nothing, or nobody knows how long it is. What is kept unpacked has less room where a thread has
// 64 registers in all.
static int64_t steps_to_keep(const RowPlan *p, int64_t threads) {
  if (p->passes + p->stores_elements <= 1 || p->whole_row.open) return 0;
  int64_t room = threads > MOST_THREADS / 2 ? REGISTER_BYTES : 2 * REGISTER_BYTES;
  return MIN(MIN(REGISTER_BYTES / step_bytes(p, false), room / step_bytes(p, true)), 16);
}
static void keep_rows(RowPlan *p) {
  int64_t kept = ceil_div(p->steps, p->lanes);
  p->cached = kept <= steps_to_keep(p, row_plan_threads(p)) ? (int)kept : 0;
}

// Shared memory through which the warps of a block of columns combine one reduction's results.
static int64_t shared_bytes(const RowPlan *p, int64_t threads) {
  return ceil_div(threads, 32) * p->block_groups * p->owned * (int64_t)row_plan_largest_partial(p);
}

static int multiprocessors(const RowPlan *p) { return MAX(p->site->device->multiprocessors, 1); }
static int64_t row_blocks(const RowPlan *p) { return ceil_div(p->groups, p->block_groups); }

// --- Rows along memory: a group of lanes or a block for each.

static void choose_rows(RowPlan *p) {
  const Nest *nest = &p->nest;
  size_t size = dtype_size(main_dtype(p));
  p->axis = nest->rank - 1;
  p->block_groups = p->owned = 1;
  p->groups = p->rows;
  p->all_groups = p->all_rows;
  if (extent_is(nest->strides[p->main][p->axis], 1)) p->vector = (int)MIN(16 / MIN(size, 16), 8);
  while (p->vector > 1 && (extent_factor(p->dims, nest->extents[p->axis], p->vector) < p->vector || p->row / p->vector < 8))
    p->vector /= 2;
  p->steps = p->row / p->vector;
  p->all_steps = extent_ceil_div(p->dims, p->whole_row, p->vector);
  bool few = p->rows < 8 * multiprocessors(p);
  if (p->steps <= 256 && !(few && p->steps > 128)) {
    p->shape = SHAPE_LANES;
    p->lanes = power_of_two_at_least(p->steps, 32);
    int threads = p->rows * p->lanes < 128 * multiprocessors(p) ? 64 : 128;
    p->block_groups = MAX(threads / p->lanes, 1);
  } else {
    p->shape = SHAPE_BLOCK;
    p->lanes = MAX(power_of_two_at_least(ceil_div(p->steps, 4), few ? MOST_THREADS : ROW_THREADS), 64);
    if (ceil_div(p->steps, p->lanes) > steps_to_keep(p, p->lanes) &&
        ceil_div(p->steps, MOST_THREADS) <= steps_to_keep(p, MOST_THREADS))
      p->lanes = MOST_THREADS;
  }
  keep_rows(p);
}

// --- Rows across memory: columns.

// Rows a thread owns: 16 bytes of the main tensor, where the accumulators leave room.
static void choose_owned(RowPlan *p) {
  size_t size = dtype_size(main_dtype(p));
  p->axis = p->outer - 1;
  p->vector = (int)MIN(16 / MIN(size, 16), 8);
  while (p->vector > 1 && (extent_factor(p->dims, p->nest.extents[p->axis], p->vector) < p->vector ||
                           p->vector * partial_bytes(p) > PARTIAL_BYTES))
    p->vector /= 2;
  p->owned = p->vector;
  p->groups = p->rows / p->owned;
  p->all_groups = extent_ceil_div(p->dims, p->all_rows, p->owned);
  p->steps = p->row;
  p->all_steps = p->whole_row;
}

// Halves a block's columns while more than an eighth of the last block's would be empty.
static void trim_columns(RowPlan *p) {
  while (p->block_groups > 1 && p->block_groups * column_bytes(p) > NARROW_BYTES &&
         row_blocks(p) * p->block_groups * 8 > p->groups * 9)
    p->block_groups /= 2;
}

// Lanes enough to hold whole rows of so many columns in registers; 0: a block has fewer.
static int64_t lanes_to_hold(const RowPlan *p, int columns) {
  for (int64_t threads = MOST_THREADS / 2; threads <= MOST_THREADS; threads *= 2) {
    int64_t most = steps_to_keep(p, threads),
            lanes = most ? power_of_two_at_least(ceil_div(p->steps, most), 2 * MOST_THREADS) : 0;
    if (lanes && lanes * columns <= threads && shared_bytes(p, lanes * columns) <= SHARED_BYTES) return lanes;
  }
  return 0;
}

// Gives a block that many; narrower blocks where their threads do not suffice. False: it cannot be.
static bool hold_columns(RowPlan *p) {
  for (int columns = p->block_groups;; columns /= 2) {
    int64_t lanes = lanes_to_hold(p, columns);
    if (lanes) {
      p->block_groups = columns;
      p->lanes = (int)lanes;
      return true;
    }
    bool many = ceil_div(p->groups, MAX(columns / 2, 1)) > multiprocessors(p) / 2;
    if (columns == 1 || columns * column_bytes(p) <= (many ? NARROW_BYTES : SECTOR_BYTES)) return false;
  }
}

// More lanes while the chip has room for more threads and each still has steps to give away.
static void fill_columns(RowPlan *p, int most_threads, int wanted, int64_t least_steps) {
  while (row_plan_threads(p) < most_threads && shared_bytes(p, 2 * row_plan_threads(p)) <= SHARED_BYTES &&
         p->groups * p->lanes < (int64_t)wanted * 3 / 4 * multiprocessors(p) && ceil_div(p->steps, p->lanes) > least_steps)
    p->lanes *= 2;
}
static void complete_warps(RowPlan *p) {
  while (row_plan_threads(p) < 32) p->lanes *= 2;
}

// Narrower blocks, so that more multiprocessors have one, while each still has work for a few warps.
static void spread_columns(RowPlan *p) {
  while (p->block_groups * column_bytes(p) > SECTOR_BYTES && 2 * row_blocks(p) <= multiprocessors(p) &&
         p->block_groups * p->steps > BLOCK_THREADS)
    p->block_groups /= 2;
}

static void choose_columns(RowPlan *p) {
  choose_owned(p);
  p->shape = SHAPE_COLUMNS;
  int line = MIN(MAX(LINE_BYTES / column_bytes(p), 1), 32);
  p->block_groups = power_of_two_at_least(p->groups, line);
  trim_columns(p);
  p->lanes = 1;
  if (hold_columns(p)) {
    spread_columns(p);
    fill_columns(p, MOST_THREADS, HELD_THREADS, 1);
  } else {
    fill_columns(p, BLOCK_THREADS, WANTED_THREADS, 4);
  }
  // A few warps in a block. Lanes that meet are a warp's: more columns than it has threads have one lane.
  while ((p->block_groups < 32 || p->lanes == 1) && row_plan_threads(p) < 128 && row_blocks(p) >= 4 * multiprocessors(p))
    p->block_groups *= 2;
  complete_warps(p);
  keep_rows(p);
}

// --- Splitting

// Clocks that splitting saves, less those of its launches. Of what narrow pieces ask memory for, half is not theirs.
static double worth_splitting(const RowPlan *p) {
  double chip = multiprocessors(p), bytes = (double)p->rows * (double)p->row * (double)dtype_size(main_dtype(p));
  bytes *= p->passes + p->stores_elements;
  bool narrow = p->shape == SHAPE_COLUMNS && p->block_groups * column_bytes(p) < NARROW_BYTES;
  double shared = bytes / (chip * SHARE_BYTES_A_CLOCK);
  double alone = MAX(bytes / ((double)row_blocks(p) * BLOCK_BYTES_A_CLOCK), narrow ? 2 * shared : shared);
  return alone - shared - (double)LAUNCH_CLOCKS * p->passes;
}

static void choose_splits(RowPlan *p) {
  int columns = p->block_groups;
  if (p->shape == SHAPE_COLUMNS) spread_columns(p);
  if (worth_splitting(p) < 0) {
    if (p->shape != SHAPE_COLUMNS) return;
    fill_columns(p, MOST_THREADS, WANTED_THREADS, p->unroll);
    complete_warps(p);
    return;
  }
  p->block_groups = columns;
  int64_t room = (int64_t)multiprocessors(p) * WANTED_THREADS / row_plan_threads(p);
  // Every block that stores reads all partial results of its rows: it has fewer where they have many.
  while (p->shape == SHAPE_COLUMNS && room / row_blocks(p) > MANY_SPLITS && p->block_groups * column_bytes(p) > SECTOR_BYTES)
    p->block_groups /= 2, p->lanes *= 2;
  int64_t possible = p->steps / ((p->owned > 1 ? p->unroll : 2) * (int64_t)p->lanes);
  int64_t splits = MAX(MIN(MIN(room / row_blocks(p), possible), 256), 1);
  p->part = ceil_div(ceil_div(p->steps, splits), p->lanes) * p->lanes;
  p->splits = (int)ceil_div(p->steps, p->part);
  if (p->splits > 1 && p->part / p->lanes <= steps_to_keep(p, row_plan_threads(p))) p->cached = (int)(p->part / p->lanes);
}

void row_plan_choose_shape(RowPlan *p) {
  const Nest *nest = &p->nest;
  Extent along_row = nest->strides[p->main][nest->rank - 1], along_rows = nest->strides[p->main][p->outer - 1];
  Extent beside = nest->extents[p->outer - 1];
  p->splits = p->vector = 1;
  if (!extent_is(along_row, 1) && extent_is(along_rows, 1) && extent_typical(p->dims, beside) >= 4) choose_columns(p);
  else choose_rows(p);
  if (p->cached) return;
  p->unroll = (int)MAX(MIN(FLIGHT_BYTES / step_bytes(p, false), p->vector > 1 ? 4 : 8), 1);
  if (p->shape == SHAPE_BLOCK && p->lanes == MOST_THREADS) p->unroll = MAX(p->unroll / 2, 1);  // no more registers
  row_plan_use_moments(p);
  if (p->shape != SHAPE_LANES && p->passes > 0 && !p->open) choose_splits(p);
  p->unroll = (int)MAX(MIN(p->unroll, ceil_div(p->splits > 1 ? p->part : p->steps, p->lanes)), 1);
}
