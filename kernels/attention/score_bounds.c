// See score_bounds.h: the program is run over what is known of each value if places lie in a range, for the few ranges at whose ends one of its comparisons changes.
#include "kernels/attention/score_bounds.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

enum { MOST_ENDS = 16 };
static const double LOWEST_MASK = -1e30, LARGEST_SCALE = 1e30;

// number; or row * query's number + column * key's number + number; or the product's sum * number.
typedef enum KnownKind { ANYTHING, NUMBER, PLACE, SUM } KnownKind;
typedef struct Known {
  KnownKind kind;
  int row, column;
  double number;
} Known;

typedef struct Range {
  double from, to;  // of places
} Range;

typedef struct Reader {
  const Attention *a;
  Range range;
  double ends[MOST_ENDS];  // places at which comparisons change
  int end_count;
} Reader;

static Known anything(void) { return (Known){ANYTHING}; }
static Known number(double value) { return (Known){.kind = NUMBER, .number = value}; }
static bool is_number(Known x, double value) { return x.kind == NUMBER && x.number == value; }
static bool is_mask(Known x) { return x.kind == NUMBER && x.number <= LOWEST_MASK; }

static Known plus(Known a, Known b, int sign) {
  b.number *= sign, b.row *= sign, b.column *= sign;
  if (is_mask(a)) return a;
  if (is_mask(b)) return b;
  if (a.kind == ANYTHING || b.kind == ANYTHING) return anything();
  if (a.kind != SUM && b.kind != SUM) {
    Known sum = {PLACE, a.row + b.row, a.column + b.column, a.number + b.number};
    if (!sum.row && !sum.column) sum.kind = NUMBER;
    return sum;
  }
  if (is_number(b, 0)) return a;
  return is_number(a, 0) ? b : anything();
}

static Known times(Known a, Known b) {
  if (a.kind == NUMBER && b.kind == NUMBER) return number(a.number * b.number);
  if (a.kind == SUM && b.kind == NUMBER) return (Known){.kind = SUM, .number = a.number * b.number};
  if (a.kind == NUMBER && b.kind == SUM) return times(b, a);
  return anything();
}

static Known over(Known a, Known b) { return b.kind == NUMBER && b.number != 0 ? times(a, number(1 / b.number)) : anything(); }

static void keep_end(Reader *r, double end) {
  if (r->end_count < MOST_ENDS) r->ends[r->end_count++] = end;
}

// What a - b can be.
static bool difference(Reader *r, Known a, Known b, Range *out) {
  bool places = a.kind == NUMBER || a.kind == PLACE, others = b.kind == NUMBER || b.kind == PLACE;
  if (!places || !others) return false;
  int row = a.row - b.row, column = a.column - b.column;
  double by = a.number - b.number;
  if (!row && !column) return *out = (Range){by, by}, !isnan(by);
  if (row + column || (column != 1 && column != -1)) return false;
  keep_end(r, -by * column);
  *out = column > 0 ? (Range){r->range.from + by, r->range.to + by} : (Range){by - r->range.to, by - r->range.from};
  return true;
}

static Known truth(bool sure, bool never) { return sure ? number(1) : never ? number(0) : anything(); }

static Known compare(Reader *r, Opcode op, Known a, Known b) {
  if (a.kind == NUMBER && b.kind == NUMBER && isinf(a.number) && a.number == b.number)
    return number(op == OP_eq || op == OP_le || op == OP_ge);
  Range d;
  if (!difference(r, a, b, &d)) return anything();
  switch (op) {
    case OP_lt: return truth(d.to < 0, d.from >= 0);
    case OP_le: return truth(d.to <= 0, d.from > 0);
    case OP_gt: return truth(d.from > 0, d.to <= 0);
    case OP_ge: return truth(d.from >= 0, d.to < 0);
    case OP_eq: return truth(d.from == 0 && d.to == 0, d.from > 0 || d.to < 0);
    case OP_ne: return truth(d.from > 0 || d.to < 0, d.from == 0 && d.to == 0);
    default: return anything();
  }
}

static Known choose(Known condition, Known yes, Known no) {
  if (condition.kind == NUMBER) return condition.number ? yes : no;
  bool same = yes.kind == no.kind && yes.number == no.number && yes.row == no.row && yes.column == no.column;
  return same ? yes : anything();
}

static Known both(Known a, Known b) {
  if (is_number(a, 0) || is_number(b, 0)) return number(0);
  return is_number(a, 1) && is_number(b, 1) ? number(1) : anything();
}

static Known negation(Known a) { return a.kind == NUMBER ? number(!a.number) : anything(); }

static Known either(Known a, Known b) { return negation(both(negation(a), negation(b))); }

