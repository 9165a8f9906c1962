// Where a session's time goes: one profiled run, kept apart from the session; and the time of runs back to back.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/recover.h"

struct ingot_profile {
  Arena *arena;
  StepReport *steps;
  int count;
};

// Step names live as long as the plan, which the session may drop: the profile has strings of its own.
static Status copy_steps(ingot_profile *profile, const StepReport *reports) {
  profile->steps = arena_array(profile->arena, StepReport, (size_t)profile->count);
  for (int i = 0; i < profile->count; i++)
    profile->steps[i] = (StepReport){.name = arena_string(profile->arena, reports[i].name),
                                     .op = arena_string(profile->arena, reports[i].op),
                                     .tactic = arena_string(profile->arena, reports[i].tactic),
                                     .origins = arena_string(profile->arena, reports[i].origins),
                                     .milliseconds = reports[i].milliseconds,
                                     .predicted = reports[i].predicted,
                                     .stream = reports[i].stream};
  return OK;
}

static Status profile_run(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_profile *profile) {
  Executable *executable;
  Stage *stage;
  profile->arena = arena_new();
  TRY(api_take_inputs(session, inputs, input_count));
  TRY(runner_plan(session->runner, session->inputs, &executable, &stage));
  int limit = (int)session->device->plan(executable)->step_count;
  StepReport *reports = arena_array(profile->arena, StepReport, (size_t)limit);
  TRY(runner_profile(session->runner, session->inputs, reports, limit, &profile->count));
  profile->count = MIN(profile->count, limit);
  session->stats = runner_stats(session->runner);
  return copy_steps(profile, reports);
}

ingot_error *ingot_session_profile(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_profile **out) {
  Status status = api_require("ingot_session_profile", "session", session, "inputs", input_count ? inputs : (void *)&status,
                              "out", out, NULL);
  if (status) return api_error(status);
  ingot_profile *profile = calloc(1, sizeof *profile);
  if (!profile) return api_error(status_out_of_memory());
  status = SESSION_CALL(session, profile_run(session, inputs, input_count, profile));
  if (status) ingot_profile_free(profile);
  else *out = profile;
  return api_error(status);
}

void ingot_profile_free(ingot_profile *profile) {
  if (!profile) return;
  arena_free(profile->arena);
  free(profile);
}

static const StepReport *step_of(const ingot_profile *profile, int step) {
  static const StepReport none = {.name = "", .op = "", .tactic = "", .origins = ""};
  return profile && step >= 0 && step < profile->count ? &profile->steps[step] : &none;
}

int ingot_profile_step_count(const ingot_profile *profile) { return profile ? profile->count : 0; }
const char *ingot_profile_name(const ingot_profile *profile, int step) { return step_of(profile, step)->name; }
const char *ingot_profile_op(const ingot_profile *profile, int step) { return step_of(profile, step)->op; }
const char *ingot_profile_tactic(const ingot_profile *profile, int step) { return step_of(profile, step)->tactic; }
const char *ingot_profile_origins(const ingot_profile *profile, int step) { return step_of(profile, step)->origins; }
double ingot_profile_milliseconds(const ingot_profile *profile, int step) { return step_of(profile, step)->milliseconds; }
double ingot_profile_predicted(const ingot_profile *profile, int step) { return step_of(profile, step)->predicted; }
int ingot_profile_stream(const ingot_profile *profile, int step) { return step_of(profile, step)->stream; }

static Status time_runs(ingot_session *session, const ingot_tensor *inputs, int input_count, double seconds,
                        double *milliseconds) {
  if (!(seconds >= 0 && seconds <= 1e6)) FAIL(ERROR_INVALID_ARGUMENT, "%g seconds cannot be measured", seconds);
  TRY(api_take_inputs(session, inputs, input_count));
  double median;
  TRY(runner_time(session->runner, session->inputs, seconds, MOST_TIMED_BATCHES, &median));
  session->stats = runner_stats(session->runner);
  *milliseconds = median * 1e3;
  return OK;
}

ingot_error *ingot_session_time(ingot_session *session, const ingot_tensor *inputs, int input_count, double seconds,
                                double *milliseconds) {
  Status status = api_require("ingot_session_time", "session", session, "inputs", input_count ? inputs : (void *)&status,
                              "milliseconds", milliseconds, NULL);
  return api_error(status ? status : SESSION_CALL(session, time_runs(session, inputs, input_count, seconds, milliseconds)));
}
