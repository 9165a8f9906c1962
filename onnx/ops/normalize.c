// Normalisations: one rowwise program each, with scale and bias inside, in f32 for narrow floats. Inference batch
// norm subtracts the mean first, where a value near it loses no digits; its constants fold, and fold_scale takes them into convolutions.
#include "onnx/ops/common.h"
#include "onnx/ops/shared.h"

// Appends (a - mean) / sqrt(variance + epsilon); returns it and the pieces some operators output.
static int normalised(Program *p, int a, double epsilon, int *mean, int *inverse) {
  *mean = reduce_mean(p, a);
  int centred = op2(p, OP_sub, a, *mean);
  int variance = reduce_mean(p, op2(p, OP_mul, centred, centred));
  *inverse = op1(p, OP_recip, op1(p, OP_sqrt, op2(p, OP_add, variance, constant_like(p, a, epsilon))));
  return op2(p, OP_mul, centred, *inverse);
}

static Value *batch_norm_inference(Builder *b, Value *const *in, double epsilon, bool spatial) {
  Value *x = in[0], *p4[4];
  for (int i = 0; i < 4; i++) p4[i] = spatial ? align_to_axis(b, in[i + 1], 1, x->rank) : in[i + 1];
  if (b->status) return NULL;
  DType compute = compute_dtype(x->dtype);
  Program *factor = program_new(b->graph->arena, 2);
  int variance = program_input(factor, 1, compute);
  int deviation = op1(factor, OP_sqrt, op2(factor, OP_add, variance, constant_like(factor, variance, epsilon)));
  program_output(factor, op2(factor, OP_div, program_input(factor, 0, compute), deviation));
  Value *scale = build_elementwise(b, factor, 2, (Value *[]){p4[0], p4[3]});
  Program *apply = program_new(b->graph->arena, 4);
  int y = op2(apply, OP_sub, program_input(apply, 0, compute), program_input(apply, 1, compute));
  y = op2(apply, OP_mul, y, program_input(apply, 2, compute));
  y = op2(apply, OP_add, y, program_input(apply, 3, compute));
  program_output(apply, program_cast(apply, x->dtype, y));
  return build_elementwise(b, apply, 4, (Value *[]){x, p4[2], scale, p4[1]});
}

static Value *as_vector(Builder *b, Value *x, Dim count) { return build_reshape(b, x, 1, &count); }

static Value *moving(Builder *b, Value *old, Value *fresh, double momentum) {
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, 2);
  DType compute = compute_dtype(old->dtype);
  int before = program_input(p, 0, compute), now = program_input(p, 1, compute);
  int mixed = op2(p, OP_add, op2(p, OP_mul, before, constant_like(p, before, momentum)),
                  op2(p, OP_mul, now, constant_like(p, before, 1 - momentum)));
  program_output(p, program_cast(p, old->dtype, mixed));
  return build_elementwise(b, p, 2, (Value *[]){old, fresh});
}

static Status batch_norm_training(Translation *t, Builder *b, double epsilon) {
  Value *x = t->inputs[0];
  DType compute = compute_dtype(x->dtype);
  Value *inputs[] = {x, align_to_axis(b, t->inputs[1], 1, x->rank), align_to_axis(b, t->inputs[2], 1, x->rank)};
  if (b->status) return translate_end(t, b);
  Program *p = program_new(t->graph->arena, 3);
  int mean, inverse, a = program_input(p, 0, compute);
  int y = normalised(p, a, epsilon, &mean, &inverse);
  int centred = op2(p, OP_sub, a, mean), variance = reduce_mean(p, op2(p, OP_mul, centred, centred));
  y = op2(p, OP_add, op2(p, OP_mul, y, program_input(p, 1, compute)), program_input(p, 2, compute));
  program_output(p, program_cast(p, x->dtype, y));
  program_output(p, mean);
  program_output(p, variance);
  int64_t axes[MAX_RANK];
  int count = 0;
  for (int i = 0; i < x->rank; i++)
    if (i != 1) axes[count++] = i;
  Value *result = build_rowwise(b, p, 3, inputs, axes, count);
  if (!result) return translate_end(t, b);
  double momentum = node_float(t->attributes, "momentum", 0.9);
  t->outputs[0] = result;
  for (int i = 1; i <= 2; i++) {
    if (!translate_wants(t, i)) continue;
    Value *statistic = as_vector(b, build_output(result, i), x->dims[1]);
    t->outputs[i] = moving(b, t->inputs[i + 2], statistic, momentum);
  }
  return translate_end(t, b);
}

