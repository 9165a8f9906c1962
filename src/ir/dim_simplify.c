// Normal forms. Every expression is a polynomial with integer coefficients over atoms: symbols, and div, mod, max, min and broadcast of
// expressions. Sums and products are expanded and sorted, so like terms meet; div and mod give up whatever divides, and what
// remains becomes an atom over reduced operands. That proves the equalities shape arithmetic needs ((b*s*768)/(b*768) = s,
// ((n - 1)/2 + 1 and (n + 1)/2 alike) and no more: equality over div and mod is not decidable by rewriting of this kind.
// Symbols are taken to be nonzero where a division by them cancels: a tensor with such a dimension is empty.
//
// Atoms are ordered by name or structural hash, not by age, so that printing and parsing gives the same order.
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "ir/dim_table.h"

enum { MAX_TERMS = 40, MAX_DEGREE = 8, MAX_CHOICES = 16, MAX_ATTEMPTS = 24 };

typedef struct Term {
  int64_t coefficient;
  int degree;
  Dim atoms[MAX_DEGREE];  // in order
} Term;

typedef struct Poly {
  int count;
  Term terms[MAX_TERMS];  // in order: higher degree first, the constant last; no coefficient is zero
} Poly;

static int compare_atoms(const DimTable *table, Dim a, Dim b) {
  if (a == b) return 0;
  if (a >= 0 || b >= 0) return a >= 0 && b >= 0 ? (a < b ? -1 : 1) : a >= 0 ? 1 : -1;
  const DimEntry *left = dim_entry(table, a), *right = dim_entry(table, b);
  if (left->op != right->op && (left->op == DIM_SYMBOL || right->op == DIM_SYMBOL)) return left->op == DIM_SYMBOL ? -1 : 1;
  if (left->op == DIM_SYMBOL) return strcmp(left->name, right->name);
  if (left->hash != right->hash) return left->hash < right->hash ? -1 : 1;
  return a > b ? -1 : 1;
}

// An admissible order (graded lexicographic), which exact division of polynomials needs.
static int compare_terms(const DimTable *table, const Term *a, const Term *b) {
  if (a->degree != b->degree) return a->degree > b->degree ? -1 : 1;
  for (int i = 0; i < a->degree; i++) {
    int order = compare_atoms(table, a->atoms[i], b->atoms[i]);
    if (order) return order;
  }
  return 0;
}

// All of the following return false on overflow, or where the result has too many terms or factors.

static bool poly_add_term(const DimTable *table, Poly *poly, const Term *term) {
  if (term->coefficient == 0) return true;
  int at = poly->count, order = 1;
  while (at > 0 && (order = compare_terms(table, &poly->terms[at - 1], term)) > 0) at--;
  if (at > 0 && order == 0) {
    Term *same = &poly->terms[at - 1];
    if (!checked_add_i64(same->coefficient, term->coefficient, &same->coefficient)) return false;
    if (same->coefficient == 0) {
      memmove(same, same + 1, (size_t)(poly->count - at) * sizeof *same);
      poly->count--;
    }
    return true;
  }
  if (poly->count == MAX_TERMS) return false;
  memmove(&poly->terms[at + 1], &poly->terms[at], (size_t)(poly->count - at) * sizeof *poly->terms);
  poly->terms[at] = *term;
  poly->count++;
  return true;
}

static bool poly_add_constant(const DimTable *table, Poly *poly, int64_t value) {
  return poly_add_term(table, poly, &(Term){.coefficient = value});
}

static bool poly_add_scaled(const DimTable *table, Poly *poly, const Poly *other, int64_t scale) {
  for (int i = 0; i < other->count; i++) {
    Term term = other->terms[i];
    if (!checked_mul_i64(term.coefficient, scale, &term.coefficient) || !poly_add_term(table, poly, &term)) return false;
  }
  return true;
}

static bool term_multiply(const DimTable *table, const Term *a, const Term *b, Term *out) {
  if (!checked_mul_i64(a->coefficient, b->coefficient, &out->coefficient) || a->degree + b->degree > MAX_DEGREE) return false;
  int i = 0, j = 0;
  for (out->degree = 0; i < a->degree || j < b->degree; out->degree++) {
    bool left = j == b->degree || (i < a->degree && compare_atoms(table, a->atoms[i], b->atoms[j]) <= 0);
    out->atoms[out->degree] = left ? a->atoms[i++] : b->atoms[j++];
  }
  return true;
}