// What rounding leaves as it is.
static Known cast(Known x, DType to) {
  bool small = x.kind == NUMBER && (isinf(x.number) || (x.number == trunc(x.number) && fabs(x.number) <= 128));
  if (to == DTYPE_F32) return x.kind == PLACE ? anything() : x;
  if (to == DTYPE_I64 || to == DTYPE_I32) return x.kind == SUM || (x.kind == NUMBER && !small) ? anything() : x;
  return small && (dtype_is_float(to) || isfinite(x.number)) ? x : anything();
}

static Known coordinate(const Reader *r, int axis) {
  int rank = r->a->softmax->outputs[0]->rank;
  if (axis < rank - 2) return anything();
  return (Known){.kind = PLACE, .row = axis == rank - 2, .column = axis == rank - 1};
}

static Known size_of(const Reader *r, int axis) {
  const Value *scores = r->a->softmax->outputs[0];
  int64_t size;
  return !scores->open && dim_get_constant(scores->graph->dims, scores->dims[axis], &size) ? number((double)size) : anything();
}

static Known constant(const Instruction *i) { return number(dtype_is_float(i->dtype) ? i->number : (double)i->integer); }

static Known known_of(Reader *r, const Instruction *i, const Known *known) {
  const Known *a = &known[i->args[0]], *b = &known[i->args[1]], *c = &known[i->args[2]];
  switch (i->op) {
    case OP_const: return constant(i);
    case OP_input: return r->a->inputs[i->args[0]].value ? anything() : (Known){.kind = SUM, .number = 1};
    case OP_index: return coordinate(r, i->args[0]);
    case OP_extent: return size_of(r, i->args[0]);
    case OP_cast: return cast(*a, i->dtype);
    case OP_add: return plus(*a, *b, 1);
    case OP_sub: return plus(*a, *b, -1);
    case OP_neg: return times(*a, number(-1));
    case OP_mul: return times(*a, *b);
    case OP_div: return dtype_is_float(i->dtype) ? over(*a, *b) : anything();
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge:
    case OP_eq:
    case OP_ne: return compare(r, i->op, *a, *b);
    case OP_select: return choose(*a, *b, *c);
    case OP_and: return i->dtype == DTYPE_BOOL ? both(*a, *b) : anything();
    case OP_or: return i->dtype == DTYPE_BOOL ? either(*a, *b) : anything();
    case OP_not: return i->dtype == DTYPE_BOOL ? negation(*a) : anything();
    default: return anything();
  }
}

static Known score_in(Reader *r, Range range) {
  const Program *score = r->a->score;
  Arena *scratch = arena_scratch();
  Known *known = arena_array(scratch, Known, (size_t)score->count);
  r->range = range, r->end_count = 0;
  for (int i = 0; i < score->count; i++) known[i] = known_of(r, &score->code[i], known);
  Known result = known[score->outputs[0]];
  arena_free(scratch);
  return result;
}

static bool reads_others(const Attention *a) {
  for (int i = 0; i < a->score->input_count; i++)
    if (a->inputs[i].value) return true;
  return false;
}

// A finite number leaves nothing where each row is sure to keep a key: the last one in front of the range, or, where that would be behind its last key, all.
static bool leaves_nothing(Reader *r, Range range) {
  Known score = score_in(r, range);
  if (!is_mask(score) || isinf(score.number)) return is_mask(score);
  Range last = {range.from - 1, range.from - 1};
  return range.from > 0 && isinf(range.to) && !reads_others(r->a) && !is_mask(score_in(r, last));
}

static bool is_bound(double place) { return fabs(place) < SCORE_FAR; }

ScoreBounds score_bounds(const Attention *a) {
  ScoreBounds out = {-SCORE_FAR, SCORE_FAR, 0};
  Reader r = {.a = a};
  score_in(&r, (Range){-INFINITY, INFINITY});
  double ends[MOST_ENDS];
  int count = r.end_count;
  memcpy(ends, r.ends, sizeof ends);
  for (int i = 0; i < count; i++)
    for (int by = -1; by <= 1; by++) {
      double end = ends[i] + by;
      if (!is_bound(end)) continue;
      if (end < out.ahead && leaves_nothing(&r, (Range){end + 1, INFINITY})) out.ahead = (int)end;
      if (end > out.behind && leaves_nothing(&r, (Range){-INFINITY, end - 1})) out.behind = (int)end;
    }
  Range between = {out.behind > -SCORE_FAR ? out.behind : -INFINITY, out.ahead < SCORE_FAR ? out.ahead : INFINITY};
  Known score = score_in(&r, between);
  if (score.kind == SUM && score.number >= 1 / LARGEST_SCALE && score.number <= LARGEST_SCALE) out.scale = score.number;
  return out;
}
