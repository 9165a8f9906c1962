// See cpu_gemm.h. Work is handed out in blocks of rows times ranges of panels; inside a block one panel of b, which stays in the second
// level cache, meets a few tiles of rows.
#include "kernels/common/cpu_gemm.h"
#include <string.h>
#include "base/checked.h"
#include "base/cpu_level.h"

const GemmTable *gemm_table_best(void) {
  CpuLevel level = cpu_level();
  if (gemm_table_vnni && level >= CPU_VNNI) return gemm_table_vnni;
  if (gemm_table_avx512 && level >= CPU_AVX512) return gemm_table_avx512;
  if (gemm_table_avx2 && level >= CPU_AVX2) return gemm_table_avx2;
  return &gemm_table_generic;
}

int64_t gemm_unit_elements(GemmKind kind) { return kind == GEMM_QUADS ? 4 : kind == GEMM_PAIRS ? 2 : 1; }
int64_t gemm_units(GemmKind kind, int64_t depth) { return ceil_div(depth, gemm_unit_elements(kind)); }

// In front of each panel of quads, in units: the sum of each column, its zero point, and a vector that tells whether one of these is not 0.
static int64_t head_units(GemmKind kind) { return kind == GEMM_QUADS ? 3 * gemm_table_best()->panel : 0; }

static size_t panel_bytes(GemmKind kind, int64_t taps, int64_t depth) {
  return (size_t)(taps * gemm_units(kind, depth) * gemm_table_best()->panel + head_units(kind)) * 4;
}

size_t gemm_packed_bytes(GemmKind kind, int64_t taps, int64_t depth, int64_t columns) {
  return (size_t)ceil_div(columns, gemm_table_best()->panel) * panel_bytes(kind, taps, depth);
}

// ---- Packing ----------------------------------------------------------------------------------------------------------------

typedef struct Packing {
  GemmKind kind;
  const GemmSource *source;
  char *packed;
  int panel;
} Packing;

static void pack_units(const Packing *packing, int64_t tap, int64_t first, int64_t count, int32_t *to) {
  const GemmSource *s = packing->source;
  const int32_t *from = (const int32_t *)s->data + (s->tap_offsets ? s->tap_offsets[tap] : 0) + first * s->column_stride;
  for (int64_t d = 0; d < s->depth; d++, to += packing->panel, from += s->depth_stride)
    for (int64_t i = 0; i < count; i++) to[i] = from[i * s->column_stride];
}

static void pack_pairs(const Packing *packing, int64_t tap, int64_t first, int64_t count, int16_t *to) {
  const GemmSource *s = packing->source;
  const int32_t *from = (const int32_t *)s->data + (s->tap_offsets ? s->tap_offsets[tap] : 0) + first * s->column_stride;
  for (int64_t d = 0; d < s->depth; d++, from += s->depth_stride) {
    int16_t *pairs = to + d / 2 * 2 * packing->panel + d % 2;
    for (int64_t i = 0; i < count; i++) pairs[2 * i] = (int16_t)from[i * s->column_stride];
  }
}

typedef struct Column {
  int64_t low, high;
  int32_t sum;
} Column;

static Column scan_column(const GemmSource *s, int64_t column) {
  Column out = {INT64_MAX, INT64_MIN, 0};
  for (int64_t tap = 0; tap < s->taps; tap++) {
    const int32_t *from = (const int32_t *)s->data + (s->tap_offsets ? s->tap_offsets[tap] : 0) + column * s->column_stride;
    for (int64_t d = 0; d < s->depth; d++) {
      int32_t value = from[d * s->depth_stride];
      out.low = MIN(out.low, value), out.high = MAX(out.high, value);
      out.sum = (int32_t)((uint32_t)out.sum + (uint32_t)value);
    }
  }
  return out;
}

bool gemm_fits_quads(const GemmSource *source) {
  for (int64_t i = 0; i < source->columns; i++) {
    Column column = scan_column(source, i);
    if (column.high - column.low > UINT8_MAX) return false;
  }
  return true;
}