static bool poly_add_product(const DimTable *table, Poly *poly, const Poly *a, const Term *b) {
  for (int i = 0; i < a->count; i++) {
    Term term;
    if (!term_multiply(table, &a->terms[i], b, &term) || !poly_add_term(table, poly, &term)) return false;
  }
  return true;
}

// Whether every factor of b is one of a; the others go to out. Coefficients are the caller's.
static bool term_divide_atoms(const Term *a, const Term *b, Term *out) {
  int j = 0;
  *out = (Term){.coefficient = a->coefficient};
  for (int i = 0; i < a->degree; i++) {
    if (j < b->degree && a->atoms[i] == b->atoms[j]) j++;
    else out->atoms[out->degree++] = a->atoms[i];
  }
  return j == b->degree;
}

static bool is_chain(const DimTable *table, Dim dim, DimOp op) {
  return dim < 0 && dim_entry(table, dim)->op == op && !dim_entry(table, dim)->opaque;
}

static Term term_of(const DimTable *table, Dim dim) {
  Term term = {.coefficient = 1};
  if (dim_get_constant(table, dim, &term.coefficient)) return term;
  if (is_chain(table, dim, DIM_MUL) && dim_get_constant(table, dim_entry(table, dim)->a, &term.coefficient))
    dim = dim_entry(table, dim)->b;
  Dim reversed[MAX_DEGREE];
  for (; is_chain(table, dim, DIM_MUL); dim = dim_entry(table, dim)->a) reversed[term.degree++] = dim_entry(table, dim)->b;
  reversed[term.degree++] = dim;
  for (int i = 0; i < term.degree; i++) term.atoms[i] = reversed[term.degree - 1 - i];
  return term;
}

static void poly_of(const DimTable *table, Dim dim, Poly *poly) {
  Dim reversed[MAX_TERMS];
  int count = 0;
  poly->count = 0;
  if (dim == 0) return;
  for (; is_chain(table, dim, DIM_ADD); dim = dim_entry(table, dim)->a) reversed[count++] = dim_entry(table, dim)->b;
  reversed[count++] = dim;
  while (count) poly->terms[poly->count++] = term_of(table, reversed[--count]);
}

// Terms with their coefficients outermost, so that a reader finds "2*x" by looking at one operand.
static Dim term_build(DimTable *table, const Term *term) {
  if (term->degree == 0) return dim_constant(table, term->coefficient);
  Dim dim = term->atoms[0];
  for (int i = 1; i < term->degree; i++) dim = dim_intern(table, DIM_MUL, dim, term->atoms[i], false);
  return term->coefficient == 1 ? dim : dim_intern(table, DIM_MUL, dim_constant(table, term->coefficient), dim, false);
}

static Dim poly_build(DimTable *table, const Poly *poly) {
  if (poly->count == 0) return 0;
  Dim dim = term_build(table, &poly->terms[0]);
  for (int i = 1; i < poly->count; i++) {
    Dim term = term_build(table, &poly->terms[i]);
    dim = dim_intern(table, DIM_ADD, dim, term, false);
  }
  return dim;
}

static void term_bounds(const DimTable *table, const Term *term, int64_t *low, int64_t *high) {
  *low = *high = term->coefficient;
  for (int i = 0; i < term->degree; i++) bounds_mul(low, high, dim_low(table, term->atoms[i]), dim_high(table, term->atoms[i]));
}

static void poly_bounds(const DimTable *table, const Poly *poly, int64_t *low, int64_t *high) {
  *low = *high = 0;
  for (int i = 0; i < poly->count; i++) {
    int64_t term_low, term_high;
    term_bounds(table, &poly->terms[i], &term_low, &term_high);
    *low = *low == INT64_MIN || term_low == INT64_MIN ? INT64_MIN : bound_add(*low, term_low);
    *high = *high == INT64_MAX || term_high == INT64_MAX ? INT64_MAX : bound_add(*high, term_high);
  }
}

static int64_t gcd(int64_t a, int64_t b) {
  uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
  while (y) {
    uint64_t rest = x % y;
    x = y;
    y = rest;
  }
  return x > INT64_MAX ? 1 : (int64_t)x;
}

static int64_t poly_constant(const Poly *poly) {
  return poly->count && poly->terms[poly->count - 1].degree == 0 ? poly->terms[poly->count - 1].coefficient : 0;
}

// Opaque sums and products: where a normal form would overflow or be too large.
static Dim make_opaque(DimTable *table, DimOp op, Dim a, Dim b) {
  bool ordered = compare_atoms(table, a, b) <= 0;
  return dim_intern(table, op, ordered ? a : b, ordered ? b : a, true);
}

