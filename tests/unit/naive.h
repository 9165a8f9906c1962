// Scalar programs evaluated the obvious way: one element at a time, recursively, in double and int64_t, with nothing shared with the
// interpreter. And random cases of shapes, strides and programs to hold the two against each other.
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/half.h"
#include "tests/host_test.h"
#include "kernels/ops.h"
#include "kernels/reference.h"

typedef struct Number {
  double f;
  int64_t i;  // of integers and bool; u64 as bits
} Number;

typedef struct Naive {
  const Program *program;
  int rank;
  int64_t dims[MAX_RANK];
  bool reduced[MAX_RANK];
  const Tensor *inputs;  // broadcast to dims
  Number **rows;         // of each reduction, the results so far
  bool **known;
} Naive;

static inline int64_t naive_wrap(DType dtype, int64_t v) {
  if (dtype_kind(dtype) == KIND_BOOL) return v != 0;
  int unused = 64 - dtype_bits(dtype);
  if (dtype_kind(dtype) == KIND_SIGNED) return (int64_t)((uint64_t)v << unused) >> unused;
  return (int64_t)((uint64_t)v << unused >> unused);
}

static inline int64_t naive_power(int64_t a, int64_t b) {
  uint64_t result = 1;
  for (int64_t k = 0; k < b; k++) result *= (uint64_t)a;
  return b < 0 ? (a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0) : (int64_t)result;
}

static inline double naive_float(Opcode op, double a, double b, double c) {
  double r = fmod(a, b);
  switch (op) {
    case OP_add: return a + b;
    case OP_sub: return a - b;
    case OP_mul: return a * b;
    case OP_div: return a / b;
    case OP_mod: return r != 0 && signbit(r) != signbit(b) ? r + b : r;
    case OP_fmod: return r;
    case OP_pow: return pow(a, b);
    case OP_min: return isnan(a) || isnan(b) ? NAN : fmin(a, b);
    case OP_max: return isnan(a) || isnan(b) ? NAN : fmax(a, b);
    case OP_neg: return -a;
    case OP_abs: return fabs(a);
    case OP_sign: return isnan(a) ? a : (a > 0) - (a < 0);
    case OP_fma: return fma(a, b, c);
    case OP_floor: return floor(a);
    case OP_ceil: return ceil(a);
    case OP_round: return nearbyint(a);
    case OP_trunc: return trunc(a);
    case OP_sqrt: return sqrt(a);
    case OP_rsqrt: return 1 / sqrt(a);
    case OP_recip: return 1 / a;
    case OP_exp: return exp(a);
    case OP_log: return log(a);
    case OP_log1p: return log1p(a);
    case OP_expm1: return expm1(a);
    case OP_sin: return sin(a);
    case OP_cos: return cos(a);
    case OP_tan: return tan(a);
    case OP_asin: return asin(a);
    case OP_acos: return acos(a);
    case OP_atan: return atan(a);
    case OP_sinh: return sinh(a);
    case OP_cosh: return cosh(a);
    case OP_tanh: return tanh(a);
    case OP_asinh: return asinh(a);
    case OP_acosh: return acosh(a);
    case OP_atanh: return atanh(a);
    case OP_atan2: return atan2(a, b);
    case OP_erf: return erf(a);
    case OP_sigmoid: return 1 / (1 + exp(-a));
    case OP_relu: return isnan(a) ? a : a > 0 ? a : 0;
    default: cr_assert(false, "%s is no float opcode", opcode_info(op)->name); return 0;
  }
}

