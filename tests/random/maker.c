// See maker.h: values, nodes, and the drawing of a whole graph from all makers.
#include "tests/random/maker.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "kernels/ops.h"
#include "ir/verify.h"

enum { MOST_ELEMENTS = 1 << 12, MOST_RANK = 6 };

int maker_below(Maker *maker, int count) { return draw_below(&maker->draw, count); }
bool maker_one_in(Maker *maker, int count) { return draw_one_in(&maker->draw, count); }
Dim maker_size(Maker *maker) { return maker->sizes[maker_below(maker, maker->size_count)]; }
DType maker_dtype(Maker *maker) { return maker->dtypes[maker_below(maker, maker->dtype_count)]; }

bool is_float(const Value *value) { return dtype_is_float(value->dtype); }
bool is_f32(const Value *value) { return value->dtype == DTYPE_F32; }
bool is_image(const Value *value) {
  return is_float(value) && (value->rank == 3 || value->rank == 4) && dim_is_static(value->dims[1]) && value->dims[1] > 0;
}

// ---- Values

void maker_keep(Maker *maker, Value *value) {
  *ARENA_PUSH(maker->graph->arena, maker->pool, maker->count, maker->capacity) = value;
}

Value *maker_pick(Maker *maker, Takes *takes) {
  enum { TRIES = 12, RECENT = 4 };
  for (int i = 0; i < TRIES && maker->count; i++) {
    int count = (int)maker->count, last = maker_one_in(maker, 2) ? MIN(count, RECENT) : count;
    Value *value = maker->pool[count - 1 - maker_below(maker, last)];
    if (!takes || takes(value)) return value;
  }
  return NULL;
}

Value *maker_input(Maker *maker, DType dtype, int rank, const Dim *dims) {
  char name[16];
  snprintf(name, sizeof name, "x%d", maker->graph->input_count);
  Value *value = graph_add_input(maker->graph, name, dtype, rank, dims);
  maker_keep(maker, value);
  return value;
}

static double numbered(Maker *maker, DType dtype) {
  return draw_number(&maker->draw, dtype_is_float(dtype) ? maker->flavour : 0);
}

Value *maker_constant(Maker *maker, DType dtype, int rank, const int64_t *dims) {
  Tensor tensor;
  Status status = tensor_new(maker->graph->arena, dtype, rank, dims, &tensor);
  status_free(status);
  for (int64_t i = 0, count = status ? 0 : tensor_count(&tensor); i < count; i++)
    tensor_set_f(&tensor, i, numbered(maker, dtype));
  return graph_add_constant(maker->graph, NULL, &tensor);
}

Value *maker_scalar(Maker *maker, DType dtype, double value) {
  Tensor *tensor = tensor_scalar_f(maker->graph->arena, dtype, value);
  return graph_add_constant(maker->graph, NULL, tensor);
}

Value *maker_broadcast(Maker *maker, const Value *to, DType dtype) {
  int64_t dims[MAX_RANK];
  int rank = maker_one_in(maker, 3) ? maker_below(maker, to->rank + 1) : to->rank;
  for (int k = 0; k < rank; k++) {
    Dim dim = to->dims[to->rank - rank + k];
    dims[k] = dim_is_static(dim) && maker_one_in(maker, 2) ? dim : 1;
  }
  return maker_constant(maker, dtype, rank, dims);
}

// ---- Nodes

bool maker_small(const Value *value) {
  int64_t count = 1;
  if (value->rank < 0 || value->rank > MOST_RANK || value->dtype >= DTYPE_COUNT) return false;
  for (int k = 0; k < value->rank; k++) count *= dim_is_static(value->dims[k]) ? MIN(value->dims[k], MOST_ELEMENTS + 1) : 5;
  return count <= MOST_ELEMENTS;
}

Node *maker_node(Maker *maker, const OpDef *op, int input_count, Value *const *inputs, int output_count) {
  return graph_add(maker->graph, NULL, op, input_count, inputs, output_count);
}

bool maker_finish(Maker *maker, Node *node) {
  Status status = node_infer(node);
  bool good = !status;
  status_free(status);
  for (int i = 0; i < node->output_count && good; i++) good = maker_small(node->outputs[i]);
  if (!good) {
    node_remove(node);
    return false;
  }
  for (int i = 0; i < node->output_count; i++) maker_keep(maker, node->outputs[i]);
  return true;
}

