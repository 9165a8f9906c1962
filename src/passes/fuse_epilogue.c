// Anchors carry their neighbours: a pointwise node that alone uses an anchor's result becomes one region with it (kernels/fused.h), and so does one behind such a
// region. The region stands in the pointwise node's place, where all that it reads exists.
#include "kernels/control/region.h"
#include "passes/fused_region.h"
#include "passes/programs.h"

enum { MAX_EPILOGUE_OPERANDS = 6, MAX_EPILOGUE_CODE = 64 };

static bool is_anchor(const Node *node) { return fused_anchor(node)->op->takes_epilogue && node->output_count == 1; }

static bool fits(const Node *node, const Node *user) {
  const Value *result = node->outputs[0], *out = user->outputs[0];
  if (only_user(result) != user || user->output_count != 1) return false;
  if (out->dtype != result->dtype || !value_same_shape(out, result)) return false;
  const Program *program = node_program(user, "program");
  if (program->count > MAX_EPILOGUE_CODE || reads_coordinates(program)) return false;
  Arena *scratch = arena_scratch();
  Fused fused;
  fused_read(node, scratch, &fused);
  int operands = fused.operand_count - fused.anchor->input_count;
  arena_free(scratch);
  for (int i = 0; i < user->input_count; i++) operands += user->inputs[i] != result;
  return operands <= MAX_EPILOGUE_OPERANDS;
}

// Of two anchors that a pointwise node adds up, the first in the graph's order takes it.
static bool is_first_that_fits(const Node *node, const Node *user) {
  for (int i = 0; i < user->input_count; i++) {
    const Node *other = user->inputs[i] ? user->inputs[i]->producer : NULL;
    if (other && other != node && is_anchor(other) && node_is_before(other, node) && fits(other, user)) return false;
  }
  return true;
}

// The user's program after the anchor's own epilogue; in `reads` what both read beside the accumulator, which is input 0.
static Program *chain(const Fused *fused, const Node *user, Value **reads) {
  Arena *arena = user->graph->arena;
  const Program *outer = node_program(user, "program");
  int first = fused->anchor->input_count, old = fused->operand_count - first;
  Program *program = program_new(arena, 1 + old + user->input_count);
  int *map = arena_array(arena, int, user->input_count), *results = arena_array(arena, int, outer->count);
  for (int i = 0; i < old; i++) reads[i] = fused_operand(fused, first + i);
  for (int i = 0; i < user->input_count; i++) {
    reads[old + i] = user->inputs[i];
    map[i] = user->inputs[i] == fused->node->outputs[0] ? 0 : 1 + old + i;
  }
  program_append(program, outer, map, results);
  program_output(program, results[outer->outputs[0]]);
  if (!fused->program) return program;
  // Input 0 of the new part is the old part's result: it is renamed so that it can be replaced.
  int *inner_map = arena_array(arena, int, 1 + old), stand_in = program->input_count++;
  for (int i = 0; i <= old; i++) inner_map[i] = i;
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_input && program->code[i].args[0] == 0) program->code[i].args[0] = stand_in;
  program_inline(program, stand_in, fused->program, 0, inner_map);
  return program;
}

static bool reads_few(const Node *user) { return user->input_count <= MAX_EPILOGUE_OPERANDS + 1; }

// The same anchor in a new region, with another program behind it.
static Status replace_by(Rewrite *r, const Fused *fused, const Node *behind, Program *program, int count, Value **reads) {
  int own = fused->anchor->input_count;
  Value **operands = arena_array(rewrite_scratch(r), Value *, (size_t)own + 1);
  for (int i = 0; i < own; i++) operands[i] = fused_operand(fused, i);
  WANT(keep_reads(program, count, reads) >= 0, "it does not need the result");
  FusedParts parts = {fused->anchor, operands, behind, program, reads, matched(r, "root")->outputs[0]};
  Node *made;
  TRY(add_fused(r, &parts, &made));
  return rewrite_root_by(r, made);
}

static Status fuse(Rewrite *r) {
  Node *node = matched(r, "anchor"), *user = matched(r, "root");
  Arena *scratch = rewrite_scratch(r);
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  WANT(is_anchor(node), "the region is more than an anchor and what is behind it");
  WANT(!region_refuses(node) && !region_refuses(user), "no region may hold it");
  WANT(fits(node, user), "it has another shape or type, depends on places, or reads too much");
  WANT(is_first_that_fits(node, user), "another anchor takes it");
  Fused fused;
  fused_read(node, scratch, &fused);
  int count = fused.operand_count - fused.anchor->input_count + user->input_count;
  Value **reads = arena_array(scratch, Value *, (size_t)count + 1);
  Program *program = chain(&fused, user, reads);
  return replace_by(r, &fused, user, program, count, reads);
}

// What is simplified inside may read less.
static Status drop_unread(Rewrite *r) {
  Node *root = matched(r, "root");
  Fused fused;
  WANT(fused_read(root, rewrite_scratch(r), &fused) && !fused.reads_all,
       "it reads all of its operands, or is more than an anchor");
  int first = fused.anchor->input_count, count = fused.operand_count - first;
  Value **reads = arena_array(rewrite_scratch(r), Value *, (size_t)count + 1);
  for (int i = 0; i < count; i++) reads[i] = fused_operand(&fused, first + i);
  return replace_by(r, &fused, region_body(root)->last, program_copy(root->graph->arena, fused.program), count, reads);
}

const Rule rule_drop_unread = {.name = "drop_unread",
                               .help = "an anchor's region does without operands that its epilogue does not read",
                               .pattern = "region(...)",
                               .exactness = EXACT,
                               .apply = drop_unread};

static const Rule fuse_epilogue = {.name = "fuse_epilogue",
                                   .help = "an anchor does the pointwise node behind it",
                                   .pattern = "elementwise(..., anchor: @anchor(...)!, ...)",
                                   .exactness = UNSTORED,
                                   .bound = "the anchor's result is no longer rounded to its type in between",
                                   .root = reads_few,
                                   .tells_misses = true,
                                   .apply = fuse};

const Pass pass_fuse_epilogue = {"fuse_epilogue", "gives anchors the pointwise nodes behind them",
                                 (const Rule *const[]){&fuse_epilogue, NULL}};
