// Five rules that are wrong, for `ingot passes --bisect` to find. See tests/cli/check.sh.
#include <string.h>

#include "passes/plugin.h"
#include "passes/programs.h"

static Status drop_relu(Rewrite *r) {
  WANT(is_operation(matched(r, "root"), OP_relu), "it is no ReLU");
  return rewrite_replace(r, matched(r, "root")->outputs[0], operand(r, "x"));
}

static Status by_program(Rewrite *r, Opcode from, Opcode to) {
  Node *root = matched(r, "root");
  WANT(is_operation(root, from), "it is another operation");
  Node *made = rewrite_like(r, root);
  Program *program = program_copy(rewrite_graph(r)->arena, node_program(root, "program"));
  program->code[program->outputs[0]].op = to;
  node_set_program(made, "program", program);
  return rewrite_root_by(r, made);
}
static Status add_to_sub(Rewrite *r) { return by_program(r, OP_add, OP_sub); }

static Status mean_of_pool(Rewrite *r) {
  Node *made = rewrite_like(r, matched(r, "root"));
  WANT(strcmp(node_string(made, "kind", ""), "max") == 0, "it is a mean already");
  node_set_string(made, "kind", "average");
  return rewrite_root_by(r, made);
}

static Status half_weights(Rewrite *r) {
  Node *root = matched(r, "root");
  const Tensor *old = operand(r, "w")->constant;
  WANT(tensor_get_f(old, 0) != 0.5, "they are done");
  Tensor weight;
  TRY(tensor_new(rewrite_graph(r)->arena, old->dtype, old->rank, old->dims, &weight));
  for (int64_t i = 0; i < tensor_count(old); i++) tensor_set_f(&weight, i, i ? tensor_get_f(old, i) / 2 : 0.5);
  Node *made = rewrite_like(r, root);
  node_set_input(made, 1, graph_add_constant(rewrite_graph(r), NULL, &weight));
  return rewrite_root_by(r, made);
}

static Status forget_operand(Rewrite *r) {
  WANT(value_same_shape(operand(r, "x"), matched(r, "root")->outputs[0]), "the other one is larger");
  WANT(is_operation(matched(r, "root"), OP_add), "it is no sum");
  return rewrite_replace(r, matched(r, "root")->outputs[0], operand(r, "x"));
}

#define WRONG(name_, pattern_, apply_) \
  static const Rule name_ = {.name = #name_, .help = "is wrong", .pattern = pattern_, .tells_misses = true, .apply = apply_}
WRONG(wrong_relu, "elementwise(x)", drop_relu);
WRONG(wrong_sum, "elementwise(x, y)", add_to_sub);
WRONG(wrong_pool, "pool(x, ...)", mean_of_pool);
WRONG(wrong_weights, "conv|matmul(x, #w, ...)", half_weights);
WRONG(wrong_bias, "elementwise(x, #y)", forget_operand);

static const Pass pass = {"wrong", "is wrong in five ways",
                          (const Rule *const[]){&wrong_relu, &wrong_sum, &wrong_pool, &wrong_weights, &wrong_bias, NULL}};
const PassPlugin ingot_plugin = {INGOT_VERSION, &pass, "fuse_elementwise"};
