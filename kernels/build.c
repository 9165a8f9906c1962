// Builders. Each makes a node, infers it, and then lets go of it again where the answer is already known: small integer results
// whose elements are symbolic become a `dims` node (the host computes them), and small results of constants become constants.
// That is what makes the shape arithmetic of exported models disappear while it is imported.
#include "kernels/build.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/contents.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "kernels/matmul/matmul.h"
#include "kernels/reference.h"
#include "kernels/rowwise/rowwise.h"
#include "kernels/view/view.h"

enum { MAX_FOLDED = 1024, MAX_FOLDED_INPUT = 1 << 20 };  // elements; larger constants are for the folding pass

// --- Appending and folding

static Value *fail(Builder *b, Status status) {
  if (b->status) status_free(status);
  else b->status = status;
  return NULL;
}

static Node *append(Builder *b, const OpDef *op, int input_count, Value *const *inputs, int output_count,
                    void (*attributes)(Node *, void *), void *context) {
  Node *node = graph_add(b->graph, b->at, op, input_count, inputs, output_count);
  if (attributes) attributes(node, context);
  Status status = node_infer(node);
  if (!status) return node;
  node_remove(node);
  fail(b, status);
  return NULL;
}

static void set_dims(Node *node, void *context) {
  const Value *like = context;
  node_set_dims(node, "dims", like->dims, like->rank);
}

static void set_values(Node *node, void *context) {
  const Value *like = context;
  node_set_dims(node, "values", like->contents, like->contents_count);
}

static void set_program(Node *node, void *context) { node_set_program(node, "program", context); }

static void set_dtype(Node *node, void *context) { node_set_int(node, "dtype", *(const DType *)context); }

static Program *cast_program(Graph *graph, DType from, DType to) {
  Program *program = program_new(graph->arena, 1);
  program_output(program, program_cast(program, to, program_input(program, 0, from)));
  return program;
}

static Value *constant_of_dims(Builder *b, const Value *like) {
  int64_t shape[MAX_RANK], element;
  Tensor tensor;
  if (!value_get_dims(like, shape)) return NULL;
  for (int i = 0; i < like->contents_count; i++)
    if (!dim_get_constant(b->graph->dims, like->contents[i], &element)) return NULL;
  Status status = tensor_new(b->graph->arena, like->dtype, like->rank, shape, &tensor);
  if (status) return fail(b, status);
  for (int i = 0; i < like->contents_count; i++) {
    dim_get_constant(b->graph->dims, like->contents[i], &element);
    if (dtype_is_float(like->dtype)) tensor_set_f(&tensor, i, (double)element);
    else tensor_set_i(&tensor, i, element);
  }
  return graph_add_constant(b->graph, NULL, &tensor);
}

// A value with like's type and contents that depends on nothing but symbols.
static Value *of_contents(Builder *b, const Value *like) {
  Value *constant = constant_of_dims(b, like);
  if (constant || b->status) return constant;
  Node *node = append(b, &op_dims, 0, NULL, 1, set_values, (void *)like);
  if (node && like->dtype != DTYPE_I64)
    node = append(b, &op_elementwise, 1, node->outputs, 1, set_program, cast_program(b->graph, DTYPE_I64, like->dtype));
  if (node && like->rank != 1) node = append(b, &op_reshape, 1, node->outputs, 1, set_dims, (void *)like);
  if (!node) return NULL;
  graph_set_contents(node->outputs[0], like->contents, like->contents_count);
  return node->outputs[0];
}

static bool is_small_constant_work(const Node *node) {
  int64_t dims[MAX_RANK], elements = 1;
  const Value *out = node->outputs[0];
  if (node->output_count != 1 || !node->op->reference || node->op->random || node->op->data_dependent) return false;
  if (out->dtype == DTYPE_COUNT || out->rank < 0 || !value_get_dims(out, dims)) return false;
  for (int i = 0; i < out->rank; i++)
    if (!checked_mul_i64(elements, dims[i], &elements) || elements > MAX_FOLDED) return false;
  for (int i = 0; i < node->input_count; i++) {
    if (!node->inputs[i]) continue;
    if (!node->inputs[i]->constant || tensor_count(node->inputs[i]->constant) > MAX_FOLDED_INPUT) return false;
  }
  return true;
}

