// Branches, loops and scans whose graphs hold a few pointwise nodes over one captured, carried or scanned value.
#include "tests/random/maker.h"

#include "kernels/control/control.h"

enum { MOST_INNER = 3 };

// Pointwise work that keeps the type.
static Value *inner_work(Maker *maker, Graph *inner, Value *x) {
  static const Opcode float_ops[] = {OP_relu, OP_neg, OP_tanh, OP_abs};
  Builder b = {.graph = inner};
  for (int i = 0, count = 1 + maker_below(maker, MOST_INNER); i < count; i++) {
    if (x->dtype == DTYPE_BOOL) x = build_unary(&b, OP_not, x);
    else if (is_float(x) && maker_one_in(maker, 2)) x = build_unary(&b, float_ops[maker_below(maker, 4)], x);
    else x = build_binary(&b, maker_one_in(maker, 2) ? OP_add : OP_mul, x, build_scalar(&b, x->dtype, 2));
  }
  status_free(b.status);
  return x;
}

static Graph *branch(Maker *maker, const Value *captured) {
  Graph *inner = graph_new_inside(maker->graph, "branch");
  Value *x = graph_add_input(inner, "x", captured->dtype, captured->rank, captured->dims);
  graph_mark_output(inner, inner_work(maker, inner, x));
  return inner;
}

static bool make_if(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  if (!x) return false;
  Value *condition =
      maker_one_in(maker, 4) ? maker_scalar(maker, DTYPE_BOOL, maker_below(maker, 2)) : maker_input(maker, DTYPE_BOOL, 0, NULL);
  Node *node = maker_node(maker, &op_if, 2, (Value *[]){condition, x}, 1);
  node_set_graph(node, "then_branch", branch(maker, x));
  node_set_graph(node, "else_branch", branch(maker, x));
  return maker_finish(maker, node);
}

static bool make_loop(Maker *maker) {
  Value *state = maker_pick(maker, NULL);
  if (!state) return false;
  Value *trips = maker_scalar(maker, DTYPE_I64, maker_below(maker, 4));
  Graph *body = graph_new_inside(maker->graph, "body");
  graph_add_input(body, "i", DTYPE_I64, 0, NULL);
  Value *goes_on = graph_add_input(body, "cond", DTYPE_BOOL, 0, NULL);
  Value *x = graph_add_input(body, "state", state->dtype, state->rank, state->dims);
  Value *same = NULL;
  Status status = build_copy(body, NULL, goes_on, &same);
  status_free(status);
  if (!same) return false;
  graph_mark_output(body, same);
  graph_mark_output(body, inner_work(maker, body, x));
  Node *node = maker_node(maker, &op_loop, 3, (Value *[]){trips, NULL, state}, 1);
  node_set_graph(node, "body", body);
  node_set_int(node, "states", 1);
  return maker_finish(maker, node);
}

static bool has_axes(const Value *value) { return value->rank > 0; }

// A state and a slice that become the next state and a slice of the result; or the slice alone.
static bool make_scan(Maker *maker) {
  Value *x = maker_pick(maker, has_axes), *inputs[2];
  if (!x || x->dtype == DTYPE_BOOL || x->dims[0] == 0) return false;
  int states = maker_below(maker, 2), count = 0;
  int64_t dims[MAX_RANK];
  for (int i = 1; i < x->rank; i++)
    if (!dim_is_static(dims[i - 1] = x->dims[i])) return false;
  if (states) inputs[count++] = maker_constant(maker, x->dtype, x->rank - 1, dims);
  inputs[count++] = x;
  Graph *body = graph_new_inside(maker->graph, "step");
  Builder b = {.graph = body};
  Value *state = states ? graph_add_input(body, "state", x->dtype, x->rank - 1, x->dims + 1) : NULL;
  Value *slice = inner_work(maker, body, graph_add_input(body, "slice", x->dtype, x->rank - 1, x->dims + 1));
  Value *next = state && slice ? build_binary(&b, OP_max, state, slice) : NULL;
  status_free(b.status);
  if (!slice || (state && !next)) return false;
  if (next) graph_mark_output(body, next);
  graph_mark_output(body, slice);
  Node *node = maker_node(maker, &op_scan, count, inputs, count);
  node_set_graph(node, "body", body);
  node_set_int(node, "states", states);
  node_set_int(node, "scan_inputs", 1);
  return maker_finish(maker, node);
}

const MakeRow control_makes[] = {{"if", 2, make_if}, {"loop", 1, make_loop}, {"scan", 1, make_scan}, {0}};
