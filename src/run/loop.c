// See loop.h.
#include "run/loop.h"

#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/memory.h"
#include "kernels/control/control.h"

enum { MAX_ITERATIONS = 100000000 };

// Rows gathered from the iterations, on the host, to become one tensor.
typedef struct Stack {
  DType dtype;
  int rank;
  int64_t dims[MAX_RANK];
  void *bytes;
  size_t row_bytes, count, capacity;
} Stack;

static Status stack_push(Stack *stack, const RunTensor *row) {
  void *bytes;
  if (row->kind != VALUE_TENSOR)
    FAIL(ERROR_INVALID_MODEL, "an iteration yields a sequence or nothing where a tensor is stacked");
  TRY(run_tensor_host(row, &bytes));
  if (!stack->count) {
    stack->dtype = row->dtype;
    stack->rank = row->rank;
    memcpy(stack->dims, row->dims, sizeof stack->dims);
    stack->row_bytes = run_tensor_bytes(row);
  } else if (stack->rank != row->rank || memcmp(stack->dims, row->dims, (size_t)row->rank * sizeof *row->dims) ||
             stack->dtype != row->dtype) {
    FAIL(ERROR_INVALID_MODEL, "iterations yield slices of different shapes");
  }
  if (stack->count == stack->capacity) {
    size_t capacity = stack->capacity ? stack->capacity * 2 : 16, bytes_wanted;
    if (!checked_mul(capacity, MAX(stack->row_bytes, 1), &bytes_wanted)) return status_out_of_memory();
    TRY(memory_grow(&stack->bytes, stack->count * stack->row_bytes, bytes_wanted));
    stack->capacity = capacity;
  }
  memcpy((char *)stack->bytes + stack->count++ * stack->row_bytes, bytes, stack->row_bytes);
  return OK;
}

// A host tensor that owns its bytes.
static Status host_tensor(Device *device, DType dtype, int rank, const int64_t *dims, RunTensor *out) {
  if (rank > MAX_RANK) FAIL(ERROR_UNSUPPORTED, "rank %d is more than %d", rank, MAX_RANK);
  Tensor shape = {.dtype = dtype, .rank = rank};
  if (rank) memcpy(shape.dims, dims, (size_t)rank * sizeof *dims);
  size_t bytes = tensor_bytes(&shape);
  TRY(memory_take(bytes, &shape.data));
  Status status = run_tensor_borrow_host(device, &shape, out);
  if (status) memory_free(shape.data);
  else out->storage->owns_host = true;
  return status;
}

// The rows become a tensor with the stacking axis at `axis`; reverse puts the last row first.
static Status stack_finish(Device *device, Stack *stack, const Value *declared, int axis, bool reverse, RunTensor *out) {
  int64_t dims[MAX_RANK + 1] = {0};
  int rank = stack->count ? stack->rank + 1 : declared->rank;
  if (rank < 1 || rank > MAX_RANK) rank = 1;
  if (axis < 0) axis += rank;
  if (!stack->count) {
    for (int i = 0; i < rank; i++)
      dims[i] = i < declared->rank && dim_is_static(declared->dims[i]) && i != axis ? declared->dims[i] : 0;
    return host_tensor(device, declared->dtype == DTYPE_COUNT ? DTYPE_F32 : declared->dtype, rank, dims, out);
  }
  size_t outer = 1, inner = dtype_size(stack->dtype);
  for (int i = 0, k = 0; i < rank; i++) {
    dims[i] = i == axis ? (int64_t)stack->count : stack->dims[k++];
    if (i < axis) outer *= (size_t)dims[i];
    if (i > axis) inner *= (size_t)dims[i];
  }
  TRY(host_tensor(device, stack->dtype, rank, dims, out));
  char *to = out->storage->host_memory;
  for (size_t o = 0; o < outer; o++)
    for (size_t n = 0; n < stack->count; n++) {
      size_t row = reverse ? stack->count - 1 - n : n;
      memcpy(to + (o * stack->count + n) * inner, (char *)stack->bytes + row * stack->row_bytes + o * inner, inner);
    }
  return OK;
}