// The node's result where it is made of constants; NULL where it is not, or where the reference refuses the operands.
static Value *constant_of_reference(Builder *b, Node *node) {
  if (!is_small_constant_work(node)) return NULL;
  const Tensor **inputs = arena_array(b->graph->arena, const Tensor *, (size_t)node->input_count + 1);
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] ? node->inputs[i]->constant : NULL;
  Tensor out = {0};
  Status status = reference_run(node, b->graph->arena, inputs, &out);
  if (status) {
    status_free(status);
    return NULL;
  }
  return graph_add_constant(b->graph, NULL, &out);
}

static Value *fold(Builder *b, Node *node) {
  if (node->op == &op_dims) return node->outputs[0];
  Value *folded = constant_of_reference(b, node);
  if (!folded) {
    int count;
    const Dim *contents = contents_of_node(node, &count);
    if (!contents) return node->outputs[0];
    graph_set_contents(node->outputs[0], contents, count);
    if (count) folded = of_contents(b, node->outputs[0]);
  }
  if (!folded) return b->status ? NULL : node->outputs[0];
  node_remove(node);
  return folded;
}

Value *build_node(Builder *b, const OpDef *op, int input_count, Value *const *inputs, int output_count,
                  void (*attributes)(Node *node, void *context), void *context) {
  if (b->status) return NULL;
  Node *node = append(b, op, input_count, inputs, output_count, attributes, context);
  return node ? fold(b, node) : NULL;
}

Value *build_finish(Builder *b, Node *node) {
  if (b->status) return NULL;
  Status status = node_infer(node);
  if (!status) return fold(b, node);
  node_remove(node);
  return fail(b, status);
}

Value *build_output(Value *first, int index) { return first ? first->producer->outputs[index] : NULL; }

const Dim *build_contents(Graph *graph, const Value *value, int *count) {
  // Floats may carry integral contents between casts, but nobody takes a shape from a float.
  if (value && (value->dtype == DTYPE_COUNT || dtype_is_float(value->dtype))) return NULL;
  return contents_of_value(graph, value, count);
}

Status build_copy(Graph *graph, Node *at, Value *x, Value **out) {
  Builder b = {.graph = graph, .at = at};
  bool scalar = x->dtype != DTYPE_STRING && dtype_kind(x->dtype) != KIND_COMPLEX;
  Node *node = scalar ? append(&b, &op_elementwise, 1, &x, 1, set_program, cast_program(graph, x->dtype, x->dtype))
                      : append(&b, &op_bitcast, 1, &x, 1, set_dtype, &x->dtype);
  *out = node ? node->outputs[0] : NULL;
  return b.status;
}

// --- Sources

Value *build_constant(Builder *b, const Tensor *tensor) {
  return b->status ? NULL : graph_add_constant(b->graph, NULL, tensor);
}

Value *build_scalar(Builder *b, DType dtype, double value) {
  return b->status ? NULL : graph_add_constant(b->graph, NULL, tensor_scalar_f(b->graph->arena, dtype, value));
}

Value *build_dims(Builder *b, const Dim *values, int count) {
  if (b->status) return NULL;
  Value like = {.dtype = DTYPE_I64, .rank = 1, .dims = {count}, .contents = values, .contents_count = count};
  return of_contents(b, &like);
}

Value *build_range(Builder *b, DType dtype, Dim count, double start, double step) {
  if (b->status) return NULL;
  Program *program = program_new(b->graph->arena, 0);
  int scaled = program_op2(program, OP_mul, program_index(program, dtype, 0), program_const(program, dtype, step));
  program_output(program, program_op2(program, OP_add, scaled, program_const(program, dtype, start)));
  return build_elementwise_over(b, program, 0, NULL, 1, &count);
}

Value *build_fill(Builder *b, DType dtype, double value, int rank, const Dim *dims) {
  if (b->status) return NULL;
  Program *program = program_new(b->graph->arena, 0);
  program_output(program, program_const(program, dtype, value));
  return build_elementwise_over(b, program, 0, NULL, rank, dims);
}

