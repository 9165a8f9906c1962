// See lanes.h.
#include "run/lanes.h"

#include "base/checked.h"

static int lane_of(const Lanes *lanes, uint32_t step) { return lanes->plan->steps[step].stream % lanes->count; }

CudaStream lanes_stream(const Lanes *lanes, uint32_t step) { return lanes->streams[lane_of(lanes, step)]; }

static Status make_events(Lanes *lanes) {
  for (uint32_t s = 0; s < lanes->plan->step_count; s++) {
    const PlanStep *step = &lanes->plan->steps[s];
    for (int i = 0; i < step->wait_count; i++) {
      CudaEvent *event = &lanes->events[step->waits[i]];
      if (*event || lane_of(lanes, step->waits[i]) == lane_of(lanes, s)) continue;
      CUDA_TRY(lanes->context, cuEventCreate(event, CUDA_EVENT_DISABLE_TIMING));
    }
  }
  return OK;
}

Status lanes_open(Lanes *lanes, const Plan *plan, int limit, CudaContext *context, CudaEvent *events) {
  int most = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) most = MAX(most, plan->steps[s].stream);
  *lanes = (Lanes){context, plan, MIN(most + 1, limit), {context->stream}, events, {-1, -1, -1, -1}};
  for (int i = 1; i < lanes->count; i++) TRY(cuda_stream_beside(context, i - 1, &lanes->streams[i]));
  return make_events(lanes);
}

void lanes_close(Lanes *lanes) {
  for (uint32_t s = 0; s < lanes->plan->step_count; s++) {
    if (lanes->events[s]) lanes->context->driver->cuEventDestroy(lanes->events[s]);
    lanes->events[s] = NULL;
  }
}

Status lanes_fork(Lanes *lanes) {
  for (int i = 1; i < lanes->count; i++) TRY(cuda_order(lanes->context, lanes->streams[0], lanes->streams[i]));
  return OK;
}

Status lanes_enter(Lanes *lanes, uint32_t number) {
  const PlanStep *step = &lanes->plan->steps[number];
  for (int i = 0; i < step->wait_count; i++)
    if (lane_of(lanes, step->waits[i]) != lane_of(lanes, number))
      CUDA_TRY(lanes->context, cuStreamWaitEvent(lanes_stream(lanes, number), lanes->events[step->waits[i]], 0));
  return OK;
}

bool lanes_only_follows(const Lanes *lanes, uint32_t number) {
  const PlanStep *step = &lanes->plan->steps[number];
  int64_t before = lanes->last[lane_of(lanes, number)];
  if (lanes->count == 1) return true;
  return !step->wait_count && before >= 0 && !lanes->events[before];
}

Status lanes_leave(Lanes *lanes, uint32_t number) {
  lanes->last[lane_of(lanes, number)] = number;
  if (lanes->events[number]) CUDA_TRY(lanes->context, cuEventRecord(lanes->events[number], lanes_stream(lanes, number)));
  return OK;
}

Status lanes_join(Lanes *lanes) {
  for (int i = 1; i < lanes->count; i++) TRY(cuda_order(lanes->context, lanes->streams[i], lanes->streams[0]));
  return OK;
}
