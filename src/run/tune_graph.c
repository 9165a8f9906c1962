// See tune_graph.h.
#include "run/tune_graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/recover.h"
#include "cuda/context.h"
#include "run/cuda_device.h"
#include "run/last_word.h"
#include "tune/tune.h"

bool cuda_device_present(int index) {
  int count = 0;
  status_free(cuda_device_count(NULL, &count));
  return index >= 0 && index < count;
}

// Inputs of the shapes given or declared, without contents. *usable is false where a rank or type is only known at run time.
static Status make_inputs(const Graph *graph, const int64_t *const *shapes, Device *device, RunTensor *inputs, bool *usable) {
  *usable = true;
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    if (value->initial) continue;  // left out
    if (value->rank < 0 || value->dtype == DTYPE_COUNT || value->dtype == DTYPE_STRING) {
      *usable = false;
      return OK;
    }
    int64_t dims[MAX_RANK];
    if (shapes && shapes[i]) {
      memcpy(dims, shapes[i], (size_t)value->rank * sizeof *dims);
    } else if (!value_get_dims(value, dims)) {
      *usable = false;
      return OK;
    }
    TRY(run_tensor_borrow_device(device, value->dtype, value->rank, dims, NULL, &inputs[i]));
  }
  return OK;
}

#define LAST_SHARE 0.25  // of the budget, for the last word

static Status tune_plan(const Plan *plan, Device *device, const TuneGraphOptions *options, TuningDatabase *database,
                        TuneReport *report) {
  TuneOptions tune = {.seconds = options->seconds * (1 - LAST_SHARE), .log = options->log};
  TRY(cuda_device_tune(device, plan->steps, (int)plan->step_count, &tune, database, report));
  log_add(options->log, LOG_INFO, "tuned %d of %d sites in %.1f s: %d candidates timed, %d rejected, %d known before",
          report->compared, report->sites, report->seconds, report->candidates, report->rejected, report->known);
  return OK;
}

static bool refuses_the_shape(Status status) {
  switch (status_code(status)) {
    case ERROR_INVALID_ARGUMENT:
    case ERROR_INVALID_MODEL:
    case ERROR_UNSUPPORTED: return true;
    default: return false;
  }
}

// What sites took alone is no more than a guess where the whole cannot be measured, but the best there is.
static Status judge_whole(const LastWord *word, TuningDatabase *database) {
  Status status = last_word(word, database);
  if (!status || !refuses_the_shape(status)) return status;
  log_add(word->log, LOG_WARNING, "the whole plan could not be measured, its sites were: %s", status_message(status));
  status_free(status);
  return OK;
}

// The sites of the plan, and then the plan.
static Status tune_and_judge(const Graph *graph, Device *device, const RunnerHooks *hooks, const TuneGraphOptions *options,
                             const RunTensor *inputs, const Plan *plan, TuningDatabase *database) {
  TuneReport ignored;
  TRY(tune_plan(plan, device, options, database, options->report ? options->report : &ignored));
  LastWord word = {graph, device, hooks, inputs, plan, options->seconds * LAST_SHARE, options->log};
  return judge_whole(&word, database);
}

static Status tune_guarded(const Graph *graph, Device *device, const RunnerHooks *hooks, const TuneGraphOptions *options,
                           const RunTensor *inputs, const Plan *plan, TuningDatabase *database) {
  return RECOVER_GUARD(tune_and_judge(graph, device, hooks, options, inputs, plan, database));
}

// A function of its own: nothing that lives across the guard's setjmp changes here, and what was made before is freed.
static Status keep_guarded(const TuneGraphOptions *options, const Stage *stage, Device *device, const Executable *executable) {
  if (!options->keep) return OK;
  return RECOVER_GUARD(options->keep(options->keep_context, stage, device->plan(executable), device->compiler));
}

// What a model refuses at a shape is not prepared for it. *arena: at least what it takes.
static Status prepare_at(const Graph *graph, const int64_t *const *shapes, Device *device, const RunnerHooks *hooks,
                         const Log *log, size_t *arena) {
  RunTensor *inputs = calloc((size_t)graph->input_count + 1, sizeof *inputs);
  Runner *runner = NULL;
  bool usable = false;
  Status status = OK;
  if (!inputs) return status_out_of_memory();
  TRY_GOTO(make_inputs(graph, shapes, device, inputs, &usable));
  if (!usable) goto done;
  TRY_GOTO(runner_new(graph, device, hooks, 0, &runner));
  TRY_GOTO(runner_prepare(runner, inputs));
  *arena = MAX(*arena, runner_stats(runner).arena_bytes);
done:
  runner_free(runner);
  for (int i = 0; i < graph->input_count; i++) run_tensor_drop(&inputs[i]);
  free(inputs);
  if (!status || !refuses_the_shape(status)) return status;
  log_add(log, LOG_WARNING, "kernels for some of the shapes are not prepared: %s", status_message(status));
  status_free(status);
  return OK;
}

// The kernels that sizes between the samples take, too.
static Status prepare_samples(const Graph *graph, const TuneGraphOptions *options, Device *device, const RunnerHooks *hooks) {
  Status status = OK;
  size_t arena = 0;
  for (int i = 0; i < 2 * options->sample_count && !status; i++) {
    cuda_device_take_other_rung(device, i % 2);
    status = prepare_at(graph, options->samples[i / 2], device, hooks, options->log, &arena);
  }
  cuda_device_take_other_rung(device, false);
  if (arena)
    log_add(options->log, LOG_INFO, "shapes of the ranges take %.1f MiB of temporaries at most", (double)arena / (1 << 20));
  return status;
}

// What a plan is compared with at the end: what was kept before, and else what is chosen without measuring.
static TuningDatabase *kept_view(const TuningDatabase *database) {
  return last_word_view(database, string_map_new(database->arena), database->arena);
}

Status tune_graph(const Graph *graph, Device *device, const RunnerHooks *hooks, const TuneGraphOptions *options,
                  TuningDatabase *database) {
  RunTensor *inputs = calloc((size_t)graph->input_count + 1, sizeof *inputs);
  Runner *runner = NULL;
  Status status = OK;
  bool usable, on_gpu = device->info.kind == DEVICE_CUDA;
  if (!inputs) return status_out_of_memory();
  TRY_GOTO(make_inputs(graph, options->shapes, device, inputs, &usable));
  if (!usable) {
    if (on_gpu) log_add(options->log, LOG_INFO, "shapes are open: kernels are compiled when a shape first appears");
    goto done;
  }
  if (on_gpu && options->seconds > 0) cuda_device_use_tuning(device, kept_view(database));
  for (int round = 0; round < 2; round++) {  // the second time with what tuning found, so that the kernels in use are compiled
    Executable *executable;
    Stage *stage;
    runner_free(runner);
    runner = NULL;
    TRY_GOTO(runner_new(graph, device, hooks, 0, &runner));
    bool last = round || options->seconds <= 0;
    if (last && on_gpu) cuda_device_record_kernels(device);
    TRY_GOTO(runner_plan(runner, inputs, &executable, &stage));
    if (last) TRY_GOTO(keep_guarded(options, stage, device, executable));
    if (last && on_gpu) TRY_GOTO(prepare_samples(graph, options, device, hooks));
    if (last) break;
    TRY_GOTO(tune_guarded(graph, device, hooks, options, inputs, device->plan(executable), database));
  }
done:
  runner_free(runner);
  for (int i = 0; i < graph->input_count; i++) run_tensor_drop(&inputs[i]);
  free(inputs);
  return status;
}