static inline int64_t naive_integer(Opcode op, DType dtype, int64_t a, int64_t b) {
  bool is_unsigned = dtype_kind(dtype) == KIND_UNSIGNED;
  uint64_t ua = (uint64_t)a, ub = (uint64_t)b;
  bool less = is_unsigned ? ua < ub : a < b;
  switch (op) {
    case OP_add: return (int64_t)(ua + ub);
    case OP_sub: return (int64_t)(ua - ub);
    case OP_mul: return (int64_t)(ua * ub);
    case OP_div: return b == 0 ? 0 : is_unsigned ? (int64_t)(ua / ub) : b == -1 ? (int64_t)-ua : a / b;
    case OP_mod:
      if (b == 0 || (!is_unsigned && b == -1)) return 0;
      return is_unsigned ? (int64_t)(ua % ub) : ((a % b) + b) % b;
    case OP_fmod: return b == 0 || (!is_unsigned && b == -1) ? 0 : is_unsigned ? (int64_t)(ua % ub) : a % b;
    case OP_pow: return naive_power(a, b);
    case OP_min: return less ? a : b;
    case OP_max: return less ? b : a;
    case OP_neg: return (int64_t)-ua;
    case OP_abs: return !is_unsigned && a < 0 ? (int64_t)-ua : a;
    case OP_sign: return is_unsigned ? a != 0 : (a > 0) - (a < 0);
    case OP_and: return a & b;
    case OP_or: return a | b;
    case OP_xor: return a ^ b;
    case OP_not: return dtype == DTYPE_BOOL ? !a : ~a;
    case OP_shift_left: return ub > 63 ? 0 : (int64_t)(ua << ub);
    case OP_shift_right: return is_unsigned ? (ub > 63 ? 0 : (int64_t)(ua >> ub)) : a >> MIN(ub, 63);
    case OP_relu: return is_unsigned || a > 0 ? a : 0;
    default: cr_assert(false, "%s is no integer opcode", opcode_info(op)->name); return 0;
  }
}

static inline int naive_compare(DType dtype, Number a, Number b) {
  if (dtype_is_float(dtype)) return (a.f > b.f) - (a.f < b.f);
  if (dtype_kind(dtype) == KIND_UNSIGNED) return ((uint64_t)a.i > (uint64_t)b.i) - ((uint64_t)a.i < (uint64_t)b.i);
  return (a.i > b.i) - (a.i < b.i);
}

static inline Number naive_cast(const Instruction *instruction, DType from, Number a) {
  DType to = instruction->dtype;
  bool saturate = instruction->integer & CAST_SATURATE;
  Number result = {0};
  if (dtype_is_float(to)) {
    double value = dtype_is_float(from) ? a.f : dtype_kind(from) == KIND_UNSIGNED ? (double)(uint64_t)a.i : (double)a.i;
    float narrow = (float)value;
    switch (to) {
      case DTYPE_F64: result.f = value; break;
      case DTYPE_F32: result.f = narrow; break;
      case DTYPE_F16:
      case DTYPE_BF16: {
        uint16_t code;
        element_set_f(to, &code, value);
        result.f = element_get_f(to, &code);
        break;
      }
      case DTYPE_F8E4M3FN: result.f = e4m3fn_to_float(e4m3fn_from_float(narrow, saturate)); break;
      case DTYPE_F8E4M3FNUZ: result.f = e4m3fnuz_to_float(e4m3fnuz_from_float(narrow, saturate)); break;
      case DTYPE_F8E5M2: result.f = e5m2_to_float(e5m2_from_float(narrow, saturate)); break;
      case DTYPE_F8E5M2FNUZ: result.f = e5m2fnuz_to_float(e5m2fnuz_from_float(narrow, saturate)); break;
      case DTYPE_F8E8M0:
        result.f = e8m0_to_float(e8m0_from_float(narrow, (E8m0Rounding)(instruction->integer >> 1 & 3), saturate));
        break;
      default: result.f = e2m1_to_float(e2m1_from_float(narrow));
    }
    return result;
  }
  if (to == DTYPE_BOOL) {
    result.i = dtype_is_float(from) ? a.f != 0 : a.i != 0;
    return result;
  }
  result.i = a.i;
  if (!dtype_is_float(from)) {
    result.i = naive_wrap(to, result.i);
    return result;
  }
  bool is_unsigned = dtype_kind(to) == KIND_UNSIGNED;
  double most = ldexp(1, dtype_bits(to) - !is_unsigned) - 1, least = is_unsigned ? 0 : -ldexp(1, dtype_bits(to) - 1);
  if (saturate) {
    double value = isnan(a.f) ? 0 : a.f;
    if (value >= most)
      result.i = is_unsigned && dtype_bits(to) == 64 ? -1 : (int64_t)(UINT64_MAX >> (64 - dtype_bits(to) + !is_unsigned));
    else if (value <= least) result.i = is_unsigned ? 0 : -(int64_t)(UINT64_MAX >> (64 - dtype_bits(to) + 1)) - 1;
    else result.i = value >= 0x1p63 ? (int64_t)(uint64_t)value : (int64_t)value;
    return result;
  }
  // Through 32 or 64 bits signed, whose least value stands for what does not fit; u32 and u64 have an upper half.
  double limit = dtype_bits(to) == 64 ? 0x1p63 : 0x1p31;
  if (a.f >= -limit && a.f < limit) result.i = (int64_t)a.f;
  else if (is_unsigned && dtype_bits(to) >= 32 && a.f >= limit) result.i = a.f < 2 * limit ? (int64_t)(uint64_t)a.f : 0;
  else result.i = limit == 0x1p63 ? INT64_MIN : INT32_MIN;
  result.i = naive_wrap(to, result.i);
  return result;
}

