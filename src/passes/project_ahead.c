// What a recurrent layer makes of its inputs does not wait for its states: one product of all steps, ahead of them, which has tiles and an epilogue like any other.
#include <string.h>

#include "ir/graph_value.h"
#include "kernels/build.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/recurrent/recurrent.h"
#include "passes/rule.h"

enum { INPUT, WEIGHTS, STATE_WEIGHTS, BIAS };

// [directions][units][inputs] as [inputs][directions * units].
static Value *weights_as_matrix(Rewrite *r, const Tensor *w) {
  Graph *graph = rewrite_graph(r);
  int64_t units = w->dims[0] * w->dims[1], inputs = w->dims[2];
  size_t size = dtype_size(w->dtype);
  Tensor matrix = {
      .dtype = w->dtype, .rank = 2, .dims = {inputs, units}, .data = arena_alloc(graph->arena, tensor_bytes(w) + 1)};
  for (int64_t u = 0; u < units; u++)
    for (int64_t k = 0; k < inputs; k++)
      memcpy((char *)matrix.data + (size_t)(k * units + u) * size, (const char *)w->data + (size_t)(u * inputs + k) * size,
             size);
  return graph_add_constant(graph, NULL, &matrix);
}

// Of [directions][2 * units] the first half of each.
static Value *input_bias(Rewrite *r, const Tensor *b) {
  Graph *graph = rewrite_graph(r);
  int64_t units = b->dims[1] / 2;
  size_t bytes = (size_t)units * dtype_size(b->dtype);
  Tensor half = {.dtype = b->dtype,
                 .rank = 1,
                 .dims = {b->dims[0] * units},
                 .data = arena_alloc(graph->arena, (size_t)b->dims[0] * bytes + 1)};
  for (int64_t d = 0; d < b->dims[0]; d++)
    memcpy((char *)half.data + (size_t)d * bytes, (const char *)b->data + (size_t)d * 2 * bytes, bytes);
  return graph_add_constant(graph, NULL, &half);
}

static Status project_ahead(Rewrite *r) {
  Node *root = matched(r, "root");
  const Value *w = root->inputs[WEIGHTS], *b = root->input_count > BIAS ? root->inputs[BIAS] : NULL;
  WANT(w && w->constant && tensor_count(w->constant), "its weights are computed, or there are none");
  WANT(!b || b->constant, "its bias is computed");
  Value *operands[2] = {root->inputs[INPUT], weights_as_matrix(r, w->constant)};
  Node *product = rewrite_add(r, &op_matmul, 2, operands, 1);
  TRY(node_infer(product));
  Value *projected = product->outputs[0];
  if (b) {
    Value *terms[2] = {projected, input_bias(r, b->constant)};
    Node *sum = rewrite_add(r, &op_elementwise, 2, terms, 1);
    Program *add = program_new(rewrite_graph(r)->arena, 2);
    int a = program_input(add, 0, projected->dtype), half = program_input(add, 1, projected->dtype);
    program_output(add, program_op2(add, OP_add, a, half));
    node_set_program(sum, "program", add);
    TRY(node_infer(sum));
    projected = sum->outputs[0];
  }
  Node *steps = rewrite_like(r, root);
  node_set_input(steps, INPUT, projected);
  node_set_input(steps, WEIGHTS, NULL);
  return rewrite_root_by(r, steps);
}

static const Rule rule_project_ahead = {
    .name = "project_ahead",
    .help = "what a recurrent layer makes of its inputs is a product of all steps, ahead of them",
    .pattern = "recurrent(...)",
    .exactness = ROUNDED | OF_OPERANDS,
    .bound = "sums over inputs are added up in another order",
    .device = CUDA_ONLY,
    .apply = project_ahead};

const Pass pass_project_ahead = {"project_ahead", "takes products of inputs out of recurrent layers, on a GPU",
                                 (const Rule *const[]){&rule_project_ahead, NULL}};
