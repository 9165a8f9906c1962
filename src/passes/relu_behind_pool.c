// A ReLU in front of a maximum pool goes behind it, where there is less to do: the larger of two numbers stays the larger one, and NaN stays NaN. On a CPU, where
// the loops of pooling begin with its zero; on a GPU it costs nothing at the end of the kernel in front. Every window must see some of the image: the
// maximum of nothing is no number that a ReLU keeps.
#include <string.h>

#include "kernels/pool/pool.h"
#include "passes/rewrite.h"

static bool windows_see_image(const Node *pool) {
  Window window;
  Status status = pool_read_window(pool, pool->inputs[0]->rank - 2, &window);
  bool see = !status;
  status_free(status);
  for (int i = 0; see && i < window.axes; i++)
    see = window.dilation[i] == 1 && window.pad_begin[i] < window.kernel[i] && window.pad_end[i] < window.kernel[i];
  return see;
}

static bool is_max_pool(const Node *node) {
  return node->op == &op_pool && strcmp(node_string(node, "kind", ""), "max") == 0 && node->output_count == 1 &&
         !node->epilogue && node->inputs[0]->dtype == DTYPE_F32;
}

// The pointwise node in front that ends in a ReLU and has no other user.
static Node *activation_of(const Node *pool) {
  Node *node = pool->inputs[0]->producer;
  if (!node || node->op != &op_elementwise || node->output_count != 1 || only_user(pool->inputs[0]) != pool) return NULL;
  const Program *program = node_program(node, "program");
  const Instruction *last = &program->code[program->outputs[0]];
  return last->op == OP_relu && last->dtype == DTYPE_F32 ? node : NULL;
}

static void drop_activation(Node *pool, Node *node) {
  Arena *arena = node->graph->arena;
  Program *rest = program_copy(arena, node_program(node, "program"));
  rest->outputs[0] = rest->code[rest->outputs[0]].args[0];
  int *used = arena_array(arena, int, rest->input_count);
  program_prune(rest, used);
  if (program_is_identity(rest) && value_same_shape(node->inputs[0], node->outputs[0]))
    node_set_input(pool, 0, node->inputs[0]);  // nothing else uses the node: it goes with the dead code
  else node_set_program(node, "program", rest);
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  if (options->device != DEVICE_CPU) return OK;
  FOR_NODES(node, graph) {
    Node *activation = is_max_pool(node) && windows_see_image(node) ? activation_of(node) : NULL;
    if (!activation) continue;
    Program *relu = program_new(graph->arena, 1);
    program_output(relu, program_op1(relu, OP_relu, program_input(relu, 0, DTYPE_F32)));
    node_merge_origins(node, activation);
    drop_activation(node, activation);
    node->epilogue = relu;
    node->epilogue_first = node->input_count;
    ++*changes;
  }
  return OK;
}

const Pass pass_relu_behind_pool = {"relu_behind_pool", "leaves a ReLU to the maximum pool behind it", true, run};
