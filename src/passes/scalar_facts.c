// See scalar_facts.h. Each fact is proven from the program alone; what cannot be proven does not hold.
#include "passes/scalar_facts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static const Instruction *code(const Program *program, int i) { return &program->code[i]; }

// Its reciprocal is a normal number too, so that dividing by it and multiplying by that round the same number.
static bool power_of_two(const Program *program, const uint8_t *levels, const int *i) {
  const Instruction *c = code(program, i[0]);
  int exponent, most = c->dtype == DTYPE_F64 ? 1022 : 126;
  if (!isfinite(c->number) || fabs(frexp(c->number, &exponent)) != 0.5) return false;
  return abs(exponent - 1) <= most;
}

static bool is_nan(const Program *program, const uint8_t *levels, const int *i) {
  const Instruction *c = code(program, i[0]);
  return dtype_is_float(c->dtype) && isnan(c->number);
}
static bool is_number(const Program *program, const uint8_t *levels, const int *i) { return !is_nan(program, levels, i); }

// Neither below zero nor -0; it may be NaN.
static bool proven(const Program *program, int i, int depth) {
  enum { DEEPEST = 12 };
  const Instruction *c = code(program, i);
  if (depth > DEEPEST || !dtype_is_float(c->dtype)) return false;
  switch (c->op) {
    case OP_const: return !signbit(c->number);
    case OP_abs:
    case OP_exp:
    case OP_sigmoid:
    case OP_extent:
    case OP_row_extent: return true;
    case OP_mul:
      if (c->args[0] == c->args[1]) return true;
      return proven(program, c->args[0], depth + 1) && proven(program, c->args[1], depth + 1);
    case OP_add:
    case OP_div:
    case OP_min: return proven(program, c->args[0], depth + 1) && proven(program, c->args[1], depth + 1);
    case OP_sqrt:
    case OP_rsqrt:
    case OP_recip:
    case OP_reduce_sum: return proven(program, c->args[0], depth + 1);
    case OP_cast: {
      DType from = code(program, c->args[0])->dtype;
      return dtype_is_float(from) ? proven(program, c->args[0], depth + 1) : dtype_kind(from) != KIND_SIGNED;
    }
    default: return false;
  }
}

static bool not_negative(const Program *program, const uint8_t *levels, const int *i) { return proven(program, i[0], 0); }

static bool of_rows(const Program *program, const uint8_t *levels, const int *i) { return levels && !levels[i[0]]; }

// Bits of integers that a float type holds all of.
static int mantissa(DType dtype) {
  return dtype == DTYPE_F64 ? 53 : dtype == DTYPE_F32 ? 24 : dtype == DTYPE_F16 ? 11 : dtype == DTYPE_BF16 ? 8 : 0;
}

static bool holds_all(DType wide, DType narrow) {
  int bits = dtype_bits(narrow);
  DTypeKind kind = dtype_kind(narrow), into = dtype_kind(wide);
  if (wide == narrow) return true;
  if (kind == KIND_BOOL) return into == KIND_SIGNED || into == KIND_UNSIGNED || mantissa(wide);
  if (kind == KIND_FLOAT)
    return mantissa(narrow) && into == KIND_FLOAT && (wide == DTYPE_F64 || (wide == DTYPE_F32 && bits == 16));
  if (into == KIND_FLOAT) return bits - (kind == KIND_SIGNED) <= mantissa(wide);
  if (into == KIND_SIGNED) return kind == KIND_SIGNED ? dtype_bits(wide) >= bits : dtype_bits(wide) > bits;
  return into == KIND_UNSIGNED && kind == KIND_UNSIGNED && dtype_bits(wide) >= bits;
}

// cast(cast(x)) is one cast: the inner one loses nothing, and the outer one does to what x holds what it does to the same in the type between.
static bool loses_nothing(const Program *program, const uint8_t *levels, const int *i) {
  const Instruction *x = code(program, i[2]);
  DType outer = code(program, i[0])->dtype, inner = code(program, i[1])->dtype;
  bool from_float = dtype_is_float(x->dtype), through_float = dtype_is_float(inner), to_float = dtype_is_float(outer);
  if (!holds_all(inner, x->dtype)) return false;
  // Half precision is rounded to by casts alone, and memory.
  if (from_float && dtype_bits(x->dtype) < 32 && x->op != OP_cast && x->op != OP_input) return false;
  if (from_float) return true;
  if (to_float) return dtype_bits(x->dtype) <= 24 || mantissa(outer) >= 24;
  // Beyond its range a float is cut off, an integer wraps.
  return !through_float || holds_all(outer, x->dtype) || outer == DTYPE_BOOL;
}

static const ScalarFact facts[] = {
    {"power_of_two", 1, power_of_two}, {"is_nan", 1, is_nan},   {"is_number", 1, is_number},
    {"not_negative", 1, not_negative}, {"of_rows", 1, of_rows}, {"loses_nothing", 3, loses_nothing},
};

const ScalarFact *scalar_fact_find(const char *name) {
  for (size_t i = 0; i < COUNT_OF(facts); i++)
    if (!strcmp(facts[i].name, name)) return &facts[i];
  return NULL;
}
