// Graphs and their values: creation, naming, types. Nodes and use lists are in node.c, attributes in attribute.c.
#include "ir/graph.h"
#include <string.h>
#include "base/checked.h"
#include "ir/dim_table.h"
#include "ir/graph_value.h"

Graph *graph_new_inside(Graph *outer, const char *name) {
  Graph *graph = arena_new_of(outer->arena, Graph);
  graph->arena = outer->arena;
  graph->ops = outer->ops;
  graph->dims = outer->dims;
  graph->name = arena_string(graph->arena, name);
  graph->names = string_map_new(graph->arena);
  return graph;
}

Graph *graph_new(Arena *arena, const OpDef *const *ops, const char *name) {
  return graph_new_inside(&(Graph){.arena = arena, .ops = ops, .dims = dim_table_new(arena)}, name);
}

// name, or where that is taken name_12; NULL: v12. The first number tried is the value's own. The graph's counter gives the
// others, each of them once, so that hostile names cannot make the search quadratic.
static const char *free_name(Graph *graph, const char *name, uint32_t number) {
  if (name && !string_map_get(graph->names, name)) return arena_string(graph->arena, name);
  for (;; number = graph->next_suffix++) {
    const char *candidate =
        name ? arena_printf(graph->arena, "%s_%u", name, number) : arena_printf(graph->arena, "v%u", number);
    if (!string_map_get(graph->names, candidate)) return candidate;
  }
}

static void set_name(Graph *graph, Value *value, const char *name) {
  value->name = name;
  string_map_set(graph->names, name, value);
}

Value *graph_new_value(Graph *graph, const char *name) {
  Value *value = arena_new_of(graph->arena, Value);
  value->graph = graph;
  value->id = graph->next_value_id++;
  value->dtype = DTYPE_COUNT;
  value->rank = -1;
  for (int i = 0; i < MAX_RANK; i++) value->order[i] = (uint8_t)i;
  set_name(graph, value, free_name(graph, name, value->id));
  return value;
}

void value_forget_name(Value *value) {
  StringMap *names = value->graph->names;
  if (string_map_get(names, value->name) == value) string_map_set(names, value->name, NULL);
}

void value_rename(Graph *graph, Value *value, const char *name) {
  Value *other = string_map_get(graph->names, name);
  if (other == value) return;
  value_forget_name(value);
  name = arena_string(graph->arena, name);
  set_name(graph, value, name);
  if (other) set_name(graph, other, free_name(graph, name, other->id));
}

Value *graph_find_value(const Graph *graph, const char *name) { return string_map_get(graph->names, name); }

static void push_value(Arena *arena, Value ***values, int *count, uint32_t *capacity, Value *value) {
  uint32_t pushed = (uint32_t)*count;
  *ARENA_PUSH(arena, *values, pushed, *capacity) = value;
  *count = (int)pushed;
}

Value *graph_add_input(Graph *graph, const char *name, DType dtype, int rank, const Dim *dims) {
  Value *value = graph_new_value(graph, name);
  value_set_type(value, dtype, rank, dims);
  value->is_input = true;
  push_value(graph->arena, &graph->inputs, &graph->input_count, &graph->input_capacity, value);
  return value;
}

Value *graph_add_constant(Graph *graph, const char *name, const Tensor *tensor) {
  Value *value = graph_new_value(graph, name);
  value_set_static(value, tensor->dtype, tensor->rank, tensor->dims);
  value->constant = arena_copy(graph->arena, tensor, sizeof *tensor);
  return value;
}

void graph_mark_output(Graph *graph, Value *value) {
  value->is_output = true;
  push_value(graph->arena, &graph->outputs, &graph->output_count, &graph->output_capacity, value);
}

void graph_set_contents(Value *value, const Dim *contents, int count) {
  value->contents = contents ? arena_copy(value->graph->arena, contents, (size_t)count * sizeof *contents) : NULL;
  value->contents_count = contents ? count : 0;
}

// An order is kept while the rank stays: inference runs again on graphs whose layouts are chosen.
void value_set_type(Value *value, DType dtype, int rank, const Dim *dims) {
  if (rank != value->rank)
    for (int i = 0; i < MAX_RANK; i++) value->order[i] = (uint8_t)i;
  value->dtype = dtype;
  value->rank = rank;
  for (int i = 0; i < MAX_RANK; i++) value->dims[i] = dims && i < rank ? dims[i] : 0;
}

void value_set_static(Value *value, DType dtype, int rank, const int64_t *dims) { value_set_type(value, dtype, rank, dims); }

bool value_is_static(const Value *value) {
  if (value->rank < 0) return false;
  for (int i = 0; i < value->rank; i++)
    if (!dim_is_static(value->dims[i])) return false;
  return true;
}

bool value_get_dims(const Value *value, int64_t *out) {
  if (!value_is_static(value)) return false;
  for (int i = 0; i < value->rank; i++) out[i] = value->dims[i];
  return true;
}

Dim value_count_dim(Graph *graph, const Value *value) {
  if (value->rank < 0) return dim_fresh(graph->dims, "count");
  Dim count = 1;
  for (int i = 0; i < value->rank; i++) count = dim_mul(graph->dims, count, value->dims[i]);
  return count;
}

bool dims_may_fit(const DimTable *table, DType dtype, int rank, const Dim *dims) {
  int64_t least[MAX_RANK];
  for (int i = 0; i < rank; i++) least[i] = MAX(dim_low(table, dims[i]), 0);
  return dims_fit(dtype, rank, least);
}

Status value_check_size(const Value *value) {
  if (!dims_may_fit(value->graph->dims, value->dtype, value->rank, value->dims))
    FAIL(ERROR_OUT_OF_MEMORY, "value '%s' would take more than %lld bytes", value->name, (long long)TENSOR_MAX_BYTES);
  return OK;
}

int value_use_count(const Value *value) { return value->use_count + value->is_output; }

bool value_same_shape(const Value *a, const Value *b) {
  if (a->rank < 0 || a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dims[i] != b->dims[i]) return false;
  return true;
}

bool value_is_row_major(const Value *value) {
  for (int i = 0; i < value->rank; i++)
    if (value->order[i] != i) return false;
  return true;
}

void value_strides(const Value *value, int64_t *strides) {
  int64_t stride = 1;
  for (int i = value->rank - 1; i >= 0; i--) {
    strides[value->order[i]] = stride;
    stride *= value->dims[value->order[i]];
  }
}
