// The table of symbolic dimensions: expressions are interned by (op, operands) in an open-addressing table, so equal
// normal forms are equal words. Everything derived (bounds, hash, size) is kept with the entry when it is made, which
// makes every later question a look-up.
#include "ir/dim.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "base/hash.h"
#include "ir/dim_table.h"

// What the dims of one other table are here: a graph that is copied names each of its few expressions thousands of times.
typedef struct Imported {
  uint64_t from;  // the other table's number
  Dim *dims;      // by entry; 0: not met
  uint32_t capacity;
} Imported;

struct DimTable {
  Arena *arena;
  uint64_t number;  // of the table as it is: no other one has it, nor has this one once entries have gone
  Imported imported;
  DimEntry *entries;
  uint32_t count, capacity;
  uint32_t *slots;  // entry index + 1; 0: empty. Symbols are found through `symbols` instead.
  uint32_t slot_count;
  StringMap *symbols;  // name -> entry index + 1, boxed in the pointer
  uint32_t fresh;      // next number for dim_fresh
  struct Namesake **namesakes;
  uint32_t namesake_count, namesake_capacity;
  IntMap *namesake_of;  // symbol of its own -> Namesake; NULL: there are none
};

struct Namesake {
  Dim own, symbol;
  bool united;
};

static uint64_t next_number(void) {
  static _Atomic uint64_t numbers;
  return atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
}

DimTable *dim_table_new(Arena *arena) {
  DimTable *table = arena_new_of(arena, DimTable);
  table->arena = arena;
  table->number = next_number();
  table->symbols = string_map_new(arena);
  return table;
}

Arena *dim_table_arena(const DimTable *table) { return table->arena; }
const DimEntry *dim_entry(const DimTable *table, Dim dim) { return &table->entries[dim_index(dim)]; }

uint64_t dim_hash(const DimTable *table, Dim dim) {
  return dim >= 0 ? hash_mix(1, (uint64_t)dim) : dim_entry(table, dim)->hash;
}
int64_t dim_low(const DimTable *table, Dim dim) { return dim >= 0 ? dim : dim_entry(table, dim)->low; }
int64_t dim_high(const DimTable *table, Dim dim) { return dim >= 0 ? dim : dim_entry(table, dim)->high; }

static int64_t clamp(__int128 value) { return value > INT64_MAX ? INT64_MAX : value < INT64_MIN ? INT64_MIN : (int64_t)value; }

int64_t bound_add(int64_t a, int64_t b) {
  if (a == INT64_MIN || a == INT64_MAX) return a;
  if (b == INT64_MIN || b == INT64_MAX) return b;
  return clamp((__int128)a + b);
}

int64_t bound_mul(int64_t a, int64_t b) { return clamp((__int128)a * b); }