static Number naive_at(const Naive *naive, int index, const int64_t *at);

static inline Number naive_input(const Naive *naive, const Instruction *instruction, const int64_t *at) {
  const Tensor *tensor = &naive->inputs[instruction->args[0]];
  int64_t linear = 0;
  for (int i = 0; i < tensor->rank; i++)
    linear = linear * tensor->dims[i] + (tensor->dims[i] == 1 ? 0 : at[i + naive->rank - tensor->rank]);
  if (dtype_is_float(tensor->dtype)) return (Number){.f = tensor_get_f(tensor, linear)};
  return (Number){.i = tensor_get_i(tensor, linear)};
}

static inline Number naive_reduce(const Naive *naive, int index, const int64_t *outer) {
  const Instruction *instruction = &naive->program->code[index];
  DType dtype = naive->program->code[instruction->args[0]].dtype;
  bool search = opcode_info(instruction->op)->result == RESULT_DECLARED;
  int64_t at[MAX_RANK], row[MAX_RANK], row_count = 1;
  for (int i = 0; i < naive->rank; i++) row_count *= naive->reduced[i] ? naive->dims[i] : 1;
  Number best = {0};
  int64_t where = 0;
  double product = 1, sum = 0;
  uint64_t integer_product = 1, integer_sum = 0;
  bool found = false;
  for (int64_t k = 0; k < row_count; k++) {
    int64_t rest = k;
    for (int i = naive->rank - 1; i >= 0; i--) {
      at[i] = outer[i];
      if (!naive->reduced[i]) continue;
      row[i] = rest % naive->dims[i];
      rest /= naive->dims[i];
      at[i] = row[i];
    }
    Number v = naive_at(naive, instruction->args[0], at);
    sum += v.f;
    product *= v.f;
    integer_sum += (uint64_t)v.i;
    integer_product *= (uint64_t)v.i;
    bool maximum =
        instruction->op == OP_reduce_max || instruction->op == OP_reduce_argmax || instruction->op == OP_reduce_argmax_last;
    bool last = instruction->op == OP_reduce_argmax_last || instruction->op == OP_reduce_argmin_last;
    int order = naive_compare(dtype, v, best) * (maximum ? 1 : -1);
    bool nan = dtype_is_float(dtype) && isnan(v.f), best_nan = found && dtype_is_float(dtype) && isnan(best.f);
    if (nan && !best_nan) order = 1;
    else if (best_nan) order = nan ? 0 : -1;
    if (!found || order > 0 || (order == 0 && last)) best = v, where = k;
    found = true;
  }
  if (search) return (Number){.i = where};
  if (instruction->op == OP_reduce_sum) return (Number){sum, naive_wrap(dtype, (int64_t)integer_sum)};
  if (instruction->op == OP_reduce_prod) return (Number){product, naive_wrap(dtype, (int64_t)integer_product)};
  return best;
}

static inline Number naive_row(const Naive *naive, int index, const int64_t *at) {
  int64_t row = 0;
  for (int i = 0; i < naive->rank; i++)
    if (!naive->reduced[i]) row = row * naive->dims[i] + at[i];
  if (!naive->known[index][row]) naive->rows[index][row] = naive_reduce(naive, index, at);
  naive->known[index][row] = true;
  return naive->rows[index][row];
}

