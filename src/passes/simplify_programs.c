// Scalar programs become simpler, and one text where exporters spell one function in several ways: activations, norms, softmax. The rules are rows of
// scalar_rules.inc; what is no pattern (computing constants) has a function here. Nodes keep their shapes, types and levels.
#include <string.h>

#include "base/checked.h"
#include "passes/fused_region.h"
#include "passes/program_order.h"
#include "passes/programs.h"
#include "passes/scalar_fold.h"
#include "passes/scalar_rule.h"

static const ScalarRule rows[] = {
#define SCALAR_RULE(name, root, types, pattern, replacement, exactness, bound) {OP_##root, types, pattern, replacement},
#include "passes/scalar_rules.inc"
#undef SCALAR_RULE
};
enum {
#define SCALAR_RULE(name, root, types, pattern, replacement, exactness, bound) ROW_##name,
#include "passes/scalar_rules.inc"
#undef SCALAR_RULE
  ROW_COUNT
};

// --- Programs of nodes. That of an epilogue keeps the result that it follows as its first input (kernels/fused.h).

static const Program *program_in(const Node *node) { return is_program_node(node) ? node_program(node, "program") : NULL; }

static int fixed_inputs(const Rewrite *r, const Node *node) {
  if (!rewrite_options(r)->in_region || node->op != &op_elementwise || !node->input_count || !node->inputs[0]) return 0;
  const Node *maker = node->inputs[0]->producer;
  return maker && maker->op->takes_epilogue;
}

static bool has_opcode(const Node *node, Opcode op) {
  const Program *program = program_in(node);
  for (int i = 0; program && i < program->count; i++)
    if (program->code[i].op == op) return true;
  return false;
}

static bool reads_first(const Program *program) {
  bool *needed = arena_array(program->arena, bool, (size_t)program->count), reads = false;
  for (int o = 0; o < program->output_count; o++) needed[program->outputs[o]] = true;
  for (int i = program->count; i-- > 0;) {
    const Instruction *instruction = &program->code[i];
    for (int k = 0; needed[i] && k < opcode_info(instruction->op)->arity; k++) needed[instruction->args[k]] = true;
    reads |= needed[i] && instruction->op == OP_input && instruction->args[0] == 0;
  }
  return reads;
}

static Status give_with(Rewrite *r, Node *node, Program *program, int count, Value *const *inputs) {
  int fixed = fixed_inputs(r, node);
  WANT(!fixed || reads_first(program), "the result that the epilogue follows would not be read");
  Node *made = rewrite_add(r, node->op, fixed, inputs, node->output_count);
  WANT(set_program_over(made, node, program, count, inputs, fixed),
       "how many elements there are is open without what it reads");
  return rewrite_root_by(r, made);
}

static Status give(Rewrite *r, Node *node, Program *program) {
  return give_with(r, node, program, node->input_count, node->inputs);
}

// --- Rows of the table

static Status apply_row(Rewrite *r, const ScalarRule *row) {
  Node *node = matched(r, "root");
  ScalarForm *form = *rewrite_state(r);
  if (!form) TRY(scalar_form_read(rewrite_scratch(r), row, &form));
  *rewrite_state(r) = form;
  Program *program = scalar_form_apply(node->graph->arena, form, program_in(node), node->op == &op_rowwise);
  WANT(program, "nothing in its program matches");
  return give(r, node, program);
}

#define SCALAR_RULE(name_, root_, types, pattern_, replacement, exactness_, bound_)    \
  static bool root_##name_(const Node *node) { return has_opcode(node, OP_##root_); }  \
  static Status apply_##name_(Rewrite *r) { return apply_row(r, &rows[ROW_##name_]); } \
  static const Rule rule_##name_ = {.name = #name_,                                    \
                                    .help = pattern_ " is " replacement,               \
                                    .pattern = "*(...)",                               \
                                    .exactness = exactness_,                           \
                                    .bound = bound_,                                   \
                                    .root = root_##name_,                              \
                                    .apply = apply_##name_};
#include "passes/scalar_rules.inc"
#undef SCALAR_RULE

// --- Constants

static bool folds(const Node *node, Fold fold) {
  const Program *program = program_in(node);
  for (int i = 0; program && i < program->count; i++)
    if (scalar_foldable(program, i) == fold) return true;
  return false;
}
static bool folds_exactly(const Node *node) { return folds(node, FOLD_EXACTLY); }
static bool folds_rounded(const Node *node) { return folds(node, FOLD_ROUNDED); }

