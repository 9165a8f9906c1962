// Products and convolutions of bytes, on a CPU. Their operands arrive as differences in i32, of bytes and their zero points: four times the memory,
// written and read again. The node takes the bytes and the zero points instead, which its kernels subtract as they multiply.
#include "base/checked.h"
#include "passes/programs.h"
#include "passes/rule.h"

// value = i32(bytes) - i32(zero), or i32(bytes)
typedef struct Difference {
  Node *node;
  const Program *program;
  int bytes, zero;  // instructions; zero -1: there is none
} Difference;

static bool is_byte(DType dtype) { return dtype == DTYPE_U8 || dtype == DTYPE_I8; }

// The instruction behind a cast of bytes to i32, or -1.
static int widened(const Program *program, int at) {
  const Instruction *cast = &program->code[at];
  bool fits = cast->op == OP_cast && cast->dtype == DTYPE_I32 && is_byte(program->code[cast->args[0]].dtype);
  return fits ? cast->args[0] : -1;
}

static bool match(Value *value, Difference *out) {
  Node *node = value->producer;
  if (!node || node->op != &op_elementwise || node->output_count != 1 || value->dtype != DTYPE_I32) return false;
  const Program *program = node_program(node, "program");
  int last = program->outputs[0];
  const Instruction *code = &program->code[last];
  *out = (Difference){.node = node, .program = program, .bytes = widened(program, last), .zero = -1};
  if (out->bytes >= 0) return true;
  if (code->op != OP_sub) return false;
  out->bytes = widened(program, code->args[0]), out->zero = widened(program, code->args[1]);
  return out->bytes >= 0 && out->zero >= 0 && program->code[out->bytes].dtype == program->code[out->zero].dtype;
}

static Value *input_of(const Difference *d, int at) {
  const Instruction *code = &d->program->code[at];
  if (code->op != OP_input) return NULL;
  Value *value = d->node->inputs[code->args[0]];
  return value->dtype == code->dtype ? value : NULL;
}

// A zero point as a value; NULL where there is none, or where it is computed.
static Status zero_value(Graph *graph, const Difference *d, Value **out) {
  const Instruction *code = d->zero < 0 ? NULL : &d->program->code[d->zero];
  *out = NULL;
  if (!code || (code->op == OP_const && code->integer == 0)) return OK;
  if (code->op != OP_const) {
    *out = input_of(d, d->zero);
    return OK;
  }
  Tensor tensor;
  TRY(tensor_new(graph->arena, code->dtype, 0, NULL, &tensor));
  tensor_set_i(&tensor, 0, code->integer);
  *out = graph_add_constant(graph, NULL, &tensor);
  return OK;
}

// The bytes as a value: an input, or what the producer computes before it widens it.
static Status bytes_value(Rewrite *r, const Difference *d, Value **out) {
  *out = input_of(d, d->bytes);
  if (*out) return OK;
  Arena *arena = d->node->graph->arena;
  Program *program = program_copy(arena, d->program);
  program->outputs[0] = d->bytes;
  Node *made = rewrite_add(r, &op_elementwise, 0, NULL, 1);
  set_program_inputs(made, program, d->node->input_count, d->node->inputs, 0);
  node_set_program(made, "program", program);
  *out = made->outputs[0];
  return node_infer(made);
}

// Puts the operand and its zero point into the node.
static void take(Node *node, int operand, Value *bytes, Value *zero) {
  node_set_input(node, operand, bytes);
  if (!zero) return;
  while (node->input_count < 3 + operand) node_add_input(node, NULL);
  node_set_input(node, 2 + operand, zero);
}

static bool is_zero_of_channels(const Value *zero, const Value *w, int axis) {
  for (int i = 0; i < zero->rank; i++)
    if (zero->constant->dims[i] != 1 && i + w->rank - zero->rank != axis) return false;
  return zero->rank <= w->rank;
}

// The zero point fits the operand: one for all, or of weights one for each channel.
static bool zero_fits(const Node *node, int operand, const Value *value, const Value *zero) {
  if (!zero) return true;
  if (operand == 0) return value_is_scalar(zero);
  Channels channels;
  node->op->channels(node, &channels);
  return zero->constant && is_zero_of_channels(zero, value, channels.weight_axis);
}

static Status take_operand(Rewrite *r, int operand) {
  Node *root = matched(r, "root");
  Value *value = root->inputs[operand], *zero, *bytes;
  Difference d;
  WANT(match(value, &d), "the operand is no difference of bytes");
  Value *direct = input_of(&d, d.bytes);
  WANT(operand == 0 || (direct && direct->constant), "the weights are computed");
  WANT(direct || !node_attribute(d.node, "dims"), "the operand is broadcast");
  TRY(zero_value(rewrite_graph(r), &d, &zero));
  bool none = d.zero < 0 || (d.program->code[d.zero].op == OP_const && d.program->code[d.zero].integer == 0);
  WANT((zero || none) && zero_fits(root, operand, value, zero), "the zero point is computed, or not of one channel each");
  rewrite_cover(r, d.node);
  TRY(bytes_value(r, &d, &bytes));
  WANT(value_same_shape(bytes, value), "the bytes are broadcast");
  Node *node = rewrite_like(r, root);
  take(node, operand, bytes, zero);
  return rewrite_root_by(r, node);
}

static Status take_first(Rewrite *r) { return take_operand(r, 0); }
static Status take_weights(Rewrite *r) { return take_operand(r, 1); }

static const Rule rule_first = {.name = "zero_point_of_image",
                                .help = "a product takes the bytes of its first operand and their zero point",
                                .pattern = "@zeroed(difference: elementwise(...), ...)",
                                .exactness = EXACT,
                                .device = CPU_ONLY,
                                .tells_misses = true,
                                .apply = take_first};
static const Rule rule_weights = {.name = "zero_point_of_weights",
                                  .help = "a product takes the bytes of its weights and their zero points",
                                  .pattern = "@zeroed(x, difference: elementwise(...), ...)",
                                  .exactness = EXACT,
                                  .device = CPU_ONLY,
                                  .tells_misses = true,
                                  .apply = take_weights};

const Pass pass_zero_points = {"zero_points", "gives products of bytes their zero points, on a CPU",
                               (const Rule *const[]){&rule_first, &rule_weights, NULL}};
