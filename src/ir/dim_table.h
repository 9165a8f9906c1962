// Inside of symbolic dimensions, shared by dim.c (the table), dim_simplify.c (normal forms) and dim_text.c. Also the marks the
// verifier uses to run inference without leaving new symbols behind.
#pragma once
#include "ir/dim.h"

// Nesting of div, mod, max and min; tree nodes. What would exceed them becomes a symbol without a value, so that no
// model makes printing, parsing or evaluating an expression expensive.
enum { DIM_MAX_DEPTH = 24, DIM_MAX_SIZE = 2000 };

typedef struct DimEntry {
  DimOp op;
  DimOp key;    // the op it was interned for: differs from op only where a limit turned it into a symbol
  bool opaque;  // a sum or product that has no normal form (overflow, too many terms): an atom to others
  uint8_t depth;
  uint16_t size;
  Dim a, b;           // operands
  int64_t value;      // DIM_CONSTANT
  const char *name;   // DIM_SYMBOL
  uint64_t hash;      // of the structure and names: the same in every table
  int64_t low, high;  // bounds of the value; INT64_MIN and INT64_MAX: none
} DimEntry;

static inline size_t dim_index(Dim dim) { return (size_t)(-1 - dim); }
const DimEntry *dim_entry(const DimTable *table, Dim dim);  // dim < 0
uint64_t dim_hash(const DimTable *table, Dim dim);
int64_t dim_low(const DimTable *table, Dim dim);
int64_t dim_high(const DimTable *table, Dim dim);

Arena *dim_table_arena(const DimTable *table);

// The entry for op over a and b as they are.
Dim dim_intern(DimTable *table, DimOp op, Dim a, Dim b, bool opaque);
// The normal form of op over a and b: what dim_make returns.
Dim dim_simplify(DimTable *table, DimOp op, Dim a, Dim b);
bool dim_fold(DimOp op, int64_t a, int64_t b, int64_t *out);  // false on overflow

// Saturating: the extremes mean "no bound".
int64_t bound_add(int64_t a, int64_t b);
int64_t bound_mul(int64_t a, int64_t b);
void bounds_mul(int64_t *low, int64_t *high, int64_t other_low, int64_t other_high);

typedef struct DimMark {
  uint32_t count, fresh;
} DimMark;
DimMark dim_mark(const DimTable *table);
void dim_rewind(DimTable *table, DimMark mark);                   // forgets everything made since; no such Dim may be in use
bool dim_is_newer(const DimTable *table, Dim dim, DimMark mark);  // a symbol made since occurs in it
