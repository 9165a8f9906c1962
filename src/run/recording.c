// See recording.h.
#include "run/recording.h"

#include <string.h>
#include "run/lanes.h"

// ---- which nodes --------------------------------------------------------------------------------------------------------------

static bool reaches_caller(const Plan *plan, const PlanStep *step, const Launch *launch) {
  for (int a = 0; a < launch->arg_count; a++) {
    const BufferRef *buffer = &launch->args[a].buffer;
    if (launch->args[a].kind != ARG_BUFFER) continue;
    if (buffer->kind == BUFFER_INPUT && place_is_callers(plan, &step->inputs[buffer->index])) return true;
    if (buffer->kind == BUFFER_OUTPUT && place_is_callers(plan, &step->outputs[buffer->index])) return true;
  }
  return false;
}

static void add_node(Recording *recording, uint32_t step, uint32_t number, const Launch *launch, Arena *arena) {
  recording->nodes[recording->node_count++] =
      (RecordedNode){.step = step, .launch = number, .pointers = arena_array(arena, void *, launch->arg_count)};
  if (launch->kind != LAUNCH_KERNEL) recording->follows = false;
}

// What the host is spared. Changing a node costs it about half a launch, and launching a graph about three: a plan of few kernels is launched faster
// one by one than its graph is told where its values lie now.
static bool pays(const Recording *recording, const Steps *steps) {
  uint32_t launches = 0;
  for (uint32_t s = 0; s < steps->plan->step_count; s++) launches += steps->sets[s]->emission->launch_count;
  return launches > recording->node_count / 2 + 3;
}

void recording_lay_out(Recording *recording, const Steps *steps, const CudaContext *context, Arena *arena) {
  const Plan *plan = steps->plan;
  uint32_t most = 0;
  for (uint32_t c = 0; c < steps->caller_count; c++) most += steps->sets[steps->callers[c]]->emission->launch_count;
  *recording = (Recording){.nodes = arena_array(arena, RecordedNode, most),
                           .events = arena_array(arena, CudaEvent, plan->step_count),
                           .follows = cuda_graph_can_change(context)};
  for (uint32_t c = 0; c < steps->caller_count; c++) {
    uint32_t step = steps->callers[c];
    const Emission *emission = steps->sets[step]->emission;
    for (uint32_t i = 0; i < emission->launch_count; i++)
      if (reaches_caller(plan, &plan->steps[step], &emission->launches[i]))
        add_node(recording, step, i, &emission->launches[i], arena);
  }
  if (!pays(recording, steps)) recording->follows = false;
}

static ReadyLaunch *launch_of(const Steps *steps, const RecordedNode *node) {
  return &steps->sets[node->step]->launches[node->launch];
}

// ---- recording ----------------------------------------------------------------------------------------------------------------

static void note_pointers(RecordedNode *node, const ReadyLaunch *ready) {
  if (ready->launch->arg_count) memcpy(node->pointers, ready->pointers, (size_t)ready->launch->arg_count * sizeof(void *));
}

static Status capture_step(Recording *recording, const Steps *steps, uint32_t step, uint32_t *next, Lanes *lanes) {
  CudaStream stream = lanes_stream(lanes, step);
  TRY(lanes_enter(lanes, step));
  for (uint32_t i = 0; i < steps->sets[step]->emission->launch_count; i++) {
    RecordedNode *node = *next < recording->node_count ? &recording->nodes[*next] : NULL;
    TRY(steps_run_launch(steps, step, i, stream, i || lanes_only_follows(lanes, step)));
    if (!node || node->step != step || node->launch != i) continue;
    ++*next;
    if (!recording->follows) continue;
    TRY(cuda_captured_node(lanes->context, stream, &node->node));
    note_pointers(node, launch_of(steps, node));
  }
  return lanes_leave(lanes, step);
}

static Status capture(Recording *recording, const Steps *steps, Lanes *lanes) {
  uint32_t next = 0;
  TRY(lanes_fork(lanes));
  for (uint32_t s = 0; s < steps->plan->step_count; s++) TRY(capture_step(recording, steps, s, &next, lanes));
  return lanes_join(lanes);
}

static Status end_capture(CudaContext *context, CudaGraph *graph) {
  CUDA_TRY(context, cuStreamEndCapture(context->stream, graph));
  return OK;
}

static Status record(Recording *recording, const Steps *steps, Lanes *lanes) {
  CudaContext *context = lanes->context;
  CUDA_TRY(context, cuStreamBeginCapture(context->stream, CUDA_CAPTURE_THREAD_LOCAL));
  Status status = capture(recording, steps, lanes),
         ended = end_capture(context, &recording->graph);  // it has to end in any case
  if (!status) return ended;
  status_free(ended);
  return status;
}

static Status instantiate(Recording *recording, CudaContext *context) {
  CUDA_TRY(context, cuGraphInstantiateWithFlags(&recording->exec, recording->graph, 0));
  CUDA_TRY(context, cuGraphUpload(recording->exec, context->stream));
  return OK;
}

Status recording_make(Recording *recording, const Steps *steps, int streams, CudaContext *context) {
  Lanes lanes;
  Status status = lanes_open(&lanes, steps->plan, streams, context, recording->events);
  if (!status) status = record(recording, steps, &lanes);
  lanes_close(&lanes);
  if (!status) status = instantiate(recording, context);
  if (status) recording_drop(recording, context);
  return status;
}

// ---- other addresses ----------------------------------------------------------------------------------------------------------

// What was enqueued of the graph before keeps the arguments that it had.
Status recording_patch(Recording *recording, const Steps *steps, CudaContext *context) {
  for (uint32_t i = 0; i < recording->node_count; i++) {
    RecordedNode *node = &recording->nodes[i];
    const ReadyLaunch *ready = launch_of(steps, node);
    const Launch *launch = ready->launch;
    if (!launch->arg_count || !memcmp(node->pointers, ready->pointers, (size_t)launch->arg_count * sizeof(void *))) continue;
    TRY(cuda_graph_change(context, recording->exec, node->node, ready->function, launch->grid, launch->block,
                          launch->shared_bytes, ready->arguments));
    note_pointers(node, ready);
  }
  return OK;
}

void recording_drop(Recording *recording, CudaContext *context) {
  if (recording->exec) context->driver->cuGraphExecDestroy(recording->exec);
  if (recording->graph) context->driver->cuGraphDestroy(recording->graph);
  recording->exec = NULL;
  recording->graph = NULL;
}
