// Products and convolutions of bytes, on a CPU. Their operands arrive as differences in i32, of bytes and their zero points: four times the memory,
// written and read again. The node takes the bytes and the zero points instead, which its kernels subtract as they multiply.
#include "base/checked.h"
#include "kernels/build.h"
#include "kernels/conv/conv.h"
#include "kernels/matmul/matmul.h"
#include "passes/rewrite.h"

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

// A zero point as a value; NULL where there is none.
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
static Value *bytes_value(Graph *graph, const Difference *d) {
  Value *direct = input_of(d, d->bytes);
  if (direct) return direct;
  Builder b = {.graph = graph, .at = d->node};
  Program *program = program_copy(graph->arena, d->program);
  int count = 0, *used = arena_array(graph->arena, int, program->input_count);
  Value **inputs = arena_array(graph->arena, Value *, program->input_count);
  program->outputs[0] = d->bytes;
  program_prune(program, used);
  for (int i = 0; i < d->node->input_count; i++)
    if (used[i] >= 0) inputs[used[i]] = d->node->inputs[i], count++;
  Value *made = build_elementwise(&b, program, count, inputs);
  status_free(b.status);
  return made;
}

// Puts the operand and its zero point into the node. What belongs to the epilogue stands behind zero points.
static void take(Node *node, int operand, Value *bytes, Value *zero) {
  node_set_input(node, operand, bytes);
  if (!zero) return;
  int operands = node_operand_count(node), own = node->input_count - operands, more = MAX(3 + operand - operands, 0);
  for (int i = 0; i < more; i++) node_add_input(node, NULL);
  for (int i = operands + own - 1; i >= operands && more; i--) {
    Value *moved = node->inputs[i];
    node_set_input(node, i, NULL);
    node_set_input(node, i + more, moved);
  }
  if (node->epilogue) node->epilogue_first += more;
  node_set_input(node, 2 + operand, zero);
}

static bool is_zero_of_channels(const Value *zero, const Value *w, int axis) {
  for (int i = 0; i < zero->rank; i++)
    if (zero->constant->dims[i] != 1 && i + w->rank - zero->rank != axis) return false;
  return zero->rank <= w->rank;
}

static Status rewrite(Graph *graph, Node *node, int operand, int *changes) {
  Difference d;
  Value *value = node->inputs[operand], *zero;
  if (!match(value, &d)) return OK;
  bool weights = operand == 1;
  Value *direct = input_of(&d, d.bytes);
  if (weights && (!direct || !direct->constant)) return OK;
  if (!direct && node_attribute(d.node, "dims")) return OK;
  TRY(zero_value(graph, &d, &zero));
  bool none = d.zero < 0 || (d.program->code[d.zero].op == OP_const && d.program->code[d.zero].integer == 0);
  if (!zero && !none) return OK;
  if (zero && !weights && !value_is_scalar(zero)) return OK;
  int axis = node->op == &op_conv ? 0 : value->rank - 1;
  if (zero && weights && (!zero->constant || !is_zero_of_channels(zero, value, axis))) return OK;
  Value *bytes = bytes_value(graph, &d);
  if (!bytes || !value_same_shape(bytes, value)) return OK;
  take(node, operand, bytes, zero);
  ++*changes;
  return OK;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  if (options->device != DEVICE_CPU) return OK;
  FOR_NODES(node, graph)
  for (int operand = 0; operand < 2 && (node->op == &op_conv || node->op == &op_matmul); operand++)
    TRY(rewrite(graph, node, operand, changes));
  return OK;
}

const Pass pass_zero_points = {"zero_points", "gives products of bytes their zero points, on a CPU", true, run};
