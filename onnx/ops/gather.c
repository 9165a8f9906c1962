// Movement by index: gathers, scatters, and what is built from them.
#include "onnx/ops/common.h"
#include "onnx/ops/shared.h"

static Status gather(Translation *t) {
  Builder b = translate_begin(t);
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), t->inputs[0]->rank, &axis));
  t->outputs[0] = build_gather(&b, t->inputs[0], t->inputs[1], axis);
  return translate_end(t, &b);
}

static Value *gather_elements_of(Builder *b, Value *x, Value *indices, int axis) {
  Node *node = node_start(b, "gather_elements", 2, (Value *[]){x, indices}, 1);
  node_set_int(node, "axis", axis);
  return node_done(b, node);
}

static Status gather_elements(Translation *t) {
  Builder b = translate_begin(t);
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), t->inputs[0]->rank, &axis));
  t->outputs[0] = gather_elements_of(&b, t->inputs[0], t->inputs[1], axis);
  return translate_end(t, &b);
}

Status translate_gather_nd(Translation *t) {
  Builder b = translate_begin(t);
  Node *node = node_start(&b, "gather_nd", 2, t->inputs, 1);
  node_set_int(node, "batch_dims", node_int(t->attributes, "batch_dims", 0));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

static Value *scatter_elements_of(Builder *b, Value *x, Value *indices, Value *updates, int axis, const char *reduction) {
  Node *node = node_start(b, "scatter_elements", 3, (Value *[]){x, indices, updates}, 1);
  node_set_int(node, "axis", axis);
  node_set_string(node, "reduction", reduction);
  return node_done(b, node);
}

static Status scatter_elements(Translation *t) {
  Builder b = translate_begin(t);
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), t->inputs[0]->rank, &axis));
  const char *reduction = node_string(t->attributes, "reduction", "none");
  t->outputs[0] = scatter_elements_of(&b, t->inputs[0], t->inputs[1], t->inputs[2], axis, reduction);
  return translate_end(t, &b);
}

static Status scatter_nd(Translation *t) {
  Builder b = translate_begin(t);
  Node *node = node_start(&b, "scatter_nd", 3, t->inputs, 1);
  node_set_string(node, "reduction", node_string(t->attributes, "reduction", "none"));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

// A cache update: element i of the update goes to position write_index[batch] + i, modulo the size when circular.
static Status tensor_scatter(Translation *t) {
  Builder b = translate_begin(t);
  Value *cache = t->inputs[0], *update = t->inputs[1], *start = translate_input(t, 2);
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", -2), cache->rank, &axis));
  bool circular = strcmp(node_string(t->attributes, "mode", "linear"), "circular") == 0;
  if (start) start = align_to_axis(&b, start, 0, cache->rank);
  Value *length = NULL;
  if (circular) length = build_reshape(&b, build_dims(&b, &cache->dims[axis], 1), 0, NULL);
  if (b.status) return translate_end(t, &b);
  Value *inputs[2];
  int count = 0;
  Program *p = program_new(t->graph->arena, (start != NULL) + circular);
  int position = program_index(p, DTYPE_I64, axis);
  if (start) {
    position = op2(p, OP_add, position, program_input(p, count, DTYPE_I64));
    inputs[count++] = start;
  }
  if (circular) {
    position = op2(p, OP_mod, position, program_input(p, count, DTYPE_I64));
    inputs[count++] = length;
  }
  program_output(p, position);
  Value *indices = build_elementwise_over(&b, p, count, inputs, update->rank, update->dims);
  t->outputs[0] = scatter_elements_of(&b, cache, indices, update, axis, "none");
  return translate_end(t, &b);
}

// Within the first lengths[batch] steps, step i comes from lengths[batch] - 1 - i.
static Status reverse_sequence(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int batch, time;
  TRY(normalise_axis(t, node_int(t->attributes, "batch_axis", 1), x->rank, &batch));
  TRY(normalise_axis(t, node_int(t->attributes, "time_axis", 0), x->rank, &time));
  Value *lengths = align_to_axis(&b, t->inputs[1], batch, x->rank);
  if (b.status) return translate_end(t, &b);
  Program *p = program_new(t->graph->arena, 1);
  int length = program_cast(p, DTYPE_I64, program_input(p, 0, lengths->dtype)), step = program_index(p, DTYPE_I64, time);
  int mirrored = op2(p, OP_sub, op2(p, OP_sub, length, step), program_const_i(p, DTYPE_I64, 1));
  program_output(p, op3(p, OP_select, op2(p, OP_lt, step, length), mirrored, step));
  Value *indices = build_elementwise_over(&b, p, 1, &lengths, x->rank, x->dims);
  t->outputs[0] = gather_elements_of(&b, x, indices, time);
  return translate_end(t, &b);
}

static Value *nonzero_of(Builder *b, Value *x) { return node_done(b, node_start(b, "nonzero", 1, &x, 1)); }

static Status nonzero(Translation *t) {
  Builder b = translate_begin(t);
  t->outputs[0] = nonzero_of(&b, t->inputs[0]);
  return translate_end(t, &b);
}

static Status compress(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int axis = 0;
  if (node_attribute(t->attributes, "axis")) {
    TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), x->rank, &axis));
  } else {
    Dim count = value_count_dim(t->graph, x);
    x = build_reshape(&b, x, 1, &count);
  }
  Value *where = nonzero_of(&b, t->inputs[1]);
  if (where) t->outputs[0] = build_gather(&b, x, build_reshape(&b, where, 1, &where->dims[1]), axis);
  return translate_end(t, &b);
}

// The single-row case of ai.onnx.ml's column selection.
static Status array_feature_extractor(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *indices = t->inputs[1];
  Dim count = value_count_dim(t->graph, indices);
  indices = build_reshape(&b, indices, 1, &count);
  if (x->rank == 1) x = build_unsqueeze(&b, x, (int64_t[]){0}, 1);
  if (x) t->outputs[0] = build_gather(&b, x, indices, x->rank - 1);
  return translate_end(t, &b);
}

const OnnxOp onnx_gather_ops[] = {
    {"", "Gather", 1, 0, 2, 2, 1, 1, gather},
    {"", "GatherElements", 11, 0, 2, 2, 1, 1, gather_elements},
    {"", "GatherND", 11, 0, 2, 2, 1, 1, translate_gather_nd},
    {"", "Scatter", 9, 0, 3, 3, 1, 1, scatter_elements},
    {"", "ScatterElements", 11, 0, 3, 3, 1, 1, scatter_elements},
    {"", "ScatterND", 11, 0, 3, 3, 1, 1, scatter_nd},
    {"", "TensorScatter", 24, 0, 2, 3, 1, 1, tensor_scatter},
    {"", "ReverseSequence", 10, 0, 2, 2, 1, 1, reverse_sequence},
    {"", "NonZero", 9, 0, 1, 1, 1, 1, nonzero},
    {"", "Compress", 9, 0, 2, 2, 1, 1, compress},
    {"ai.onnx.ml", "ArrayFeatureExtractor", 1, 0, 2, 2, 1, 1, array_feature_extractor},
    {0},
};