static Dim make_sum(DimTable *table, Dim a, Dim b) {
  if (a == 0) return b;
  if (b == 0) return a;
  Poly sum, other;
  poly_of(table, a, &sum);
  poly_of(table, b, &other);
  return poly_add_scaled(table, &sum, &other, 1) ? poly_build(table, &sum) : make_opaque(table, DIM_ADD, a, b);
}

static Dim make_product(DimTable *table, Dim a, Dim b) {
  if (a == 0 || b == 0) return 0;
  if (a == 1) return b;
  if (b == 1) return a;
  Poly left, right, product = {0};
  poly_of(table, a, &left);
  poly_of(table, b, &right);
  for (int i = 0; i < right.count; i++)
    if (!poly_add_product(table, &product, &left, &right.terms[i])) return make_opaque(table, DIM_MUL, a, b);
  return poly_build(table, &product);
}

// Long division by a sum whose first coefficient is positive; false where it leaves a rest.
static bool divide_exactly(const DimTable *table, const Poly *dividend, const Poly *divisor, Poly *quotient) {
  Poly rest = *dividend;
  quotient->count = 0;
  for (int step = 0; rest.count; step++) {
    Term factor;
    int64_t by = divisor->terms[0].coefficient;
    if (step == MAX_TERMS || !term_divide_atoms(&rest.terms[0], &divisor->terms[0], &factor)) return false;
    if (factor.coefficient == INT64_MIN || factor.coefficient % by != 0) return false;
    factor.coefficient /= by;
    if (!poly_add_term(table, quotient, &factor)) return false;
    factor.coefficient = -factor.coefficient;
    if (!poly_add_product(table, &rest, divisor, &factor)) return false;
  }
  return true;
}

// dividend = quotient * divisor + rest with as much as possible in the quotient; divisor is one term, its coefficient positive.
// Coefficients keep their sign in the rest, constants become nonnegative: (n - 1)/2 is (n + 1)/2 - 1.
static bool divide_by_term(const DimTable *table, const Poly *dividend, const Term *divisor, Poly *quotient, Poly *rest) {
  quotient->count = rest->count = 0;
  int64_t by = divisor->coefficient;
  for (int i = 0; i < dividend->count; i++) {
    Term whole, left = dividend->terms[i];
    if (term_divide_atoms(&left, divisor, &whole)) {
      whole.coefficient = left.coefficient / by;
      left.coefficient %= by;
      if (left.degree == 0 && left.coefficient < 0) {
        whole.coefficient--;
        left.coefficient += by;
      }
      if (!poly_add_term(table, quotient, &whole)) return false;
    }
    if (!poly_add_term(table, rest, &left)) return false;
  }
  return true;
}

// Drops factors that all terms of rest share with divisor.
static void cancel_atoms(Poly *rest, Term *divisor) {
  for (int k = 0; k < divisor->degree;) {
    Term atom = {.degree = 1, .atoms = {divisor->atoms[k]}}, without;
    bool shared = rest->count > 0;
    for (int i = 0; i < rest->count && shared; i++) shared = term_divide_atoms(&rest->terms[i], &atom, &without);
    if (!shared) {
      k++;
      continue;
    }
    for (int i = 0; i < rest->count; i++) {
      term_divide_atoms(&rest->terms[i], &atom, &without);
      rest->terms[i] = without;
    }
    term_divide_atoms(divisor, &atom, &without);
    without.coefficient = divisor->coefficient;
    *divisor = without;
  }
}

// floor((g*p + c)/(g*k)) = floor((p + floor(c/g))/k); g over all coefficients but the constant, which must divide where the
// divisor has factors beside its coefficient.
static bool cancel_coefficients(const DimTable *table, Poly *rest, Term *divisor) {
  int64_t common = divisor->coefficient, constant = poly_constant(rest);
  for (int i = 0; i < rest->count; i++)
    if (rest->terms[i].degree || divisor->degree) common = gcd(common, rest->terms[i].coefficient);
  if (common <= 1) return true;
  divisor->coefficient /= common;
  if (constant) rest->count--;
  for (int i = 0; i < rest->count; i++) rest->terms[i].coefficient /= common;
  int64_t floored;
  return dim_fold(DIM_DIV, constant, common, &floored) && poly_add_constant(table, rest, floored);
}