static inline Number naive_exact(const Naive *naive, int index, const int64_t *at) {
  const Instruction *instruction = &naive->program->code[index];
  const OpcodeInfo *info = opcode_info(instruction->op);
  DType dtype = instruction->dtype;
  if (info->reduces) return naive_row(naive, index, at);
  int64_t number = 0;
  switch (instruction->op) {
    case OP_const: return (Number){instruction->number, instruction->integer};
    case OP_input: return naive_input(naive, instruction, at);
    case OP_index: number = at[instruction->args[0]]; break;
    case OP_extent: number = naive->dims[instruction->args[0]]; break;
    case OP_row_extent:
      number = 1;
      for (int i = 0; i < naive->rank; i++) number *= naive->reduced[i] ? naive->dims[i] : 1;
      break;
    default: break;
  }
  if (info->arity == 0) return dtype_is_float(dtype) ? (Number){.f = (double)number} : (Number){.i = naive_wrap(dtype, number)};
  Number v[3] = {{0}};
  for (int k = 0; k < info->arity; k++) v[k] = naive_at(naive, instruction->args[k], at);
  DType operand = naive->program->code[instruction->args[0]].dtype;
  int order = info->arity > 1 ? naive_compare(operand, v[0], v[1]) : 0;
  bool unordered = dtype_is_float(operand) && (isnan(v[0].f) || (info->arity > 1 && isnan(v[1].f)));
  switch (instruction->op) {
    case OP_cast: return operand == dtype ? v[0] : naive_cast(instruction, operand, v[0]);
    case OP_select: return v[0].i ? v[1] : v[2];
    case OP_eq: return (Number){.i = !unordered && order == 0};
    case OP_ne: return (Number){.i = unordered || order != 0};
    case OP_lt: return (Number){.i = !unordered && order < 0};
    case OP_le: return (Number){.i = !unordered && order <= 0};
    case OP_gt: return (Number){.i = !unordered && order > 0};
    case OP_ge: return (Number){.i = !unordered && order >= 0};
    case OP_isnan: return (Number){.i = isnan(v[0].f)};
    case OP_isinf: return (Number){.i = isinf(v[0].f) != 0};
    default: break;
  }
  if (dtype_is_float(dtype)) return (Number){.f = naive_float(instruction->op, v[0].f, v[1].f, v[2].f)};
  return (Number){.i = naive_wrap(dtype, naive_integer(instruction->op, dtype, v[0].i, v[1].i))};
}

// Each step of f32 and less is rounded to f32; sums and products of rows are not until they are used.
static Number naive_at(const Naive *naive, int index, const int64_t *at) {
  const Instruction *instruction = &naive->program->code[index];
  Number number = naive_exact(naive, index, at);
  bool rounds = dtype_is_float(instruction->dtype) && instruction->dtype != DTYPE_F64;
  if (rounds && !opcode_info(instruction->op)->reduces) number.f = (float)number.f;
  return number;
}

// The whole output number `output`, in float64 or its own integer type.
static inline Tensor naive_output(Arena *arena, const Naive *given, int output) {
  Naive copy = *given, *naive = &copy;
  size_t instructions = (size_t)naive->program->count, rows = 1;
  for (int i = 0; i < naive->rank; i++) rows *= naive->reduced[i] ? 1 : (size_t)naive->dims[i];
  naive->rows = arena_array(arena, Number *, instructions);
  naive->known = arena_array(arena, bool *, instructions);
  for (size_t i = 0; i < instructions; i++) {
    if (!opcode_info(naive->program->code[i].op)->reduces) continue;
    naive->rows[i] = arena_array(arena, Number, rows);
    naive->known[i] = arena_array(arena, bool, rows);
  }
  int instruction = naive->program->outputs[output];
  uint8_t *level = arena_array(arena, uint8_t, (size_t)naive->program->count);
  program_levels(naive->program, level);
  DType dtype = naive->program->code[instruction].dtype;
  int64_t dims[MAX_RANK], at[MAX_RANK] = {0};
  for (int i = 0; i < naive->rank; i++) dims[i] = naive->reduced[i] && !level[instruction] ? 1 : naive->dims[i];
  Tensor tensor;
  cr_assert(!tensor_new(arena, dtype, naive->rank, dims, &tensor));
  int64_t count = tensor_count(&tensor);
  for (int64_t k = 0; k < count; k++) {
    int64_t rest = k;
    for (int i = naive->rank - 1; i >= 0; i--) {
      at[i] = rest % dims[i];
      rest /= dims[i];
    }
    Number v = naive_at(naive, instruction, at);
    if (dtype_is_float(dtype)) tensor_set_f(&tensor, k, v.f);
    else tensor_set_i(&tensor, k, v.i);
  }
  return tensor;
}