static void pack_quads(const Packing *packing, int64_t first, int64_t count, int32_t *head) {
  const GemmSource *s = packing->source;
  int64_t panel = packing->panel, units = gemm_units(GEMM_QUADS, s->depth);
  for (int64_t i = 0; i < count; i++) {
    Column column = scan_column(s, first + i);
    bool fits = column.low >= INT8_MIN && column.high <= INT8_MAX;
    int32_t zero = fits ? 0 : (int32_t)(column.high - INT8_MAX);
    head[i] = column.sum, head[panel + i] = zero, head[2 * panel] |= zero != 0;
    for (int64_t tap = 0; tap < s->taps; tap++) {
      const int32_t *from =
          (const int32_t *)s->data + (s->tap_offsets ? s->tap_offsets[tap] : 0) + (first + i) * s->column_stride;
      int8_t *to = (int8_t *)(head + head_units(GEMM_QUADS) + tap * units * panel + i);
      for (int64_t d = 0; d < s->depth; d++) to[d / 4 * 4 * panel + d % 4] = (int8_t)(from[d * s->depth_stride] - zero);
    }
  }
}

static void pack_panels(void *context, int64_t begin, int64_t end) {
  const Packing *packing = context;
  const GemmSource *s = packing->source;
  size_t bytes = panel_bytes(packing->kind, s->taps, s->depth);
  for (int64_t p = begin; p < end; p++) {
    char *panel = packing->packed + (size_t)p * bytes;
    int64_t first = p * packing->panel, count = MIN((int64_t)packing->panel, s->columns - first);
    memset(panel, 0, bytes);
    if (packing->kind == GEMM_QUADS) {
      pack_quads(packing, first, count, (int32_t *)(void *)panel);
      continue;
    }
    for (int64_t tap = 0; tap < s->taps; tap++) {
      void *to = panel + (size_t)tap * (bytes / (size_t)s->taps);
      if (packing->kind == GEMM_PAIRS) pack_pairs(packing, tap, first, count, to);
      else pack_units(packing, tap, first, count, to);
    }
  }
}

void gemm_pack(GemmKind kind, const GemmSource *source, ThreadPool *pool, void *packed) {
  Packing packing = {kind, source, packed, gemm_table_best()->panel};
  parallel_for(pool, ceil_div(source->columns, packing.panel), 1, pack_panels, &packing);
}

// ---- Running ----------------------------------------------------------------------------------------------------------------

// A block has as many tiles of rows as there is room for their addresses, up to what meets a panel of b while both are near.
enum { MOST_TILES = 11, BLOCK_ADDRESSES = 4 * GEMM_MOST_TAPS * GEMM_MOST_ROWS, BLOCKS_PER_THREAD = 4, GRAIN = 1 << 17 };

typedef struct Running {
  const GemmProblem *problem;
  const GemmTable *table;
  int64_t block_rows, ranges, panels_per_range, panels;
  int block_tiles;
  bool sums;  // of rows are needed
} Running;

typedef struct Tile {
  const void **a;  // [taps][GEMM_MOST_ROWS]
  void *y[GEMM_MOST_ROWS];
  int32_t sums[GEMM_MOST_ROWS];
  int rows, size;  // size: which kernel
} Tile;

static int fitting(const GemmTable *table, int64_t rows) {
  int size = 0;
  while (table->rows[size] < rows) size++;
  return size;
}

// Rows that the kernel has beyond those wanted read what the first does; they are not stored.
static void locate(const Running *running, int64_t first, int rows, Tile *tile) {
  const GemmProblem *problem = running->problem;
  problem->locate(problem->context, first, rows, tile->a, tile->y);
  tile->rows = rows;
  tile->size = fitting(running->table, rows);
  for (int64_t tap = 0; tap < problem->taps; tap++)
    for (int r = rows; r < running->table->rows[tile->size]; r++)
      tile->a[tap * GEMM_MOST_ROWS + r] = tile->a[tap * GEMM_MOST_ROWS];
  memset(tile->sums, 0, sizeof tile->sums);
  for (int64_t tap = 0; tap < problem->taps && running->sums; tap++)
    for (int r = 0; r < rows; r++)
      tile->sums[r] += running->table->sum_bytes(tile->a[tap * GEMM_MOST_ROWS + r], gemm_units(GEMM_QUADS, problem->depth));
}