// The single atom of the given op that a polynomial is, up to a constant; 0 where it is not.
static Dim lone_atom(const DimTable *table, const Poly *poly, DimOp op) {
  int terms = poly->count - (poly_constant(poly) != 0);
  if (terms != 1 || poly->terms[0].degree != 1 || poly->terms[0].coefficient != 1) return 0;
  Dim atom = poly->terms[0].atoms[0];
  return atom < 0 && dim_entry(table, atom)->op == op ? atom : 0;
}

static Dim make_quotient(DimTable *table, Dim a, Dim b);

// floor(rest/divisor) where nothing divides any more.
static Dim quotient_of_rest(DimTable *table, Poly *rest, Term *divisor) {
  int64_t low, high, divisor_low, divisor_high, inner, product, shift;
  Poly negated = {0};
  poly_bounds(table, rest, &low, &high);
  term_bounds(table, divisor, &divisor_low, &divisor_high);
  if (low >= 0 && high < divisor_low) return 0;
  // floor(-n/k) = -floor((n + k - 1)/k), so that rounding up by either way is one form.
  if (divisor->degree == 0 && rest->terms[0].coefficient < 0 && poly_add_scaled(table, &negated, rest, -1) &&
      poly_add_constant(table, &negated, divisor->coefficient - 1)) {
    Dim up = make_quotient(table, poly_build(table, &negated), divisor->coefficient);
    return make_product(table, dim_constant(table, -1), up);
  }
  int degree = divisor->degree;
  cancel_atoms(rest, divisor);
  if (divisor->degree < degree) {
    Dim dividend = poly_build(table, rest);
    return make_quotient(table, dividend, term_build(table, divisor));
  }
  if (!cancel_coefficients(table, rest, divisor))
    return dim_intern(table, DIM_DIV, poly_build(table, rest), term_build(table, divisor), false);
  // floor((floor(n/j) + c)/k) = floor((n + c*j)/(j*k))
  Dim nested = lone_atom(table, rest, DIM_DIV);
  if (nested && divisor->degree == 0 && dim_get_constant(table, dim_entry(table, nested)->b, &inner) && inner > 0 &&
      checked_mul_i64(inner, divisor->coefficient, &product) && checked_mul_i64(poly_constant(rest), inner, &shift)) {
    Dim dividend = make_sum(table, dim_entry(table, nested)->a, dim_constant(table, shift));
    return make_quotient(table, dividend, product);
  }
  Dim dividend = poly_build(table, rest), by = term_build(table, divisor);
  return by == 1 ? dividend : dim_intern(table, DIM_DIV, dividend, by, false);
}

static Dim make_quotient(DimTable *table, Dim a, Dim b) {
  if (a == 0 || b == 0) return 0;
  if (b == 1) return a;
  if (a == b) return 1;
  if (dim_low(table, a) >= 0 && dim_high(table, a) < dim_low(table, b)) return 0;
  Poly dividend, divisor, quotient, rest;
  poly_of(table, a, &dividend);
  poly_of(table, b, &divisor);
  if (divisor.terms[0].coefficient < 0) {
    Poly minus_a = {0}, minus_b = {0};
    if (!poly_add_scaled(table, &minus_a, &dividend, -1) || !poly_add_scaled(table, &minus_b, &divisor, -1))
      return dim_intern(table, DIM_DIV, a, b, false);
    Dim plain = poly_build(table, &minus_a);
    return make_quotient(table, plain, poly_build(table, &minus_b));
  }
  if (divisor.count > 1) {
    if (divide_exactly(table, &dividend, &divisor, &quotient)) return poly_build(table, &quotient);
    Dim plain = poly_build(table, &dividend);
    return dim_intern(table, DIM_DIV, plain, poly_build(table, &divisor), false);
  }
  Term *by = &divisor.terms[0];
  if (!divide_by_term(table, &dividend, by, &quotient, &rest)) return dim_intern(table, DIM_DIV, a, b, false);
  Dim whole = poly_build(table, &quotient);
  return rest.count ? make_sum(table, whole, quotient_of_rest(table, &rest, by)) : whole;
}

// rest mod divisor, a constant: common factors come out, (n mod (j*k)) mod k = n mod k.
static Dim remainder_of_rest(DimTable *table, Poly *rest, int64_t divisor) {
  int64_t common = divisor, inner;
  for (int i = 0; i < rest->count; i++) common = gcd(common, rest->terms[i].coefficient);
  for (int i = 0; i < rest->count; i++) rest->terms[i].coefficient /= common;
  divisor /= common;
  Dim nested = lone_atom(table, rest, DIM_MOD), remainder;
  if (nested && poly_constant(rest) == 0 && dim_get_constant(table, dim_entry(table, nested)->b, &inner) &&
      inner % divisor == 0)
    remainder = dim_simplify(table, DIM_MOD, dim_entry(table, nested)->a, divisor);
  else remainder = dim_intern(table, DIM_MOD, poly_build(table, rest), divisor, false);
  return make_product(table, common, remainder);
}

