// See affine.h.
#include "passes/affine.h"

#include <math.h>

#include "kernels/elementwise/elementwise.h"
#include "passes/programs.h"

enum { MAX_CODE = 128, MAX_INPUTS_OF_USER = 16 };

static Affine affine_constant(double value) { return (Affine){.shift = value, .most = fabs(value), .low = INFINITY}; }
const Affine affine_identity = {.scale = 1, .high = 1, .low = 1};

static Affine with_scale(Affine a, double scale) {
  a.scale = scale;
  if (scale != 0) {
    a.high = fmax(a.high, fabs(scale));
    a.low = fmin(a.low, fabs(scale));
  }
  return a;
}

double value_as_stored(DType dtype, double value) {
  uint64_t element[2];
  element_set_f(dtype, element, value);
  return element_get_f(dtype, element);
}

static Affine affine_sum(Affine a, Affine b, double sign) {
  Affine sum = {.shift = a.shift + sign * b.shift, .high = fmax(a.high, b.high), .low = fmin(a.low, b.low)};
  sum.most = fmax(fmax(a.most, b.most), fabs(sum.shift));
  return with_scale(sum, a.scale + sign * b.scale);
}

static Affine affine_scaled(Affine a, double factor) {
  Affine scaled = {.shift = a.shift * factor, .most = a.most * fabs(factor), .high = a.high, .low = a.low};
  return with_scale(scaled, a.scale * factor);
}

Affine affine_after(Affine inner, Affine outer) {
  Affine both = affine_scaled(inner, outer.scale);
  both.shift += outer.shift;
  both.most = fmax(both.most, fmax(outer.most, fabs(both.shift)));
  if (inner.scale == 0) return both;
  both.high = fmax(both.high, fabs(inner.scale) * outer.high);
  both.low = fmin(both.low, fabs(inner.scale) * outer.low);
  return both;
}

// One instruction as a map of the variable; false where it is none, or where it rounds the variable below `storage`.
static bool affine_step(const Instruction *in, Affine *values, DType storage, Affine *out) {
  const Affine *a = &values[in->args[0]], *b = &values[in->args[1]];
  switch (in->op) {
    case OP_const: *out = affine_constant(in->number); return true;
    case OP_add: *out = affine_sum(*a, *b, 1); return true;
    case OP_sub: *out = affine_sum(*a, *b, -1); return true;
    case OP_neg: *out = affine_scaled(*a, -1); return true;
    case OP_mul:
      *out = b->scale == 0 ? affine_scaled(*a, b->shift) : affine_scaled(*b, a->shift);
      return a->scale == 0 || b->scale == 0;
    case OP_div: *out = affine_scaled(*a, 1 / b->shift); return b->scale == 0;
    case OP_cast:
      *out = *a;
      if (a->scale == 0) *out = affine_constant(value_as_stored(in->dtype, a->shift));
      return a->scale == 0 || dtype_bits(in->dtype) >= dtype_bits(storage);
    default: return false;
  }
}

bool affine_of(const Node *user, const Value *variable, int64_t channel, Affine *out) {
  const Program *program = node_program(user, "program");
  Affine values[MAX_CODE];
  for (int i = 0; i < program->count; i++) {
    const Instruction *in = &program->code[i];
    if (!dtype_is_float(in->dtype)) return false;
    if (in->op != OP_input) {
      if (!affine_step(in, values, variable->dtype, &values[i])) return false;
      continue;
    }
    const Value *input = user->inputs[in->args[0]];
    if (input == variable) {
      values[i] = affine_identity;
      continue;
    }
    const Tensor *tensor = input->constant;
    double value = tensor_get_f(tensor, tensor_count(tensor) == 1 ? 0 : channel);
    values[i] = affine_constant(value);
  }
  *out = values[program->outputs[0]];
  return isfinite(out->scale) && isfinite(out->most);
}

bool affine_by_channel(const Node *user, const Value *variable, int channel_axis, int64_t channels) {
  if (user->op != &op_elementwise || user->output_count != 1 || node_attribute(user, "dims")) return false;
  if (!value_same_shape(user->outputs[0], variable) || user->outputs[0]->dtype != variable->dtype) return false;
  const Program *program = node_program(user, "program");
  if (user->input_count > MAX_INPUTS_OF_USER || program->count > MAX_CODE || program->output_count != 1) return false;
  for (int i = 0; i < user->input_count; i++) {
    const Value *input = user->inputs[i];
    if (input == variable) continue;
    if (!input || !input->constant) return false;
    for (int k = 0; k < input->rank; k++) {
      int axis = variable->rank - input->rank + k;
      if (input->dims[k] != 1 && !(axis == channel_axis && input->dims[k] == channels)) return false;
    }
  }
  return true;
}

Status affine_add_shifts(Rewrite *r, Value *result, int axis, int64_t channels, const Affine *maps, Value **out) {
  Graph *graph = rewrite_graph(r);
  *out = result;
  bool any = false;
  for (int64_t c = 0; c < channels; c++) any = any || maps[c].shift != 0;
  if (!any) return OK;
  DType dtype = result->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  int64_t dims[MAX_RANK];
  for (int i = 0; i < result->rank; i++) dims[i] = i == axis ? channels : 1;
  Tensor shift;
  TRY(tensor_new(graph->arena, dtype, result->rank, dims, &shift));
  for (int64_t c = 0; c < channels; c++) tensor_set_f(&shift, c, maps[c].shift);
  Program *program = program_new(graph->arena, 2);
  int product = program_input(program, 0, dtype), constant = program_input(program, 1, dtype);
  int sum = program_op2(program, OP_add, product, constant);
  program_output(program, program_cast(program, result->dtype, sum));
  Node *add = rewrite_add(r, &op_elementwise, 2, (Value *[]){result, graph_add_constant(graph, NULL, &shift)}, 1);
  node_set_program(add, "program", program);
  TRY(node_infer(add));
  *out = add->outputs[0];
  return OK;
}
