// See programs.h.
#include "passes/programs.h"

#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/map.h"
#include "kernels/program/domain.h"
#include "kernels/view/view.h"

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

Value *only_variable(const Node *node) {
  Value *variable = NULL;
  for (int i = 0; i < node->input_count; i++) {
    Value *value = node->inputs[i];
    if (!value || value->constant || value == variable) continue;
    if (variable) return NULL;
    variable = value;
  }
  return variable;
}

bool value_is_scalar(const Value *value) {
  for (int i = 0; i < value->rank; i++)
    if (value->dims[i] != 1) return false;
  return value->rank >= 0;
}

int node_domain(const Node *node, Dim *dims) {
  int rank;
  Status status = domain_shape(node, &rank, dims);
  if (status) rank = -1;
  status_free(status);
  return rank;
}

bool has_domain(const Node *node, int rank, const Dim *dims) {
  Dim own[MAX_RANK];
  return rank >= 0 && node_domain(node, own) == rank && !memcmp(own, dims, (size_t)rank * sizeof *dims);
}

const Tensor *repeated_constant(const Value *value) {
  const Node *producer = value->producer;
  return producer && producer->op == &op_expand ? producer->inputs[0]->constant : value->constant;
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
  int *used = arena_array(scratch, int, MAX(program->input_count, first_input + input_count));
  for (int i = program->input_count; i < first_input + input_count; i++) used[i] = -1;  // there, but not read
  program_prune(program, used);
  for (int i = 0; i < input_count; i++)
    if (used[first_input + i] >= 0) node_add_input(node, inputs[i]);
  arena_free(scratch);
}

static bool reads(const Node *node, const Value *value) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] == value) return true;
  return false;
}

static bool reads_all_of(const Node *made, const Node *node) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !reads(made, node->inputs[i])) return false;
  return true;
}

static bool value_mentions(const Value *value, Dim symbol) {
  for (int i = 0; value && i < value->rank; i++)
    if (dim_mentions(value->graph->dims, value->dims[i], symbol)) return true;
  return false;
}

// Whether a node says itself what size it makes, so that it must be known before it.
static bool says(const Node *node, Dim symbol) {
  int count = 0;
  const Dim *dims = node && node_attribute(node, "dims") ? node_dims(node, "dims", &count) : NULL;
  for (int i = 0; i < count; i++)
    if (dim_mentions(node->graph->dims, dims[i], symbol)) return true;
  return false;
}

// Whether what a size is made of is known where the new node runs, which reads less than the old one did: from what it reads, from what the graph is given, or because what it read
// had to know it.
static bool is_known(const Node *made, const Node *node, Dim dim) {
  const Graph *graph = made->graph;
  if (dim_is_static(dim) || dim_op(graph->dims, dim) == DIM_CONSTANT) return true;
  if (dim_op(graph->dims, dim) != DIM_SYMBOL)
    return is_known(made, node, dim_operand(graph->dims, dim, 0)) && is_known(made, node, dim_operand(graph->dims, dim, 1));
  for (int i = 0; i < made->input_count; i++)
    if (value_mentions(made->inputs[i], dim)) return true;
  for (int i = 0; i < graph->input_count; i++)
    if (value_mentions(graph->inputs[i], dim)) return true;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && says(node->inputs[i]->producer, dim)) return true;
  return says(node, dim);
}

bool set_program_over(Node *made, const Node *node, Program *program, int input_count, Value *const *inputs, int fixed) {
  Dim domain[MAX_RANK];
  int rank = node_domain(node, domain);
  node_take_attributes(made, node);
  set_program_inputs(made, program, input_count - fixed, inputs + fixed, fixed);
  node_set_program(made, "program", program);
  if (rank < 0) return reads_all_of(made, node);
  if (has_domain(made, rank, domain)) return true;
  for (int i = 0; i < rank; i++)
    if (!is_known(made, node, domain[i])) return reads_all_of(made, node);
  node_set_dims(made, "dims", domain, rank);
  return true;
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
