// Products of our own, for where oneDNN is not found or has nothing: integers, exactly, and floats. One kernel serves matrix products,
// convolutions and transposed convolutions: a row of `a` is not an address but one for each tap of a window, so that images are read where
// they lie and nothing is copied into columns. b is packed into panels as wide as a tile.
#pragma once
#include "base/arena.h"
#include "base/thread.h"

// What the 4 bytes of a unit are: a float; four bytes, of a without a sign; two 16-bit integers, all of whose products are added; a 32-bit integer.
// Integers wrap. Bytes stand for more than they hold: a's have a zero point, which is told in each run, and each column of b one of its own, so that
// its numbers, which may lie anywhere in a range of 256, are bytes with a sign. What that leaves out of the products is where their sums start.
typedef enum GemmKind { GEMM_FLOATS, GEMM_QUADS, GEMM_PAIRS, GEMM_INTS, GEMM_KINDS } GemmKind;
enum { GEMM_MOST_ROWS = 12, GEMM_SIZES = 3, GEMM_MOST_TAPS = 256 };

typedef struct GemmTile {
  int64_t taps, depth;    // depth: units of a tap
  const void *const *a;   // [taps][GEMM_MOST_ROWS]
  const void *b;          // [taps * depth][panel]; of quads behind GemmColumns
  void *const *y;         // [rows]
  int32_t zero;           // of quads: what is subtracted from each byte of a
  const int32_t *sums;    // of quads: of all bytes of each row of a
  int64_t rows, columns;  // that are stored; a and y hold addresses for all rows of the kernel
} GemmTile;

typedef struct GemmTable {
  const char *name;
  int panel;                                                      // columns of a tile
  int rows[GEMM_SIZES];                                           // of the kernels, rising
  void (*kernels[GEMM_KINDS][GEMM_SIZES])(const GemmTile *tile);  // NULL: no such kind here
  // y[c] = sum over the taps of a[tap][c] * b[tap][c]; of floats and integers
  void (*channels[GEMM_KINDS])(int64_t taps, int64_t channels, const void *const *a, const void *b, void *y);
  int32_t (*sum_bytes)(const void *a, int64_t units);  // where there are quads
} GemmTable;
extern const GemmTable gemm_table_generic;
extern const GemmTable *const gemm_table_avx2, *const gemm_table_avx512, *const gemm_table_vnni;  // NULL where not built
const GemmTable *gemm_table_best(void);

// ---- Packed right operands ---------------------------------------------------------------------------------------------------

// b[tap, d, column] where d counts elements: of float or int32_t, as the kind is; pairs and quads are narrowed.
typedef struct GemmSource {
  const void *data;
  int64_t taps, depth, columns;
  const int64_t *tap_offsets;  // in elements; NULL: 0
  int64_t depth_stride, column_stride;
} GemmSource;
int64_t gemm_unit_elements(GemmKind kind);
int64_t gemm_units(GemmKind kind, int64_t depth);  // units that hold `depth` elements
bool gemm_fits_quads(const GemmSource *source);    // integers of each column lie in a range of 256
size_t gemm_packed_bytes(GemmKind kind, int64_t taps, int64_t depth, int64_t columns);
void gemm_pack(GemmKind kind, const GemmSource *source, ThreadPool *pool, void *packed);

// ---- Products ----------------------------------------------------------------------------------------------------------------

typedef struct GemmProblem {
  GemmKind kind;
  int64_t rows, columns, taps, depth;  // depth in elements
  const void *packed;
  // Fills a[taps][GEMM_MOST_ROWS] and y[] with the addresses of rows first .. first + count - 1.
  void (*locate)(const void *context, int64_t first, int count, const void **a, void **y);
  const void *context;
  int32_t zero;  // of quads
} GemmProblem;
void gemm_run(const GemmProblem *problem, ThreadPool *pool);
