// Finds where a rule over scalar programs matches. The search is a list of goals (this term at that instruction): the first is met in each way that it can be,
// and each way goes on with the rest, so that a choice made early is made anew where something later does not fit.
#include <math.h>

#include "base/checked.h"
#include "passes/program_order.h"
#include "passes/scalar_form.h"

enum { MOST_STEPS = 2000, MOST_PENDING = 12 };

typedef struct Goal {
  int term, at;
  const struct Goal *next;
} Goal;

static const Instruction *code(const ScalarMatch *m, int i) { return &m->program->code[i]; }

static bool same_number(const Instruction *c, double number) {
  if (c->op != OP_const) return false;
  if (dtype_is_float(c->dtype)) return c->number == number && !signbit(c->number) == !signbit(number);
  return (double)c->integer == number;
}

static double tolerance(DType dtype) { return dtype == DTYPE_F16 ? 0x1p-10 : dtype == DTYPE_BF16 ? 0x1p-7 : 1e-6; }
static bool near(double actual, double expected, double within) { return fabs(actual - expected) <= within * fabs(expected); }

static bool solve(ScalarMatch *m, const Goal *goal);

static bool also(ScalarMatch *m, int term, int at, const Goal *next) { return solve(m, &(Goal){term, at, next}); }

static bool bind(ScalarMatch *m, int letter, int at, const Goal *next) {
  if (letter < 0) return solve(m, next);
  if (m->bound[letter] >= 0) return m->bound[letter] == at && solve(m, next);
  m->bound[letter] = at;
  if (solve(m, next)) return true;
  m->bound[letter] = -1;
  return false;
}

static bool solve_opcode(ScalarMatch *m, const ScalarTerm *term, int at, const Goal *next) {
  const Instruction *instruction = code(m, at);
  if (instruction->op != term->op) return false;
  Goal c = {term->operands[2], instruction->args[2], next};
  const Goal *rest = term->operand_count > 2 ? &c : next;
  if (term->operand_count == 0) return bind(m, term->letter, at, next);
  for (int swapped = 0;
       swapped <= (term->operand_count == 2 && opcode_commutes(term->op, code(m, instruction->args[0])->dtype)); swapped++) {
    Goal b = {term->operands[1], instruction->args[1 - swapped], rest};
    Goal a = {term->operands[0], instruction->args[swapped], term->operand_count > 1 ? &b : rest};
    if (bind(m, term->letter, at, &a)) return true;
  }
  return false;
}

// --- product(~number, a, b): what is left to look at, and what was taken as a factor.

typedef struct Product {
  const ScalarTerm *term;
  int pending[MOST_PENDING], pending_count, factors[MAX_SCALAR_OPERANDS], factor_count;
  double scale, within;
} Product;

// Factors to operands, in each order.
static bool assign(ScalarMatch *m, const Product *p, const Goal *next) {
  static const int orders[6][MAX_SCALAR_OPERANDS] = {{0, 1, 2}, {1, 0, 2}, {0, 2, 1}, {2, 0, 1}, {1, 2, 0}, {2, 1, 0}};
  int count = p->term->operand_count, ways = count == 3 ? 6 : count;
  for (int way = 0; way < ways; way++) {
    Goal goals[MAX_SCALAR_OPERANDS];
    for (int k = count; k-- > 0;)
      goals[k] = (Goal){p->term->operands[k], p->factors[orders[way][k]], k + 1 < count ? &goals[k + 1] : next};
    if (solve(m, &goals[0])) return true;
  }
  return false;
}

static bool solve_product(ScalarMatch *m, Product p, const Goal *next) {
  if (++m->steps > MOST_STEPS) return false;
  if (!p.pending_count)
    return p.factor_count == p.term->operand_count && near(p.scale, p.term->number, p.within) && assign(m, &p, next);
  int at = p.pending[--p.pending_count];
  const Instruction *i = code(m, at);
  if (i->op == OP_const) {
    p.scale *= i->number;
    p.within = fmax(p.within, tolerance(i->dtype));
    return solve_product(m, p, next);
  }
  Product taken = p;
  if (p.factor_count < p.term->operand_count && at != m->root) {
    taken.factors[taken.factor_count++] = at;
    if (solve_product(m, taken, next)) return true;
  }
  if (p.pending_count + 2 > MOST_PENDING) return false;
  p.pending[p.pending_count++] = i->args[0];
  if (i->op == OP_mul) {
    p.pending[p.pending_count++] = i->args[1];
  } else if (i->op == OP_div && code(m, i->args[1])->op == OP_const) {
    p.scale /= code(m, i->args[1])->number;
    p.within = fmax(p.within, tolerance(code(m, i->args[1])->dtype));
  } else if (i->op == OP_neg) {
    p.scale = -p.scale;
  } else {
    return false;
  }
  return solve_product(m, p, next);
}

