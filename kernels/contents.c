// Contents through movement: transposes, reshapes, slices, expands, gathers and concats of shapes. Each operator says where
// element i of its output comes from; arithmetic is in contents_program.c.
#include "kernels/contents.h"
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/gather/gather.h"

static const Dim *constant_contents(Graph *graph, const Tensor *tensor, int *count) {
  if (tensor->dtype == DTYPE_STRING || dtype_kind(tensor->dtype) == KIND_COMPLEX) return NULL;
  int64_t elements = tensor_count(tensor);
  if (elements > MAX_CONTENTS) return NULL;
  Dim *out = arena_array(graph->arena, Dim, (size_t)elements + 1);
  for (int64_t i = 0; i < elements; i++) {
    if (dtype_is_float(tensor->dtype)) {
      double value = tensor_get_f(tensor, i);
      if (!(fabs(value) <= 0x1p53) || value != trunc(value)) return NULL;
      out[i] = dim_constant(graph->dims, (int64_t)value);
    } else {
      int64_t value = tensor_get_i(tensor, i);
      if (tensor->dtype == DTYPE_U64 && value < 0) return NULL;
      out[i] = dim_constant(graph->dims, value);
    }
  }
  *count = (int)elements;
  return out;
}

const Dim *contents_of_value(Graph *graph, const Value *value, int *count) {
  *count = 0;
  if (!value || value->kind != VALUE_TENSOR) return NULL;
  if (value->constant) return constant_contents(graph, value->constant, count);  // may have become known after its symbols
  *count = value->contents_count;
  return value->contents;
}

// Output dims, input dims and the output's coordinate: what "where does this element come from" needs.
typedef struct Move {
  Node *node;
  ViewMap map;
  int64_t in[MAX_RANK], out[MAX_RANK];
  int64_t at[MAX_RANK];
} Move;

static int64_t linear(int rank, const int64_t *dims, const int64_t *at) {
  int64_t index = 0;
  for (int i = 0; i < rank; i++) index = index * dims[i] + at[i];
  return index;
}

static void unravel(int rank, const int64_t *dims, int64_t index, int64_t *at) {
  for (int i = rank - 1; i >= 0; i--) {
    at[i] = index % dims[i];
    index /= dims[i];
  }
}

// The row-major index in input 0 of the element at move->at; -1 where unknown.
static int64_t source_of(const Move *move) {
  const Node *node = move->node;
  int in_rank = node->inputs[0]->rank, out_rank = node->outputs[0]->rank;
  int64_t from[MAX_RANK] = {0}, start;
  if (move->map.regroups) return linear(out_rank, move->out, move->at);
  for (int i = 0; i < out_rank; i++) {
    const ViewAxis *axis = &move->map.axes[i];
    if (axis->source < 0) continue;
    if (!dim_get_constant(node->graph->dims, axis->start, &start)) return -1;
    from[axis->source] = start + move->at[i] * axis->step;
    if (from[axis->source] < 0 || from[axis->source] >= move->in[axis->source]) return -1;
  }
  return linear(in_rank, move->in, from);
}

static const Dim *moved(Node *node, int *count) {
  Move move = {.node = node};
  const Value *out = node->outputs[0];
  int in_count;
  const Dim *in = contents_of_value(node->graph, node->inputs[0], &in_count);
  if (!in || !value_get_dims(node->inputs[0], move.in) || !value_get_dims(out, move.out)) return NULL;
  node->op->view(node, &move.map);
  Dim *result = arena_array(node->graph->arena, Dim, (size_t)*count + 1);
  for (int i = 0; i < *count; i++) {
    unravel(out->rank, move.out, i, move.at);
    int64_t from = source_of(&move);
    if (from < 0 || from >= in_count) return NULL;
    result[i] = in[from];
  }
  return result;
}

static const Dim *gathered(Node *node, int *count) {
  Graph *graph = node->graph;
  const Value *x = node->inputs[0], *out = node->outputs[0];
  int axis = (int)node_int(node, "axis", 0), x_count, index_count, index_rank = node->inputs[1]->rank;
  int64_t x_dims[MAX_RANK], index_dims[MAX_RANK], out_dims[MAX_RANK], at[MAX_RANK], from[MAX_RANK];
  const Dim *values = contents_of_value(graph, x, &x_count), *indices = contents_of_value(graph, node->inputs[1], &index_count);
  if (!values || !indices || !value_get_dims(x, x_dims) || !value_get_dims(node->inputs[1], index_dims) ||
      !value_get_dims(out, out_dims))
    return NULL;
  Dim *result = arena_array(graph->arena, Dim, (size_t)*count + 1);
  for (int i = 0; i < *count; i++) {
    unravel(out->rank, out_dims, i, at);
    int64_t position;
    if (!dim_get_constant(graph->dims, indices[linear(index_rank, index_dims, at + axis)], &position)) return NULL;
    if (position < 0) position += x_dims[axis];
    if (position < 0 || position >= x_dims[axis]) return NULL;
    for (int k = 0; k < x->rank; k++) from[k] = k < axis ? at[k] : k == axis ? position : at[k + index_rank - 1];
    result[i] = values[linear(x->rank, x_dims, from)];
  }
  return result;
}

static const Dim *concatenated(Node *node, int *count) {
  int axis = (int)node_int(node, "axis", 0), rank = node->outputs[0]->rank;
  int64_t out_dims[MAX_RANK], in_dims[MAX_RANK], at[MAX_RANK], begin = 0;
  if (!value_get_dims(node->outputs[0], out_dims)) return NULL;
  Dim *result = arena_array(node->graph->arena, Dim, (size_t)*count + 1);
  for (int i = 0; i < node->input_count; i++) {
    int in_count;
    const Dim *in = contents_of_value(node->graph, node->inputs[i], &in_count);
    if (!in || !value_get_dims(node->inputs[i], in_dims)) return NULL;
    for (int k = 0; k < in_count; k++) {
      unravel(rank, in_dims, k, at);
      at[axis] += begin;
      result[linear(rank, out_dims, at)] = in[k];
    }
    begin += in_dims[axis];
  }
  return result;
}

const Dim *contents_of_node(Node *node, int *count) {
  const Value *out = node->outputs[0];
  int64_t dims[MAX_RANK], elements = 1;
  if (node->output_count != 1 || out->kind != VALUE_TENSOR || out->dtype == DTYPE_COUNT || out->rank < 0) return NULL;
  if (out->dtype == DTYPE_STRING || dtype_kind(out->dtype) == KIND_COMPLEX || !value_get_dims(out, dims)) return NULL;
  for (int i = 0; i < out->rank; i++)
    if (!checked_mul_i64(elements, dims[i], &elements) || elements > MAX_CONTENTS) return NULL;
  *count = (int)elements;
  if (out->contents) return out->contents;
  if (node->op->view) return moved(node, count);
  if (node->op == &op_gather) return gathered(node, count);
  if (node->op == &op_concat) return concatenated(node, count);
  if (node->op->has_program) {
    const Program *program = node_program(node, "program");
    return program ? contents_of_program(node, program, count) : NULL;
  }
  return NULL;
}
