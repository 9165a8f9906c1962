// See affine.h.
#include "passes/affine.h"

#include <float.h>
#include <math.h>

#include "kernels/elementwise/elementwise.h"
#include "passes/programs.h"

enum { MAX_INPUTS_OF_NODE = 16, HALF_MOST = 65504 };

// --- Maps.

static const Affine no_map = {.is_map = false};

static Affine affine_constant(double value) {
  return (Affine){.is_map = true, .shift = value, .most = fabs(value), .low = INFINITY};
}

static Affine affine_variable(int index) {
  Affine map = {.is_map = true, .reads = 1u << index, .high = 1, .low = 1};
  map.scales[index] = 1;
  return map;
}

static double value_as_stored(DType dtype, double value) {
  uint64_t element[2];
  element_set_f(dtype, element, value);
  return element_get_f(dtype, element);
}

static Affine with_its_scales_met(Affine a) {
  for (int i = 0; a.reads >> i; i++) {
    if (a.scales[i] == 0) continue;
    a.high = fmax(a.high, fabs(a.scales[i]));
    a.low = fmin(a.low, fabs(a.scales[i]));
  }
  return a;
}

static Affine affine_sum(Affine a, const Affine *b, double sign) {
  for (int i = 0; b->reads >> i; i++) a.scales[i] += sign * b->scales[i];
  a.reads |= b->reads;
  a.shift += sign * b->shift;
  a.most = fmax(fmax(a.most, b->most), fabs(a.shift));
  a.high = fmax(a.high, b->high);
  a.low = fmin(a.low, b->low);
  return with_its_scales_met(a);
}

static Affine affine_scaled(Affine a, double factor) {
  for (int i = 0; a.reads >> i; i++) a.scales[i] *= factor;
  a.shift *= factor;
  a.most *= fabs(factor);
  return with_its_scales_met(a);
}

typedef struct Maps {
  Affine *maps;
  int64_t capacity;
} Maps;

Affine *affine_maps(Rewrite *r, int64_t count) {
  Maps *kept = *rewrite_state(r);
  if (!kept) *rewrite_state(r) = kept = arena_new_of(rewrite_scratch(r), Maps);
  if (count > kept->capacity || !kept->maps) *kept = (Maps){arena_array(rewrite_scratch(r), Affine, (size_t)count), count};
  return kept->maps;
}

Affine affine_after(Affine inner, Affine outer) {
  Affine both = affine_scaled(inner, outer.scales[0]);
  both.shift += outer.shift;
  both.most = fmax(both.most, fmax(outer.most, fabs(both.shift)));
  if (inner.scales[0] == 0) return both;
  both.high = fmax(both.high, fabs(inner.scales[0]) * outer.high);
  both.low = fmin(both.low, fabs(inner.scales[0]) * outer.low);
  return both;
}

// --- Programs.

static bool is_by_channel(const AffineProgram *p, const Value *value) {
  if (!value || !value->constant) return false;
  for (int k = 0; k < value->rank; k++) {
    int axis = p->variables[0]->rank - value->rank + k;
    if (value->dims[k] != 1 && !(axis == p->channel_axis && value->dims[k] == p->channels)) return false;
  }
  return true;
}

// No map may round its variables below the type that they are stored in.
static Affine cast_to(const Affine *a, DType dtype, DType stored) {
  if (!a->reads) return affine_constant(value_as_stored(dtype, a->shift));
  return dtype == stored || dtype_bits(dtype) > dtype_bits(stored) ? *a : no_map;
}

static Affine read_input(const AffineProgram *p, const Value *value, int64_t channel) {
  for (int i = 0; i < p->count; i++)
    if (p->variables[i] == value) return affine_variable(i);
  if (!is_by_channel(p, value)) return no_map;
  return affine_constant(tensor_get_f(value->constant, tensor_count(value->constant) == 1 ? 0 : channel));
}

