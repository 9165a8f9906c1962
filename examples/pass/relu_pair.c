// A rule of one's own: relu(x) + relu(-x) is |x|.
//
//   ./dev pass examples/pass/relu_pair.c                            compiles it to relu_pair.so
//   ingot passes model.onnx --pass relu_pair.so --log               shows where it applied
//   ingot verify model.onnx --pass relu_pair.so                     judges what comes of it
#include "passes/plugin.h"
#include "passes/programs.h"

static Status apply(Rewrite *r) {
  WANT(is_operation(matched(r, "root"), OP_add), "it is no sum");
  WANT(is_operation(matched(r, "plus"), OP_relu) && is_operation(matched(r, "minus"), OP_relu), "it does not add two ReLUs");
  WANT(is_operation(matched(r, "negative"), OP_neg), "the second is not of the negative value");
  Program *program = program_new(rewrite_graph(r)->arena, 1);
  program_output(program, program_op1(program, OP_abs, program_input(program, 0, operand(r, "x")->dtype)));
  Node *absolute = rewrite_like(r, matched(r, "negative"));
  node_set_program(absolute, "program", program);
  return rewrite_root_by(r, absolute);
}

static const Rule relu_pair = {
    .name = "relu_pair",
    .help = "relu(x) + relu(-x) is |x|",
    .pattern = "elementwise(plus: elementwise(x)!, minus: elementwise(negative: elementwise(x)!)!)",
    .exactness = EXACT,
    .tells_misses = true,
    .apply = apply,
};

static const Pass pass = {"relu_pair", "makes pairs of ReLUs absolute values", (const Rule *const[]){&relu_pair, NULL}};
const PassPlugin ingot_plugin = {INGOT_VERSION, &pass, "fuse_elementwise"};
