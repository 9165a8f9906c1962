// See judge.h. Where rewrites reassociate (a scale taken into weights) or round less often (half precision between fused steps), results may
// be MARGIN times as far from the run in double as the farthest of these is: the graph as it was written, and runs in double with all that is
// stored shaken by two units of rounding (evaluate.h); where a rule's bound is one of the size of operands, all that programs compute, too. What looks wrong after a few
// shaken runs is judged again after many.
#include "tests/random/judge.h"

#include <math.h>

#include "base/checked.h"
#include "tests/random/comparable.h"

enum { FEW = 12, MANY = 200, MARGIN = 8 };
static const double half_range = 2e4;

static bool is_narrow(const Graph *graph) {
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count + node->output_count; i++) {
      const Value *value = i < node->input_count ? node->inputs[i] : node->outputs[i - node->input_count];
      if (value && value->dtype < DTYPE_COUNT && dtype_is_float(value->dtype) && dtype_bits(value->dtype) < 32) return true;
    }
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH && is_narrow(node->attributes[i].graph)) return true;
  }
  return false;
}

// Sizes that the model's symbols cannot have: a window larger than what it slides over.
static Status check_sizes(const Graph *bound) {
  int64_t size;
  FOR_NODES(node, bound) {
    for (int i = 0; i < node->output_count; i++)
      for (int k = 0; k < node->outputs[i]->rank; k++)
        if (dim_get_constant(bound->dims, node->outputs[i]->dims[k], &size) && size < 0)
          FAIL(ERROR_INVALID_MODEL, "'%s' has a negative size", node->outputs[i]->name);
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) TRY(check_sizes(node->attributes[i].graph));
  }
  return OK;
}

static bool same_bytes(const Tensor *a, const Tensor *b) {
  return tensor_bytes(a) == tensor_bytes(b) && !memcmp(a->data, b->data, tensor_bytes(a));
}

static Status find_open_bits(Judge *judge) {
  size_t count = (size_t)judge->graph->output_count;
  Tensor *results[2];
  for (int i = 0; i < 2; i++) {
    Graph *bound = evaluate_bind(judge->arena, judge->graph, judge->values);
    Evaluation evaluation = {.arena = judge->arena};
    graph_give_one_nan(bound, i ? -NAN : NAN);
    results[i] = arena_array(judge->arena, Tensor, count + 1);
    TRY(evaluate_run(&evaluation, bound, judge->inputs, results[i]));
  }
  for (size_t o = 0; o < count; o++) judge->open_bits |= !same_bytes(&results[0][o], &results[1][o]);
  return OK;
}

Status judge_begin(Arena *arena, const Graph *graph, uint64_t values, Judge *out) {
  *out = (Judge){.arena = arena, .graph = graph, .values = values, .narrow = is_narrow(graph)};
  out->bound = evaluate_bind(arena, graph, values);
  TRY(check_sizes(out->bound));
  out->inputs = arena_array(arena, Tensor, (size_t)graph->input_count + 1);
  out->expected = arena_array(arena, Tensor, (size_t)graph->output_count + 1);
  TRY(evaluate_inputs(arena, out->bound, values, out->inputs));
  Evaluation evaluation = {.arena = arena};
  TRY(evaluate_run(&evaluation, out->bound, out->inputs, out->expected));
  out->strange = evaluation.strange;
  return find_open_bits(out);
}

// NaN is NaN, whatever its bits; -0 is not 0, unless their signs do not matter.
static bool same_element(const Tensor *a, const Tensor *b, int64_t i, Exactness exactness) {
  if (!dtype_is_float(a->dtype)) return tensor_get_i(a, i) == tensor_get_i(b, i);
  double x = tensor_get_f(a, i), y = tensor_get_f(b, i);
  return (isnan(x) && isnan(y)) || (x == y && (exactness & ZERO_SIGNS || signbit(x) == signbit(y)));
}

static Status same_type(const Tensor *actual, const Tensor *expected, int output) {
  bool same = actual->dtype == expected->dtype && actual->rank == expected->rank;
  for (int k = 0; same && k < actual->rank; k++) same = actual->dims[k] == expected->dims[k];
  if (!same) FAIL(ERROR_MISMATCH, "output %d has another type or shape", output);
  return OK;
}