static Affine evaluate(const AffineProgram *p, const Instruction *in, const Affine *values, int64_t channel) {
  DType stored = p->variables[0]->dtype;
  if (!dtype_is_float(in->dtype)) return no_map;
  if (in->op == OP_const) return affine_constant(in->number);
  if (in->op == OP_input) {
    Affine read = read_input(p, p->node->inputs[in->args[0]], channel);
    return read.is_map ? cast_to(&read, in->dtype, stored) : read;
  }
  for (int k = 0; k < opcode_info(in->op)->arity; k++)
    if (!values[in->args[k]].is_map) return no_map;
  const Affine *a = &values[in->args[0]], *b = &values[in->args[1]];
  switch (in->op) {
    case OP_add: return affine_sum(*a, b, 1);
    case OP_sub: return affine_sum(*a, b, -1);
    case OP_neg: return affine_scaled(*a, -1);
    case OP_mul: return !b->reads ? affine_scaled(*a, b->shift) : !a->reads ? affine_scaled(*b, a->shift) : no_map;
    case OP_div: return !b->reads ? affine_scaled(*a, 1 / b->shift) : no_map;
    case OP_cast: return cast_to(a, in->dtype, stored);
    default: return no_map;
  }
}

void affine_evaluate(const AffineProgram *p, int64_t channel, int end, Affine *values) {
  const Program *program = node_program(p->node, "program");
  for (int i = 0; i < end; i++) values[i] = evaluate(p, &program->code[i], values, channel);
}

bool affine_of(const AffineProgram *p, int64_t channel, Affine *out) {
  const Program *program = node_program(p->node, "program");
  Affine values[AFFINE_CODE];
  affine_evaluate(p, channel, program->count, values);
  *out = values[program->outputs[0]];
  return out->is_map && isfinite(out->scales[0]) && isfinite(out->most);
}

bool affine_read(const Node *node, const Value *variable, int channel_axis, int64_t channels, AffineProgram *out) {
  *out = (AffineProgram){node, {variable}, 1, channel_axis, channels};
  if (node->op != &op_elementwise || node->output_count != 1 || node_attribute(node, "dims")) return false;
  if (!value_same_shape(node->outputs[0], variable) || node->outputs[0]->dtype != variable->dtype) return false;
  const Program *program = node_program(node, "program");
  if (node->input_count > MAX_INPUTS_OF_NODE || program->count > AFFINE_CODE || program->output_count != 1) return false;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] != variable && !is_by_channel(out, node->inputs[i])) return false;
  return true;
}

static bool any_shift(const Affine *maps, int64_t channels) {
  for (int64_t c = 0; c < channels; c++)
    if (maps[c].shift != 0) return true;
  return false;
}

// The shifts as a node behind a convolution or product, computed in at least f32.
static Status add_shifts(Rewrite *r, Value *result, int axis, int64_t channels, const Affine *maps, Node **out) {
  Graph *graph = rewrite_graph(r);
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
  *out = add;
  return OK;
}

Status affine_replace(Rewrite *r, Value *value, const Node *like, Value *x, const Tensor *weights, int axis,
                      const Affine *maps) {
  Graph *graph = rewrite_graph(r);
  Node *last = rewrite_like(r, like);
  node_set_input(last, 0, x);
  node_set_input(last, 1, graph_add_constant(graph, like->inputs[1]->name, weights));
  TRY(node_infer(last));
  int64_t channels = last->outputs[0]->dims[axis];
  if (any_shift(maps, channels)) TRY(add_shifts(r, last->outputs[0], axis, channels, maps, &last));
  return rewrite_values_by(r, &value, last);
}

// --- Weights.

// Types below f32 are multiplied and summed in it.
static double rounding_unit(DType dtype) { return (dtype == DTYPE_F64 ? DBL_EPSILON : (double)FLT_EPSILON) / 2; }

bool weights_become_half(const Rewrite *r, DType dtype) {
  return rewrite_options(r)->precision != DTYPE_COUNT && dtype == DTYPE_F32;
}

bool weight_fits(DType dtype, double weight, bool becomes_half) {
  double unit = dtype_bits(dtype) < 32 ? 0 : rounding_unit(dtype), magnitude = fabs(weight);
  return fabs(value_as_stored(dtype, weight) - weight) <= unit * magnitude && (!becomes_half || magnitude <= HALF_MOST);
}

bool shift_fits(DType dtype, double most, double sum, bool becomes_half) {
  return most * rounding_unit(dtype) <= 0x1p-14 * sum && (!becomes_half || most <= 16 * sum);
}