// --- Random cases

static uint64_t random_state = 88172645463325252ull;
static inline uint64_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state * 0x2545f4914f6cdd1dull >> 16;
}
static inline int random_below(int n) { return (int)(random_bits() % (uint64_t)n); }
static inline double random_unit(void) { return (double)(random_bits() & 0xffffffff) / 4294967296.0; }

static inline void random_fill(Tensor *tensor) {
  int64_t count = tensor_count(tensor);
  for (int64_t i = 0; i < count; i++) {
    if (dtype_is_float(tensor->dtype)) tensor_set_f(tensor, i, random_unit() * 4 - 2);
    else tensor_set_i(tensor, i, dtype_kind(tensor->dtype) == KIND_SIGNED ? random_below(21) - 10 : random_below(20));
  }
}

// A buffer that holds the tensor under random strides: axes permuted, gaps between elements, flipped axes, broadcast axes.
typedef struct Placed {
  TensorDesc desc;
  char *base;  // of element 0
  char *buffer;
  size_t bytes;
} Placed;

static inline Placed place_tensor(Arena *arena, const Tensor *tensor, bool is_output) {
  Placed placed = {.desc = {.dtype = tensor->dtype, .rank = tensor->rank}};
  int order[MAX_RANK];
  for (int i = 0; i < tensor->rank; i++) order[i] = i;
  int shuffle = random_below(3);
  for (int i = tensor->rank - 1; i > 0 && shuffle == 0; i--) {
    int j = random_below(i + 1), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
  int64_t stride = !is_output && random_below(5) == 0 ? 2 : 1, offset = 0;
  for (int i = tensor->rank - 1; i >= 0; i--) {
    int axis = order[i];
    bool flipped = !is_output && random_below(6) == 0;
    placed.desc.dims[axis] = tensor->dims[axis];
    placed.desc.strides[axis] = flipped ? -stride : stride;
    if (flipped) offset += stride * (tensor->dims[axis] - 1);
    stride *= tensor->dims[axis];
    if (!is_output && random_below(5) == 0) stride += random_below(4);
  }
  size_t size = dtype_size(tensor->dtype);
  placed.bytes = (size_t)MAX(stride, 1) * size + 64;
  placed.buffer = arena_alloc(arena, placed.bytes);
  memset(placed.buffer, 0x5a, placed.bytes);
  placed.base = placed.buffer + offset * (int64_t)size;
  return placed;
}

static inline void move_elements(const Placed *placed, const Tensor *tensor, bool out) {
  int64_t count = tensor_count(tensor);
  size_t size = dtype_size(tensor->dtype);
  for (int64_t k = 0; k < count; k++) {
    int64_t rest = k, offset = 0;
    for (int i = tensor->rank - 1; i >= 0; i--) {
      offset += rest % tensor->dims[i] * placed->desc.strides[i];
      rest /= tensor->dims[i];
    }
    char *element = (char *)tensor->data + k * (int64_t)size, *there = placed->base + offset * (int64_t)size;
    memcpy(out ? element : there, out ? there : element, size);
  }
}

// A node over these inputs, run by its implementation on the CPU on randomly placed tensors and by its reference; both held against naive results.
static inline void check_case(const OpDef *op, const Implementation *implementation, const Program *program, const Naive *naive,
                              int input_count, double rtol, double atol) {
  Arena *arena = arena_new();
  Graph *graph = graph_new(arena, core_ops, "test");
  Value *values[8];
  const Tensor *inputs[8];
  for (int i = 0; i < input_count; i++) {
    Dim dims[MAX_RANK];
    for (int k = 0; k < naive->inputs[i].rank; k++) dims[k] = naive->inputs[i].dims[k];
    values[i] = graph_add_input(graph, NULL, naive->inputs[i].dtype, naive->inputs[i].rank, dims);
    inputs[i] = &naive->inputs[i];
  }
  Node *node = graph_add(graph, NULL, op, input_count, values, program->output_count);
  node_set_program(node, "program", program_copy(arena, program));
  Dim domain[MAX_RANK];
  int64_t axes[MAX_RANK];
  int axis_count = 0;
  for (int i = 0; i < naive->rank; i++) {
    domain[i] = naive->dims[i];
    if (naive->reduced[i]) axes[axis_count++] = i;
  }
  node_set_dims(node, "dims", domain, naive->rank);
  if (strcmp(op->name, "rowwise") == 0) node_set_ints(node, "axes", axes, axis_count);
  Text text = text_new(arena);
  program_print(&text, program);
  Status status = node_infer(node);
  cr_assert(!status, "%s: %s", text_get(&text), status ? status_message(status) : "");

  Tensor outputs[8] = {{0}};
  status = reference_run(node, arena, inputs, outputs);
  cr_assert(!status, "%s: %s", text_get(&text), status ? status_message(status) : "");
  TensorDesc input_descs[8], output_descs[8];
  void *input_data[8], *output_data[8];
  Placed placed[8];
  Tensor expected[8];
  for (int i = 0; i < input_count; i++) {
    Placed p = place_tensor(arena, &naive->inputs[i], false);
    move_elements(&p, &naive->inputs[i], false);
    input_descs[i] = p.desc;
    input_data[i] = p.base;
  }
  for (int i = 0; i < program->output_count; i++) {
    expected[i] = naive_output(arena, naive, i);
    cr_assert(value_is_static(node->outputs[i]));
    cr_assert_eq(node->outputs[i]->rank, expected[i].rank);
    for (int k = 0; k < expected[i].rank; k++) cr_assert_eq(node->outputs[i]->dims[k], expected[i].dims[k]);
    Comparison c = tensor_compare(&outputs[i], &expected[i], 1e-6, 1e-12);
    cr_assert_eq(c.mismatches, 0, "reference: %s: output %d differs at %lld by %g", text_get(&text), i,
                 (long long)c.first_mismatch, c.max_absolute);
    placed[i] = place_tensor(arena, &expected[i], true);
    output_descs[i] = placed[i].desc;
    output_data[i] = placed[i].base;
  }
  DeviceInfo device = {.kind = DEVICE_CPU, .multiprocessors = 1};
  Site site = {.node = node, .inputs = input_descs, .outputs = output_descs, .device = &device};
  cr_assert(implementation->supports(&site));
  HostTest host;
  void *workspace;
  cr_assert(!host_lower(implementation, &site, arena, NULL, &host));
  cr_assert(!arena_try_alloc(arena, host.workspace_bytes, 64, &workspace));
  memset(workspace, 0x77, host.workspace_bytes);
  HostCall call = {input_data, output_data, workspace, NULL};
  cr_assert(!host.routine->run(host.state, &call));
  for (int i = 0; i < program->output_count; i++) {
    Tensor actual;
    cr_assert(!tensor_new(arena, expected[i].dtype, expected[i].rank, expected[i].dims, &actual));
    move_elements(&placed[i], &actual, true);
    Comparison c = tensor_compare(&actual, &expected[i], rtol, atol);
    cr_assert_eq(c.mismatches, 0, "implementation: %s: output %d (%s) differs at %lld by %g: %.9g for %.9g", text_get(&text), i,
                 site_key(&site, arena), (long long)c.first_mismatch, c.max_absolute,
                 tensor_get_f(&actual, MAX(c.first_mismatch, 0)), tensor_get_f(&expected[i], MAX(c.first_mismatch, 0)));
    // Nothing beside the output was touched.
    for (size_t k = 0; k < 64 - dtype_size(actual.dtype); k++)
      cr_assert_eq(placed[i].buffer[placed[i].bytes - 1 - k], 0x5a, "%s", text_get(&text));
  }
  arena_free(arena);
}

// An input that broadcasts to the domain: some axes 1, perhaps leading axes missing.
static inline Tensor random_input(Arena *arena, DType dtype, int rank, const int64_t *domain, bool full) {
  int64_t dims[MAX_RANK];
  int missing = full || random_below(3) ? 0 : random_below(rank + 1);
  for (int i = missing; i < rank; i++) dims[i - missing] = full || random_below(4) ? domain[i] : 1;
  Tensor tensor;
  cr_assert(!tensor_new(arena, dtype, rank - missing, dims, &tensor));
  random_fill(&tensor);
  return tensor;
}