static int64_t first_difference(const Tensor *actual, const Tensor *expected, Exactness exactness) {
  for (int64_t i = 0, count = tensor_count(actual); i < count; i++)
    if (!same_element(actual, expected, i, exactness)) return i;
  return -1;
}

// ---- Bounds

// What the runs in double give for the elements of an output: the plain one, the farthest from it, and whether some are no numbers where
// others are.
typedef struct Spread {
  double *center, *reach;
  bool *lost;
} Spread;

typedef struct Bounds {
  const Judge *judge;
  DType precision;
  Graph *wide;
  Inside inside;  // empty, unless programs are shaken inside
  IntMap *stored;
  Tensor *inputs;
  Spread *spreads;
  int64_t strange;
  double largest;
} Bounds;

static double number_of(const Tensor *tensor, int64_t i) {
  return dtype_is_float(tensor->dtype) ? tensor_get_f(tensor, i) : (double)tensor_get_i(tensor, i);
}

static Status spread_to(Bounds *b, const Tensor *outputs) {
  for (int o = 0; o < b->wide->output_count; o++) {
    const Spread *spread = &b->spreads[o];
    if (tensor_count(&outputs[o]) != tensor_count(&b->judge->expected[o]))
      FAIL(ERROR_INTERNAL, "the run in double gives other shapes");
    for (int64_t i = 0, count = tensor_count(&outputs[o]); i < count; i++) {
      double number = number_of(&outputs[o], i), center = spread->center[i];
      if (isfinite(number) && isfinite(center)) spread->reach[i] = fmax(spread->reach[i], fabs(number - center));
      else if (!(isnan(number) && isnan(center)) && number != center) spread->lost[i] = true;
    }
  }
  return OK;
}

static Status shaken_runs(Bounds *b, int count) {
  for (int n = 0; n < count; n++) {
    Draw draw = {.seed = hash_mix(b->judge->values, (uint64_t)n)};
    inside_shake(&b->inside, &draw, SHAKEN_BY);
    Arena *arena = arena_scratch();
    Evaluation evaluation = {.arena = arena, .stored = b->stored, .shakes = &draw, .rounds = n % 2, .precision = b->precision};
    Tensor *outputs = arena_array(arena, Tensor, (size_t)b->wide->output_count + 1);
    Status status = evaluate_run(&evaluation, b->wide, b->inputs, outputs);
    if (!status) status = spread_to(b, outputs);
    arena_free(arena);
    TRY(status);
  }
  return OK;
}

static Status bounds_new(const Judge *judge, Allowance allowance, Bounds *b) {
  Arena *arena = judge->arena;
  size_t input_count = (size_t)judge->bound->input_count, output_count = (size_t)judge->bound->output_count;
  *b = (Bounds){.judge = judge, .precision = allowance.precision, .stored = int_map_new(arena), .inside.arena = arena};
  TRY(evaluate_widen(arena, judge->bound, b->stored, allowance.exactness & OF_OPERANDS ? &b->inside : NULL, &b->wide));
  b->inputs = arena_array(arena, Tensor, input_count + 1);
  b->spreads = arena_array(arena, Spread, output_count + 1);
  for (size_t i = 0; i < input_count; i++) b->inputs[i] = evaluate_wide_tensor(arena, &judge->inputs[i]);
  Tensor *outputs = arena_array(arena, Tensor, output_count + 1);
  Evaluation evaluation = {.arena = arena, .opens = true};
  TRY(evaluate_run(&evaluation, b->wide, b->inputs, outputs));
  b->strange = evaluation.strange;
  b->largest = evaluation.largest;
  for (size_t o = 0; o < output_count; o++) {
    size_t count = (size_t)tensor_count(&outputs[o]);
    b->spreads[o] = (Spread){arena_array(arena, double, count + 1), arena_array(arena, double, count + 1),
                             arena_array(arena, bool, count + 1)};
    for (size_t i = 0; i < count; i++) b->spreads[o].center[i] = number_of(&outputs[o], (int64_t)i);
  }
  TRY(spread_to(b, outputs));
  return spread_to(b, judge->expected);
}