static Dim make_remainder(DimTable *table, Dim a, Dim b) {
  if (a == 0 || b == 0 || b == 1 || a == b) return 0;
  if (dim_low(table, a) >= 0 && dim_high(table, a) < dim_low(table, b)) return a;
  Poly dividend, divisor, quotient, rest;
  poly_of(table, a, &dividend);
  poly_of(table, b, &divisor);
  if (divisor.count > 1) {
    bool exact = divide_exactly(table, &dividend, &divisor, &quotient);
    return exact ? 0 : dim_intern(table, DIM_MOD, a, b, false);
  }
  const Term *by = &divisor.terms[0];
  if (by->coefficient < 0 || !divide_by_term(table, &dividend, by, &quotient, &rest))
    return dim_intern(table, DIM_MOD, a, b, false);
  if (rest.count == 0) return 0;
  int64_t low, high;
  poly_bounds(table, &rest, &low, &high);
  Dim left = poly_build(table, &rest);
  if (low >= 0 && high < dim_low(table, b)) return left;
  return by->degree == 0 ? remainder_of_rest(table, &rest, by->coefficient) : dim_intern(table, DIM_MOD, left, b, false);
}

// The poly with `by` in place of the atom that term `index` is.
static bool poly_substitute(const DimTable *table, const Poly *poly, int index, Dim by, int64_t coefficient, Poly *out) {
  Poly other;
  *out = *poly;
  memmove(&out->terms[index], &out->terms[index + 1], (size_t)(poly->count - index - 1) * sizeof *out->terms);
  out->count--;
  poly_of(table, by, &other);
  return poly_add_scaled(table, out, &other, coefficient);
}

static bool poly_not_negative(const DimTable *table, const Poly *poly, int *attempts);

// A minimum is at most each of its choices, a maximum at least: below zero, or above, one choice is enough; otherwise all have to do.
static bool holds_by_choice(const DimTable *table, const Poly *poly, int index, int *attempts) {
  Dim atom = poly->terms[index].atoms[0];
  int64_t coefficient = poly->terms[index].coefficient;
  DimOp op = dim_entry(table, atom)->op;
  bool one_is_enough = (op == DIM_MIN) == (coefficient < 0);
  for (Dim rest = atom;; rest = dim_entry(table, rest)->a) {
    bool last = !is_chain(table, rest, op);
    Poly by;
    bool holds = poly_substitute(table, poly, index, last ? rest : dim_entry(table, rest)->b, coefficient, &by) &&
                 poly_not_negative(table, &by, attempts);
    if (holds == one_is_enough || last) return holds;
  }
}

// k * (a div k) lies in [a - k + 1, a].
static bool holds_by_quotient(const DimTable *table, const Poly *poly, int index, int *attempts) {
  const DimEntry *atom = dim_entry(table, poly->terms[index].atoms[0]);
  int64_t coefficient = poly->terms[index].coefficient, by, slack;
  Poly whole;
  if (!dim_get_constant(table, atom->b, &by) || by <= 0 || coefficient % by != 0) return false;
  if (!poly_substitute(table, poly, index, atom->a, coefficient / by, &whole)) return false;
  if (coefficient > 0 && (!checked_mul_i64(coefficient / by, 1 - by, &slack) || !poly_add_constant(table, &whole, slack)))
    return false;
  return poly_not_negative(table, &whole, attempts);
}

// For all values of the symbols, as far as bounds show it, and what max, min and div stand between.
static bool poly_not_negative(const DimTable *table, const Poly *poly, int *attempts) {
  int64_t low, high;
  poly_bounds(table, poly, &low, &high);
  if (low >= 0) return true;
  for (int i = 0; i<poly->count && * attempts> 0; i++) {
    Dim atom = poly->terms[i].degree == 1 ? poly->terms[i].atoms[0] : 0;
    if (atom >= 0 || dim_entry(table, atom)->opaque) continue;
    DimOp op = dim_entry(table, atom)->op;
    if (op != DIM_MAX && op != DIM_MIN && op != DIM_DIV) continue;
    --*attempts;
    if (op == DIM_DIV ? holds_by_quotient(table, poly, i, attempts) : holds_by_choice(table, poly, i, attempts)) return true;
  }
  return false;
}

