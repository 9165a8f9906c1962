// Contents through arithmetic: a scalar program evaluated on symbolic integers. Every instruction becomes an array over the node's
// domain, so reductions (the product of a shape) are sums over the elements that share a row. What cannot be expressed, such
// as an inexact quotient of floats, makes the whole answer unknown.
#include <string.h>
#include "base/checked.h"
#include "kernels/contents.h"

typedef struct Evaluation {
  Node *node;
  DimTable *dims;
  Arena *arena;
  int rank;
  int64_t domain[MAX_RANK];
  int count;  // elements of the domain
  int *row;   // which row (element of the reduced domain) each element belongs to
  int row_count, row_extent;
} Evaluation;

// 1 where dim > 0, else 0.
static Dim is_positive(DimTable *dims, Dim dim) { return dim_make(dims, DIM_MIN, dim_make(dims, DIM_MAX, dim, 0), 1); }
static Dim is_not(DimTable *dims, Dim truth) { return dim_sub(dims, 1, truth); }
static Dim is_less(DimTable *dims, Dim a, Dim b) { return is_positive(dims, dim_sub(dims, b, a)); }
static Dim is_other(DimTable *dims, Dim a, Dim b) { return dim_add(dims, is_less(dims, a, b), is_less(dims, b, a)); }

// 1 or 0, or what tells which.
static Dim compare(DimTable *dims, Opcode op, Dim a, Dim b) {
  switch (op) {
    case OP_eq: return is_not(dims, is_other(dims, a, b));
    case OP_ne: return is_other(dims, a, b);
    case OP_gt: return is_less(dims, b, a);
    case OP_le: return is_not(dims, is_less(dims, b, a));
    case OP_lt: return is_less(dims, a, b);
    default: return is_not(dims, is_less(dims, a, b));
  }
}

// Integers are cut off towards zero; floats must come out whole.
static bool divide(DimTable *dims, bool is_float, Dim a, Dim b, Dim *out) {
  int64_t x, y;
  if (dim_get_constant(dims, a, &x) && dim_get_constant(dims, b, &y)) {
    if (y == 0 || (is_float && x % y != 0) || (y == -1 && x == INT64_MIN)) return false;
    *out = dim_constant(dims, x / y);
    return true;
  }
  if (is_float && (!dim_get_constant(dims, b, &y) || y < 1 || dim_mod(dims, a, b) != 0)) return false;
  if (!dim_at_least(dims, b, 0)) return false;
  Dim positive = dim_div(dims, dim_make(dims, DIM_MAX, a, 0), b);
  *out = dim_sub(dims, positive, dim_div(dims, dim_make(dims, DIM_MAX, dim_sub(dims, 0, a), 0), b));
  return true;
}

static bool remainder_of(DimTable *dims, Opcode op, Dim a, Dim b, Dim *out) {
  if (op == OP_fmod && (!dim_at_least(dims, a, 0) || !dim_at_least(dims, b, 0))) return false;
  *out = dim_mod(dims, a, b);
  return true;
}

static bool logic(DimTable *dims, Opcode op, Dim a, Dim b, Dim *out) {
  Dim both = dim_mul(dims, a, b);
  if (op == OP_and) *out = both;
  else if (op == OP_or) *out = dim_make(dims, DIM_MAX, a, b);
  else if (op == OP_xor) *out = is_other(dims, a, b);
  else *out = is_not(dims, a);
  return true;
}

// condition ? a : b
static Dim select_by(DimTable *dims, Dim condition, Dim a, Dim b) {
  return dim_add(dims, dim_mul(dims, condition, dim_sub(dims, a, b)), b);
}

static bool cast_fits(DimTable *dims, DType dtype, Dim a, Dim *out) {
  int64_t value;
  bool constant = dim_get_constant(dims, a, &value);
  *out = a;
  if (dtype_kind(dtype) == KIND_BOOL) {
    *out = compare(dims, OP_ne, a, 0);
    return true;
  }
  if (dtype_is_float(dtype)) {  // exact integers only
    int digits = dtype == DTYPE_F64 ? 53 : dtype == DTYPE_F32 ? 24 : dtype == DTYPE_F16 ? 11 : 8;
    return constant ? value > -(1ll << digits) && value < 1ll << digits : digits >= 24;
  }
  if (dtype_kind(dtype) == KIND_UNSIGNED && !dim_at_least(dims, a, 0)) return false;
  if (dtype_bits(dtype) >= 64) return true;
  if (!constant) return dtype_bits(dtype) == 32;
  int bits = dtype_bits(dtype) - (dtype_kind(dtype) == KIND_SIGNED);
  return value < 1ll << bits && value >= (dtype_kind(dtype) == KIND_SIGNED ? -(1ll << bits) : 0);
}

