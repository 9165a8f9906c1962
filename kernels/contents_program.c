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

// Some b with dim >= b always. INT64_MIN: none known. Symbols are never negative.
static int64_t lower_bound(const DimTable *dims, Dim dim, int depth) {
  int64_t value;
  if (dim_get_constant(dims, dim, &value)) return value;
  if (depth > 16) return INT64_MIN;
  if (dim_op(dims, dim) == DIM_SYMBOL) return 0;
  int64_t a = lower_bound(dims, dim_operand(dims, dim, 0), depth + 1),
          b = lower_bound(dims, dim_operand(dims, dim, 1), depth + 1), out;
  switch (dim_op(dims, dim)) {
    case DIM_ADD: return a != INT64_MIN && b != INT64_MIN && checked_add_i64(a, b, &out) ? out : INT64_MIN;
    case DIM_MUL: return a >= 0 && b >= 0 && checked_mul_i64(a, b, &out) ? out : INT64_MIN;
    case DIM_DIV: return a >= 0 && b >= 0 ? 0 : INT64_MIN;
    case DIM_MOD: return b >= 0 ? 0 : INT64_MIN;
    case DIM_MAX: return MAX(a, b);
    case DIM_MIN: return MIN(a, b);
    default: return INT64_MIN;
  }
}

static bool at_least(DimTable *dims, Dim a, Dim b, int64_t margin) {
  return lower_bound(dims, dim_sub(dims, a, b), 0) >= margin;
}

static bool not_negative(DimTable *dims, Dim dim) { return lower_bound(dims, dim, 0) >= 0; }

// 1 or 0 where the relation is decided, -1 where it is not.
static int compare(DimTable *dims, Opcode op, Dim a, Dim b) {
  bool equal = a == b, greater = at_least(dims, a, b, 1), less = at_least(dims, b, a, 1);
  bool not_less = equal || at_least(dims, a, b, 0), not_greater = equal || at_least(dims, b, a, 0);
  switch (op) {
    case OP_eq: return equal ? 1 : greater || less ? 0 : -1;
    case OP_ne: return equal ? 0 : greater || less ? 1 : -1;
    case OP_gt: return greater ? 1 : not_greater ? 0 : -1;
    case OP_le: return greater ? 0 : not_greater ? 1 : -1;
    case OP_lt: return less ? 1 : not_less ? 0 : -1;
    case OP_ge: return less ? 0 : not_less ? 1 : -1;
    default: return -1;
  }
}

static bool divide(DimTable *dims, bool is_float, Dim a, Dim b, Dim *out) {
  int64_t x, y;
  if (dim_get_constant(dims, a, &x) && dim_get_constant(dims, b, &y)) {
    if (y == 0 || (is_float && x % y != 0) || (y == -1 && x == INT64_MIN)) return false;
    *out = dim_constant(dims, x / y);
    return true;
  }
  if (dim_get_constant(dims, b, &y) && y == 1) {
    *out = a;
    return true;
  }
  if (is_float || !not_negative(dims, a) || !not_negative(dims, b)) return false;
  *out = dim_div(dims, a, b);
  return true;
}

static bool logic(DimTable *dims, Opcode op, Dim a, Dim b, Dim *out) {
  int64_t x, y = 0;
  if (!dim_get_constant(dims, a, &x) || (op != OP_not && !dim_get_constant(dims, b, &y))) return false;
  int64_t result = op == OP_and ? (x && y) : op == OP_or ? (x || y) : op == OP_xor ? (!x != !y) : !x;
  *out = dim_constant(dims, result);
  return true;
}

static bool choose_extreme(DimTable *dims, bool want_larger, Dim a, Dim b, Dim *out) {
  if (at_least(dims, a, b, 0)) *out = want_larger ? a : b;
  else if (at_least(dims, b, a, 0)) *out = want_larger ? b : a;
  else *out = dim_make(dims, want_larger ? DIM_MAX : DIM_MIN, a, b);
  return true;
}

static bool cast_fits(DimTable *dims, DType dtype, Dim a, Dim *out) {
  int64_t value;
  bool constant = dim_get_constant(dims, a, &value);
  *out = a;
  if (dtype_kind(dtype) == KIND_BOOL) {
    int nonzero = constant ? value != 0 : compare(dims, OP_ne, a, 0);
    *out = nonzero;
    return nonzero >= 0;
  }
  if (dtype_is_float(dtype)) {  // exact integers only
    int digits = dtype == DTYPE_F64 ? 53 : dtype == DTYPE_F32 ? 24 : dtype == DTYPE_F16 ? 11 : 8;
    return constant ? value > -(1ll << digits) && value < 1ll << digits : digits >= 24;
  }
  if (dtype_kind(dtype) == KIND_UNSIGNED && !not_negative(dims, a)) return false;
  if (dtype_bits(dtype) >= 64) return true;
  if (!constant) return dtype_bits(dtype) == 32;
  int bits = dtype_bits(dtype) - (dtype_kind(dtype) == KIND_SIGNED);
  return value < 1ll << bits && value >= (dtype_kind(dtype) == KIND_SIGNED ? -(1ll << bits) : 0);
}

static bool apply(DimTable *dims, const Instruction *instruction, DType operand, Dim a, Dim b, Dim c, Dim *out) {
  bool is_float = dtype_is_float(operand), is_bool = operand == DTYPE_BOOL;
  int64_t condition;
  switch (instruction->op) {
    case OP_add: *out = dim_add(dims, a, b); return true;
    case OP_sub: *out = dim_sub(dims, a, b); return true;
    case OP_mul: *out = dim_mul(dims, a, b); return true;
    case OP_neg: *out = dim_sub(dims, 0, a); return true;
    case OP_div: return divide(dims, is_float, a, b, out);
    case OP_mod:
    case OP_fmod:
      if (!not_negative(dims, a) || !at_least(dims, b, 1, 0)) return false;
      *out = dim_mod(dims, a, b);
      return true;
    case OP_min: return choose_extreme(dims, false, a, b, out);
    case OP_max: return choose_extreme(dims, true, a, b, out);
    case OP_relu: return choose_extreme(dims, true, a, 0, out);
    case OP_abs: *out = a; return not_negative(dims, a);
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
    case OP_ge: {
      int result = compare(dims, instruction->op, a, b);
      *out = result;
      return result >= 0;
    }
    case OP_select:
      if (b == c) {
        *out = b;
        return true;
      }
      if (!dim_get_constant(dims, a, &condition)) return false;
      *out = condition ? b : c;
      return true;
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
  if (op == OPCODE_COUNT || instruction->dtype == DTYPE_BOOL) return false;
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
