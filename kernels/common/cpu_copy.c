// See cpu_copy.h.
#include "kernels/common/cpu_copy.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

enum { TILE = 16, GRAIN_BYTES = 1 << 16 };

typedef struct Axis {
  int64_t dim, to, from;
} Axis;

static int outer_first(const void *a, const void *b) {
  int64_t x = llabs(((const Axis *)a)->to), y = llabs(((const Axis *)b)->to);
  return x < y ? 1 : x > y ? -1 : 0;
}

static int merge_axes(Axis *axes, int count) {
  int kept = 0;
  for (int i = 1; i < count; i++) {
    Axis *last = &axes[kept], *next = &axes[i];
    if (last->to == next->to * next->dim && last->from == next->from * next->dim)
      *last = (Axis){last->dim * next->dim, next->to, next->from};
    else axes[++kept] = *next;
  }
  return count ? kept + 1 : 0;
}

static void take_axis(Axis *axes, int *count, int index) {
  memmove(&axes[index], &axes[index + 1], sizeof *axes * (size_t)(*count - index - 1));
  --*count;
}

void cpu_copy_plan(CpuCopy *copy, size_t size, int rank, const int64_t *dims, const int64_t *to_strides,
                   const int64_t *from_strides) {
  Axis axes[MAX_RANK + 1];
  int count = 0;
  *copy = (CpuCopy){.kind = COPY_ELEMENTS, .size = size, .length = 1, .length_to = 1, .length_from = 1};
  for (int i = 0; i < rank; i++) {
    if (dims[i] == 0) return;  // no units
    if (dims[i] != 1) axes[count++] = (Axis){dims[i], to_strides[i], from_strides[i]};
  }
  qsort(axes, (size_t)count, sizeof *axes, outer_first);
  count = merge_axes(axes, count);
  Axis inner = count ? axes[--count] : (Axis){1, 1, 1};
  if (inner.to == 1 && inner.from == 1) copy->kind = COPY_ROWS;
  copy->length = inner.dim, copy->length_to = inner.to, copy->length_from = inner.from;
  for (int i = count - 1; i >= 0 && copy->kind == COPY_ELEMENTS && inner.to == 1; i--) {
    if (axes[i].from != 1) continue;
    copy->kind = COPY_TILES;
    copy->columns = axes[i].dim, copy->columns_to = axes[i].to, copy->columns_from = 1;
    take_axis(axes, &count, i);
  }
  copy->units = copy->kind == COPY_TILES ? ceil_div(copy->columns, TILE) : 1;
  copy->rank = count;
  for (int i = 0; i < count; i++) {
    copy->dims[i] = axes[i].dim, copy->to[i] = axes[i].to, copy->from[i] = axes[i].from;
    copy->units *= axes[i].dim;
  }
}

typedef struct Pair128 {
  uint64_t low, high;
} Pair128;

// rows runs along `length` with the target, columns along the source.
#define DEFINE_ELEMENTS(bits, Type)                                           \
  static void elements_##bits(const CpuCopy *c, char *to, const char *from) { \
    Type *t = (Type *)(void *)to;                                             \
    const Type *f = (const Type *)(const void *)from;                         \
    int64_t n = c->length, ts = c->length_to, fs = c->length_from;            \
    if (ts == 1 && fs == 0)                                                   \
      for (int64_t i = 0; i < n; i++) t[i] = f[0];                            \
    else                                                                      \
      for (int64_t i = 0; i < n; i++) t[i * ts] = f[i * fs];                  \
  }
DEFINE_ELEMENTS(8, uint8_t)
DEFINE_ELEMENTS(16, uint16_t)
DEFINE_ELEMENTS(32, uint32_t)
DEFINE_ELEMENTS(64, uint64_t)
DEFINE_ELEMENTS(128, Pair128)

#define DEFINE_TILE(bits, Type)                                                            \
  static void tile_##bits(const CpuCopy *c, char *to, const char *from, int64_t columns) { \
    int64_t fs = c->length_from, ts = c->columns_to;                                       \
    for (int64_t begin = 0; begin < c->length; begin += TILE) {                            \
      int64_t rows = MIN(c->length - begin, (int64_t)TILE);                                \
      Type *t = (Type *)(void *)to + begin;                                                \
      const Type *f = (const Type *)(const void *)from + begin * fs;                       \
      if (rows == TILE && columns == TILE)                                                 \
        for (int k = 0; k < TILE; k++)                                                     \
          for (int j = 0; j < TILE; j++) t[k * ts + j] = f[j * fs + k];                    \
      else                                                                                 \
        for (int64_t k = 0; k < columns; k++)                                              \
          for (int64_t j = 0; j < rows; j++) t[k * ts + j] = f[j * fs + k];                \
    }                                                                                      \
  }
DEFINE_TILE(8, uint8_t)
DEFINE_TILE(16, uint16_t)
DEFINE_TILE(64, uint64_t)
DEFINE_TILE(128, Pair128)