static Status batch_norm(Translation *t) {
  Builder b = translate_begin(t);
  double epsilon = node_float(t->attributes, "epsilon", 1e-5);
  if (t->inputs[0]->rank < 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected at least 2", t->inputs[0]->rank);
  bool training = t->opset >= 14 ? node_int(t->attributes, "training_mode", 0) != 0
                                 : t->opset < 7 && !node_int(t->attributes, "is_test", 0) && t->output_count > 1;
  bool spatial = t->opset >= 9 || node_int(t->attributes, "spatial", 1) != 0;
  if (spatial) TRY(check_channels(t, 1, 4, t->inputs[0]->dims[1]));
  if (training) return batch_norm_training(t, &b, epsilon);
  t->outputs[0] = batch_norm_inference(&b, t->inputs, epsilon, spatial);
  for (int i = 1; i < MIN(t->output_count, 5); i++) t->outputs[i] = t->inputs[i <= 2 ? i + 2 : i];
  return translate_end(t, &b);
}

static Status instance_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  if (x->rank < 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected at least 3", x->rank);
  TRY(check_channels(t, 1, 2, x->dims[1]));
  DType compute = compute_dtype(x->dtype);
  Program *p = program_new(t->graph->arena, 3);
  int mean, inverse;
  int y = normalised(p, program_input(p, 0, compute), node_float(t->attributes, "epsilon", 1e-5), &mean, &inverse);
  y = op2(p, OP_add, op2(p, OP_mul, y, program_input(p, 1, compute)), program_input(p, 2, compute));
  program_output(p, program_cast(p, x->dtype, y));
  int64_t axes[MAX_RANK];
  for (int i = 2; i < x->rank; i++) axes[i - 2] = i;
  Value *inputs[] = {x, align_to_axis(&b, t->inputs[1], 1, x->rank), align_to_axis(&b, t->inputs[2], 1, x->rank)};
  t->outputs[0] = b.status ? NULL : build_rowwise(&b, p, 3, inputs, axes, x->rank - 2);
  return translate_end(t, &b);
}

// The row is everything from `axis` on. Mean and 1/deviation are row-level results.
Status translate_layer_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", -1), x->rank, &axis));
  DType compute;
  TRY(dtype_attribute(t, "stash_type", DTYPE_F32, &compute));
  if (x->dtype == DTYPE_F64) compute = DTYPE_F64;
  bool centre = strcmp(t->op_type, "LayerNormalization") == 0, bias = translate_has(t, 2);
  double epsilon = node_float(t->attributes, "epsilon", 1e-5);
  DType inner = compute_dtype(compute);
  Program *p = program_new(t->graph->arena, bias ? 3 : 2);
  int mean = 0, inverse, y, a = program_input(p, 0, inner);
  if (centre) {
    y = normalised(p, a, epsilon, &mean, &inverse);
  } else {
    int power = reduce_mean(p, op2(p, OP_mul, a, a));
    inverse = op1(p, OP_recip, op1(p, OP_sqrt, op2(p, OP_add, power, constant_like(p, a, epsilon))));
    y = op2(p, OP_mul, a, inverse);
  }
  y = op2(p, OP_mul, y, program_input(p, 1, inner));
  if (bias) y = op2(p, OP_add, y, program_input(p, 2, inner));
  program_output(p, program_cast(p, centre ? x->dtype : t->inputs[1]->dtype, y));
  if (translate_wants(t, 1)) program_output(p, program_cast(p, compute, mean));
  if (translate_wants(t, 2)) program_output(p, program_cast(p, compute, inverse));
  int64_t axes[MAX_RANK];
  for (int i = axis; i < x->rank; i++) axes[i - axis] = i;
  Value *inputs[] = {x, t->inputs[1], bias ? t->inputs[2] : NULL};
  Value *result = build_rowwise(&b, p, bias ? 3 : 2, inputs, axes, x->rank - axis);
  t->outputs[0] = result;
  for (int i = 1; i < t->output_count && result; i++) t->outputs[i] = build_output(result, i);
  return translate_end(t, &b);
}