// --- Views

static bool same_dims(const Value *x, int rank, const Dim *dims) {
  return x->rank == rank && (rank == 0 || memcmp(x->dims, dims, sizeof *dims * (size_t)rank) == 0);
}

static void set_perm(Node *node, void *context) {
  const int *perm = context;
  int64_t wide[MAX_RANK];
  for (int i = 0; i < node->inputs[0]->rank; i++) wide[i] = perm[i];
  node_set_ints(node, "perm", wide, node->inputs[0]->rank);
}

Value *build_transpose(Builder *b, Value *x, const int *perm) {
  if (b->status) return NULL;
  bool identity = true;
  for (int i = 0; i < x->rank; i++) identity &= perm[i] == i;
  return identity ? x : build_node(b, &op_transpose, 1, &x, 1, set_perm, (void *)perm);
}

typedef struct Shape {
  int rank;
  const Dim *dims;
} Shape;

static void set_shape(Node *node, void *context) {
  const Shape *shape = context;
  node_set_dims(node, "dims", shape->dims, shape->rank);
}

Value *build_reshape(Builder *b, Value *x, int rank, const Dim *dims) {
  if (b->status) return NULL;
  if (same_dims(x, rank, dims)) return x;
  return build_node(b, &op_reshape, 1, &x, 1, set_shape, &(Shape){rank, dims});
}

Value *build_expand(Builder *b, Value *x, int rank, const Dim *dims) {
  if (b->status) return NULL;
  if (same_dims(x, rank, dims)) return x;
  return build_node(b, &op_expand, 1, &x, 1, set_shape, &(Shape){rank, dims});
}

typedef struct SliceOf {
  const Dim *starts;
  const int64_t *steps;
  const Dim *dims;
} SliceOf;

static void set_slice(Node *node, void *context) {
  const SliceOf *slice = context;
  int rank = node->inputs[0]->rank;
  node_set_dims(node, "starts", slice->starts, rank);
  node_set_ints(node, "steps", slice->steps, rank);
  node_set_dims(node, "dims", slice->dims, rank);
}

Value *build_slice(Builder *b, Value *x, const Dim *starts, const int64_t *steps, const Dim *dims) {
  if (b->status) return NULL;
  bool whole = same_dims(x, x->rank, dims);
  for (int i = 0; i < x->rank; i++) whole &= starts[i] == 0 && steps[i] == 1;
  return whole ? x : build_node(b, &op_slice, 1, &x, 1, set_slice, &(SliceOf){starts, steps, dims});
}

static bool contains(const int64_t *axes, int count, int axis) {
  for (int i = 0; i < count; i++)
    if (axes[i] == axis) return true;
  return false;
}

Value *build_squeeze(Builder *b, Value *x, const int64_t *axes, int count) {
  if (b->status) return NULL;
  Dim dims[MAX_RANK];
  int rank = 0;
  for (int i = 0; i < x->rank; i++)
    if (!contains(axes, count, i)) dims[rank++] = x->dims[i];
  return build_reshape(b, x, rank, dims);
}

Value *build_unsqueeze(Builder *b, Value *x, const int64_t *axes, int count) {
  if (b->status) return NULL;
  Dim dims[MAX_RANK];
  int rank = x->rank + count, from = 0;
  if (rank > MAX_RANK) return fail(b, status_make(ERROR_UNSUPPORTED, "rank %d is more than %d", rank, MAX_RANK));
  for (int i = 0; i < rank; i++) {
    bool inserted = contains(axes, count, i);
    if (!inserted && from == x->rank)
      return fail(b, status_make(ERROR_INVALID_MODEL, "the axes to insert repeat or are out of range"));
    dims[i] = inserted ? 1 : x->dims[from++];
  }
  return build_reshape(b, x, rank, dims);
}

