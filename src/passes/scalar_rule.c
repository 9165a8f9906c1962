// Applies a rule over scalar programs: the program is written anew, instruction by instruction, and where the pattern matches what was written, the replacement
// is written behind it and stands for it from there on. What nothing needs any more is left to who prunes.
#include "passes/scalar_fold.h"
#include "passes/scalar_form.h"

enum { MOST_AT_ONE_PLACE = 8 };

typedef struct Writer {
  Arena *arena;
  Program *to;
  uint8_t *levels;  // of what is written
  uint32_t level_count, level_capacity;
  ScalarMatch match;
} Writer;

static void extend_levels(Writer *w) {
  while ((int)w->level_count < w->to->count) {
    const Instruction *instruction = &w->to->code[w->level_count];
    const OpcodeInfo *info = opcode_info(instruction->op);
    uint8_t level = instruction->op == OP_input || instruction->op == OP_index;
    for (int k = 0; !info->reduces && k < info->arity; k++) level |= w->levels[instruction->args[k]];
    *ARENA_PUSH(w->arena, w->levels, w->level_count, w->level_capacity) = level;
  }
}

// The number of the instruction that a term of the replacement comes to, or -1: constants that cannot be computed here.
static int build(Writer *w, int index, DType dtype) {
  const ScalarTerm *term = &w->match.form->terms[index];
  if (term->kind == SCALAR_ANY || term->kind == SCALAR_CONSTANT) return w->match.bound[term->letter];
  if (term->kind != SCALAR_OPCODE) return program_const(w->to, dtype, term->number);
  int operands[MAX_SCALAR_OPERANDS] = {0};
  bool constant = term->operand_count > 0;
  for (int k = 0; k < term->operand_count; k++) {
    operands[k] = build(w, term->operands[k], dtype);
    if (operands[k] < 0) return -1;
    constant &= w->to->code[operands[k]].op == OP_const;
  }
  const Instruction *root = &w->to->code[w->match.root];
  if (term->op == OP_cast) return program_cast_with(w->to, root->dtype, operands[0], root->integer);
  int made = opcode_info(term->op)->reduces ? program_reduce(w->to, term->op, operands[0], dtype)
             : term->operand_count == 0     ? program_instruction(w->to, (Instruction){.op = term->op, .dtype = dtype})
             : term->operand_count == 1     ? program_op1(w->to, term->op, operands[0])
             : term->operand_count == 2     ? program_op2(w->to, term->op, operands[0], operands[1])
                                            : program_op3(w->to, term->op, operands[0], operands[1], operands[2]);
  return constant ? scalar_fold(w->to, made) : made;
}

// References hold sums with more digits than an instruction leaves of them (interpret.h): what rounds one stays.
static bool is_open_sum(const Program *program, int at, int depth) {
  enum { DEEPEST = 8 };
  const Instruction *code = &program->code[at];
  if (!dtype_is_float(code->dtype) || code->dtype == DTYPE_F64) return false;
  bool open = code->op == OP_reduce_sum || code->op == OP_reduce_prod || depth > DEEPEST;
  for (int i = 0; opcode_chooses(code->op) && i < opcode_info(code->op)->arity; i++)
    open = open || is_open_sum(program, code->args[i], depth + 1);
  return open;
}

// What takes the place of instruction `at`: itself, where the rule does not match or would change nothing.
static int replaced(Writer *w, int at, bool rows) {
  extend_levels(w);
  w->match.program = w->to;
  w->match.levels = w->levels;
  if (!scalar_match(&w->match, at)) return at;
  const Instruction *root = &w->to->code[at];
  DType dtype = w->to->code[root->args[opcode_info(root->op)->arity - 1]].dtype;
  int made = build(w, w->match.form->replacement, dtype);
  extend_levels(w);
  if (made < 0 || w->to->code[made].dtype != w->to->code[at].dtype) return at;
  if (!opcode_chooses(w->to->code[at].op) && is_open_sum(w->to, made, 0)) return at;
  return rows && w->levels[made] != w->levels[at] ? at : made;
}

static bool has_root(const Program *program, Opcode root) {
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == root) return true;
  return false;
}

Program *scalar_form_apply(Arena *arena, const ScalarForm *form, const Program *program, bool rows) {
  if (!has_root(program, form->rule->root)) return NULL;
  Writer w = {.arena = arena, .to = program_new(arena, program->input_count), .match.form = form};
  int *map = arena_array(arena, int, (size_t)program->count);
  bool changed = false;
  for (int i = 0; i < program->count; i++) {
    Instruction instruction = program->code[i];
    for (int k = 0; k < opcode_info(instruction.op)->arity; k++) instruction.args[k] = map[instruction.args[k]];
    map[i] = program_instruction(w.to, instruction);
    for (int times = 0; times < MOST_AT_ONE_PLACE && instruction.op == form->rule->root; times++) {
      int made = replaced(&w, map[i], rows);
      if (made == map[i]) break;
      map[i] = made;
      changed = true;
    }
  }
  for (int o = 0; o < program->output_count; o++) program_output(w.to, map[program->outputs[o]]);
  return changed ? w.to : NULL;
}