static Status take_slice(Device *device, const RunTensor *from, int axis, int64_t at, RunTensor *out) {
  void *bytes;
  TRY(run_tensor_host(from, &bytes));
  int64_t dims[MAX_RANK];
  size_t outer = 1, inner = dtype_size(from->dtype);
  for (int i = 0, k = 0; i < from->rank; i++) {
    if (i < axis) outer *= (size_t)from->dims[i];
    if (i > axis) inner *= (size_t)from->dims[i];
    if (i != axis) dims[k++] = from->dims[i];
  }
  TRY(host_tensor(device, from->dtype, from->rank - 1, dims, out));
  char *to = out->storage->host_memory;
  for (size_t o = 0; o < outer; o++)
    memcpy(to + o * inner, (char *)bytes + ((o * (size_t)from->dims[axis]) + (size_t)at) * inner, inner);
  return OK;
}

static Status scalar(Device *device, DType dtype, int64_t value, RunTensor *out) {
  TRY(host_tensor(device, dtype, 0, NULL, out));
  element_set_i(dtype, out->storage->host_memory, value);
  return OK;
}

static Status read_scalar(const RunTensor *tensor, int64_t otherwise, int64_t *out) {
  *out = otherwise;
  if (!tensor->storage) return OK;
  void *bytes;
  TRY(run_tensor_host(tensor, &bytes));
  if (run_tensor_bytes(tensor) != dtype_size(tensor->dtype))
    FAIL(ERROR_INVALID_MODEL, "a loop's trip count or condition is not a scalar");
  *out = element_get_i(tensor->dtype, bytes);
  return OK;
}

// The loop's working set: what the body takes and gives.
typedef struct Work {
  RunTensor *in, *out;
  int in_count, out_count, states, stacks;
  Stack *stack;
} Work;

static Status work_new(Work *work, int in_count, int out_count, int states, int stacks) {
  *work = (Work){.in_count = in_count, .out_count = out_count, .states = states, .stacks = stacks};
  work->in = calloc((size_t)in_count + 1, sizeof *work->in);
  work->out = calloc((size_t)out_count + 1, sizeof *work->out);
  work->stack = calloc((size_t)stacks + 1, sizeof *work->stack);
  return work->in && work->out && work->stack ? OK : status_out_of_memory();
}

static void work_free(Work *work) {
  for (int i = 0; work->in && i < work->in_count; i++) run_tensor_drop(&work->in[i]);
  for (int i = 0; work->out && i < work->out_count; i++) run_tensor_drop(&work->out[i]);
  for (int i = 0; work->stack && i < work->stacks; i++) memory_free(work->stack[i].bytes);
  free(work->in);
  free(work->out);
  free(work->stack);
}

// After an iteration: states move from out[first_out ...] to in[first_in ...], slices go onto the stacks.
static Status work_advance(Work *work, int first_in, int first_out) {
  for (int i = 0; i < work->states; i++) {
    run_tensor_drop(&work->in[first_in + i]);
    work->in[first_in + i] = work->out[first_out + i];
    work->out[first_out + i] = (RunTensor){0};
  }
  for (int i = 0; i < work->stacks; i++) {
    RunTensor *row = &work->out[first_out + work->states + i];
    TRY(stack_push(&work->stack[i], row));
    run_tensor_drop(row);
  }
  return OK;
}