Value *build_flatten(Builder *b, Value *x, int axis) {
  if (b->status) return NULL;
  Dim dims[2] = {1, 1};
  for (int i = 0; i < x->rank; i++) dims[i >= axis] = dim_mul(b->graph->dims, dims[i >= axis], x->dims[i]);
  return build_reshape(b, x, 2, dims);
}

// --- Arithmetic

Value *build_elementwise(Builder *b, Program *program, int input_count, Value *const *inputs) {
  return build_node(b, &op_elementwise, input_count, inputs, program->output_count, set_program, program);
}

typedef struct Over {
  Program *program;
  Shape shape;
} Over;

static void set_over(Node *node, void *context) {
  const Over *over = context;
  node_set_program(node, "program", over->program);
  node_set_dims(node, "dims", over->shape.dims, over->shape.rank);
}

Value *build_elementwise_over(Builder *b, Program *program, int input_count, Value *const *inputs, int rank, const Dim *dims) {
  Over over = {program, {rank, dims}};
  return build_node(b, &op_elementwise, input_count, inputs, program->output_count, set_over, &over);
}

typedef struct Rows {
  Program *program;
  const int64_t *axes;
  int count;
} Rows;

static void set_rows(Node *node, void *context) {
  const Rows *rows = context;
  node_set_program(node, "program", rows->program);
  node_set_ints(node, "axes", rows->axes, rows->count);
}

Value *build_rowwise(Builder *b, Program *program, int input_count, Value *const *inputs, const int64_t *axes, int axis_count) {
  Rows rows = {program, axes, axis_count};
  return build_node(b, &op_rowwise, input_count, inputs, program->output_count, set_rows, &rows);
}

Value *build_unary(Builder *b, Opcode op, Value *x) {
  if (b->status) return NULL;
  Program *program = program_new(b->graph->arena, 1);
  program_output(program, program_op1(program, op, program_input(program, 0, x->dtype)));
  return build_elementwise(b, program, 1, &x);
}

Value *build_binary(Builder *b, Opcode op, Value *x, Value *y) {
  if (b->status) return NULL;
  Program *program = program_new(b->graph->arena, 2);
  int left = program_input(program, 0, x->dtype), right = program_input(program, 1, y->dtype);
  program_output(program, program_op2(program, op, left, right));
  return build_elementwise(b, program, 2, (Value *[]){x, y});
}

Value *build_where(Builder *b, Value *condition, Value *x, Value *y) {
  if (b->status) return NULL;
  Program *program = program_new(b->graph->arena, 3);
  int c = program_input(program, 0, condition->dtype), left = program_input(program, 1, x->dtype);
  program_output(program, program_op3(program, OP_select, c, left, program_input(program, 2, y->dtype)));
  return build_elementwise(b, program, 3, (Value *[]){condition, x, y});
}

Value *build_cast(Builder *b, Value *x, DType dtype) {
  if (b->status) return NULL;
  if (x->dtype == dtype) return x;
  return build_elementwise(b, cast_program(b->graph, x->dtype, dtype), 1, &x);
}

Value *build_reduce(Builder *b, Opcode op, Value *x, const int64_t *axes, int axis_count, bool keep) {
  if (b->status) return NULL;
  Program *program = program_new(b->graph->arena, 1);
  program_output(program, program_reduce(program, op, program_input(program, 0, x->dtype), DTYPE_I64));
  Value *reduced = build_rowwise(b, program, 1, &x, axes, axis_count);
  return keep ? reduced : build_squeeze(b, reduced, axes, axis_count);
}

// --- Anchors

Value *build_matmul(Builder *b, Value *x, Value *y) { return build_node(b, &op_matmul, 2, (Value *[]){x, y}, 1, NULL, NULL); }

static void set_axis(Node *node, void *context) { node_set_int(node, "axis", *(const int *)context); }

Value *build_concat(Builder *b, int count, Value *const *values, int axis) {
  if (b->status || count == 1) return b->status ? NULL : values[0];
  return build_node(b, &op_concat, count, values, 1, set_axis, &axis);
}

Value *build_gather(Builder *b, Value *x, Value *indices, int axis) {
  return build_node(b, &op_gather, 2, (Value *[]){x, indices}, 1, set_axis, &axis);
}