void bounds_mul(int64_t *low, int64_t *high, int64_t other_low, int64_t other_high) {
  int64_t corners[4] = {bound_mul(*low, other_low), bound_mul(*low, other_high), bound_mul(*high, other_low),
                        bound_mul(*high, other_high)};
  *low = *high = corners[0];
  for (int i = 1; i < 4; i++) {
    *low = MIN(*low, corners[i]);
    *high = MAX(*high, corners[i]);
  }
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

bool dim_fold(DimOp op, int64_t a, int64_t b, int64_t *out) {
  switch (op) {
    case DIM_ADD: return checked_add_i64(a, b, out);
    case DIM_MUL: return checked_mul_i64(a, b, out);
    case DIM_DIV:
      if (b == -1) return checked_mul_i64(a, -1, out);
      *out = b == 0 ? 0 : floor_div(a, b);
      return true;
    case DIM_MOD: *out = b == 0 || b == -1 ? 0 : a - b * floor_div(a, b); return true;
    case DIM_MAX: *out = MAX(a, b); return true;
    case DIM_MIN: *out = MIN(a, b); return true;
    case DIM_BROADCAST: *out = a == 1 ? b : a; return true;
    case DIM_SYMBOL:
    case DIM_CONSTANT: break;
  }
  return false;
}

static void set_bounds(const DimTable *table, DimEntry *entry) {
  int64_t low_a = dim_low(table, entry->a), high_a = dim_high(table, entry->a);
  int64_t low_b = dim_low(table, entry->b), high_b = dim_high(table, entry->b);
  entry->low = INT64_MIN;
  entry->high = INT64_MAX;
  switch (entry->op) {
    case DIM_ADD:
      entry->low = low_a == INT64_MIN || low_b == INT64_MIN ? INT64_MIN : bound_add(low_a, low_b);
      entry->high = high_a == INT64_MAX || high_b == INT64_MAX ? INT64_MAX : bound_add(high_a, high_b);
      break;
    case DIM_MUL:
      entry->low = low_a;
      entry->high = high_a;
      bounds_mul(&entry->low, &entry->high, low_b, high_b);
      break;
    case DIM_DIV:
      if (low_b <= 0 && (low_a < 0 || low_b < 0)) break;
      entry->low = low_a >= 0 ? 0 : low_a == INT64_MIN ? INT64_MIN : floor_div(low_a, low_b);
      entry->high = high_a == INT64_MAX ? INT64_MAX : high_a < 0 ? -1 : floor_div(high_a, MAX(low_b, 1));
      break;
    case DIM_MOD:
      if (low_b < 0) break;
      entry->low = 0;
      entry->high = high_b == INT64_MAX ? INT64_MAX : MAX(high_b - 1, 0);
      if (low_a >= 0) entry->high = MIN(entry->high, high_a);
      break;
    case DIM_MAX:
      entry->low = MAX(low_a, low_b);
      entry->high = MAX(high_a, high_b);
      break;
    case DIM_MIN:
      entry->low = MIN(low_a, low_b);
      entry->high = MIN(high_a, high_b);
      break;
    case DIM_BROADCAST:
      entry->low = MIN(low_a, low_b);
      entry->high = MAX(high_a, high_b);
      break;
    case DIM_SYMBOL: entry->low = entry->key == DIM_SYMBOL ? 0 : INT64_MIN; break;
    case DIM_CONSTANT: entry->low = entry->high = entry->value; break;
  }
}

static uint32_t *find_slot(const DimTable *table, DimOp key, Dim a, Dim b, int64_t value) {
  uint64_t hash = hash_mix(hash_mix(hash_mix((uint64_t)key, (uint64_t)a), (uint64_t)b), (uint64_t)value);
  uint32_t mask = table->slot_count - 1;
  for (uint32_t at = (uint32_t)(hash >> 32) & mask;; at = (at + 1) & mask) {
    uint32_t *slot = &table->slots[at];
    if (!*slot) return slot;
    const DimEntry *entry = &table->entries[*slot - 1];
    if (entry->key == key && entry->a == a && entry->b == b && entry->value == value) return slot;
  }
}

static void rebuild_slots(DimTable *table) {
  memset(table->slots, 0, table->slot_count * sizeof *table->slots);
  for (uint32_t i = 0; i < table->count; i++) {
    const DimEntry *entry = &table->entries[i];
    if (entry->key != DIM_SYMBOL) *find_slot(table, entry->key, entry->a, entry->b, entry->value) = i + 1;
  }
}

static void widen_slots(DimTable *table) {
  if (table->count < table->slot_count / 4 * 3) return;
  table->slot_count = table->slot_count ? table->slot_count * 2 : 64;
  table->slots = arena_array(table->arena, uint32_t, table->slot_count);
  rebuild_slots(table);
}

static Dim push_entry(DimTable *table, DimEntry entry) {
  *ARENA_PUSH(table->arena, table->entries, table->count, table->capacity) = entry;
  return -(Dim)table->count;
}

static Dim new_symbol(DimTable *table, DimEntry entry) {
  entry.op = DIM_SYMBOL;
  entry.depth = entry.size = 1;
  entry.hash = hash_bytes(entry.name, strlen(entry.name), 2);
  set_bounds(table, &entry);
  Dim dim = push_entry(table, entry);
  string_map_set(table->symbols, entry.name, (void *)(uintptr_t)table->count);
  return dim;
}

Dim dim_symbol(DimTable *table, const char *name) {
  uintptr_t known = (uintptr_t)string_map_get(table->symbols, name);
  if (known) return -(Dim)known;
  return new_symbol(table, (DimEntry){.key = DIM_SYMBOL, .name = arena_string(table->arena, name)});
}

static const char *fresh_name(DimTable *table, const char *prefix) {
  const char *name;
  do name = arena_printf(table->arena, "%s%u", prefix, table->fresh++);
  while (string_map_get(table->symbols, name));
  return name;
}

Dim dim_fresh(DimTable *table, const char *prefix) {
  return new_symbol(table, (DimEntry){.key = DIM_SYMBOL, .name = fresh_name(table, prefix)});
}

Dim dim_namesake(DimTable *table, Dim symbol) {
  const char *prefix = arena_printf(table->arena, "%s_", dim_symbol_name(table, symbol));
  Dim own = dim_fresh(table, prefix);
  struct Namesake *namesake = arena_new_of(table->arena, struct Namesake);
  *namesake = (struct Namesake){own, symbol, false};
  *ARENA_PUSH(table->arena, table->namesakes, table->namesake_count, table->namesake_capacity) = namesake;
  if (!table->namesake_of) table->namesake_of = int_map_new(table->arena);
  int_map_set(table->namesake_of, (uint64_t)own, namesake);
  return own;
}

// The dim with every namesake replaced; those met are marked where asked for.
static Dim without_namesakes(DimTable *table, Dim dim, bool unite) {
  int64_t constant;
  if (dim_get_constant(table, dim, &constant)) return dim;
  if (dim_op(table, dim) != DIM_SYMBOL) {
    Dim a = without_namesakes(table, dim_operand(table, dim, 0), unite);
    return dim_make(table, dim_op(table, dim), a, without_namesakes(table, dim_operand(table, dim, 1), unite));
  }
  struct Namesake *found = int_map_get(table->namesake_of, (uint64_t)dim);
  if (found) found->united |= unite;
  return found ? found->symbol : dim;
}

bool dim_unite(DimTable *table, Dim a, Dim b) {
  if (!table->namesake_count || without_namesakes(table, a, false) != without_namesakes(table, b, false)) return false;
  without_namesakes(table, a, true);
  without_namesakes(table, b, true);
  return true;
}

void dim_for_united(const DimTable *table, void (*found)(void *context, Dim namesake, Dim symbol), void *context) {
  for (uint32_t i = 0; i < table->namesake_count; i++)
    if (table->namesakes[i]->united) found(context, table->namesakes[i]->own, table->namesakes[i]->symbol);
}

Dim dim_constant(DimTable *table, int64_t value) {
  if (value >= 0) return value;
  widen_slots(table);
  uint32_t *slot = find_slot(table, DIM_CONSTANT, 0, 0, value);
  if (*slot) return -(Dim)*slot;
  DimEntry entry = {.op = DIM_CONSTANT, .key = DIM_CONSTANT, .size = 1, .value = value, .hash = hash_mix(1, (uint64_t)value)};
  set_bounds(table, &entry);
  *slot = table->count + 1;
  return push_entry(table, entry);
}

bool dim_get_constant(const DimTable *table, Dim dim, int64_t *out) {
  if (dim >= 0) return *out = dim, true;
  const DimEntry *entry = dim_entry(table, dim);
  if (entry->op != DIM_CONSTANT) return false;
  *out = entry->value;
  return true;
}

static int size_of(const DimTable *table, Dim dim) { return dim >= 0 ? 1 : dim_entry(table, dim)->size; }
static int depth_of(const DimTable *table, Dim dim) { return dim >= 0 ? 0 : dim_entry(table, dim)->depth; }

Dim dim_intern(DimTable *table, DimOp op, Dim a, Dim b, bool opaque) {
  widen_slots(table);
  uint32_t *slot = find_slot(table, op, a, b, 0);
  if (*slot) return -(Dim)*slot;
  *slot = table->count + 1;
  DimEntry entry = {.op = op, .key = op, .opaque = opaque, .a = a, .b = b};
  bool chain = !opaque && (op == DIM_ADD || op == DIM_MUL);
  bool longer = !opaque && dim_op(table, a) == op && !dim_entry(table, a)->opaque;  // prints as one more operand
  int size = size_of(table, a) + size_of(table, b) + 1;
  int depth = MAX(depth_of(table, a) + !(chain || longer), depth_of(table, b) + !chain);
  if (size > DIM_MAX_SIZE || depth > DIM_MAX_DEPTH) {
    entry.name = fresh_name(table, "large");
    return new_symbol(table, entry);
  }
  entry.size = (uint16_t)size;
  entry.depth = (uint8_t)depth;
  entry.hash = hash_mix(hash_mix((uint64_t)op + 3, dim_hash(table, a)), dim_hash(table, b));
  set_bounds(table, &entry);
  return push_entry(table, entry);
}

Dim dim_make(DimTable *table, DimOp op, Dim a, Dim b) { return dim_simplify(table, op, a, b); }

Dim dim_sub(DimTable *table, Dim a, Dim b) { return dim_add(table, a, dim_mul(table, dim_constant(table, -1), b)); }

Dim dim_ceil_div(DimTable *table, Dim a, Dim b) {
  int64_t divisor;
  // For positive divisors this form meets the one that output sizes of convolutions are written in.
  if (dim_get_constant(table, b, &divisor) && divisor > 0) return dim_div(table, dim_add(table, a, divisor - 1), b);
  Dim minus_one = dim_constant(table, -1);
  return dim_mul(table, minus_one, dim_div(table, dim_mul(table, minus_one, a), b));
}

static int64_t factor_of(int64_t value) {
  enum { MOST = 4096 };
  int64_t factor = 1;
  while (factor < MOST && value % (factor * 2) == 0) factor *= 2;
  return factor;
}

int64_t dim_factor(const DimTable *table, Dim dim) {
  int64_t value;
  if (dim_get_constant(table, dim, &value)) return factor_of(value);
  const DimEntry *entry = dim_entry(table, dim);
  switch (entry->op) {
    case DIM_MUL: return factor_of(dim_factor(table, entry->a) * dim_factor(table, entry->b));
    case DIM_ADD:
    case DIM_MAX:
    case DIM_MIN:
    case DIM_BROADCAST: return MIN(dim_factor(table, entry->a), dim_factor(table, entry->b));
    default: return 1;
  }
}

int64_t dim_typical(const DimTable *table, Dim dim, int64_t symbol) {
  int64_t value;
  if (dim_get_constant(table, dim, &value)) return value;
  const DimEntry *entry = dim_entry(table, dim);
  if (entry->op == DIM_SYMBOL) return symbol;
  bool fits = dim_fold(entry->op, dim_typical(table, entry->a, symbol), dim_typical(table, entry->b, symbol), &value);
  return fits ? value : symbol;
}

// Where the dim of the other table is noted.
static Dim *place_of(DimTable *into, const DimTable *from, Dim dim) {
  Imported *imported = &into->imported;
  bool roomy = imported->capacity >= from->count;
  if (!roomy) *imported = (Imported){.dims = arena_array(into->arena, Dim, from->count * 2), .capacity = from->count * 2};
  else if (imported->from != from->number) memset(imported->dims, 0, imported->capacity * sizeof *imported->dims);
  imported->from = from->number;
  return &imported->dims[dim_index(dim)];
}

Dim dim_import(DimTable *into, const DimTable *from, Dim dim) {
  if (dim >= 0 || into == from) return dim;
  Dim known = *place_of(into, from, dim);
  if (known) return known;
  DimEntry entry = *dim_entry(from, dim);
  if (entry.op == DIM_SYMBOL) known = dim_symbol(into, entry.name);
  else if (entry.op == DIM_CONSTANT) known = dim_constant(into, entry.value);
  else {
    Dim a = dim_import(into, from, entry.a);
    known = dim_make(into, entry.op, a, dim_import(into, from, entry.b));
  }
  return *place_of(into, from, dim) = known;
}

DimOp dim_op(const DimTable *table, Dim dim) { return dim >= 0 ? DIM_CONSTANT : dim_entry(table, dim)->op; }
Dim dim_operand(const DimTable *table, Dim dim, int index) {
  return index == 0 ? dim_entry(table, dim)->a : dim_entry(table, dim)->b;
}

bool dim_mentions(const DimTable *table, Dim dim, Dim symbol) {
  if (dim == symbol) return true;
  if (dim_is_static(dim) || dim_op(table, dim) == DIM_SYMBOL || dim_op(table, dim) == DIM_CONSTANT) return false;
  return dim_mentions(table, dim_operand(table, dim, 0), symbol) || dim_mentions(table, dim_operand(table, dim, 1), symbol);
}
const char *dim_symbol_name(const DimTable *table, Dim dim) { return dim_entry(table, dim)->name; }

DimBinding dim_binding_new(Arena *arena) { return (DimBinding){string_map_new(arena)}; }

void dim_bind(DimBinding *binding, Arena *arena, const char *symbol, int64_t value) {
  string_map_set(binding->values, symbol, arena_copy(arena, &value, sizeof value));
}

bool dim_evaluate(const DimTable *table, const DimBinding *binding, Dim dim, int64_t *out) {
  if (dim_get_constant(table, dim, out)) return true;
  const DimEntry *entry = dim_entry(table, dim);
  if (entry->op == DIM_SYMBOL) {
    const int64_t *value = string_map_get(binding->values, entry->name);
    if (value) *out = *value;
    return value != NULL;
  }
  int64_t a, b;
  return dim_evaluate(table, binding, entry->a, &a) && dim_evaluate(table, binding, entry->b, &b) &&
         dim_fold(entry->op, a, b, out);
}

DimMark dim_mark(const DimTable *table) { return (DimMark){table->count, table->fresh}; }

void dim_rewind(DimTable *table, DimMark mark) {
  if (table->count == mark.count) return;
  for (uint32_t i = mark.count; i < table->count; i++)
    if (table->entries[i].op == DIM_SYMBOL) string_map_set(table->symbols, table->entries[i].name, NULL);
  table->count = mark.count;
  table->fresh = mark.fresh;
  table->number = next_number();
  table->imported = (Imported){0};
  if (table->slot_count) rebuild_slots(table);
}

bool dim_is_newer(const DimTable *table, Dim dim, DimMark mark) {
  if (dim >= 0 || dim_index(dim) < mark.count) return false;  // operands come before what they are in
  const DimEntry *entry = dim_entry(table, dim);
  if (entry->op == DIM_SYMBOL || entry->op == DIM_CONSTANT) return entry->op == DIM_SYMBOL;
  return dim_is_newer(table, entry->a, mark) || dim_is_newer(table, entry->b, mark);
}

void dim_note_symbols(const DimTable *table, Dim dim, StringMap *names) {
  if (dim_is_static(dim)) return;
  switch (dim_op(table, dim)) {
    case DIM_CONSTANT: return;
    case DIM_SYMBOL: string_map_set(names, dim_symbol_name(table, dim), names); return;
    default:
      dim_note_symbols(table, dim_operand(table, dim, 0), names);
      dim_note_symbols(table, dim_operand(table, dim, 1), names);
  }
}