// Blocks of 4 x 4 transposed in registers of 128 bits, which every processor has: most tensors hold 32-bit elements.
typedef uint32_t Four __attribute__((vector_size(16), aligned(4), may_alias));

static inline void transpose_block(uint32_t *to, int64_t to_stride, const uint32_t *from, int64_t from_stride) {
  Four a = *(const Four *)from, b = *(const Four *)(from + from_stride), c = *(const Four *)(from + 2 * from_stride),
       d = *(const Four *)(from + 3 * from_stride);
  Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  *(Four *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(Four *)(to + to_stride) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(Four *)(to + 2 * to_stride) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(Four *)(to + 3 * to_stride) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

static void tile_of_blocks(const CpuCopy *c, char *to, const char *from, int64_t columns) {
  uint32_t *t = (uint32_t *)(void *)to;
  const uint32_t *f = (const uint32_t *)(const void *)from;
  int64_t fs = c->length_from, ts = c->columns_to, whole_rows = c->length / 4 * 4, whole_columns = columns / 4 * 4;
  // Whole lines of the target at a time: where strides are powers of two, few of them fit the cache at once.
  for (int64_t begin = 0; begin < whole_rows; begin += TILE)
    for (int64_t k = 0; k < whole_columns; k += 4)
      for (int64_t j = begin; j < MIN(begin + TILE, whole_rows); j += 4)
        transpose_block(t + k * ts + j, ts, f + j * fs + k, fs);
  for (int64_t j = 0; j < whole_rows; j++)
    for (int64_t k = whole_columns; k < columns; k++) t[k * ts + j] = f[j * fs + k];
  for (int64_t j = whole_rows; j < c->length; j++)
    for (int64_t k = 0; k < columns; k++) t[k * ts + j] = f[j * fs + k];
}

static void copy_elements(const CpuCopy *copy, char *to, const char *from) {
  switch (copy->size) {
    case 1: elements_8(copy, to, from); break;
    case 2: elements_16(copy, to, from); break;
    case 4: elements_32(copy, to, from); break;
    case 8: elements_64(copy, to, from); break;
    default: elements_128(copy, to, from); break;
  }
}

static void copy_tile(const CpuCopy *copy, char *to, const char *from, int64_t columns) {
  switch (copy->size) {
    case 1: tile_8(copy, to, from, columns); break;
    case 2: tile_16(copy, to, from, columns); break;
    case 4: tile_of_blocks(copy, to, from, columns); break;
    case 8: tile_64(copy, to, from, columns); break;
    default: tile_128(copy, to, from, columns); break;
  }
}

typedef struct Job {
  const CpuCopy *copy;
  char *to;
  const char *from;
} Job;

static void run_units(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  const CpuCopy *copy = job->copy;
  int64_t size = (int64_t)copy->size, tiles = copy->kind == COPY_TILES ? ceil_div(copy->columns, TILE) : 1;
  int64_t index[MAX_RANK + 1], to = 0, from = 0, rest = begin / tiles, tile = begin % tiles;
  for (int i = copy->rank - 1; i >= 0; i--) {
    index[i] = rest % copy->dims[i];
    rest /= copy->dims[i];
    to += index[i] * copy->to[i], from += index[i] * copy->from[i];
  }
  for (int64_t unit = begin; unit < end; unit++) {
    char *t = job->to + to * size;
    const char *f = job->from + from * size;
    if (copy->kind == COPY_ROWS) {
      memcpy(t, f, (size_t)(copy->length * size));
    } else if (copy->kind == COPY_ELEMENTS) {
      copy_elements(copy, t, f);
    } else {
      int64_t first = tile * TILE;
      copy_tile(copy, t + first * copy->columns_to * size, f + first * size, MIN(copy->columns - first, (int64_t)TILE));
      if (++tile < tiles) continue;
      tile = 0;
    }
    for (int i = copy->rank - 1; i >= 0; i--) {
      to += copy->to[i], from += copy->from[i];
      if (++index[i] < copy->dims[i]) break;
      to -= copy->to[i] * copy->dims[i], from -= copy->from[i] * copy->dims[i];
      index[i] = 0;
    }
  }
}

static void run_bytes(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  memcpy(job->to + begin, job->from + begin, (size_t)(end - begin));
}

void cpu_copy_run(const CpuCopy *copy, ThreadPool *pool, void *to, const void *from) {
  Job job = {copy, to, from};
  if (copy->kind == COPY_ROWS && copy->rank == 0) {  // one block, or none
    parallel_for(pool, copy->units * copy->length * (int64_t)copy->size, GRAIN_BYTES, run_bytes, &job);
    return;
  }
  int64_t unit_bytes = copy->length * (int64_t)copy->size * (copy->kind == COPY_TILES ? TILE : 1);
  parallel_for(pool, copy->units, MAX(GRAIN_BYTES / MAX(unit_bytes, (int64_t)1), (int64_t)1), run_units, &job);
}