// Channels in groups: [N, G, C/G, spatial]. Scale and bias have one value a channel, before opset 21 one a group.
static Status group_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int64_t groups = node_int(t->attributes, "num_groups", 0);
  if (groups < 1 || x->rank < 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "num_groups is %lld", (long long)groups);
  if (x->rank + 1 > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its input has rank %d", x->rank);
  TRY(check_channels(t, 1, 2, t->opset >= 21 ? x->dims[1] : groups));
  Dim dims[MAX_RANK], per_channel[MAX_RANK], members = dim_div(t->graph->dims, x->dims[1], groups);
  int rank = x->rank + 1;
  for (int i = 0; i < rank; i++) {
    dims[i] = i == 0 ? x->dims[0] : i == 1 ? groups : i == 2 ? members : x->dims[i - 1];
    per_channel[i] = 1;
  }
  per_channel[0] = groups;
  per_channel[1] = t->opset >= 21 ? members : 1;
  Value *inputs[] = {build_reshape(&b, x, rank, dims), build_reshape(&b, t->inputs[1], rank - 1, per_channel),
                     build_reshape(&b, t->inputs[2], rank - 1, per_channel)};
  DType compute;
  TRY(dtype_attribute(t, "stash_type", DTYPE_F32, &compute));
  compute = compute_dtype(x->dtype == DTYPE_F64 ? DTYPE_F64 : compute);
  Program *p = program_new(t->graph->arena, 3);
  int mean, inverse;
  int y = normalised(p, program_input(p, 0, compute), node_float(t->attributes, "epsilon", 1e-5), &mean, &inverse);
  y = op2(p, OP_add, op2(p, OP_mul, y, program_input(p, 1, compute)), program_input(p, 2, compute));
  program_output(p, program_cast(p, x->dtype, y));
  int64_t axes[MAX_RANK];
  for (int i = 2; i < rank; i++) axes[i - 2] = i;
  if (b.status) return translate_end(t, &b);
  t->outputs[0] = build_reshape(&b, build_rowwise(&b, p, 3, inputs, axes, rank - 2), x->rank, x->dims);
  return translate_end(t, &b);
}

static Status lp_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", -1), x->rank, &axis));
  DType compute = compute_dtype(x->dtype);
  Program *p = program_new(t->graph->arena, 1);
  int a = program_input(p, 0, compute), norm, zero = constant_like(p, a, 0);
  if (node_int(t->attributes, "p", 2) == 1) norm = program_reduce(p, OP_reduce_sum, op1(p, OP_abs, a), compute);
  else norm = op1(p, OP_sqrt, program_reduce(p, OP_reduce_sum, op2(p, OP_mul, a, a), compute));
  int y = op3(p, OP_select, op2(p, OP_eq, norm, zero), zero, op2(p, OP_div, a, norm));
  program_output(p, program_cast(p, x->dtype, y));
  int64_t axes[] = {axis};
  t->outputs[0] = build_rowwise(&b, p, 1, &x, axes, 1);
  return translate_end(t, &b);
}