bool dim_at_least(const DimTable *table, Dim a, Dim b) {
  Poly difference, other;
  int attempts = MAX_ATTEMPTS;
  poly_of(table, a, &difference);
  poly_of(table, b, &other);
  return poly_add_scaled(table, &difference, &other, -1) && poly_not_negative(table, &difference, &attempts);
}

static bool add_choices(const DimTable *table, DimOp op, Dim dim, Dim *choices, int *count) {
  for (; is_chain(table, dim, op); dim = dim_entry(table, dim)->a) {
    if (*count == MAX_CHOICES) return false;
    choices[(*count)++] = dim_entry(table, dim)->b;
  }
  if (*count == MAX_CHOICES) return false;
  choices[(*count)++] = dim;
  return true;
}

static void sort_choices(const DimTable *table, Dim *choices, int count) {
  for (int i = 1; i < count; i++)
    for (int j = i; j > 0 && compare_atoms(table, choices[j - 1], choices[j]) > 0; j--) {
      Dim swapped = choices[j];
      choices[j] = choices[j - 1];
      choices[j - 1] = swapped;
    }
}

// max or min: flattened, without those that others always beat, in order.
static Dim make_choice(DimTable *table, DimOp op, Dim a, Dim b) {
  Dim choices[MAX_CHOICES];
  int count = 0, kept = 0;
  if (!add_choices(table, op, a, choices, &count) || !add_choices(table, op, b, choices, &count))
    return make_opaque(table, op, a, b);
  for (int i = 0; i < count; i++) {
    bool beaten = false;
    for (int j = 0; j < count && !beaten; j++) {
      if (j == i || (j >= kept && j < i)) continue;
      bool wins = op == DIM_MAX ? dim_at_least(table, choices[j], choices[i]) : dim_at_least(table, choices[i], choices[j]);
      bool ties =
          wins && (op == DIM_MAX ? dim_at_least(table, choices[i], choices[j]) : dim_at_least(table, choices[j], choices[i]));
      beaten = wins && (!ties || j < i);
    }
    if (!beaten) choices[kept++] = choices[i];
  }
  sort_choices(table, choices, kept);
  Dim dim = choices[0];
  for (int i = 1; i < kept; i++) dim = dim_intern(table, op, dim, choices[i], false);
  return dim;
}

// Flattened, without ones and what is there already, in order; a maximum where nothing may be 0. A number that is no 1 decides.
static Dim make_broadcast(DimTable *table, Dim a, Dim b) {
  Dim choices[MAX_CHOICES];
  int count = 0, kept = 0;
  bool positive = true;
  if (!add_choices(table, DIM_BROADCAST, a, choices, &count) || !add_choices(table, DIM_BROADCAST, b, choices, &count))
    return make_opaque(table, DIM_BROADCAST, a, b);
  for (int i = 0; i < count; i++) {
    bool met = choices[i] == 1;
    if (dim_is_static(choices[i]) && !met) return choices[i];
    for (int j = 0; j < kept && !met; j++) met = choices[j] == choices[i];
    if (met) continue;
    positive = positive && dim_at_least(table, choices[i], 1);
    choices[kept++] = choices[i];
  }
  if (!kept) return 1;
  sort_choices(table, choices, kept);
  Dim dim = choices[0];
  for (int i = 1; i < kept; i++)
    dim = positive ? make_choice(table, DIM_MAX, dim, choices[i]) : dim_intern(table, DIM_BROADCAST, dim, choices[i], false);
  return dim;
}

Dim dim_simplify(DimTable *table, DimOp op, Dim a, Dim b) {
  int64_t left, right, folded;
  if (dim_get_constant(table, a, &left) && dim_get_constant(table, b, &right) && dim_fold(op, left, right, &folded))
    return dim_constant(table, folded);
  switch (op) {
    case DIM_ADD: return make_sum(table, a, b);
    case DIM_MUL: return make_product(table, a, b);
    case DIM_DIV: return make_quotient(table, a, b);
    case DIM_MOD: return make_remainder(table, a, b);
    case DIM_MAX:
    case DIM_MIN: return make_choice(table, op, a, b);
    case DIM_BROADCAST: return make_broadcast(table, a, b);
    case DIM_SYMBOL:
    case DIM_CONSTANT: break;
  }
  return a;
}
