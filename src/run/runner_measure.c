// Profiles and times of a runner's plan, replayed in place.
#include <stdlib.h>

#include "base/checked.h"
#include "base/thread.h"
#include "run/runner_inside.h"

typedef struct ProfileWork {
  StepReport *out;
  int limit, *count;
} ProfileWork;

static Status profile_placed(Runner *runner, StageEntry *entry, void **in, void **out, void *context) {
  ProfileWork *work = context;
  return runner->device->profile(runner->device, entry->executable, in, out, work->out, work->limit, work->count);
}

Status runner_profile(Runner *runner, const RunTensor *inputs, StepReport *out, int limit, int *count) {
  return runner_with_placed(runner, inputs, profile_placed, &(ProfileWork){out, limit, count});
}

enum { TIMED_WARMUPS = 3 };

typedef struct TimeWork {
  double budget, *seconds;
  int batches;
  const RunTensor *inputs;
} TimeWork;

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

// A model in several stages is run whole; one stage is replayed alone.
static Status run_placed(Runner *runner, StageEntry *entry, void **in, void **out, const RunTensor *inputs) {
  if (entry->stage->complete) return runner->device->run(runner->device, entry->executable, in, out);
  RunTensor *outputs = calloc((size_t)runner->top->graph->output_count + 1, sizeof *outputs);
  if (!outputs) return status_out_of_memory();
  Status status = runner_run_again(runner, inputs, outputs);
  run_tensors_drop(outputs, runner->top->graph->output_count);
  free(outputs);
  return status;
}

typedef struct PlacedRun {
  Runner *runner;
  StageEntry *entry;
  void **in, **out;
  const RunTensor *inputs;
} PlacedRun;

static Status run_once(void *state) {
  const PlacedRun *run = state;
  return run_placed(run->runner, run->entry, run->in, run->out, run->inputs);
}

// Runs that take long are measured less often, and warmed up once. How many fit into a batch is a matter of the host's time.
static Status time_placed(Runner *runner, StageEntry *entry, void **in, void **out, void *context) {
  TimeWork *work = context;
  Device *device = runner->device;
  PlacedRun run = {runner, entry, in, out, work->inputs};
  double times[MOST_TIMED_BATCHES], any, each = 0, start = time_now();
  for (int i = 0; i < TIMED_WARMUPS && (!i || time_now() - start < work->budget); i++) {
    double before = time_now();
    TRY(device->time(device, 1, run_once, &run, &any));
    each = time_now() - before;
  }
  int batch = (int)MIN(MAX(work->budget / work->batches / MAX(each, 1e-7), 1), 10000), count = 0;
  start = time_now();
  do TRY(device->time(device, batch, run_once, &run, &times[count++]));
  while (count < work->batches && time_now() - start < 2 * work->budget);
  qsort(times, (size_t)count, sizeof *times, ascending);
  *work->seconds = times[count / 2];
  return OK;
}

Status runner_time(Runner *runner, const RunTensor *inputs, double budget, int batches, double *seconds) {
  return runner_with_placed(runner, inputs, time_placed,
                            &(TimeWork){budget, seconds, MIN(batches, MOST_TIMED_BATCHES), inputs});
}
