// A convolution followed by a per-channel affine map of its result (batch norm at inference, a scale, a bias in disguise) takes the scale
// into its weights; what is left is the addition of one constant per channel.
#include <string.h>

#include "kernels/conv/conv.h"
#include "passes/rewrite.h"

// Degree of each instruction in input `variable`: 0 constant, 1 affine, 2 anything else.
static bool is_affine(const Program *program, const bool *is_variable) {
  int degree[512];
  if (program->count > 512 || program->output_count != 1) return false;
  for (int i = 0; i < program->count; i++) {
    const Instruction *in = &program->code[i];
    int a = 0, b = 0, c = 0, arity = opcode_info(in->op)->arity;
    if (arity > 0) a = degree[in->args[0]];
    if (arity > 1) b = degree[in->args[1]];
    if (arity > 2) c = degree[in->args[2]];
    switch (in->op) {
      case OP_input: degree[i] = is_variable[in->args[0]]; break;
      case OP_index:
      case OP_extent: return false;
      case OP_add:
      case OP_sub: degree[i] = a > b ? a : b; break;
      case OP_mul: degree[i] = a + b; break;
      case OP_div: degree[i] = b ? 2 : a; break;
      case OP_neg: degree[i] = a; break;
      case OP_cast: degree[i] = a && !dtype_is_float(in->dtype) ? 2 : a; break;
      default: degree[i] = a || b || c ? 2 : 0;
    }
    if (degree[i] > 1) return false;
  }
  return degree[program->outputs[0]] == 1;
}

// The node's value for every channel when the convolution's result is `x` everywhere.
static Status evaluate_at(Node *node, const bool *is_variable, int rank, int64_t channels, double x, Tensor *out) {
  Arena *arena = node->graph->arena;
  int64_t dims[MAX_RANK];
  for (int i = 0; i < rank; i++) dims[i] = i == 1 ? channels : 1;
  Tensor *variable = arena_new_of(arena, Tensor);
  DType dtype = node->outputs[0]->dtype;
  TRY(tensor_new(arena, dtype, rank, dims, variable));
  for (int64_t i = 0; i < channels; i++) tensor_set_f(variable, i, x);
  const Tensor **inputs = arena_array(arena, const Tensor *, node->input_count);
  for (int i = 0; i < node->input_count; i++) inputs[i] = is_variable[i] ? variable : node->inputs[i]->constant;
  return reference_run(node, arena, inputs, out);
}

static bool matches(const Node *conv, const Node *user, bool *is_variable, int64_t channels) {
  const Value *result = conv->outputs[0];
  if (user->op != &op_elementwise || user->output_count != 1 || node_attribute(user, "dims")) return false;
  if (!value_same_shape(user->outputs[0], result) || user->outputs[0]->dtype != result->dtype) return false;
  for (int i = 0; i < user->input_count; i++) {
    const Value *input = user->inputs[i];
    is_variable[i] = input == result;
    if (is_variable[i]) continue;
    if (!input || !input->constant) return false;
    for (int k = 0; k < input->rank; k++) {  // one value per channel or one for all
      int axis = result->rank - input->rank + k;
      if (input->dims[k] != 1 && !(axis == 1 && input->dims[k] == channels)) return false;
    }
  }
  return is_affine(node_program(user, "program"), is_variable);
}

static bool is_zero(const Tensor *tensor) {
  int64_t count = tensor_count(tensor);
  for (int64_t i = 0; i < count; i++)
    if (tensor_get_f(tensor, i) != 0) return false;
  return true;
}

static Status fold(Graph *graph, Node *conv, Node *user, const bool *is_variable, int64_t channels) {
  Arena *arena = graph->arena;
  const Tensor *old = conv->inputs[1]->constant;
  Tensor at_zero = {0}, at_one = {0}, weight, bias;
  int rank = conv->outputs[0]->rank;
  TRY(evaluate_at(user, is_variable, rank, channels, 0, &at_zero));
  TRY(evaluate_at(user, is_variable, rank, channels, 1, &at_one));
  TRY(tensor_new(arena, old->dtype, old->rank, old->dims, &weight));
  int64_t bias_dims[MAX_RANK];
  for (int i = 0; i < rank; i++) bias_dims[i] = i == 1 ? channels : 1;
  TRY(tensor_new(arena, old->dtype, rank, bias_dims, &bias));
  int64_t per_channel = channels ? tensor_count(old) / channels : 0;
  for (int64_t c = 0; c < channels; c++) {
    double zero = tensor_get_f(&at_zero, c), scale = tensor_get_f(&at_one, c) - zero;
    tensor_set_f(&bias, c, zero);
    for (int64_t k = 0; k < per_channel; k++)
      tensor_set_f(&weight, c * per_channel + k, tensor_get_f(old, c * per_channel + k) * scale);
  }
  node_set_input(conv, 1, graph_add_constant(graph, conv->inputs[1]->name, &weight));
  if (is_zero(&bias)) {  // a scale alone: nothing is left of it
    node_merge_origins(conv, user);
    value_replace(user->outputs[0], conv->outputs[0]);
    node_remove(user);
    return OK;
  }
  Program *program = program_new(arena, 2);
  program_output(program,
                 program_op2(program, OP_add, program_input(program, 0, old->dtype), program_input(program, 1, old->dtype)));
  Node *add =
      graph_add(graph, user, &op_elementwise, 2, (Value *[]){conv->outputs[0], graph_add_constant(graph, NULL, &bias)}, 1);
  node_set_program(add, "program", program);
  TRY(node_infer(add));
  node_merge_origins(add, user);
  value_replace(user->outputs[0], add->outputs[0]);
  node_remove(user);
  return OK;
}

// A bare addition is the form this pass leaves behind.
static bool is_plain_add(const Node *user) {
  const Program *program = node_program(user, "program");
  return program->count == 3 && program->code[2].op == OP_add;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  FOR_NODES(node, graph) {
    if (node->op != &op_conv || node->epilogue || !node->inputs[1]->constant || !dtype_is_float(node->outputs[0]->dtype))
      continue;
    for (;;) {
      Node *user = only_user(node->outputs[0]);
      int64_t channels = node->inputs[1]->dims[0];
      if (!user || user->input_count > 16 || user->op != &op_elementwise || is_plain_add(user)) break;
      bool is_variable[16] = {0};
      if (!matches(node, user, is_variable, channels)) break;
      TRY(fold(graph, node, user, is_variable, channels));
      ++*changes;
    }
  }
  return OK;
}

const Pass pass_fold_scale = {"fold_scale", "takes batch norms and scales into convolution weights", true, run};