static bool apply(DimTable *dims, const Instruction *instruction, DType operand, Dim a, Dim b, Dim c, Dim *out) {
  bool is_float = dtype_is_float(operand), is_bool = operand == DTYPE_BOOL;
  switch (instruction->op) {
    case OP_add: *out = dim_add(dims, a, b); return true;
    case OP_sub: *out = dim_sub(dims, a, b); return true;
    case OP_mul: *out = dim_mul(dims, a, b); return true;
    case OP_neg: *out = dim_sub(dims, 0, a); return true;
    case OP_div: return divide(dims, is_float, a, b, out);
    case OP_mod:
    case OP_fmod: return remainder_of(dims, instruction->op, a, b, out);
    case OP_min: *out = dim_make(dims, DIM_MIN, a, b); return true;
    case OP_max: *out = dim_make(dims, DIM_MAX, a, b); return true;
    case OP_relu: *out = dim_make(dims, DIM_MAX, a, 0); return true;
    case OP_abs: *out = dim_make(dims, DIM_MAX, a, dim_sub(dims, 0, a)); return true;
    case OP_floor:
    case OP_ceil:
    case OP_round:
    case OP_trunc: *out = a; return true;
    case OP_cast: return cast_fits(dims, instruction->dtype, a, out);
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge: *out = compare(dims, instruction->op, a, b); return true;
    case OP_select: *out = select_by(dims, a, b, c); return true;
    case OP_and:
    case OP_or:
    case OP_xor:
    case OP_not: return is_bool && logic(dims, instruction->op, a, b, out);
    default: return false;
  }
}

static bool reduce(const Evaluation *e, const Instruction *instruction, const Dim *in, Dim *out) {
  Opcode op = instruction->op == OP_reduce_sum    ? OP_add
              : instruction->op == OP_reduce_prod ? OP_mul
              : instruction->op == OP_reduce_max  ? OP_max
              : instruction->op == OP_reduce_min  ? OP_min
                                                  : OPCODE_COUNT;
  if (op == OPCODE_COUNT || (instruction->dtype == DTYPE_BOOL && (op == OP_add || op == OP_mul))) return false;
  Dim *totals = arena_array(e->arena, Dim, (size_t)e->row_count + 1);
  bool *begun = arena_array(e->arena, bool, (size_t)e->row_count + 1);
  Instruction step = {.op = op, .dtype = instruction->dtype};
  for (int i = 0; i < e->count; i++) {
    int row = e->row[i];
    if (!begun[row]) totals[row] = in[i];
    else if (!apply(e->dims, &step, instruction->dtype, totals[row], in[i], 0, &totals[row])) return false;
    begun[row] = true;
  }
  for (int i = 0; i < e->count; i++) out[i] = totals[e->row[i]];
  return true;
}

// Element i of the domain in an operand that is broadcast to it.
static int64_t broadcast_index(const Evaluation *e, const Value *value, const int64_t *dims, int element) {
  int64_t index = 0, scale = 1, rest = element;
  for (int axis = e->rank - 1; axis >= 0; axis--) {
    int64_t at = rest % e->domain[axis];
    rest /= e->domain[axis];
    int own = axis - (e->rank - value->rank);
    if (own < 0) continue;
    index += dims[own] == 1 ? 0 : at * scale;
    scale *= dims[own];
  }
  return index;
}

static bool read_input(const Evaluation *e, int input, Dim *out) {
  const Value *value = input < e->node->input_count ? e->node->inputs[input] : NULL;
  int64_t dims[MAX_RANK];
  int count;
  const Dim *contents = contents_of_value(e->node->graph, value, &count);
  if (!contents || !value_get_dims(value, dims) || value->rank > e->rank) return false;
  for (int i = 0; i < e->count; i++) {
    int64_t index = broadcast_index(e, value, dims, i);
    if (index >= count) return false;
    out[i] = contents[index];
  }
  return true;
}

static bool fill_positions(const Evaluation *e, int axis, Dim *out) {
  int64_t inner = 1;
  if (axis < 0 || axis >= e->rank) return false;
  for (int i = axis + 1; i < e->rank; i++) inner *= e->domain[i];
  for (int i = 0; i < e->count; i++) out[i] = i / inner % e->domain[axis];
  return true;
}

static bool fill_constant(const Evaluation *e, const Instruction *instruction, Dim *out) {
  int64_t value = instruction->integer;
  if (dtype_is_float(instruction->dtype)) {
    if (!(instruction->number > -0x1p53 && instruction->number < 0x1p53)) return false;
    value = (int64_t)instruction->number;
    if ((double)value != instruction->number) return false;
  }
  for (int i = 0; i < e->count; i++) out[i] = dim_constant(e->dims, value);
  return true;
}

