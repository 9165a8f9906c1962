// Anchors carry their neighbours: a pointwise node that alone uses an anchor's result becomes the anchor's epilogue, its other
// operands become extra inputs. The anchor moves down to the pointwise node's place, where all of them exist.
#include "passes/programs.h"
#include "passes/rule.h"

enum { MAX_EPILOGUE_OPERANDS = 6, MAX_EPILOGUE_CODE = 64 };

static bool fits(const Node *anchor, const Node *user) {
  const Value *result = anchor->outputs[0], *out = user->outputs[0];
  if (anchor->output_count != 1 || only_user(result) != user || user->output_count != 1) return false;
  if (out->dtype != result->dtype || !value_same_shape(out, result)) return false;
  const Program *program = node_program(user, "program");
  if (program->count > MAX_EPILOGUE_CODE || reads_coordinates(program)) return false;
  int operands = anchor->epilogue ? anchor->input_count - anchor->epilogue_first : 0;
  for (int i = 0; i < user->input_count; i++) operands += user->inputs[i] != result;
  return operands <= MAX_EPILOGUE_OPERANDS;
}

// What no result needs does not count: it goes, and the accumulator must not go with it.
static bool uses_accumulator(const Node *anchor, const Node *user, Arena *scratch) {
  Program *program = program_copy(scratch, node_program(user, "program"));
  int inputs = program->input_count, *used = arena_array(scratch, int, (size_t)inputs);
  program_prune(program, used);
  for (int i = 0; i < user->input_count && i < inputs; i++)
    if (used[i] >= 0 && user->inputs[i] == anchor->outputs[0]) return true;
  return false;
}

// Of two anchors that a pointwise node adds up, the first in the graph's order takes it.
static bool is_first_that_fits(const Node *anchor, const Node *user) {
  for (int i = 0; i < user->input_count; i++) {
    const Node *other = user->inputs[i] ? user->inputs[i]->producer : NULL;
    if (other && other != anchor && other->op->takes_epilogue && node_is_before(other, anchor) && fits(other, user))
      return false;
  }
  return true;
}

// The user's program after the anchor's own epilogue, in `operands` what both read beside the accumulator, which is input 0.
static Program *chain(const Node *anchor, const Node *user, Value **operands) {
  Arena *arena = anchor->graph->arena;
  const Program *outer = node_program(user, "program");
  int old = anchor->epilogue ? anchor->input_count - anchor->epilogue_first : 0;
  Program *program = program_new(arena, 1 + old + user->input_count);
  int *map = arena_array(arena, int, user->input_count), *results = arena_array(arena, int, outer->count);
  for (int i = 0; i < old; i++) operands[i] = anchor->inputs[anchor->epilogue_first + i];
  for (int i = 0; i < user->input_count; i++) {
    operands[old + i] = user->inputs[i];
    map[i] = user->inputs[i] == anchor->outputs[0] ? 0 : 1 + old + i;
  }
  program_append(program, outer, map, results);
  program_output(program, results[outer->outputs[0]]);
  if (!anchor->epilogue) return program;
  // Input 0 of the new part is the old part's result: it is renamed so that it can be replaced.
  int *inner_map = arena_array(arena, int, 1 + old), stand_in = program->input_count++;
  for (int i = 0; i <= old; i++) inner_map[i] = i;
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_input && program->code[i].args[0] == 0) program->code[i].args[0] = stand_in;
  program_inline(program, stand_in, anchor->epilogue, 0, inner_map);
  return program;
}

static bool fits_epilogue(const Node *user) { return user->input_count <= MAX_EPILOGUE_OPERANDS + 1; }

static Status apply(Rewrite *r) {
  Node *anchor = matched(r, "anchor"), *user = matched(r, "root");
  WANT(fits(anchor, user), "it has another shape or type, depends on places, or reads too much");
  WANT(uses_accumulator(anchor, user, rewrite_scratch(r)), "it does not need the result");
  WANT(is_first_that_fits(anchor, user), "another anchor takes it");
  int first = anchor->epilogue ? anchor->epilogue_first : anchor->input_count,
      total = anchor->input_count - first + user->input_count;
  Value **operands = arena_array(rewrite_scratch(r), Value *, total);
  Program *program = chain(anchor, user, operands);
  Node *fused = rewrite_add(r, anchor->op, first, anchor->inputs, 1);
  node_take_attributes(fused, anchor);
  // This drops operands that are not needed; the accumulator stays input 0 even where the program ignores it.
  set_program_inputs(fused, program, total, operands, 1);
  fused->epilogue = program;
  fused->epilogue_first = first;
  return rewrite_root_by(r, fused);
}

static const Rule fuse_epilogue = {.name = "fuse_epilogue",
                                   .help = "an anchor does the pointwise node behind it",
                                   .pattern = "elementwise(..., anchor: @anchor(...)!, ...)",
                                   .exactness = UNSTORED,
                                   .bound = "the anchor's result is no longer rounded to its type in between",
                                   .root = fits_epilogue,
                                   .tells_misses = true,
                                   .apply = apply};

const Pass pass_fuse_epilogue = {"fuse_epilogue", "gives anchors the pointwise nodes behind them",
                                 (const Rule *const[]){&fuse_epilogue, NULL}};