// --- cubic(x, ~a, ~b)

enum { DEGREES = 4 };
typedef struct Polynomial {
  double c[DEGREES];
} Polynomial;

static bool times(const Polynomial *a, const Polynomial *b, Polynomial *out) {
  *out = (Polynomial){0};
  for (int i = 0; i < DEGREES; i++)
    for (int k = 0; k < DEGREES; k++) {
      if (i + k < DEGREES) out->c[i + k] += a->c[i] * b->c[k];
      else if (a->c[i] != 0 && b->c[k] != 0) return false;
    }
  return true;
}

// Instruction `at` as a polynomial in instruction x.
static bool polynomial(ScalarMatch *m, int at, int x, Polynomial *out) {
  const Instruction *i = code(m, at);
  Polynomial a, b;
  *out = (Polynomial){0};
  if (++m->steps > MOST_STEPS || !dtype_is_float(i->dtype)) return false;
  if (at == x) {
    out->c[1] = 1;
    return true;
  }
  if (i->op == OP_const) {
    out->c[0] = i->number;
    return true;
  }
  if ((i->op != OP_add && i->op != OP_sub && i->op != OP_mul) || !polynomial(m, i->args[0], x, &a) ||
      !polynomial(m, i->args[1], x, &b))
    return false;
  if (i->op == OP_mul) return times(&a, &b, out);
  for (int k = 0; k < DEGREES; k++) out->c[k] = i->op == OP_add ? a.c[k] + b.c[k] : a.c[k] - b.c[k];
  return true;
}

static bool is_cubic(ScalarMatch *m, const ScalarTerm *term, int at) {
  Polynomial p;
  int x = m->bound[term->letter];
  if (x < 0 || !polynomial(m, at, x, &p)) return false;
  double within = 4 * tolerance(code(m, at)->dtype);
  return p.c[0] == 0 && p.c[2] == 0 && near(p.c[1], term->number, within) && near(p.c[3], term->cube, within);
}

// --- All of it.

static bool solve(ScalarMatch *m, const Goal *goal) {
  if (++m->steps > MOST_STEPS) return false;
  if (!goal) return true;
  const ScalarTerm *term = &m->form->terms[goal->term];
  const Instruction *instruction = code(m, goal->at);
  Product product = {.term = term, .pending = {goal->at}, .pending_count = 1, .scale = 1, .within = 1e-6};
  switch (term->kind) {
    case SCALAR_ANY: return bind(m, term->letter, goal->at, goal->next);
    case SCALAR_CONSTANT: return instruction->op == OP_const && bind(m, term->letter, goal->at, goal->next);
    case SCALAR_NUMBER: return same_number(instruction, term->number) && solve(m, goal->next);
    case SCALAR_NEAR:
      return instruction->op == OP_const && near(instruction->number, term->number, tolerance(instruction->dtype)) &&
             solve(m, goal->next);
    case SCALAR_OPCODE: return solve_opcode(m, term, goal->at, goal->next);
    case SCALAR_PRODUCT: return dtype_is_float(instruction->dtype) && solve_product(m, product, goal->next);
    case SCALAR_CUBIC: return is_cubic(m, term, goal->at) && solve(m, goal->next);
  }
  return false;
}

static bool has_type(ScalarTypes types, DType dtype) {
  bool floats = dtype_is_float(dtype), integers = dtype_is_integer(dtype);
  switch (types) {
    case FLOATS: return floats;
    case FLOATS_32: return floats && dtype_bits(dtype) <= 32;
    case INTEGERS: return integers;
    case NUMBERS: return floats || integers;
    case BOOLS: return dtype == DTYPE_BOOL;
    case BITS: return integers || dtype == DTYPE_BOOL;
    case ANY_TYPE: return true;
  }
  return false;
}

static bool conditions_hold(const ScalarMatch *m) {
  for (int i = 0; i < m->form->condition_count; i++) {
    const ScalarCondition *condition = &m->form->conditions[i];
    int instructions[MAX_SCALAR_OPERANDS];
    for (int k = 0; k < condition->fact->count; k++) instructions[k] = m->bound[condition->letters[k]];
    if (!condition->fact->holds(m->program, m->levels, instructions)) return false;
  }
  return true;
}

bool scalar_match(ScalarMatch *m, int root) {
  const Instruction *instruction = code(m, root);
  if (instruction->op != m->form->rule->root) return false;
  if (!has_type(m->form->rule->types, code(m, instruction->args[opcode_info(instruction->op)->arity - 1])->dtype)) return false;
  for (int i = 0; i < LETTERS; i++) m->bound[i] = -1;
  m->root = root;
  m->steps = 0;
  return also(m, m->form->pattern, root, NULL) && conditions_hold(m);
}
