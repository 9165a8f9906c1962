// See value_range.h. Intervals, followed back through views and fused programs.
#include "kernels/common/value_range.h"
#include "ir/op.h"

typedef struct Range {
  int64_t low, high;
} Range;
enum { MOST_DEPTH = 16 };

static Range range_of_value(const Value *value, int depth);

static Range range_of_dtype(DType dtype) {
  if (!dtype_is_integer(dtype) || dtype_bits(dtype) > 16) return (Range){INT32_MIN, INT32_MAX};
  int bits = dtype_bits(dtype);
  bool is_signed = dtype_kind(dtype) == KIND_SIGNED;
  return is_signed ? (Range){-(1 << (bits - 1)), (1 << (bits - 1)) - 1} : (Range){0, (1 << bits) - 1};
}

static Range within(Range range, DType dtype) {
  Range type = range_of_dtype(dtype);
  bool fits = range.low >= type.low && range.high <= type.high;
  return fits ? range : type;  // it wraps or saturates
}

static Range either(Range a, Range b) { return (Range){a.low < b.low ? a.low : b.low, a.high > b.high ? a.high : b.high}; }

static Range range_of_code(const Node *node, const Program *program, int at, int depth) {
  const Instruction *code = &program->code[at];
  Range type = range_of_dtype(code->dtype);
  if (depth > MOST_DEPTH || !dtype_is_integer(code->dtype)) return type;
  Range a = type, b = type;
  switch (code->op) {
    case OP_input: return within(range_of_value(node->inputs[code->args[0]], depth + 1), code->dtype);
    case OP_const: return within((Range){code->integer, code->integer}, code->dtype);
    case OP_cast:
      if (!dtype_is_integer(program->code[code->args[0]].dtype)) return type;
      return within(range_of_code(node, program, code->args[0], depth + 1), code->dtype);
    case OP_add:
    case OP_sub:
    case OP_min:
    case OP_max:
      a = range_of_code(node, program, code->args[0], depth + 1);
      b = range_of_code(node, program, code->args[1], depth + 1);
      if (code->op == OP_min || code->op == OP_max) return either(a, b);
      return within(code->op == OP_add ? (Range){a.low + b.low, a.high + b.high} : (Range){a.low - b.high, a.high - b.low},
                    code->dtype);
    default: return type;
  }
}

static Range range_of_constant(const Tensor *tensor) {
  Range range = {0, 0};
  for (int64_t i = 0; i < tensor_count(tensor); i++) {
    int64_t x = tensor_get_i(tensor, i);
    range = either(range, (Range){x, x});
  }
  return range;
}

static Range range_of_value(const Value *value, int depth) {
  Range type = range_of_dtype(value->dtype);
  if (depth > MOST_DEPTH || !dtype_is_integer(value->dtype)) return type;
  if (value->constant) return range_of_constant(value->constant);
  const Node *node = value->producer;
  if (!node) return type;
  if (node->op->view) return within(range_of_value(node->inputs[0], depth + 1), value->dtype);
  const Program *program = node_program(node, "program");
  return program ? range_of_code(node, program, program->outputs[value->producer_index], depth + 1) : type;
}

bool value_fits_i16(const Value *value) {
  Range range = range_of_value(value, 0);
  return range.low >= INT16_MIN && range.high <= INT16_MAX;
}