static void run_panel(const Running *running, const Tile *tiles, int count, int64_t panel) {
  const GemmProblem *problem = running->problem;
  int64_t column = panel * running->table->panel;
  const char *b = (const char *)problem->packed + (size_t)panel * panel_bytes(problem->kind, problem->taps, problem->depth);
  for (int i = 0; i < count; i++) {
    void *y[GEMM_MOST_ROWS];
    for (int r = 0; r < tiles[i].rows; r++) y[r] = (char *)tiles[i].y[r] + column * 4;
    GemmTile tile = {.taps = problem->taps,
                     .depth = gemm_units(problem->kind, problem->depth),
                     .a = tiles[i].a,
                     .b = b,
                     .y = y,
                     .zero = problem->zero,
                     .sums = tiles[i].sums,
                     .rows = tiles[i].rows,
                     .columns = MIN((int64_t)running->table->panel, problem->columns - column)};
    running->table->kernels[problem->kind][tiles[i].size](&tile);
  }
}

static void run_blocks(void *context, int64_t begin, int64_t end) {
  const Running *running = context;
  const GemmProblem *problem = running->problem;
  const void *addresses[BLOCK_ADDRESSES];
  Tile tiles[MOST_TILES];
  for (int i = 0; i < running->block_tiles; i++) tiles[i].a = addresses + problem->taps * GEMM_MOST_ROWS * i;
  int most = running->table->rows[GEMM_SIZES - 1];
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t row = unit / running->ranges * running->block_rows, last = MIN(row + running->block_rows, problem->rows);
    int count = 0;
    for (; row < last; row += most) locate(running, row, (int)MIN(last - row, (int64_t)most), &tiles[count++]);
    int64_t panel = unit % running->ranges * running->panels_per_range;
    for (int64_t p = panel; p < MIN(panel + running->panels_per_range, running->panels); p++)
      run_panel(running, tiles, count, p);
  }
}

// Whether one of the columns' zero points is not 0.
static bool needs_sums(const GemmProblem *problem, int64_t panels, int64_t panel) {
  size_t bytes = panel_bytes(problem->kind, problem->taps, problem->depth);
  const char *packed = problem->packed;
  for (int64_t p = 0; p < panels && problem->kind == GEMM_QUADS; p++)
    if (((const int32_t *)(const void *)(packed + (size_t)p * bytes))[2 * panel]) return true;
  return false;
}

void gemm_run(const GemmProblem *problem, ThreadPool *pool) {
  Running running = {.problem = problem, .table = gemm_table_best()};
  running.panels = ceil_div(problem->columns, running.table->panel);
  running.sums = needs_sums(problem, running.panels, running.table->panel);
  int64_t room = BLOCK_ADDRESSES / MAX(problem->taps * GEMM_MOST_ROWS, (int64_t)1);
  running.block_tiles = (int)MIN(room, (int64_t)MOST_TILES);
  running.block_rows = (int64_t)running.table->rows[GEMM_SIZES - 1] * running.block_tiles;
  int64_t blocks = ceil_div(problem->rows, running.block_rows);
  int64_t wanted = ceil_div((int64_t)thread_pool_size(pool) * BLOCKS_PER_THREAD, MAX(blocks, (int64_t)1));
  running.panels_per_range = ceil_div(running.panels, MIN(wanted, running.panels));
  running.ranges = ceil_div(running.panels, running.panels_per_range);
  int64_t unit_work =
      MIN(running.block_rows, problem->rows) * running.panels_per_range * running.table->panel * problem->taps * problem->depth;
  parallel_for(pool, blocks * running.ranges, MAX(GRAIN / MAX(unit_work, (int64_t)1), (int64_t)1), run_blocks, &running);
}