bool maker_built(Maker *maker, const Builder *builder, Value *value) {
  status_free(builder->status);
  if (!value || builder->status || !maker_small(value)) return false;
  maker_keep(maker, value);
  return true;
}

// ---- Graphs

static const DType all_dtypes[] = {DTYPE_F32,  DTYPE_F32, DTYPE_F32, DTYPE_F32, DTYPE_F64,  DTYPE_F16,
                                   DTYPE_BF16, DTYPE_I32, DTYPE_I64, DTYPE_U8,  DTYPE_BOOL, DTYPE_I8};

static void draw_sizes(Maker *maker) {
  static const int sizes[] = {1, 2, 2, 3, 3, 4, 4, 5, 6, 8, 0};
  static const char *const symbols[] = {"n", "m"};
  maker->size_count = 1 + maker_below(maker, MOST_SIZES);
  int symbolic = maker_one_in(maker, 3) ? 1 + maker_below(maker, 2) : 0;
  for (int i = 0; i < maker->size_count; i++)
    maker->sizes[i] =
        i < symbolic ? dim_symbol(maker->graph->dims, symbols[i]) : sizes[maker_below(maker, maker_one_in(maker, 4) ? 11 : 10)];
}

static void draw_input(Maker *maker) {
  Dim dims[MAX_RANK];
  int rank = maker_one_in(maker, 3) ? 3 + maker_below(maker, 2) : maker_below(maker, 4);
  for (int k = 0; k < rank; k++) dims[k] = maker_one_in(maker, 8) ? 1 : maker_size(maker);
  Value *value = maker_input(maker, maker_dtype(maker), rank, dims);
  if (!maker_small(value)) maker->count--;
}

static const MakeRow *draw_make(Maker *maker) {
  static const MakeRow *const families[] = {program_makes, view_makes, window_makes, product_makes, movement_makes,
                                            control_makes, case_makes, idiom_makes,  rule_makes,    size_makes};
  int total = 0;
  for (size_t f = 0; f < COUNT_OF(families); f++)
    for (const MakeRow *row = families[f]; row->name; row++) total += row->weight;
  int at = maker_below(maker, total);
  for (size_t f = 0; f < COUNT_OF(families); f++)
    for (const MakeRow *row = families[f]; row->name; row++)
      if ((at -= row->weight) < 0) return row;
  return NULL;
}

// All results that nobody uses, and some of those that somebody does; at least one.
static void draw_outputs(Maker *maker) {
  Graph *graph = maker->graph;
  for (uint32_t i = 0; i < maker->count; i++) {
    Value *value = maker->pool[i];
    if (!value->producer || value->is_output) continue;
    bool last = i + 1 == maker->count && !graph->output_count;
    if (last || maker_one_in(maker, value->use_count ? 12 : 2)) graph_mark_output(graph, value);
  }
  if (!graph->output_count) graph_mark_output(graph, graph->last->outputs[0]);
}

Status make_graph(Arena *arena, uint64_t seed, int most, Graph **out) {
  Graph *graph = graph_new(arena, core_ops, "random");
  Maker maker = {.graph = graph, .draw = {.seed = seed}};
  maker.flavour = maker_one_in(&maker, 8) ? FLAVOURS - 1 : maker_below(&maker, FLAVOURS - 1);
  draw_sizes(&maker);
  maker.dtype_count = 1 + maker_below(&maker, MOST_DTYPES);
  for (int i = 0; i < maker.dtype_count; i++) maker.dtypes[i] = all_dtypes[maker_below(&maker, COUNT_OF(all_dtypes))];
  int inputs = 1 + maker_below(&maker, 3), nodes = 1 + maker_below(&maker, maker_one_in(&maker, 3) ? most : MIN(most, 12));
  for (int i = 0; i < inputs; i++) draw_input(&maker);
  for (int tries = 0; graph->node_count < nodes && tries < 8 * nodes + 64; tries++) draw_make(&maker)->make(&maker);
  if (!graph->last) FAIL(ERROR_NOT_FOUND, "no maker found anything to make");
  draw_outputs(&maker);
  graph_remove_unused(graph);
  *out = graph;
  return graph_verify(graph);
}
