// Anchors carry their neighbours: a pointwise node that alone uses an anchor's result becomes the anchor's epilogue, its other
// operands become extra inputs. The anchor moves down to the pointwise node's place, where all of them exist.
#include <string.h>

#include "base/checked.h"
#include "passes/rewrite.h"

enum { MAX_EPILOGUE_OPERANDS = 6, MAX_EPILOGUE_CODE = 64 };

static bool fits(const Node *anchor, const Node *user) {
  const Value *result = anchor->outputs[0], *out = user->outputs[0];
  if (user->op != &op_elementwise || user->output_count != 1) return false;
  if (out->dtype != result->dtype || !value_same_shape(out, result)) return false;
  const Program *program = node_program(user, "program");
  if (program->count > MAX_EPILOGUE_CODE) return false;
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_index || program->code[i].op == OP_extent) return false;
  int operands = anchor->epilogue ? anchor->input_count - anchor->epilogue_first : 0;
  for (int i = 0; i < user->input_count; i++) operands += user->inputs[i] != result;
  return operands <= MAX_EPILOGUE_OPERANDS;
}

// The user's program after the anchor's own epilogue: input 0 is the accumulator, then the operands.
static Node *fuse(Node *anchor, Node *user) {
  Graph *graph = anchor->graph;
  Arena *arena = graph->arena;
  Value *result = anchor->outputs[0];
  const Program *outer = node_program(user, "program");
  int old = anchor->epilogue ? anchor->input_count - anchor->epilogue_first : 0;
  int first = anchor->epilogue ? anchor->epilogue_first : anchor->input_count;
  int total = old + user->input_count;
  Program *program = program_new(arena, 1 + total);
  Value **operands = arena_array(arena, Value *, total);
  for (int i = 0; i < old; i++) operands[i] = anchor->inputs[first + i];
  int *map = arena_array(arena, int, user->input_count);
  for (int i = 0; i < user->input_count; i++) {
    operands[old + i] = user->inputs[i];
    map[i] = user->inputs[i] == result ? 0 : 1 + old + i;
  }
  int *results = arena_array(arena, int, outer->count);
  program_append(program, outer, map, results);
  program_output(program, results[outer->outputs[0]]);
  if (anchor->epilogue) {
    int *inner_map = arena_array(arena, int, 1 + old);
    for (int i = 0; i <= old; i++) inner_map[i] = i;
    // Input 0 of the new part is the old part's result: rename it so that it can be replaced.
    int stand_in = program->input_count++;
    for (int i = 0; i < program->count; i++)
      if (program->code[i].op == OP_input && program->code[i].args[0] == 0) program->code[i].args[0] = stand_in;
    program_inline(program, stand_in, anchor->epilogue, 0, inner_map);
  }
  Node *fused = graph_add(graph, user, anchor->op, first, anchor->inputs, 1);
  fused->attributes = arena_copy(arena, anchor->attributes, (size_t)anchor->attribute_count * sizeof *anchor->attributes);
  fused->attribute_count = anchor->attribute_count;
  fused->attribute_capacity = (uint32_t)anchor->attribute_count;
  // set_program_inputs drops unneeded inputs; the accumulator must stay input 0 even where the program ignores it.
  set_program_inputs(fused, program, total, operands, 1);
  fused->epilogue = program;
  fused->epilogue_first = first;
  node_merge_origins(fused, anchor);
  node_merge_origins(fused, user);
  Value *to = fused->outputs[0], *from = user->outputs[0];
  value_set_type(to, from->dtype, from->rank, from->dims);
  memcpy(to->order, from->order, sizeof to->order);
  value_replace(from, to);
  node_remove(user);
  node_remove(anchor);
  return fused;
}

// What no result needs does not count: it goes, and the accumulator must not go with it.
static bool uses_accumulator(const Node *anchor, const Node *user) {
  Arena *scratch = arena_scratch();
  Program *program = program_copy(scratch, node_program(user, "program"));
  int *used = arena_array(scratch, int, (size_t)program->input_count), inputs = program->input_count;
  bool uses = false;
  program_prune(program, used);
  for (int i = 0; i < user->input_count && i < inputs; i++) uses |= used[i] >= 0 && user->inputs[i] == anchor->outputs[0];
  arena_free(scratch);
  return uses;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  for (Node *node = graph->first; node;) {
    Node *user = node->op->takes_epilogue && node->output_count == 1 ? only_user(node->outputs[0]) : NULL;
    if (!user || !fits(node, user) || !uses_accumulator(node, user)) {
      node = node->next;
      continue;
    }
    // The fused anchor stands in the user's place, at or after the next node: it is met again for what follows it.
    Node *next = node->next;
    Node *fused = fuse(node, user);
    node = next == user ? fused : next;
    ++*changes;
  }
  return OK;
}

const Pass pass_fuse_epilogue = {"fuse_epilogue", "gives anchors the pointwise nodes behind them", true, run};
