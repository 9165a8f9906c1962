// A ReLU in front of a maximum pool goes behind it, where there is less to do: the larger of two numbers stays the larger one, and NaN stays NaN. On a CPU, where
// the loops of pooling begin with its zero; on a GPU it costs nothing at the end of the kernel in front. Every window must see some of the image: the
// maximum of nothing is no number that a ReLU keeps.
#include <string.h>

#include "kernels/pool/pool.h"
#include "passes/fused_region.h"
#include "passes/programs.h"

static bool windows_see_image(const Node *pool) {
  Window window;
  Status status = pool_read_window(pool, pool->inputs[0]->rank - 2, &window);
  bool see = !status;
  status_free(status);
  bool rounds_up = node_int(pool, "ceil_mode", 0) != 0;
  for (int i = 0; see && i < window.axes; i++) {
    // An axis may turn out empty; a window that more than padding fits into then gives nothing.
    bool exists = dim_is_static(pool->inputs[0]->dims[2 + i]) && pool->inputs[0]->dims[2 + i] > 0;
    exists = exists || (window.pad_begin[i] + window.pad_end[i] < window.kernel[i] && !rounds_up);
    see = exists && window.dilation[i] == 1 && window.pad_begin[i] < window.kernel[i] && window.pad_end[i] < window.kernel[i];
  }
  return see;
}

static bool is_max_pool(const Node *node) {
  return node->op == &op_pool && strcmp(node_string(node, "kind", ""), "max") == 0 && node->output_count == 1 &&
         node->inputs[0]->dtype == DTYPE_F32;
}

// What is in front of the ReLU that a pointwise node ends with; NULL where it ends otherwise.
static Program *without_relu(const Node *node) {
  const Program *program = node_program(node, "program");
  const Instruction *last = &program->code[program->outputs[0]];
  if (node->output_count != 1 || last->op != OP_relu || last->dtype != DTYPE_F32) return NULL;
  Program *rest = program_copy(node->graph->arena, program);
  rest->outputs[0] = last->args[0];
  return rest;
}

// The operand that the program gives as it is; NULL where it computes, converts or broadcasts.
static Value *given_on(const Node *node, const Program *program) {
  const Instruction *result = &program->code[program->outputs[0]];
  Value *value = result->op == OP_input ? node->inputs[result->args[0]] : NULL;
  return value && value->dtype == result->dtype && value_same_shape(value, node->outputs[0]) ? value : NULL;
}

static Status apply(Rewrite *r) {
  Node *activation = matched(r, "activation"), *root = matched(r, "root");
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  WANT(is_max_pool(root) && windows_see_image(root), "a window may see nothing, or the pool is not of f32 maxima alone");
  Program *rest = without_relu(activation), *relu = program_new(root->graph->arena, 1);
  WANT(rest, "the node in front does not end in a ReLU");
  program_output(relu, program_op1(relu, OP_relu, program_input(relu, 0, DTYPE_F32)));
  Value *in = given_on(activation, rest);
  if (!in) {
    Node *before = rewrite_add(r, activation->op, 0, NULL, 1);
    WANT(set_program_over(before, activation, rest, activation->input_count, activation->inputs, 0),
         "how many elements there are is open without what it reads");
    TRY(node_infer(before));
    in = before->outputs[0];
  }
  Value **operands = arena_array(rewrite_scratch(r), Value *, (size_t)root->input_count);
  memcpy(operands, root->inputs, (size_t)root->input_count * sizeof *operands);
  operands[0] = in;
  Node *made;
  FusedParts parts = {.anchor = root, .operands = operands, .behind = activation, .program = relu, .result = root->outputs[0]};
  TRY(add_fused(r, &parts, &made));
  node_merge_origins(made, root);
  return rewrite_root_by(r, made);
}

static const Rule relu_behind_pool = {.name = "relu_behind_pool",
                                      .help = "a maximum pool does the ReLU in front of it",
                                      .pattern = "pool(activation: elementwise(...)!, ...)",
                                      .exactness = ZERO_SIGNS,
                                      .bound = "the largest of 0 and -0 is either",
                                      .device = CPU_ONLY,
                                      .tells_misses = true,
                                      .apply = apply};

const Pass pass_relu_behind_pool = {"relu_behind_pool", "leaves a ReLU to the maximum pool behind it",
                                    (const Rule *const[]){&relu_behind_pool, NULL}};