static Status run_loop(Device *device, const Node *node, BodyRun body, void *context, const RunTensor *inputs,
                       RunTensor *outputs) {
  const Graph *graph = node_graph(node, "body");
  int states = (int)node_int(node, "states", 0);
  Work work = {0};
  Status status = OK;
  int64_t trips, condition;
  TRY_GOTO(work_new(&work, graph->input_count, graph->output_count, states, graph->output_count - 1 - states));
  TRY_GOTO(read_scalar(&inputs[0], INT64_MAX, &trips));
  TRY_GOTO(read_scalar(&inputs[1], 1, &condition));
  for (int i = 2; i < graph->input_count; i++) run_tensor_share(&work.in[i], &inputs[i]);
  for (int64_t iteration = 0; condition && iteration < trips; iteration++) {
    if (iteration == MAX_ITERATIONS)
      TRY_GOTO(status_make(ERROR_INVALID_MODEL, "a loop ran %d iterations without end", MAX_ITERATIONS));
    TRY_GOTO(budget_poll());
    run_tensor_drop(&work.in[0]);
    run_tensor_drop(&work.in[1]);
    TRY_GOTO(scalar(device, DTYPE_I64, iteration, &work.in[0]));
    TRY_GOTO(scalar(device, DTYPE_BOOL, condition, &work.in[1]));
    TRY_GOTO(body(context, work.in, work.out));
    TRY_GOTO(read_scalar(&work.out[0], 1, &condition));
    run_tensor_drop(&work.out[0]);
    TRY_GOTO(work_advance(&work, 2, 1));
  }
  for (int i = 0; i < states && i < node->output_count; i++) run_tensor_share(&outputs[i], &work.in[2 + i]);
  for (int i = states; i < node->output_count; i++)
    TRY_GOTO(stack_finish(device, &work.stack[i - states], node->outputs[i], 0, false, &outputs[i]));
done:
  work_free(&work);
  return status;
}

static int64_t nth(const int64_t *values, int count, int index) { return index < count ? values[index] : 0; }

static Status run_scan(Device *device, const Node *node, BodyRun body, void *context, const RunTensor *inputs,
                       RunTensor *outputs) {
  const Graph *graph = node_graph(node, "body");
  int states = (int)node_int(node, "states", 0), scans = (int)node_int(node, "scan_inputs", 0);
  int axis_count, direction_count, out_axis_count, out_direction_count;
  const int64_t *axes = node_ints(node, "input_axes", &axis_count),
                *directions = node_ints(node, "input_directions", &direction_count);
  const int64_t *out_axes = node_ints(node, "output_axes", &out_axis_count);
  const int64_t *out_directions = node_ints(node, "output_directions", &out_direction_count);
  Work work = {0};
  Status status = OK;
  TRY_GOTO(work_new(&work, graph->input_count, graph->output_count, states, graph->output_count - states));
  int64_t length = 0;
  for (int i = 0; i < graph->input_count; i++)
    if (i < states || i >= states + scans) run_tensor_share(&work.in[i], &inputs[i]);
  for (int i = 0; i < scans; i++) {
    const RunTensor *scanned = &inputs[states + i];
    int64_t axis = nth(axes, axis_count, i);
    if (axis < 0) axis += scanned->rank;
    if (axis < 0 || axis >= scanned->rank)
      TRY_GOTO(status_make(ERROR_INVALID_MODEL, "scan input %d has no axis %lld", i, (long long)axis));
    if (i && scanned->dims[axis] != length) TRY_GOTO(status_make(ERROR_INVALID_MODEL, "scan inputs have different lengths"));
    length = scanned->dims[axis];
  }
  for (int64_t t = 0; t < length; t++) {
    TRY_GOTO(budget_poll());
    for (int i = 0; i < scans; i++) {
      const RunTensor *scanned = &inputs[states + i];
      int64_t axis = nth(axes, axis_count, i);
      if (axis < 0) axis += scanned->rank;
      run_tensor_drop(&work.in[states + i]);
      TRY_GOTO(take_slice(device, scanned, (int)axis, nth(directions, direction_count, i) ? length - 1 - t : t,
                          &work.in[states + i]));
    }
    TRY_GOTO(body(context, work.in, work.out));
    TRY_GOTO(work_advance(&work, 0, 0));
  }
  for (int i = 0; i < states && i < node->output_count; i++) run_tensor_share(&outputs[i], &work.in[i]);
  for (int i = states; i < node->output_count; i++)
    TRY_GOTO(stack_finish(device, &work.stack[i - states], node->outputs[i], (int)nth(out_axes, out_axis_count, i - states),
                          nth(out_directions, out_direction_count, i - states), &outputs[i]));
done:
  work_free(&work);
  return status;
}

Status loop_run(Device *device, const Node *node, BodyRun body, void *context, const RunTensor *inputs, RunTensor *outputs) {
  return node->op == &op_loop ? run_loop(device, node, body, context, inputs, outputs)
                              : run_scan(device, node, body, context, inputs, outputs);
}
