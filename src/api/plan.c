// Plans: of a session's call as text, and those that an engine holds.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/recover.h"

static Status find_plan(ingot_session *session, const ingot_tensor *inputs, int input_count, const Plan **out) {
  Executable *executable;
  Stage *stage;
  TRY(api_take_inputs(session, inputs, input_count));
  TRY(runner_plan(session->runner, session->inputs, &executable, &stage));
  session->stats = runner_stats(session->runner);
  *out = session->device->plan(executable);
  return OK;
}

ingot_error *api_plan(ingot_session *session, const ingot_tensor *inputs, int input_count, const Plan **out) {
  return api_error(SESSION_CALL(session, find_plan(session, inputs, input_count, out)));
}

static Status print_plan(ingot_session *session, const ingot_tensor *inputs, int input_count, const PlanWitness *witness,
                         char **out) {
  const Plan *plan;
  TRY(find_plan(session, inputs, input_count, &plan));
  Arena *scratch = arena_scratch();
  Text text = text_new(scratch);
  plan_print(&text, plan, session->device->compiler, witness);
  *out = strdup(text_get(&text));
  arena_free(scratch);
  return *out ? OK : status_out_of_memory();
}

ingot_error *api_plan_text(ingot_session *session, const ingot_tensor *inputs, int input_count, const PlanWitness *witness,
                           char **out) {
  return api_error(SESSION_CALL(session, print_plan(session, inputs, input_count, witness, out)));
}

ingot_error *ingot_session_plan_text(ingot_session *session, const ingot_tensor *inputs, int input_count, char **out) {
  Status status = api_require("ingot_session_plan_text", "session", session, "inputs", input_count ? inputs : (void *)&status,
                              "out", out, NULL);
  return status ? api_error(status) : api_plan_text(session, inputs, input_count, NULL, out);
}

// ---- held by an engine -------------------------------------------------------------------------------------------------------

static const EnginePlan *of_plan(const ingot_plan *plan) { return (const EnginePlan *)plan; }

int ingot_engine_plan_count(const ingot_engine *engine) { return engine ? (int)engine->engine->plan_count : 0; }
const ingot_plan *ingot_engine_plan(const ingot_engine *engine, int index) {
  return index >= 0 && index < ingot_engine_plan_count(engine) ? (const ingot_plan *)&engine->engine->plans[index] : NULL;
}
const char *ingot_plan_needs(const ingot_plan *plan) { return plan ? of_plan(plan)->needs : ""; }
int ingot_plan_multiprocessors(const ingot_plan *plan) { return plan ? of_plan(plan)->multiprocessors : 0; }
const char *ingot_plan_text(const ingot_plan *plan) { return plan ? of_plan(plan)->text : ""; }

static EnginePlanCounts counts_of(const ingot_engine *engine, const ingot_plan *plan) {
  return engine && plan ? engine_plan_counts(engine->engine, of_plan(plan)) : (EnginePlanCounts){0};
}
int ingot_plan_steps(const ingot_engine *engine, const ingot_plan *plan) { return counts_of(engine, plan).steps; }
int ingot_plan_kernels(const ingot_engine *engine, const ingot_plan *plan) { return counts_of(engine, plan).kernels; }
int ingot_plan_missing_kernels(const ingot_engine *engine, const ingot_plan *plan) { return counts_of(engine, plan).missing; }
