// One scale for all elements in front of a product, or of what it sees a view of, goes behind it, where its epilogue has it for nothing: what makes the operand is a plain product then, like its
// siblings' (queries are scaled, keys and values not), and scales of both operands meet.
//
// Arithmetic is reassociated and bounded, as affine.h tells; scales far from 1 are left where they are.
#include "kernels/matmul/matmul.h"
#include "passes/affine.h"
#include "passes/linear.h"
#include "passes/programs.h"

static bool is_moderate(const Affine *map) {
  return map->most == 0 && map->shift == 0 && map->high < 0x1p16 && map->low > 0x1p-16;
}

// A pointwise product of two values that nobody else sees: a factor behind it is one of its own, as the half of a GELU is wherever it is written.
static bool takes_factors(const Value *value) {
  const Node *node = value->producer;
  return node && only_user(value) && is_operation(node, OP_mul) && !node->inputs[0]->constant && !node->inputs[1]->constant;
}

// The scale that the operand is, or is a view of that nobody else sees; NULL: it is none. *x: what it scales.
static Node *scale_of(const Node *product, int operand, Value **x, double *factor) {
  const Node *user = product;
  Value *value = product->inputs[operand];
  while (value->producer && value->producer->op->view && only_user(value) == user) {
    user = value->producer;
    value = user->inputs[0];
  }
  Node *scale = value->producer;
  AffineProgram program;
  Affine map;
  if (!scale || scale->op != &op_elementwise || only_user(value) != user) return NULL;
  *x = only_variable(scale);
  if (!*x || takes_factors(*x) || !affine_read(scale, *x, 0, 1, &program) || !affine_of(&program, 0, &map) ||
      !is_moderate(&map))
    return NULL;
  *factor = map.scales[0];
  return scale;
}

static Status scale_before_product(Rewrite *r) {
  Node *root = matched(r, "root"), *scales[2];
  Value *of[2], *y = root->outputs[0];
  double factors[2] = {1, 1};
  WANT(root->input_count == 2 && y->dtype == DTYPE_F32, "it has zero points, or its type has too few digits");
  WANT(root->inputs[0] != root->inputs[1], "it is the product of a value with itself");
  for (int i = 0; i < 2; i++) scales[i] = scale_of(root, i, &of[i], &factors[i]);
  WANT(scales[0] || scales[1], "no scale of all elements, near 1, stands before an operand, or it is one factor of several");
  for (int i = 0; i < 2; i++) {
    if (!scales[i]) continue;
    rewrite_cover(r, scales[i]);
    TRY(rewrite_replace(r, scales[i]->outputs[0], of[i]));
  }
  Node *product = rewrite_like(r, root);
  TRY(node_infer(product));
  Program *behind = program_new(rewrite_graph(r)->arena, 1);
  int sum = program_input(behind, 0, y->dtype), by = program_const_f(behind, y->dtype, factors[0] * factors[1]);
  program_output(behind, program_op2(behind, OP_mul, sum, by));
  Node *scaled = rewrite_add(r, &op_elementwise, 1, product->outputs, 1);
  node_set_program(scaled, "program", behind);
  return rewrite_root_by(r, scaled);
}

const Rule rule_scale_before_product = {.name = "scale_before_product",
                                        .help = "a scale of all elements of an operand goes behind the product",
                                        .pattern = "matmul(...)",
                                        .exactness = ROUNDED | OF_OPERANDS | FINITE,
                                        .bound = "two units in the last place of the operand, and of the result",
                                        .device = CUDA_ONLY,
                                        .apply = scale_before_product};