static Status apply_fold(Rewrite *r, Fold fold) {
  Node *node = matched(r, "root");
  const Program *from = program_in(node);
  Program *to = program_new(node->graph->arena, from->input_count);
  int *map = arena_array(rewrite_scratch(r), int, from->count);
  bool changed = false;
  for (int i = 0; i < from->count; i++) {
    Instruction instruction = from->code[i];
    for (int k = 0; k < opcode_info(instruction.op)->arity; k++) instruction.args[k] = map[instruction.args[k]];
    map[i] = program_instruction(to, instruction);
    int made = scalar_foldable(to, map[i]) == fold ? scalar_fold(to, map[i]) : -1;
    if (made < 0) continue;
    map[i] = made;
    changed = true;
  }
  for (int o = 0; o < from->output_count; o++) program_output(to, map[from->outputs[o]]);
  WANT(changed, "no instruction of constants could be computed");
  return give(r, node, to);
}
static Status apply_fold_exactly(Rewrite *r) { return apply_fold(r, FOLD_EXACTLY); }
static Status apply_fold_rounded(Rewrite *r) { return apply_fold(r, FOLD_ROUNDED); }

static const Rule fold_arithmetic = {.name = "fold_arithmetic",
                                     .help = "arithmetic on constants is a constant",
                                     .pattern = "*(...)",
                                     .exactness = EXACT,
                                     .root = folds_exactly,
                                     .apply = apply_fold_exactly};
static const Rule fold_functions = {.name = "fold_functions",
                                    .help = "a function of constants is a constant",
                                    .pattern = "*(...)",
                                    .exactness = ROUNDED,
                                    .bound = "kernels compute functions within 4 ulp, this one within 0.5",
                                    .root = folds_rounded,
                                    .apply = apply_fold_rounded};

// --- Order

// By content, so that names and what made them do not matter.
static bool constant_before(const Tensor *a, const Tensor *b) {
  if (a->dtype != b->dtype) return a->dtype < b->dtype;
  if (a->rank != b->rank) return a->rank > b->rank;
  int dims = memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
  if (dims || a->dtype == DTYPE_STRING) return dims < 0;
  return memcmp(a->data, b->data, tensor_bytes(a)) < 0;
}

// What is computed stands before constants, in the graph's order.
static bool stands_before(const Value *a, const Value *b) {
  if (!a || !b || a == b) return a && !b;
  if (!a->constant != !b->constant) return !a->constant;
  if (a->constant) return constant_before(a->constant, b->constant);
  if (a->producer && b->producer && a->producer != b->producer) return node_is_before(a->producer, b->producer);
  if (!a->producer != !b->producer) return !a->producer;
  return a->producer ? a->producer_index < b->producer_index : a->id < b->id;
}

// place[i]: how many of the inputs stand before input i; the first `fixed` stand before all.
static void find_places(const Node *node, int fixed, int count, int *place) {
  for (int i = fixed; i < count; i++) {
    place[i] = fixed;
    for (int k = fixed; k < count; k++) place[i] += stands_before(node->inputs[k], node->inputs[i]);
  }
  for (int i = 0; i < fixed; i++) place[i] = i;
}

enum { MOST_ORDERED_INPUTS = 64 };  // each is compared with each

static int first_place(const Node *node, int input) {
  int first = 0;
  while (node->inputs[first] != node->inputs[input]) first++;
  return first;
}

// What is read twice, the result that an epilogue follows too, is read from its first place.
static const Program *reading_once(const Node *node) {
  const Program *program = program_in(node);
  Program *once = NULL;
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    if (instruction->op != OP_input || first_place(node, instruction->args[0]) == instruction->args[0]) continue;
    if (!once) once = program_copy(node->graph->arena, program);
    once->code[i].args[0] = first_place(node, instruction->args[0]);
  }
  return once ? once : program;
}

static Status apply_order(Rewrite *r) {
  Node *node = matched(r, "root");
  const Program *program = program_in(node);
  int fixed = fixed_inputs(r, node), count = program->input_count;
  WANT(count <= MOST_ORDERED_INPUTS && count <= node->input_count, "it reads too much");
  int place[MOST_ORDERED_INPUTS], listed[MOST_ORDERED_INPUTS];
  find_places(node, fixed, count, place);
  Program *made = program_in_order(rewrite_scratch(r), reading_once(node), place, fixed, listed);
  bool moved = false;
  for (int i = 0; i < count; i++) moved |= listed[i] != i;
  WANT(moved || !program_equal(program, made), "it is in order");
  Value *inputs[MOST_ORDERED_INPUTS];
  for (int i = 0; i < count; i++) inputs[i] = node->inputs[listed[i]];
  return give_with(r, node, made, count, inputs);
}

static bool has_program(const Node *node) { return program_in(node) != NULL; }

static const Rule order_operands = {.name = "order_operands",
                                    .help = "operands that commute, instructions and inputs stand in one order",
                                    .pattern = "*(...)",
                                    .exactness = EXACT,
                                    .root = has_program,
                                    .apply = apply_order};

static const Rule *const rules[] = {
    &fold_arithmetic, &fold_functions,
#define SCALAR_RULE(name, root, types, pattern, replacement, exactness, bound) &rule_##name,
#include "passes/scalar_rules.inc"
#undef SCALAR_RULE
    &order_operands,  &rule_drop_unread, NULL,
};

const Pass pass_simplify_programs = {"simplify_programs", "simplifies scalar programs, and brings their spellings to one",
                                     rules};
