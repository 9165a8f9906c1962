// See loop.h.
#include "run/loop.h"

#include <stdlib.h>

#include "base/budget.h"
#include "base/checked.h"
#include "kernels/control/control.h"
#include "run/slices.h"
#include "run/stack.h"

enum { MAX_ITERATIONS = 100000000 };

// What the body takes and gives, and what becomes of it.
typedef struct Work {
  const LoopCall *call;
  const Graph *body;    // the whole of it
  RunTensor *in, *out;  // its inputs and results
  RunTensor *run;       // what running it gave
  int states, stacks, slice_count;
  Stack *stack;
  Slices *slices;
} Work;

static Status work_new(Work *work, const LoopCall *call, int stacks, int slices) {
  const Graph *body = call->body->whole;
  *work = (Work){.call = call, .body = body, .states = (int)node_int(call->node, "states", 0), .stacks = stacks};
  work->in = calloc((size_t)body->input_count + 1, sizeof *work->in);
  work->out = calloc((size_t)body->output_count + 1, sizeof *work->out);
  work->run = calloc((size_t)body->output_count + 1, sizeof *work->run);
  work->stack = calloc((size_t)stacks + 1, sizeof *work->stack);
  work->slices = calloc((size_t)slices + 1, sizeof *work->slices);
  work->slice_count = slices;
  for (int i = 0; work->stack && i < stacks; i++)
    work->stack[i].places = &call->memory->stacks[body->output_count - stacks + i];
  return work->in && work->out && work->run && work->stack && work->slices ? OK : status_out_of_memory();
}

static void work_free(Work *work) {
  run_tensors_drop(work->in, work->body->input_count);
  run_tensors_drop(work->out, work->body->output_count);
  run_tensors_drop(work->run, work->body->output_count);
  for (int i = 0; work->stack && i < work->stacks; i++) run_tensor_drop(&work->stack[i].whole);
  for (int i = 0; work->slices && i < work->slice_count; i++) run_tensor_drop(&work->slices[i].whole);
  free(work->in);
  free(work->out);
  free(work->run);
  free(work->stack);
  free(work->slices);
}

// Before the first iteration. A state that the body hands on has no turn to take.
static Status bring_state(Work *work, int input, int output, const RunTensor *given) {
  const LoopCall *call = work->call;
  RunTensor *in = &work->in[input];
  if (call->body->inputs[output] >= 0)
    return loop_memory_bring(&call->memory->given[input], call->device, given, call->known[input], in);
  Places *places = &call->memory->results[call->body->outputs[output]];
  return loop_memory_bring_state(places, call->device, given, call->known[input], in);
}

static Status bring_all(Work *work, const RunTensor *inputs, int first_in, int first_out) {
  const LoopCall *call = work->call;
  int states_end = first_in + work->states, slices_end = states_end + work->slice_count;
  for (int i = first_in; i < states_end; i++) TRY(bring_state(work, i, first_out + i - first_in, &inputs[i]));
  for (int i = slices_end; i < work->body->input_count; i++)
    TRY(loop_memory_bring(&call->memory->given[i], call->device, &inputs[i], call->known[i], &work->in[i]));
  return OK;
}

static Status work_run(Work *work) {
  const LoopBody *body = work->call->body;
  TRY(work->call->run(work->call->context, work->in, work->run));
  for (int i = 0; i < body->whole->output_count; i++)
    run_tensor_share(&work->out[i], body->inputs[i] >= 0 ? &work->in[body->inputs[i]] : &work->run[body->outputs[i]]);
  for (int i = 0; i < body->graph->output_count; i++) run_tensor_drop(&work->run[i]);
  return OK;
}

// After an iteration: states move from out[first_out ...] to in[first_in ...], rows go onto the stacks.
static Status work_advance(Work *work, int first_in, int first_out) {
  for (int i = 0; i < work->states; i++) {
    run_tensor_drop(&work->in[first_in + i]);
    work->in[first_in + i] = work->out[first_out + i];
    work->out[first_out + i] = (RunTensor){0};
  }
  for (int i = 0; i < work->stacks; i++) {
    RunTensor *row = &work->out[first_out + work->states + i];
    TRY(stack_push(&work->stack[i], work->call->device, row));
    run_tensor_drop(row);
  }
  return OK;
}

static void share_states(const Work *work, int first_in, RunTensor *outputs) {
  for (int i = 0; i < work->states && i < work->call->node->output_count; i++)
    run_tensor_share(&outputs[i], &work->in[first_in + i]);
}

// ---- loop --------------------------------------------------------------------------------------------------------------------

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