static Status mean_variance_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int count;
  const int64_t *given = node_ints(t->attributes, "axes", &count);
  int64_t axes[MAX_RANK] = {0, 2, 3};
  if (t->opset < 9 && node_int(t->attributes, "across_channels", 0))
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "across_channels is set");
  if (count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %d axes", count);
  if (!given) count = 3;
  for (int i = 0; i < count && given; i++) axes[i] = given[i];
  TRY(normalise_axes(t, axes, count, x->rank));
  DType compute = compute_dtype(x->dtype);
  Program *p = program_new(t->graph->arena, 1);
  int a = program_input(p, 0, compute), centred = op2(p, OP_sub, a, reduce_mean(p, a));
  int deviation = op1(p, OP_sqrt, reduce_mean(p, op2(p, OP_mul, centred, centred)));
  int y = op2(p, OP_div, centred, op2(p, OP_add, deviation, constant_like(p, a, 1e-9)));
  program_output(p, program_cast(p, x->dtype, y));
  t->outputs[0] = build_rowwise(&b, p, 1, &x, axes, count);
  return translate_end(t, &b);
}

// The mean of squares over neighbouring channels is an average pool along the channel axis.
static Status local_response_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int64_t size = node_int(t->attributes, "size", 0);
  if (size < 1 || x->rank < 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "size is %lld", (long long)size);
  DimTable *table = t->graph->dims;
  Dim planes[] = {x->dims[0], 1, x->dims[1], dims_product(table, x->dims + 2, x->rank - 2)};
  Value *squares = build_reshape(&b, build_mul(&b, x, x), 4, planes);
  Node *node = node_start(&b, "pool", 1, &squares, 1);
  node_set_string(node, "kind", "average");
  node_set_ints(node, "kernel", (int64_t[]){size, 1}, 2);
  node_set_ints(node, "strides", (int64_t[]){1, 1}, 2);
  node_set_ints(node, "dilations", (int64_t[]){1, 1}, 2);
  node_set_ints(node, "pads", (int64_t[]){(size - 1) / 2, 0, size / 2, 0}, 4);
  node_set_int(node, "count_include_pad", 1);
  Value *mean = build_reshape(&b, node_done(&b, node), x->rank, x->dims);
  if (b.status) return translate_end(t, &b);
  Program *p = program_new(t->graph->arena, 2);
  int a = program_input(p, 0, x->dtype);
  int base = op2(p, OP_mul, program_input(p, 1, x->dtype), constant_like(p, a, node_float(t->attributes, "alpha", 1e-4)));
  base = op2(p, OP_add, base, constant_like(p, a, node_float(t->attributes, "bias", 1)));
  program_output(p, op2(p, OP_div, a, op2(p, OP_pow, base, constant_like(p, a, node_float(t->attributes, "beta", 0.75)))));
  t->outputs[0] = build_elementwise(&b, p, 2, (Value *[]){x, mean});
  return translate_end(t, &b);
}

const OnnxOp onnx_normalize_ops[] = {
    {"", "BatchNormalization", 1, 0, 5, 5, 1, 5, batch_norm},
    {"", "InstanceNormalization", 1, 0, 3, 3, 1, 1, instance_norm},
    {"", "LayerNormalization", 17, 0, 2, 3, 1, 3, translate_layer_norm},
    {"", "RMSNormalization", 23, 0, 2, 2, 1, 1, translate_layer_norm},
    {"", "SimplifiedLayerNormalization", 1, 0, 2, 2, 1, 1, translate_layer_norm},  // as ONNX Runtime's optimiser writes it
    {"", "GroupNormalization", 18, 0, 3, 3, 1, 1, group_norm},
    {"", "LpNormalization", 1, 0, 1, 1, 1, 1, lp_norm},
    {"", "MeanVarianceNormalization", 1, 0, 1, 1, 1, 1, mean_variance_norm},
    {"", "LRN", 1, 0, 1, 1, 1, 1, local_response_norm},
    {0},
};
