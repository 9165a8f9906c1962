// Symbolic dimensions. A Dim is one 64-bit word: 0 or more is a constant; negative is an expression interned in a DimTable,
// so two dims are provably equal exactly when their words are equal. Expressions are simplified when made (constants
// folded, sums and products ordered), over named symbols ("batch", "seq"). A symbol's value is at least 0.
#pragma once
#include "base/text.h"
#include "base/map.h"

typedef int64_t Dim;
typedef struct DimTable DimTable;

typedef enum DimOp { DIM_SYMBOL, DIM_CONSTANT, DIM_ADD, DIM_MUL, DIM_DIV, DIM_MOD, DIM_MAX, DIM_MIN, DIM_BROADCAST } DimOp;
// DIM_CONSTANT holds negative constants, which only occur inside expressions and as shape *contents*.
// DIM_BROADCAST is what sizes broadcast to that are equal but for ones: the one that is no 1. It is no maximum: 0 and 1 give 0.
// DIM_DIV and DIM_MOD floor. ceil(a/b) is -((-a) div b).

DimTable *dim_table_new(Arena *arena);
static inline bool dim_is_static(Dim dim) { return dim >= 0; }
Dim dim_symbol(DimTable *table, const char *name);   // the same name gives the same Dim
Dim dim_fresh(DimTable *table, const char *prefix);  // a symbol with a new name: prefix + number
// A symbol of its own for a size that is called like another one, which it may or may not be equal to: see dim_unite.
Dim dim_namesake(DimTable *table, Dim symbol);
Dim dim_constant(DimTable *table, int64_t value);                     // any sign
bool dim_get_constant(const DimTable *table, Dim dim, int64_t *out);  // true for both static and negative constants
Dim dim_make(DimTable *table, DimOp op, Dim a, Dim b);
static inline Dim dim_add(DimTable *t, Dim a, Dim b) { return dim_make(t, DIM_ADD, a, b); }
static inline Dim dim_mul(DimTable *t, Dim a, Dim b) { return dim_make(t, DIM_MUL, a, b); }
static inline Dim dim_div(DimTable *t, Dim a, Dim b) { return dim_make(t, DIM_DIV, a, b); }  // floor; b == 0 gives 0
static inline Dim dim_mod(DimTable *t, Dim a, Dim b) { return dim_make(t, DIM_MOD, a, b); }
Dim dim_sub(DimTable *table, Dim a, Dim b);
// True where a and b are the same if namesakes are equal. They are taken for equal then; dim_for_united tells which.
bool dim_unite(DimTable *table, Dim a, Dim b);
// Calls back for every namesake that was taken for its symbol.
void dim_for_united(const DimTable *table, void (*found)(void *context, Dim namesake, Dim symbol), void *context);
bool dim_at_least(const DimTable *table, Dim a, Dim b);  // provably a >= b, whatever the symbols are
Dim dim_ceil_div(DimTable *table, Dim a, Dim b);
int64_t dim_factor(const DimTable *table, Dim dim);  // a power of two, up to 4096, that divides it whatever the symbols are
int64_t dim_typical(const DimTable *table, Dim dim, int64_t symbol);  // what it is where every symbol is that
// Copies an expression from one table into another.
Dim dim_import(DimTable *into, const DimTable *from, Dim dim);

// Structure, for walking: op of a non-static dim, its operands, a symbol's name.
DimOp dim_op(const DimTable *table, Dim dim);
Dim dim_operand(const DimTable *table, Dim dim, int index);
const char *dim_symbol_name(const DimTable *table, Dim dim);
static inline bool dim_is_symbol(const DimTable *table, Dim dim) {
  return !dim_is_static(dim) && dim_op(table, dim) == DIM_SYMBOL;
}
void dim_note_symbols(const DimTable *table, Dim dim, StringMap *names);  // into the map, by name, those it mentions
bool dim_mentions(const DimTable *table, Dim dim, Dim symbol);

// Values of symbols for one call. Unbound symbols make dim_evaluate return false.
typedef struct DimBinding {
  StringMap *values;
} DimBinding;  // name -> boxed int64_t
DimBinding dim_binding_new(Arena *arena);
void dim_bind(DimBinding *binding, Arena *arena, const char *symbol, int64_t value);
bool dim_evaluate(const DimTable *table, const DimBinding *binding, Dim dim, int64_t *out);

void dim_print(Text *text, const DimTable *table, Dim dim);  // 3, batch, (2*seq + 1), max(a, b), broadcast(a, b)
MUST_CHECK Status dim_parse(DimTable *table, const char **cursor, Dim *out);  // advances the cursor