static Status iterate(Work *work, int64_t number, bool sure, bool reads_number, int64_t *condition) {
  const LoopCall *call = work->call;
  if (number == MAX_ITERATIONS) FAIL(ERROR_INVALID_MODEL, "a loop ran %d iterations without end", MAX_ITERATIONS);
  TRY(budget_poll());
  run_tensor_drop(&work->in[0]);
  TRY(loop_memory_number(call->memory, call->device, number, reads_number, &work->in[0]));
  TRY(work_run(work));
  if (!sure) TRY(read_scalar(&work->out[0], 1, condition));
  run_tensor_drop(&work->out[0]);
  return work_advance(work, 2, 1);
}

static Status run_loop(const LoopCall *call, const RunTensor *inputs, RunTensor *outputs) {
  const Node *node = call->node;
  const Graph *body = call->body->whole;
  bool sure = loop_body_goes_on(body), reads_number = value_use_count(body->inputs[0]) > 0;
  Work work = {0};
  Status status = OK;
  int64_t trips, condition;
  TRY_GOTO(work_new(&work, call, body->output_count - 1 - (int)node_int(node, "states", 0), 0));
  TRY_GOTO(read_scalar(&inputs[0], INT64_MAX, &trips));
  TRY_GOTO(read_scalar(&inputs[1], 1, &condition));
  for (int i = 0; i < work.stacks; i++) {
    work.stack[i].most = trips;
    work.stack[i].sure = sure && trips <= MAX_ITERATIONS;
  }
  if (condition && trips > 0) TRY_GOTO(loop_memory_yes(call->memory, call->device, &work.in[1]));
  TRY_GOTO(bring_all(&work, inputs, 2, 1));
  for (int64_t number = 0; condition && number < trips; number++)
    TRY_GOTO(iterate(&work, number, sure, reads_number, &condition));
  share_states(&work, 2, outputs);
  for (int i = 0; i < work.stacks; i++) {
    int output = work.states + i;
    TRY_GOTO(stack_finish(&work.stack[i], call->device, node->outputs[output], 0, &outputs[output]));
  }
done:
  work_free(&work);
  return status;
}

// ---- scan --------------------------------------------------------------------------------------------------------------------

static int64_t nth(const Node *node, const char *name, int index) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  return index < count ? values[index] : 0;
}

static Status begin_slices(Work *work, const RunTensor *inputs, int64_t *length) {
  const LoopCall *call = work->call;
  *length = 0;
  for (int i = 0; i < work->slice_count; i++) {
    int input = work->states + i;
    const RunTensor *scanned = &inputs[input];
    int64_t axis = nth(call->node, "input_axes", i);
    if (axis < 0) axis += scanned->rank;
    if (axis < 0 || axis >= scanned->rank) FAIL(ERROR_INVALID_MODEL, "scan input %d has no axis %lld", i, (long long)axis);
    if (i && scanned->dims[axis] != *length) FAIL(ERROR_INVALID_MODEL, "scan inputs have different lengths");
    *length = scanned->dims[axis];
    work->slices[i].reverse = nth(call->node, "input_directions", i);
    work->slices[i].known = call->known[input];
    TRY(slices_begin(call->memory, call->device, input, scanned, (int)axis, &work->slices[i]));
  }
  return OK;
}

static Status scan_step(Work *work, int64_t number) {
  const LoopCall *call = work->call;
  TRY(budget_poll());
  for (int i = 0; i < work->slice_count; i++) {
    int input = work->states + i;
    run_tensor_drop(&work->in[input]);
    TRY(slices_take(&work->slices[i], call->memory, call->device, input, number, &work->in[input]));
  }
  TRY(work_run(work));
  return work_advance(work, 0, 0);
}

static Status run_scan(const LoopCall *call, const RunTensor *inputs, RunTensor *outputs) {
  const Node *node = call->node;
  const Graph *body = call->body->whole;
  int states = (int)node_int(node, "states", 0), scans = (int)node_int(node, "scan_inputs", 0);
  Work work = {0};
  Status status = OK;
  int64_t length;
  TRY_GOTO(work_new(&work, call, body->output_count - states, scans));
  TRY_GOTO(begin_slices(&work, inputs, &length));
  TRY_GOTO(bring_all(&work, inputs, 0, 0));
  for (int i = 0; i < work.stacks; i++) {
    work.stack[i].most = length;
    work.stack[i].sure = true;
    work.stack[i].reverse = nth(node, "output_directions", i);
  }
  for (int64_t number = 0; number < length; number++) TRY_GOTO(scan_step(&work, number));
  share_states(&work, 0, outputs);
  for (int i = 0; i < work.stacks; i++) {
    int output = states + i, axis = (int)nth(node, "output_axes", i);
    TRY_GOTO(stack_finish(&work.stack[i], call->device, node->outputs[output], axis, &outputs[output]));
  }
done:
  work_free(&work);
  return status;
}

Status loop_run(const LoopCall *call, const RunTensor *inputs, RunTensor *outputs) {
  return call->node->op == &op_loop ? run_loop(call, inputs, outputs) : run_scan(call, inputs, outputs);
}
