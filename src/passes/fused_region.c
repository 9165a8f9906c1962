// See fused_region.h.
#include "passes/fused_region.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/region.h"
#include "passes/programs.h"

typedef struct Made {
  Graph *body;
  Value **inputs;  // of the region
} Made;

static void copy_type(Value *to, const Value *from) {
  value_set_type(to, from->dtype, from->rank, from->dims);
  memcpy(to->order, from->order, sizeof to->order);
}

static Value *value_in(Made *made, Value *value) {
  if (!value) return NULL;
  for (int i = 0; i < made->body->input_count; i++)
    if (made->inputs[i] == value) return made->body->inputs[i];
  Value *input = graph_add_input(made->body, value->name, value->dtype, value->rank, value->dims);
  copy_type(input, value);
  made->inputs[made->body->input_count - 1] = value;
  return input;
}

static Status add_anchor(Made *made, const FusedParts *parts, Node **out) {
  const Node *like = parts->anchor;
  Node *anchor = *out = graph_add(made->body, NULL, like->op, like->input_count, NULL, 1);
  for (int i = 0; i < like->input_count; i++)
    if (parts->operands[i]) node_set_input(anchor, i, value_in(made, parts->operands[i]));
  node_take_attributes(anchor, like);
  node_merge_origins(anchor, like);
  copy_type(anchor->outputs[0], like->outputs[0]);
  value_rename(made->body, anchor->outputs[0], like->outputs[0]->name);
  return node_infer(anchor);
}

static Status add_behind(Made *made, const FusedParts *parts, Node *anchor) {
  Node *behind = graph_add(made->body, NULL, &op_elementwise, 1, anchor->outputs, 1);
  for (int i = 1; i < parts->program->input_count; i++) node_add_input(behind, value_in(made, parts->reads[i - 1]));
  node_set_program(behind, "program", parts->program);
  node_merge_origins(behind, parts->behind);
  copy_type(behind->outputs[0], parts->result);
  value_rename(made->body, behind->outputs[0], parts->result->name);
  TRY(node_infer(behind));
  graph_mark_output(made->body, behind->outputs[0]);
  return OK;
}

Status add_fused(Rewrite *r, const FusedParts *parts, Node **out) {
  int most = parts->anchor->input_count + parts->program->input_count;
  Made made = {graph_new_inside(rewrite_graph(r), "fused"), arena_array(rewrite_scratch(r), Value *, (size_t)most + 1)};
  Node *anchor;
  TRY(add_anchor(&made, parts, &anchor));
  TRY(add_behind(&made, parts, anchor));
  *out = rewrite_add(r, &op_region, made.body->input_count, made.inputs, 1);
  node_set_graph(*out, "body", made.body);
  return OK;
}

int keep_reads(Program *program, int count, Value **reads) {
  Arena *scratch = arena_scratch();
  int *used = arena_array(scratch, int, (size_t)MAX(program->input_count, count + 1));
  for (int i = 0; i < program->count; i++) {
    Instruction *in = &program->code[i];
    if (in->op != OP_input || !in->args[0] || in->args[0] > count) continue;
    int first = 0;
    while (reads[first] != reads[in->args[0] - 1]) first++;
    in->args[0] = first + 1;
  }
  for (int i = program->input_count; i <= count; i++) used[i] = -1;  // there, but not read
  program_prune(program, used);
  int kept = used[0] < 0 ? -1 : 0;
  for (int i = 0; i < count; i++)
    if (kept >= 0 && used[i + 1] >= 0) reads[kept++] = reads[i];
  arena_free(scratch);
  return kept;
}
