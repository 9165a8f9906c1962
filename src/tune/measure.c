// See measure.h.
#include "tune/measure.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/recover.h"
#include "tune/rounds.h"

enum { REPEATS = 7, MOST_RUNS = 10, HOPELESS = 3 };
// One measurement takes so long at least, if ten runs do: then what two events cost, some two microseconds, does not show.
#define MEASUREMENT_SECONDS 500e-6
// A single run that takes longer is hardly launch latency.
#define TELLING_SECONDS 100e-6

typedef struct Trial {
  LaunchSet *set;
  Machine machine;
} Trial;

static Status run_trial(void *state, CudaStream stream) {
  Trial *trial = state;
  return launch_set_run(trial->set, &trial->machine, stream);
}

static Status time_round(Rounds *rounds, double best, double *seconds) {
  CudaTiming timing = {.warmups = 1, .repeats = REPEATS, .budget = 0.25, .batch = 1};
  if (isfinite(best)) timing.hopeless = HOPELESS * best * rounds->runs;
  TRY(cuda_time(rounds->rig->cuda, &timing, rounds_run, rounds, seconds));
  *seconds /= rounds->runs;
  return OK;
}

static Status time_rounds(Rig *r, LaunchSet *set, int runs, double best, double *seconds) {
  Arena *scratch = arena_scratch();
  Rounds rounds = {.rig = r};
  Status status = RECOVER_GUARD(rounds_open(r, set, runs, scratch, &rounds));
  if (!status) status = RECOVER_GUARD(time_round(&rounds, best, seconds));
  cuda_settle(r->cuda);
  rounds_close(&rounds);
  arena_free(scratch);
  return status;
}

static Status time_ready(Rig *r, LaunchSet *set, double best, double *seconds) {
  CudaContext *cuda = r->cuda;
  Trial trial = {set, {.cuda = cuda}};
  CudaTiming once = {.warmups = 1, .repeats = 1, .batch = 1};
  double any;
  if (!seconds) {
    once.warmups = 0;
    return cuda_time(cuda, &once, run_trial, &trial, &any);
  }
  TRY(cuda_time(cuda, &once, run_trial, &trial, seconds));
  if (r->sketch || (*seconds > TELLING_SECONDS && *seconds > HOPELESS * best)) return OK;
  int runs = *seconds > MEASUREMENT_SECONDS / MOST_RUNS ? (int)ceil(MEASUREMENT_SECONDS / *seconds) : MOST_RUNS;
  return time_rounds(r, set, runs, best, seconds);
}

static Status time_loaded(Rig *r, LaunchSet *set, double best, double *seconds) {
  const Node *node = r->site->node;
  memcpy(set->inputs, r->input_at, (size_t)site_input_count(r->site) * sizeof(void *));
  memcpy(set->outputs, r->output_at, (size_t)node->output_count * sizeof(void *));
  TRY(rig_alloc(r, set->emission->workspace_bytes, &set->workspace));
  for (uint32_t i = 0; i < set->emission->packed_count; i++) TRY(rig_pack(r, set->emission->packed[i], &set->packed[i]));
  launch_set_patch(set);
  for (int i = 0; i < node->output_count; i++)
    TRY(cuda_fill(r->cuda, r->outputs[i], 0xff, r->output_bytes[i], r->cuda->stream));
  return time_ready(r, set, best, seconds);
}

static Status load_and_time(Rig *r, LaunchSet *set, const Cubin *cubins, double best, double *seconds) {
  int taken;
  TRY(launch_set_load(set, &(Machine){.cuda = r->cuda}, cubins, &taken));
  return time_loaded(r, set, best, seconds);
}

Status measure_emission(Rig *r, const Emission *emission, const Cubin *cubins, double best, double *seconds) {
  Arena *scratch = arena_scratch();
  LaunchSet *set = launch_set_new(emission, r->site, scratch);
  Status status = RECOVER_GUARD(load_and_time(r, set, cubins, best, seconds));
  cuda_settle(r->cuda);
  cuda_free(r->cuda, set->workspace, emission->workspace_bytes);
  launch_set_unload(set, &(Machine){.cuda = r->cuda});
  rig_unuse(r);
  arena_free(scratch);
  return status;
}