static bool within(const Bounds *b, const Spread *spread, const Tensor *actual, const Tensor *expected, int64_t i) {
  if (same_element(actual, expected, i, ZERO_SIGNS) || spread->lost[i]) return true;
  double number = number_of(actual, i), center = spread->center[i];
  if (isnan(center)) return isnan(number);
  if (isinf(center)) return number == center;
  if (!isfinite(number)) return spread->reach[i] >= fabs(center);  // rounding reaches zero, and what divides by it anything
  // Functions of f32 may vanish below; and of f64 nothing wider tells what rounding inside of programs comes to.
  double noise = actual->dtype == DTYPE_F64 ? 0x1p-50 * fmax(b->largest, 1) : 0x1p-110;
  return fabs(number - center) <= MARGIN * spread->reach[i] + noise;
}

static Status check_bounds(const Bounds *b, const Tensor *actual) {
  for (int o = 0; o < b->wide->output_count; o++) {
    const Tensor *expected = &b->judge->expected[o];
    const Spread *spread = &b->spreads[o];
    for (int64_t i = 0, count = tensor_count(expected); i < count; i++)
      if (!within(b, spread, &actual[o], expected, i))
        FAIL(ERROR_MISMATCH, "output %d, element %lld: %.9g for %.9g, in double %.17g, which rounding moves by %.3g", o,
             (long long)i, number_of(&actual[o], i), number_of(expected, i), spread->center[i], spread->reach[i]);
  }
  return OK;
}

static Status compare_bounded(const Judge *judge, const Tensor *actual, Allowance allowance, Verdict *verdict) {
  Bounds bounds;
  Status status = bounds_new(judge, allowance, &bounds);
  // What has no form in double cannot be judged, nor what overflows in one of the types and not in the other.
  bool out_of_range = bounds.strange != judge->strange, half = allowance.precision < DTYPE_COUNT;
  verdict->unjudged = status || out_of_range || (half && (bounds.strange || bounds.largest > half_range));
  verdict->bounded = !verdict->unjudged;
  status_free(status);
  if (verdict->unjudged) return OK;
  TRY(shaken_runs(&bounds, FEW));
  status = check_bounds(&bounds, actual);
  if (!status) return OK;
  status_free(status);
  TRY(shaken_runs(&bounds, MANY));
  return check_bounds(&bounds, actual);
}

Status judge_results(const Judge *judge, const Tensor *actual, Allowance allowance, Verdict *verdict) {
  Status difference = OK;
  *verdict = (Verdict){0};
  for (int o = 0; o < judge->graph->output_count; o++) TRY(same_type(&actual[o], &judge->expected[o], o));
  for (int o = 0; o < judge->graph->output_count; o++) {
    const Tensor *expected = &judge->expected[o];
    int64_t at = first_difference(&actual[o], expected, allowance.exactness);
    if (at >= 0 && !difference)
      difference = status_make(ERROR_MISMATCH, "output %d, element %lld: %.9g for %.9g", o, (long long)at,
                               number_of(&actual[o], at), number_of(expected, at));
  }
  bool narrows = judge->narrow && allowance.exactness & UNSTORED, strange = allowance.exactness & FINITE && judge->strange;
  bool near = allowance.exactness & (ROUNDED | ZERO_SIGNS) || narrows || allowance.precision < DTYPE_COUNT;
  if (difference && judge->open_bits) {
    verdict->unjudged = true;
    return status_free(difference), OK;
  }
  if (!difference || !(near || strange)) return difference;
  status_free(difference);
  verdict->unjudged = strange;
  return strange ? OK : compare_bounded(judge, actual, allowance, verdict);
}

Status judge_compare(const Judge *judge, const Graph *changed, Allowance allowance, Verdict *verdict) {
  if (changed->output_count != judge->graph->output_count) FAIL(ERROR_MISMATCH, "outputs come or go");
  const Graph *bound = evaluate_bind(judge->arena, changed, judge->values);
  Tensor *actual = arena_array(judge->arena, Tensor, (size_t)bound->output_count + 1);
  Evaluation evaluation = {.arena = judge->arena};
  TRY(evaluate_run(&evaluation, bound, judge->inputs, actual));
  for (int o = 0; o < bound->output_count; o++)
    if (strcmp(bound->outputs[o]->name, judge->graph->outputs[o]->name)) FAIL(ERROR_MISMATCH, "output %d has another name", o);
  return judge_results(judge, actual, allowance, verdict);
}
