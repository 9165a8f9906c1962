// See programs.h.
#include "passes/programs.h"

#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/map.h"

Node *only_user(const Value *value) {
  if (value->is_output || !value->uses) return NULL;
  Node *node = value->uses->node;
  for (const Use *use = value->uses; use; use = use->next) {
    budget_step(1);
    if (use->node != node) return NULL;
  }
  return node;
}

bool reads_little(const Node *node) { return node->input_count <= READS_LITTLE; }

bool value_has_dims(const Value *value, int rank, const Dim *dims) {
  if (value->rank != rank) return false;
  for (int i = 0; i < rank; i++)
    if (value->dims[i] != dims[i]) return false;
  return true;
}

bool value_is_scalar(const Value *value) {
  for (int i = 0; i < value->rank; i++)
    if (value->dims[i] != 1) return false;
  return value->rank >= 0;
}

int broadcast_inputs(int count, Value *const *inputs, Dim *dims) {
  int rank = 0;
  for (int i = 0; i < count; i++)
    if (inputs[i]) rank = MAX(rank, inputs[i]->rank);
  for (int k = 0; k < rank; k++) dims[k] = 1;
  for (int i = 0; i < count; i++)
    for (int k = 0; inputs[i] && k < inputs[i]->rank; k++) {
      Dim *dim = &dims[rank - inputs[i]->rank + k], other = inputs[i]->dims[k];
      if (other != 1 && (*dim == 1 || (!dim_is_static(*dim) && dim_is_static(other)))) *dim = other;
    }
  return rank;
}

int node_domain(const Node *node, Dim *dims) {
  int rank;
  const Dim *declared = node_dims(node, "dims", &rank);
  if (declared) {
    memcpy(dims, declared, (size_t)rank * sizeof *dims);
    return rank;
  }
  if (node_attribute(node, "dims")) return 0;
  return broadcast_inputs(node->input_count, node->inputs, dims);
}

// first[i]: the lowest number of an input that is the same value as input i.
static void find_first_places(Value *const *inputs, int count, Arena *scratch, int *first) {
  IntMap *places = int_map_new(scratch);
  for (int i = 0; i < count; i++) {
    uint64_t key = (uint64_t)(uintptr_t)inputs[i];
    intptr_t known = (intptr_t)int_map_get(places, key);
    first[i] = known ? (int)known - 1 : i;
    if (!known) int_map_set(places, key, (void *)(intptr_t)(i + 1));
  }
}

void set_program_inputs(Node *node, Program *program, int input_count, Value *const *inputs, int first_input) {
  Arena *scratch = arena_scratch();
  int *first = arena_array(scratch, int, input_count);
  find_first_places(inputs, input_count, scratch, first);
  for (int i = 0; i < program->count; i++) {
    Instruction *instruction = &program->code[i];
    if (instruction->op == OP_input && instruction->args[0] >= first_input)
      instruction->args[0] = first_input + first[instruction->args[0] - first_input];
  }
  int *used = arena_array(scratch, int, program->input_count);
  program_prune(program, used);
  for (int i = 0; i < input_count; i++)
    if (used[first_input + i] >= 0) node_add_input(node, inputs[i]);
  arena_free(scratch);
}

void set_program_over(Node *made, const Node *node, Program *program) {
  Dim before[MAX_RANK], after[MAX_RANK];
  int rank = node_domain(node, before), count;
  const int64_t *axes = node_ints(node, "axes", &count);
  set_program_inputs(made, program, node->input_count, node->inputs, 0);
  node_set_program(made, "program", program);
  if (node_attribute(node, "axes")) node_set_ints(made, "axes", axes, count);
  bool same = node_domain(made, after) == rank && !memcmp(before, after, (size_t)rank * sizeof *before);
  if (!same || node_attribute(node, "dims")) node_set_dims(made, "dims", before, rank);
}

bool reads_coordinates(const Program *program) {
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_index || program->code[i].op == OP_extent) return true;
  return false;
}

void program_reads_around(const Program *program, int given, bool *reads) {
  Arena *scratch = arena_scratch();
  bool *live = arena_array(scratch, bool, program->count);
  for (int i = 0; i < program->output_count; i++) live[program->outputs[i]] = true;
  for (int i = program->count; i-- > 0;) {
    const Instruction *in = &program->code[i];
    if (!live[i] || i == given) continue;
    if (in->op == OP_input) reads[in->args[0]] = true;
    for (int k = 0; k < opcode_info(in->op)->arity; k++) live[in->args[k]] = true;
  }
  arena_free(scratch);
}

Program *program_around(const Program *program, int given, int input, bool shifted, Arena *arena) {
  Program *out = program_new(arena, input + 2);
  Arena *scratch = arena_scratch();
  int *map = arena_array(scratch, int, program->count);
  for (int i = 0; i < program->count; i++) {
    Instruction in = program->code[i];
    for (int k = 0; k < opcode_info(in.op)->arity; k++) in.args[k] = map[in.args[k]];
    if (i != given) {
      map[i] = program_instruction(out, in);
      continue;
    }
    map[i] = program_input(out, input, in.dtype);
    if (shifted) map[i] = program_op2(out, OP_add, map[i], program_input(out, input + 1, in.dtype));
  }
  for (int i = 0; i < program->output_count; i++) program_output(out, map[program->outputs[i]]);
  arena_free(scratch);
  return out;
}

bool is_operation(const Node *node, Opcode op) {
  if (node->op != &op_elementwise || node->output_count != 1 || node_attribute(node, "dims")) return false;
  const Program *program = node_program(node, "program");
  const Instruction *last = &program->code[program->outputs[0]];
  int arity = opcode_info(op)->arity;
  if (last->op != op || program->count != node->input_count + 1 || arity != node->input_count) return false;
  for (int i = 0; i < arity; i++) {
    const Instruction *read = &program->code[last->args[i]];
    if (read->op != OP_input || read->args[0] != i || read->dtype != node->inputs[i]->dtype) return false;
  }
  return true;
}