static bool evaluate(const Evaluation *e, const Program *program, int index, Dim *const *values) {
  const Instruction *instruction = &program->code[index];
  Dim *out = values[index];
  int arity = opcode_info(instruction->op)->arity;
  switch (instruction->op) {
    case OP_const: return fill_constant(e, instruction, out);
    case OP_input: return read_input(e, instruction->args[0], out);
    case OP_index: return fill_positions(e, instruction->args[0], out);
    case OP_extent:
      for (int i = 0; i < e->count; i++) out[i] = e->domain[instruction->args[0]];
      return true;
    case OP_row_extent:
      for (int i = 0; i < e->count; i++) out[i] = e->row_extent;
      return true;
    default: break;
  }
  if (opcode_info(instruction->op)->reduces) return reduce(e, instruction, values[instruction->args[0]], out);
  DType operand = program->code[instruction->args[0]].dtype;
  for (int i = 0; i < e->count; i++) {
    Dim operands[3] = {0};
    for (int k = 0; k < arity; k++) operands[k] = values[instruction->args[k]][i];
    if (!apply(e->dims, instruction, operand, operands[0], operands[1], operands[2], &out[i])) return false;
  }
  return true;
}

static bool find_domain(Evaluation *e) {
  int count;
  const Dim *dims = node_dims(e->node, "dims", &count);
  if (dims) {
    e->rank = count;
    for (int i = 0; i < count; i++)
      if (!dim_is_static(e->domain[i] = dims[i])) return false;
    return true;
  }
  for (int i = 0; i < e->node->input_count; i++)
    if (e->node->inputs[i]) e->rank = MAX(e->rank, e->node->inputs[i]->rank);
  for (int i = 0; i < e->rank; i++) e->domain[i] = 1;
  for (int i = 0; i < e->node->input_count; i++) {
    const Value *value = e->node->inputs[i];
    int64_t own[MAX_RANK];
    if (!value) continue;
    if (!value_get_dims(value, own)) return false;
    for (int k = 0; k < value->rank; k++)
      if (own[k] != 1) e->domain[e->rank - value->rank + k] = own[k];
  }
  return true;
}

static void number_rows(Evaluation *e) {
  int axis_count;
  const int64_t *axes = node_ints(e->node, "axes", &axis_count);
  bool reduced[MAX_RANK] = {false};
  e->row_count = e->row_extent = 1;
  for (int i = 0; i < axis_count; i++)
    if (axes[i] >= 0 && axes[i] < e->rank) reduced[axes[i]] = true;
  for (int i = 0; i < e->rank; i++) *(reduced[i] ? &e->row_extent : &e->row_count) *= (int)e->domain[i];
  e->row = arena_array(e->arena, int, (size_t)e->count + 1);
  for (int i = 0; i < e->count; i++) {
    int64_t rest = i, scale = 1;
    for (int axis = e->rank - 1; axis >= 0; axis--) {
      int64_t at = rest % e->domain[axis];
      rest /= e->domain[axis];
      if (reduced[axis]) continue;
      e->row[i] += (int)(at * scale);
      scale *= e->domain[axis];
    }
  }
}

const Dim *contents_of_program(Node *node, const Program *program, int *count) {
  Graph *graph = node->graph;
  Evaluation e = {.node = node, .dims = graph->dims, .arena = graph->arena};
  int64_t elements = 1;
  if (program->output_count != 1 || dtype_kind(node->outputs[0]->dtype) == KIND_UNSIGNED || !find_domain(&e)) return NULL;
  for (int i = 0; i < e.rank; i++)
    if (!checked_mul_i64(elements, e.domain[i], &elements) || elements > MAX_CONTENTS) return NULL;
  if (elements == 0) return NULL;
  // Cheap refusal first: most elementwise nodes work on data.
  for (int i = 0; i < node->input_count; i++)
    if (!node->inputs[i] || (!node->inputs[i]->contents && !node->inputs[i]->constant)) return NULL;
  e.count = (int)elements;
  number_rows(&e);
  Dim **values = arena_array(graph->arena, Dim *, (size_t)program->count);
  for (int i = 0; i < program->count; i++) {
    values[i] = arena_array(graph->arena, Dim, (size_t)e.count);
    if (dtype_kind(program->code[i].dtype) == KIND_UNSIGNED || !evaluate(&e, program, i, values)) return NULL;
  }
  const Dim *result = values[program->outputs[0]];
  if (*count == e.count) return result;
  // A row-level output: one element a row.
  Dim *rows = arena_array(graph->arena, Dim, (size_t)e.row_count + 1);
  if (*count != e.row_count) return NULL;
  for (int i = 0; i < e.count; i++) rows[e.row[i]] = result[i];
  return rows;
}
